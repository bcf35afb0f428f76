/* Completion for fish, from the tables of commands and options. */
#include "cli/options.h"
#include <string.h>

static void quoted(FILE *out, const char *text) {
  fputc('\'', out);
  for (; *text; text++) {
    if (*text == '\'' || *text == '\\') fputc('\\', out);
    fputc(*text, out);
  }
  fputc('\'', out);
}

/* Options of `complete` for the values: -x takes what is listed, -r files too. */
static void values(FILE *out, const dd_values *v) {
  if (v->files) fputs(" -r -F", out);
  else fputs(" -x", out);
  char words[sizeof v->words + 64] = "";
  if (*v->words && v->list)
    snprintf(words, sizeof words, "(__fish_complete_list , 'string split \" \" \"%s\"')", v->words);
  else if (*v->words) snprintf(words, sizeof words, "%s", v->words);
  else if (v->dirs) snprintf(words, sizeof words, "(__fish_complete_directories)");
  if (!*words) return;
  fputs(" -a ", out);
  quoted(out, words);
}

static void option(FILE *out, const dd_command *k, const dd_option *o) {
  char brief[80];
  dd_option_brief(o->help, brief);
  fprintf(out, "complete -c dd-cpu -n '__dd_cpu_in %s' -l %s", k->name, o->name);
  if (o->letter) fprintf(out, " -s %c", o->letter);
  fputs(" -d ", out);
  quoted(out, brief);
  if (o->takes_value) values(out, &o->values);
  fputc('\n', out);
}

static void command(FILE *out, const dd_command *k) {
  dd_option o = {0};
  dd_values v;
  fputc('\n', out);
  while (dd_option_next(k, &o)) option(out, k, &o);
  if (!k->positional) return;
  dd_option_values(dd_setting_at((int)k->positional_id), &v);
  fprintf(out, "complete -c dd-cpu -n '__dd_cpu_in %s'%s", k->name, v.files ? " -F" : "");
  if (*v.words || v.dirs) {
    fputs(" -a ", out);
    quoted(out, *v.words ? v.words : "(__fish_complete_directories)");
  }
  fputc('\n', out);
}

void dd_completion_fish(FILE *out) {
  const dd_command *k;
  fputs("# fish completion of dd-cpu, made by `dd-cpu completion fish`\n\n"
        "function __dd_cpu_in --description 'is the command one of these'\n"
        "    set -l words (commandline -opc)\n"
        "    test (count $words) -ge 2; and contains -- $words[2] $argv\n"
        "end\n"
        "function __dd_cpu_bare --description 'is the command still to come'\n"
        "    test (count (commandline -opc)) -lt 2\n"
        "end\n\n"
        "complete -c dd-cpu -f\n"
        "complete -c dd-cpu -n __dd_cpu_bare -s h -l help -d 'commands and options of all'\n"
        "complete -c dd-cpu -n __dd_cpu_bare -l version -d 'version of program, numerics and build'\n", out);
  for (int i = 0; (k = dd_command_at(i)); i++) {
    fprintf(out, "complete -c dd-cpu -n __dd_cpu_bare -a %s -d ", k->name);
    quoted(out, k->help);
    fputc('\n', out);
  }
  fputs("complete -c dd-cpu -n __dd_cpu_bare -a help -d 'the options of a command'\n"
        "complete -c dd-cpu -n __dd_cpu_bare -a man -d 'a manual page on standard output'\n"
        "complete -c dd-cpu -n __dd_cpu_bare -a completion -d 'a script for a shell on standard output'\n"
        "complete -c dd-cpu -n '__dd_cpu_in help man' -a '", out);
  for (int i = 0; (k = dd_command_at(i)); i++) fprintf(out, "%s%s", i ? " " : "", k->name);
  fputs("'\ncomplete -c dd-cpu -n '__dd_cpu_in completion' -a '", out);
  for (int i = 0; dd_completion_shells[i]; i++) fprintf(out, "%s%s", i ? " " : "", dd_completion_shells[i]);
  fputs("'\n", out);
  for (int i = 0; (k = dd_command_at(i)); i++) command(out, k);
}
