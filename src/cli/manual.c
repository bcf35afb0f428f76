/* Manual pages in the language of man(7), from the tables of commands and options; prose is in manual_text.c. */
#include "bench/bench.h"
#include "cli/options.h"
#include "core/file.h"
#include "dd_config.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 76 }; /* of lines in the source of a page */

/* One character: what roff would interpret, or print as a typographic sign that no shell takes, is escaped. */
static void put(FILE *out, char c) {
  switch (c) {
  case '\\': fputs("\\e", out); break;
  case '-': fputs("\\-", out); break;
  case '\'': fputs("\\(aq", out); break;
  case '"': fputs("\\(dq", out); break;
  case '^': fputs("\\(ha", out); break;
  case '~': fputs("\\(ti", out); break;
  case '`': fputs("\\(ga", out); break;
  default: fputc(c, out);
  }
}

static void literal(FILE *out, const char *text) {
  while (*text) put(out, *text++);
}

/* Prose, in lines; a sentence begins a line. What stands between backticks is bold. */
static void prose(FILE *out, const char *text) {
  bool code = false;
  for (int column = 0; *text;) {
    const size_t n = strcspn(text, " ");
    if (column && column + 1 + (int)n > WIDTH) {
      fputc('\n', out);
      column = 0;
    } else if (column) {
      fputc(' ', out);
      column++;
    }
    if (!column && *text == '.') fputs("\\&", out);
    for (size_t i = 0; i < n; i++) {
      if (text[i] == '`') fputs((code = !code) ? "\\fB" : "\\fR", out);
      else put(out, text[i]);
      column += text[i] == '`' ? 3 : 1 + (text[i] == '-');
    }
    const bool end = n > 1 && text[n] && strchr(".?!", text[n - 1]) && text[n - 2] != '.' && !code &&
                     strncmp(text, "al.", 3) != 0;
    text += n;
    text += strspn(text, " ");
    if (end) {
      fputc('\n', out);
      column = 0;
    }
  }
  fputc('\n', out);
}

static void section(FILE *out, const char *title) { fprintf(out, ".SH %s\n", title); }

/* First letter large, full stop. */
static void sentence(FILE *out, const char *text) {
  char s[1100];
  snprintf(s, sizeof s, "%c%.1024s.", toupper((unsigned char)*text), text + 1);
  prose(out, s);
}

static void table(FILE *out, const dd_pair *rows) {
  for (int i = 0; rows[i].left; i++) {
    fputs(".TP\n.B \"", out);
    literal(out, rows[i].left);
    fputs("\"\n", out);
    prose(out, rows[i].right);
  }
}

/* `-t, --threads=N` as the head of an entry. */
static void option_head(FILE *out, char letter, const char *name, bool no, const char *metavar) {
  fputs(".TP\n", out);
  if (letter) {
    fputs("\\fB\\-", out);
    fputc(letter, out);
    fputs("\\fR, ", out);
  }
  fputs("\\fB\\-\\-", out);
  if (no) fputs("\\fR[\\fBno\\-\\fR]\\fB", out);
  literal(out, name);
  fputs("\\fR", out);
  if (metavar && *metavar) {
    fputs("=\\fI", out);
    literal(out, metavar);
    fputs("\\fR", out);
  }
  fputc('\n', out);
}

static void setting(FILE *out, const dd_setting *d) {
  char name[64], text[1024];
  dd_option_name(d, name);
  option_head(out, dd_setting_letter(d->id), name, dd_option_has_no(d), dd_option_is_flag(d) ? NULL : d->metavar);
  dd_option_text(d, text, sizeof text);
  prose(out, text);
}

static void shared_options(FILE *out, const dd_command *k) {
  const dd_cli_option *o;
  for (int i = 0; (o = dd_cli_option_at(i)); i++) {
    if (!dd_command_shares(k, o)) continue;
    option_head(out, o->letter, o->name, false, o->metavar);
    prose(out, strcmp(o->name, "help") ? o->help : "print the options and end");
  }
}

static void options(FILE *out, const dd_command *k) {
  const dd_setting *d;
  section(out, "OPTIONS");
  prose(out, "Names may be written with - or _, and values after = or a space: `--n-layer=6` and `--n_layer 6` are "
             "the same.");
  for (int g = 0; g < DD_GROUP_COUNT; g++) {
    bool titled = false;
    for (int i = 0; (d = dd_setting_at(i)); i++) {
      if (d->group != g || !dd_command_takes(k, d)) continue;
      if (!titled) fprintf(out, ".SS %s\n", dd_setting_group_title(g));
      titled = true;
      setting(out, d);
    }
  }
  fputs(".SS Options of every command\n", out);
  shared_options(out, k);
}

static void schedules(FILE *out) {
#define SCHEDULE_ROW(id, name, formula, uses, source, help) {name, formula, source, help},
  static const struct { const char *name, *formula, *source, *help; } rows[] = {DD_SCHEDULES(SCHEDULE_ROW)};
  section(out, "SCHEDULES");
  prose(out, "The rate is p, and p0 is `--dropout`, pf `--dropout-final`, t the iteration, T `--max-iters`.");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fputs(".TP\n.B ", out);
    literal(out, rows[i].name);
    fputc('\n', out);
    prose(out, rows[i].help);
    fputs(".br\n", out);
    prose(out, rows[i].formula);
    fputs(".br\n", out);
    char source[160];
    snprintf(source, sizeof source, "Source: %s", rows[i].source);
    prose(out, source);
  }
}

static void presets(FILE *out) {
#define PRESET_NAME(list, id, name) name,
  static const char *const names[] = {DD_PRESETS(PRESET_NAME)};
  section(out, "PRESETS");
  for (int p = 0; p < DD_PRESET_COUNT; p++) {
    char text[1024] = "";
    const char *key, *value;
    for (int i = 0; dd_preset_value(p, i, &key, &value); i++) {
      dd_text_append(text, sizeof text, i ? ", " : "");
      dd_text_append(text, sizeof text, key);
      dd_text_append(text, sizeof text, "=");
      dd_text_append(text, sizeof text, value);
    }
    fprintf(out, ".TP\n.B %s\n", names[p]);
    prose(out, *text ? text : "the defaults");
  }
}

static void subjects(FILE *out) {
#define SUBJECT_ROW(name, help) {#name, help},
  static const dd_pair rows[] = {DD_BENCH_SUBJECTS(SUBJECT_ROW) {NULL, NULL}};
  section(out, "SUBJECTS");
  table(out, rows);
}

/* "# comment" above the command that it stands beside in the help. */
static void example(FILE *out, const char *text) {
  const char *comment = strstr(text, "  # ");
  size_t n = comment ? (size_t)(comment - text) : strlen(text);
  while (n && text[n - 1] == ' ') n--;
  if (comment) {
    fputs("# ", out);
    literal(out, comment + 4);
    fputc('\n', out);
  }
  fputs("dd\\-cpu ", out);
  for (size_t i = 0; i < n; i++) put(out, text[i]);
  fputc('\n', out);
}

static void examples(FILE *out, const dd_command *only) {
  const dd_command *k;
  section(out, "EXAMPLES");
  fputs(".EX\n", out);
  for (int i = 0; (k = dd_command_at(i)); i++)
    for (int e = 0; (k == only || (!only && e == 0)) && k->examples[e]; e++) example(out, k->examples[e]);
  fputs(".EE\n", out);
}

static void see_also(FILE *out, const dd_command *k) {
  const dd_command *other;
  section(out, "SEE ALSO");
  const char *between = "";
  if (k) {
    fputs(".BR dd\\-cpu (1)", out);
    between = ",\n";
  }
  for (int i = 0; (other = dd_command_at(i)); i++) {
    if (other == k) continue;
    fprintf(out, "%s.BR dd\\-cpu\\-%s (1)", between, other->name);
    between = ",\n";
  }
  fputc('\n', out);
}

static void synopsis(FILE *out, const dd_command *k) {
  section(out, "SYNOPSIS");
  if (!k) {
    fputs(".B dd\\-cpu\n.I COMMAND\n.RI [ OPTION ]...\n.br\n"
          ".B dd\\-cpu help\n.RI [ COMMAND ]\n.br\n"
          ".B dd\\-cpu man\n.RI [ COMMAND ]\n.br\n"
          ".B dd\\-cpu completion\n", out);
    for (int i = 0; dd_completion_shells[i]; i++)
      fprintf(out, "%s\\fB%s\\fR", i ? " | " : "", dd_completion_shells[i]);
    fputs("\n.br\n.B dd\\-cpu \\-\\-version\n.RB [ \\-\\-json ]\n", out);
    return;
  }
  fprintf(out, ".B dd\\-cpu %s\n.RI [ OPTION ]...\n", k->name);
  if (k->positional) fprintf(out, ".RI [ %s ]%s\n", k->positional, k->many ? "..." : "");
}

static void commands(FILE *out) {
  const dd_command *k;
  section(out, "COMMANDS");
  for (int i = 0; (k = dd_command_at(i)); i++) {
    fprintf(out, ".TP\n.BR %s \", see \" dd\\-cpu\\-%s (1)\n", k->name, k->name);
    prose(out, k->help);
  }
  static const dd_pair others[] = {
    {"help", "the options of a command, as `--help` after it"},
    {"man", "a manual page on standard output: `dd-cpu man train | man -l -`"},
    {"completion", "a script that completes commands, options and values, for where none is installed: "
                   "`eval \"$(dd-cpu completion bash)\"`"},
    {NULL, NULL}};
  table(out, others);
}

void dd_manual(FILE *out, const dd_command *k) {
  const dd_manual_text *t = dd_manual_text_of(k ? k->name : "");
  char name[64] = "dd-cpu", title[64];
  if (k) snprintf(name, sizeof name, "dd-cpu-%s", k->name);
  snprintf(title, sizeof title, "%s", name);
  for (char *p = title; *p; p++) *p = (char)toupper((unsigned char)*p);
  fputs(".\\\" Made by `dd-cpu man` from the tables of the program.\n.TH ", out);
  literal(out, title);
  fprintf(out, " 1 %s \"dd\\-cpu %s\" \"User Commands\"\n.nh\n.ad l\n", DD_RELEASE_DATE, dd_version());
  section(out, "NAME");
  literal(out, name);
  fputs(" \\- ", out);
  literal(out, k ? k->help : "train GPTs with dynamic dropout on CPUs");
  fputc('\n', out);
  synopsis(out, k);
  section(out, "DESCRIPTION");
  if (!t) sentence(out, k ? k->help : name);
  for (int i = 0; t && t->description[i]; i++) {
    if (i) fputs(".PP\n", out);
    prose(out, t->description[i]);
  }
  if (k) options(out, k);
  else {
    commands(out);
    section(out, "OPTIONS");
    shared_options(out, NULL);
    option_head(out, 0, "version", false, NULL);
    prose(out, "print the versions of program and numerics on the first line, then facts of the build; with `--json` "
               "as one line of JSON");
  }
  if (k && (k->use & DD_USE_TRAIN)) schedules(out), presets(out);
  if (k && (k->use & DD_USE_SCHEDULES)) schedules(out);
  if (k && (k->use & DD_USE_BENCH)) subjects(out);
  section(out, "EXIT STATUS");
  table(out, dd_exit_codes);
  section(out, "ENVIRONMENT");
  table(out, dd_environment);
  if (t && t->files) {
    section(out, "FILES");
    table(out, t->files);
  }
  examples(out, k);
  see_also(out, k);
}

/* The page as one piece of memory, then the file. */
static int write_page(const char *dir, const dd_command *k, dd_error *err) {
  char path[4096], name[64] = "dd-cpu.1", *text = NULL;
  size_t size = 0;
  if (k) snprintf(name, sizeof name, "dd-cpu-%s.1", k->name);
  int rc = dd_path_join(path, sizeof path, dir, name, err);
  if (rc) return rc;
  FILE *page = open_memstream(&text, &size);
  if (!page) return dd_fail(err, DD_E_RUNTIME, "out of memory for a manual page");
  dd_manual(page, k);
  const bool failed = ferror(page);
  if (fclose(page) || failed) rc = dd_fail(err, DD_E_RUNTIME, "out of memory for a manual page");
  else rc = dd_file_replace(path, text, size, err);
  free(text);
  return rc;
}

int dd_manual_write(const char *dir, dd_error *err) {
  const dd_command *k;
  int rc = dd_make_dirs(dir, err);
  if (!rc) rc = write_page(dir, NULL, err);
  for (int i = 0; !rc && (k = dd_command_at(i)); i++) rc = write_page(dir, k, err);
  return rc;
}
