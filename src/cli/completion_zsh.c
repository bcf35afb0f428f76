/* Completion for zsh, from the tables of commands and options. */
#include "cli/options.h"
#include <string.h>

static const char zsh_helpers[] =
  "# Words; those that end in ':' or '=' want more after them. A table of rates is a file.\n"
  "_dd_cpu_words() {\n"
  "  local word result=1\n"
  "  if compset -P 'table:'; then _files; return; fi\n"
  "  for word; do\n"
  "    case $word in\n"
  "      *[:=]) compadd -S '' -- \"$word\" && result=0 ;;\n"
  "      *) compadd -- \"$word\" && result=0 ;;\n"
  "    esac\n"
  "  done\n"
  "  return result\n"
  "}\n"
  "_dd_cpu_list() {\n"
  "  compset -P '*,'\n"
  "  compset -S ',*'\n"
  "  _dd_cpu_words \"$@\"\n"
  "}\n"
  "_dd_cpu_words_or_files() {\n"
  "  compadd -- \"$@\"\n"
  "  _files\n"
  "}\n"
  "\n";

/* Inside '...', where ':', '[' and ']' have a meaning too. */
static void quoted(FILE *out, const char *text) {
  for (; *text; text++) {
    if (*text == '\'') fputs("'\\''", out);
    else if (strchr("[]:\\", *text)) fprintf(out, "\\%c", *text);
    else fputc(*text, out);
  }
}

/* ":METAVAR:ACTION" */
static void value(FILE *out, const char *metavar, const dd_values *v) {
  fputc(':', out);
  quoted(out, *metavar ? metavar : "VALUE");
  fputc(':', out);
  if (*v->words) {
    fputs(v->files ? " _dd_cpu_words_or_files " : v->list ? " _dd_cpu_list " : " _dd_cpu_words ", out);
    quoted(out, v->words);
  } else if (v->files) fputs("_files", out);
  else if (v->dirs) fputs("_files -/", out);
  else fputc(' ', out);
}

static void option(FILE *out, const dd_option *o) {
  char brief[80];
  dd_option_brief(o->help, brief);
  const char *const tail = o->takes_value ? "=" : "";
  const bool again = o->setting && o->setting->id == DD_SETTING_grid;
  if (o->letter)
    fprintf(out, "        '(-%c --%s)'{-%c%s,--%s%s}'[", o->letter, o->name, o->letter, o->takes_value ? "+" : "",
            o->name, tail);
  else fprintf(out, "        '%s--%s%s[", again ? "*" : "", o->name, tail);
  quoted(out, brief);
  fputc(']', out);
  if (o->takes_value) value(out, o->metavar, &o->values);
  fputs("' \\\n", out);
}

static void command(FILE *out, const dd_command *k) {
  dd_option o = {0};
  dd_values v;
  fprintf(out, "    (%s)\n      _arguments -s \\\n", k->name);
  while (dd_option_next(k, &o)) option(out, &o);
  if (k->positional) {
    dd_option_values(dd_setting_at((int)k->positional_id), &v);
    v.list = false;
    fputs(k->many ? "        '*" : "        '1", out);
    value(out, k->positional, &v);
    fputs("' \\\n", out);
  }
  fputs("        && result=0 ;;\n", out);
}

void dd_completion_zsh(FILE *out) {
  const dd_command *k;
  fputs("#compdef dd-cpu\n# zsh completion of dd-cpu, made by `dd-cpu completion zsh`\n\n", out);
  fputs(zsh_helpers, out);
  fputs("_dd_cpu_commands() {\n  local -a commands=(\n", out);
  for (int i = 0; (k = dd_command_at(i)); i++) {
    fprintf(out, "    '%s:", k->name);
    quoted(out, k->help);
    fputs("'\n", out);
  }
  fputs("  )\n  local -a others=(\n"
        "    'help:the options of a command'\n"
        "    'man:a manual page on standard output'\n"
        "    'completion:a script for a shell on standard output'\n"
        "  )\n"
        "  _describe -t commands command commands\n"
        "  (( $1 )) || _describe -t others 'other command' others\n"
        "}\n\n"
        "_dd_cpu() {\n"
        "  local curcontext=\"$curcontext\" state result=1\n"
        "  local -a line\n"
        "  _arguments -C \\\n"
        "    '(- *)'{-h,--help}'[commands and options of all]' \\\n"
        "    '(- *)--version[version of program, numerics and build]' \\\n"
        "    '1:command: _dd_cpu_commands 0' \\\n"
        "    '*::argument:->arguments' && result=0\n"
        "  [[ $state == arguments ]] || return result\n"
        "  curcontext=\"${curcontext%:*:*}:dd-cpu-$line[1]:\"\n"
        "  case $line[1] in\n"
        "    (help|man) _arguments '1:command: _dd_cpu_commands 1' && result=0 ;;\n"
        "    (completion) _arguments '1:shell:(", out);
  for (int i = 0; dd_completion_shells[i]; i++) fprintf(out, "%s%s", i ? " " : "", dd_completion_shells[i]);
  fputs(")' && result=0 ;;\n", out);
  for (int i = 0; (k = dd_command_at(i)); i++) command(out, k);
  fputs("  esac\n  return result\n}\n\n"
        "if [[ ${funcstack[1]} == _dd-cpu ]]; then _dd_cpu \"$@\"; else compdef _dd_cpu dd-cpu; fi\n", out);
}
