/* Help, all of it derived from the tables of settings, commands, schedules and presets. */
#include "bench/bench.h"
#include "cli/options.h"
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum { HELP_COLUMN = 30 };

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

int dd_terminal_width(int fd) {
  struct winsize size;
  if (!ioctl(fd, TIOCGWINSZ, &size) && size.ws_col > 0) return size.ws_col;
  const char *columns = getenv("COLUMNS");
  long n = columns ? strtol(columns, NULL, 10) : 0;
  return n >= 20 && n <= 1000 ? (int)n : 80;
}

int dd_terminal_rows(int fd) {
  struct winsize size;
  return !ioctl(fd, TIOCGWINSZ, &size) && size.ws_row > 0 ? size.ws_row : 24;
}

/* Print words from column `at` on, breaking before `width`, continued at column `indent`; ends the line. */
static void wrap(FILE *out, const char *text, int at, int indent, int width) {
  if (width < indent + 24) width = indent + 24;
  bool first = true;
  while (*text) {
    int n = (int)strcspn(text, " ");
    if (!first && at + 1 + n > width) {
      fprintf(out, "\n%*s", indent, "");
      at = indent;
      first = true;
    }
    fprintf(out, "%s%.*s", first ? "" : " ", n, text);
    at += n + !first;
    first = false;
    text += n;
    text += strspn(text, " ");
  }
  fputc('\n', out);
}

/* `left` at the margin, `right` wrapped beside it, or below when left is too long. */
static void entry(FILE *out, const char *left, const char *right, int column, int width) {
  int n = fprintf(out, "%s", left);
  if (n + 2 > column) {
    fputc('\n', out);
    n = 0;
  }
  fprintf(out, "%*s", column - n, "");
  wrap(out, right, column, column, width);
}

static void pairs(FILE *out, const char *title, const dd_pair *rows, int column, int width) {
  fprintf(out, "\n%s:\n", title);
  for (int i = 0; rows[i].left; i++) {
    char left[64];
    snprintf(left, sizeof left, "  %s", rows[i].left);
    entry(out, left, rows[i].right, column, width);
  }
}

static void print_setting(FILE *out, const dd_setting *d, int width) {
  char left[96], name[64], text[1024], lead[8] = "      ";
  const char letter = dd_setting_letter(d->id);
  if (letter) snprintf(lead, sizeof lead, "  -%c, ", letter);
  dd_option_name(d, name);
  snprintf(left, sizeof left, "%s--%s%s%s%s", lead, dd_option_has_no(d) ? "[no-]" : "", name,
           dd_option_is_flag(d) ? "" : " ", d->metavar);
  dd_option_text(d, text, sizeof text);
  entry(out, left, text, HELP_COLUMN, width);
}

static void print_common_options(FILE *out, const dd_command *command, int width) {
  const dd_cli_option *o;
  fprintf(out, "\nOptions of every command:\n");
  for (int i = 0; (o = dd_cli_option_at(i)); i++) {
    if (!dd_command_shares(command, o)) continue; /* this command's own, above */
    char left[64], lead[8] = "      ";
    if (o->letter) snprintf(lead, sizeof lead, "  -%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", lead, o->name, o->metavar ? " " : "", o->metavar ? o->metavar : "");
    entry(out, left, o->help, HELP_COLUMN, width);
  }
}

static void print_schedules(FILE *out, int width) {
#define SCHEDULE_ROW(id, name, formula, uses, source, help) {name, help},
  static const dd_pair rows[] = {DD_SCHEDULES(SCHEDULE_ROW) {NULL, NULL}};
  pairs(out, "Schedules (p0 = dropout, pf = dropout-final, t = iteration, T = max-iters)", rows, 16, width);
  fputs("  ", out);
  wrap(out, "`dd-cpu schedules` draws them and gives formulas and sources.", 2, 2, width);
}

static void print_subjects(FILE *out, int width) {
#define SUBJECT_ROW(name, help) {"  " #name, help},
  static const dd_pair rows[] = {DD_BENCH_SUBJECTS(SUBJECT_ROW)};
  fprintf(out, "\nSubjects:\n");
  for (int i = 0; i < COUNT(rows); i++) entry(out, rows[i].left, rows[i].right, 16, width);
}

static void print_presets(FILE *out, int width) {
#define PRESET_NAME(list, id, name) name,
  static const char *const names[] = {DD_PRESETS(PRESET_NAME)};
  fprintf(out, "\nPresets:\n");
  for (int p = 0; p < DD_PRESET_COUNT; p++) {
    char left[32], text[1024] = "";
    const char *key, *value;
    snprintf(left, sizeof left, "  %s", names[p]);
    for (int i = 0; dd_preset_value(p, i, &key, &value); i++) {
      dd_text_append(text, sizeof text, i ? ", " : "");
      dd_text_append(text, sizeof text, key);
      dd_text_append(text, sizeof text, "=");
      dd_text_append(text, sizeof text, value);
    }
    entry(out, left, *text ? text : "the defaults above", 16, width);
  }
}

static void print_commands(FILE *out, int width) {
  const dd_command *k;
  fprintf(out, "\nCommands:\n");
  for (int i = 0; (k = dd_command_at(i)); i++) {
    char left[64];
    snprintf(left, sizeof left, "  %s", k->name);
    entry(out, left, k->help, 13, width);
  }
}

static void print_examples(FILE *out, const dd_command *only) {
  const dd_command *k;
  fprintf(out, "\nExamples:\n");
  for (int i = 0; (k = dd_command_at(i)); i++)
    for (int e = 0; (k == only || (!only && e == 0)) && k->examples[e]; e++)
      fprintf(out, "  dd-cpu %s\n", k->examples[e]);
}

void dd_help_short(FILE *out) {
  fprintf(out, "Usage: dd-cpu COMMAND [OPTION]...\n");
  print_commands(out, 80);
  fprintf(out, "\nTry `dd-cpu train`, `dd-cpu --help` or `dd-cpu train --help`.\n");
}

void dd_help_program(FILE *out, int width) {
  fprintf(out, "Usage: dd-cpu COMMAND [OPTION]...\n");
  wrap(out, "Trains GPTs with dynamic dropout on CPUs, to the same bits on any number of threads and any instruction "
       "set.", 0, 0, width);
  print_commands(out, width);
  print_common_options(out, NULL, width);
  fprintf(out, "      --version               versions of program and numerics, facts of the build (no command)\n");
  pairs(out, "Exit codes", dd_exit_codes, 8, width);
  pairs(out, "Environment", dd_environment, HELP_COLUMN, width);
  print_examples(out, NULL);
  fputc('\n', out);
  wrap(out, "`dd-cpu COMMAND --help` lists the options of a command, `dd-cpu man COMMAND | man -l -` shows its manual "
       "page, `dd-cpu completion bash` (zsh, fish) prints a script that completes commands, options and values.", 0, 0,
       width);
}

void dd_help_command(FILE *out, const dd_command *command, int width) {
  fprintf(out, "Usage: dd-cpu %s [OPTION]...%s%s%s%s\n", command->name, command->positional ? " [" : "",
          command->positional ? command->positional : "", command->positional ? "]" : "", command->many ? "..." : "");
  char first[256];
  snprintf(first, sizeof first, "%c%s.", command->help[0] & ~0x20, command->help + 1);
  wrap(out, first, 0, 0, width);
  bool grouped = command->use & DD_USE_TRAIN; /* the others have few options */
  if (!grouped) fprintf(out, "\nOptions:\n");
  for (int g = 0; g < DD_GROUP_COUNT; g++) {
    const dd_setting *d;
    bool titled = !grouped;
    for (int i = 0; (d = dd_setting_at(i)); i++) {
      if (d->group != g || !dd_command_takes(command, d)) continue;
      if (!titled) fprintf(out, "\n%s:\n", dd_setting_group_title(g));
      titled = true;
      print_setting(out, d, width);
    }
  }
  print_common_options(out, command, width);
  if (command->use & DD_USE_TRAIN) {
    print_schedules(out, width);
    print_presets(out, width);
  }
  if (command->use & DD_USE_BENCH) print_subjects(out, width);
  pairs(out, "Exit codes", dd_exit_codes, 8, width);
  pairs(out, "Environment", dd_environment, HELP_COLUMN, width);
  print_examples(out, command);
  fprintf(out, "\n");
  wrap(out, "Names may be written with - or _, values after = or a space: --n-layer 6 and --n_layer=6 are the same. "
       "Every setting is also a key of config files. `--` ends the options.", 0, 0, width);
}
