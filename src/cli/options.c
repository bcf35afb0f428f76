/* What help, manual pages and completion say about options: names, text, and what values there are. */
#include "cli/options.h"
#include "bench/bench.h"
#include "core/machine.h"
#include "run/corpus.h"
#include <ctype.h>
#include <string.h>

const dd_pair dd_exit_codes[] = {
  {"0", "done"},
  {"1", "run-time error: out of memory, a thread failed"},
  {"2", "usage: unknown option or key, value out of range, settings that do not fit together"},
  {"3", "diverged: loss or gradient became NaN or infinite"},
  {"4", "a file is damaged or does not fit this run"},
  {"5", "another process trains in the run directory"},
  {"74", "a file or standard output could not be read or written"},
  {"75", "stopped by SIGINT or SIGTERM after saving: run again with --resume"},
  {"130", "stopped at once by a second SIGINT"},
  {NULL, NULL},
};

const dd_pair dd_environment[] = {
  {"OMP_NUM_THREADS", "threads when -t is not given"},
  {"SLURM_CPUS_PER_TASK", "threads when neither -t nor OMP_NUM_THREADS is given"},
  {"DD_CPU_MPI", "openmpi, mpich, mpi or a path: what carries messages between ranks; none: copies train on their own"},
  {"DD_TIER", "instruction set when --tier is not given"},
  {"DD_CPU_CORPUS", "file to use for the corpus `shakespeare` instead of fetching it"},
  {"XDG_CACHE_HOME", "where fetched corpora are kept, in dd-cpu/ (default: ~/.cache)"},
  {"NO_COLOR", "no colour; else CLICOLOR_FORCE: colour everywhere; else CLICOLOR=0: none; --color wins over all"},
  {"TERM, COLUMNS", "dumb: plain lines instead of a live one; width where the terminal tells none"},
  {NULL, NULL},
};

void dd_text_append(char *buf, size_t size, const char *text) {
  const size_t n = strlen(buf);
  if (n < size) snprintf(buf + n, size - n, "%s", text);
}

bool dd_command_takes(const dd_command *k, const dd_setting *d) {
  return (d->use & k->use) && !((k->use & DD_USE_COMPARE) && (d->use & DD_USE_ALONE));
}

bool dd_command_shares(const dd_command *k, const dd_cli_option *o) {
  const dd_setting *d = k ? dd_setting_option(o->name, k->use) : NULL;
  return !d || !(d->use & k->use);
}

void dd_option_name(const dd_setting *d, char name[64]) {
  snprintf(name, 64, "%s", dd_setting_option_name(d));
  for (; *name; name++)
    if (*name == '_') *name = '-';
}

bool dd_option_is_flag(const dd_setting *d) { return d->kind == DD_KIND_BOOL; }
bool dd_option_has_no(const dd_setting *d) { return d->kind == DD_KIND_BOOL && !(d->use & DD_USE_ONCE); }

void dd_option_text(const dd_setting *d, char *out, size_t size) {
  snprintf(out, size, "%s", d->help);
  for (int i = 0; d->choices && d->choices[i]; i++) {
    dd_text_append(out, size, i ? ", " : ": ");
    dd_text_append(out, size, d->choices[i]);
  }
  if (!*d->default_text || (dd_option_is_flag(d) && !dd_option_has_no(d))) return;
  dd_text_append(out, size, " (default: ");
  dd_text_append(out, size, strcmp(d->default_text, "\n") ? d->default_text : "a line feed");
  dd_text_append(out, size, ")");
}

void dd_option_brief(const char *help, char out[80]) {
  enum { MAX = 72 };
  size_t n = 0, end = 0; /* end: after the last whole word */
  while (help[n] && help[n] != ';' && n < MAX) {
    if (help[n] == ' ') end = n;
    n++;
  }
  if (!help[n] || help[n] == ';') end = n;
  while (end && strchr(" ,:(", help[end - 1])) end--;
  snprintf(out, 80, "%.*s", (int)end, help);
}

/* ---- values ---- */

static void word(dd_values *v, const char *text, const char *tail) {
  if (*v->words) dd_text_append(v->words, sizeof v->words, " ");
  dd_text_append(v->words, sizeof v->words, text);
  dd_text_append(v->words, sizeof v->words, tail);
}

static void choices(dd_values *v, const dd_setting *d) {
  for (int i = 0; d->choices[i]; i++) word(v, d->choices[i], "");
}

/* Schedules; those that take an argument are followed by it. */
static void schedules(dd_values *v) {
  const dd_setting *d = dd_setting_at(DD_SETTING_schedule);
  for (int i = 0; d->choices[i]; i++)
    word(v, d->choices[i], dd_schedule_argument((enum dd_schedule_id)i, NULL) < 0 ? "" : ":");
}

static void tiers(dd_values *v) {
  const dd_kernels *t;
  word(v, "auto", "");
  for (int i = 0, runs; (t = dd_tier_at(i, &runs)); i++) word(v, t->tier, "");
}

static void lowered(dd_values *v, const char *name) {
  char text[32];
  snprintf(text, sizeof text, "%s", name);
  for (char *p = text; *p; p++) *p = (char)tolower((unsigned char)*p);
  word(v, text, "");
}

/* What a run can vary. */
static void grid_keys(dd_values *v) {
  const dd_setting *d;
  for (int i = 0; (d = dd_setting_at(i)); i++)
    if ((d->use & DD_USE_TRAIN) && !(d->use & (DD_USE_ONCE | DD_USE_ALONE)) && d->kind != DD_KIND_PATH)
      word(v, d->name, "=");
}

static void text_values(dd_values *v, const dd_setting *d) {
#define SITE_NAME(id, name) word(v, name, "");
#define SUBJECT_NAME(name, help) word(v, #name, "");
#define PEER_NAME(id, name, ...) lowered(v, name);
#define SITE_SETTING(site, setting) case DD_SETTING_##setting:
  switch (d->id) {
  case DD_SETTING_tier: tiers(v); break;
  case DD_SETTING_schedules:
  DD_DROPOUT_SITE_SETTINGS(SITE_SETTING)
    schedules(v);
    v->list = true;
    break;
  case DD_SETTING_baseline: schedules(v); break;
  case DD_SETTING_dropout_sites:
    word(v, "all none", "");
    DD_DROPOUT_SITES(SITE_NAME)
    v->list = true;
    break;
  case DD_SETTING_grid: grid_keys(v); break;
  case DD_SETTING_subjects: DD_BENCH_SUBJECTS(SUBJECT_NAME) break;
  case DD_SETTING_presets:
    word(v, "auto", "");
    choices(v, dd_setting_at(DD_SETTING_preset));
    v->list = true;
    break;
  case DD_SETTING_peers:
    word(v, "auto none", "");
    DD_PEERS(PEER_NAME)
    v->list = true;
    break;
  case DD_SETTING_replay: word(v, "last", ""); break;
  default: break;
  }
}

void dd_option_values(const dd_setting *d, dd_values *out) {
  *out = (dd_values){.list = false};
  if (d->id == DD_SETTING_schedule) schedules(out);
  else if (d->kind == DD_KIND_CHOICE) choices(out, d);
  else if (d->kind == DD_KIND_TEXT) text_values(out, d);
  else if (d->kind == DD_KIND_BOOL) word(out, "true false", "");
  else if (d->kind == DD_KIND_PATH) { /* DIR, FILE, RUN (a directory, or a checkpoint in it), TEXT */
    const dd_corpus *c;
    out->dirs = !strcmp(d->metavar, "DIR") && d->id != DD_SETTING_out;
    out->files = !out->dirs;
    for (int i = 0; d->id == DD_SETTING_data && (c = dd_corpus_at(i)); i++) word(out, c->name, "");
  }
}

static void shared_values(const dd_cli_option *o, dd_values *out) {
  *out = (dd_values){.files = o->metavar && !strcmp(o->metavar, "FILE")};
  if (!strcmp(o->name, "color")) snprintf(out->words, sizeof out->words, "auto always never");
}

/* ---- all of a command ---- */

static void take_setting(dd_option *o, const dd_setting *d) {
  o->setting = d;
  o->no = false;
  dd_option_name(d, o->name);
  o->letter = dd_setting_letter(d->id);
  o->help = d->help;
  o->metavar = d->metavar;
  o->takes_value = !dd_option_is_flag(d);
  dd_option_values(d, &o->values);
}

static void take_no(dd_option *o) {
  char name[64];
  snprintf(name, sizeof name, "%.63s", o->name);
  snprintf(o->name, sizeof o->name, "no-%s", name);
  o->no = true;
  o->letter = 0;
  o->help = "not so";
}

static void take_shared(dd_option *o, const dd_cli_option *s) {
  o->setting = NULL;
  o->no = false;
  snprintf(o->name, sizeof o->name, "%s", s->name);
  o->letter = s->letter;
  o->help = s->help;
  o->metavar = s->metavar ? s->metavar : "";
  o->takes_value = s->metavar != NULL;
  shared_values(s, &o->values);
}

bool dd_option_next(const dd_command *k, dd_option *o) {
  const dd_setting *d;
  const dd_cli_option *s;
  if (o->setting && !o->no && dd_option_has_no(o->setting)) return take_no(o), true;
  while ((d = dd_setting_at(o->next))) {
    o->next++;
    if (dd_command_takes(k, d)) return take_setting(o, d), true;
  }
  while ((s = dd_cli_option_at(o->next_shared))) {
    o->next_shared++;
    if (dd_command_shares(k, s)) return take_shared(o, s), true;
  }
  return false;
}
