/* dd-cpu: find the command, parse its options, run it. */
#include "cli/options.h"
#include "core/ranks.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Started with a closed standard stream, the next open() would get its number and be written to by mistake. The
 * stand-in for stdout cannot be written, so that results which reach nobody are still an error. */
static void occupy_standard_streams(void) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    int got = open("/dev/null", fd == 1 ? O_RDONLY : O_RDWR);
    if (got >= 0 && got != fd) close(got);
  }
}

static int usage_error(const char *message, const char *detail, const char *suggestion) {
  fprintf(stderr, "dd-cpu: error: %s", message);
  if (detail) {
    fputs(" '", stderr);
    for (const unsigned char *c = (const unsigned char *)detail; *c && c - (const unsigned char *)detail < 60; c++)
      fputc(*c < 32 || *c == 127 ? '?' : *c, stderr);
    fputc('\'', stderr);
  }
  if (suggestion) fprintf(stderr, "; did you mean '%s'?", suggestion);
  fputs("\nTry `dd-cpu --help`.\n", stderr);
  return DD_E_USAGE;
}

static int unknown_command(const char *name) {
  const char *names[32] = {"help", "man", "completion", "version"};
  const dd_command *k;
  int n = 4;
  for (int i = 0; (k = dd_command_at(i)) && n < 31; i++) names[n++] = k->name;
  names[n] = NULL;
  if (name[0] == '-')
    return usage_error("a command comes first, as in `dd-cpu train --preset small`; found", name, NULL);
  return usage_error("unknown command", name, dd_suggest(name, names));
}

/* Help and version are results: on stdout, and an error when they cannot be written. */
static int finish_stdout(void) {
  errno = 0;
  if (!fflush(stdout) && !ferror(stdout)) return DD_OK;
  fprintf(stderr, "dd-cpu: error: cannot write to standard output: %s\n", strerror(errno ? errno : EIO));
  return DD_E_IO;
}

static int help(const char *name) {
  int width = dd_terminal_width(STDOUT_FILENO);
  const dd_command *k = name ? dd_command_find(name) : NULL;
  if (name && !k) return unknown_command(name);
  if (width > 120) width = 120; /* longer lines are hard to read */
  if (k) dd_help_command(stdout, k, width);
  else dd_help_program(stdout, width);
  return finish_stdout();
}

/* `man [COMMAND]`; `man --write DIR` is for the build. */
static int man(int argc, char **argv) {
  dd_error err = {0};
  if (argc > 1 && !strcmp(argv[0], "--write")) {
    if (dd_manual_write(argv[1], &err)) fprintf(stderr, "dd-cpu: error: %s\n", err.message);
    return (int)err.code;
  }
  const dd_command *k = argc ? dd_command_find(argv[0]) : NULL;
  if (argc && !k) return unknown_command(argv[0]);
  dd_manual(stdout, k);
  return finish_stdout();
}

static int completion(int argc, char **argv) {
  if (!argc) return usage_error("completion needs the name of a shell: bash, zsh or fish", NULL, NULL);
  if (dd_completion(stdout, argv[0])) return finish_stdout();
  return usage_error("completion is there for bash, zsh and fish, not", argv[0],
                     dd_suggest(argv[0], dd_completion_shells));
}

static int version(int argc, char **argv) {
  const bool json = argc && !strcmp(argv[0], "--json");
  if (argc > json) return usage_error("--version takes nothing but --json; found", argv[json], NULL);
  const int rc = dd_print_version(stdout, json);
  return rc ? rc : finish_stdout();
}

static int run_command(const dd_command *command, int argc, char **argv) {
  dd_cli cli = {.command = command, .settings = dd_settings_create()};
  dd_error err = {0};
  if (!cli.settings) {
    fputs("dd-cpu: error: out of memory\n", stderr);
    return DD_E_RUNTIME;
  }
  int rc = dd_args_parse(&cli, argc, argv, &err);
  if (rc) dd_cli_refused(&cli);
  dd_progress_init(&cli.progress, stderr, cli.color, cli.quiet, cli.verbose);
  if (!rc && cli.help) rc = help(command->name);
  else if (!rc) rc = dd_command_execute(&cli, "dd-cpu");
  else dd_report_error(&cli, "dd-cpu", rc, &err);
  dd_settings_destroy(cli.settings);
  return rc;
}

int main(int argc, char **argv) {
  occupy_standard_streams();
  signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error with a sentence and exit code 74 */
  if (argc < 2) {
    dd_help_short(stderr);
    return DD_E_USAGE;
  }
  const char *first = argv[1];
  if (!strcmp(first, "--help") || !strcmp(first, "-h")) return help(NULL);
  if (!strcmp(first, "help")) return help(argc > 2 ? argv[2] : NULL);
  if (!strcmp(first, "--version") || !strcmp(first, "version")) return version(argc - 2, argv + 2);
  if (!strcmp(first, "man")) return man(argc - 2, argv + 2);
  if (!strcmp(first, "completion")) return completion(argc - 2, argv + 2);
  const dd_command *command = dd_command_find(first);
  return command ? run_command(command, argc - 2, argv + 2) : unknown_command(first);
}
