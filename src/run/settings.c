/* The table of settings in memory: creating, finding, setting, printing. Everything follows from settings.def. */
#include "core/number.h"
#include "run/settings_internal.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table ---- */

#define ROW_NAME(list, id, name) name,
#define SCHEDULE_NAME(id, name, ...) name,
static const char *const choices_TOKENIZERS[] = {DD_TOKENIZERS(ROW_NAME) NULL};
static const char *const choices_COMPARES[] = {DD_COMPARES(ROW_NAME) NULL};
static const char *const choices_DEPTHS[] = {DD_DEPTHS(ROW_NAME) NULL};
static const char *const choices_ON_NANS[] = {DD_ON_NANS(ROW_NAME) NULL};
static const char *const choices_CHECKPOINTS[] = {DD_CHECKPOINTS(ROW_NAME) NULL};
static const char *const choices_OVERFLOWS[] = {DD_OVERFLOWS(ROW_NAME) NULL};
static const char *const choices_WEIGHTS[] = {DD_WEIGHTS(ROW_NAME) NULL};
static const char *const choices_FORMATS[] = {DD_FORMATS(ROW_NAME) NULL};
static const char *const choices_EXPORTS[] = {DD_EXPORTS(ROW_NAME) NULL};
static const char *const choices_PRESETS[] = {DD_PRESETS(ROW_NAME) NULL};
static const char *const choices_SCHEDULES[] = {DD_SCHEDULES(SCHEDULE_NAME) NULL};
#define choices_NONE NULL

enum { /* short names for the `use` column */
  TRAIN = DD_USE_TRAIN, EVAL = DD_USE_EVAL, SAMPLE = DD_USE_SAMPLE,
  PREPARE = DD_USE_PREPARE, INFO = DD_USE_INFO, ONCE = DD_USE_ONCE, BENCH = DD_USE_BENCH,
  COMPARE = DD_USE_COMPARE, REPORT = DD_USE_REPORT, ALONE = DD_USE_ALONE, SCHEDULES = DD_USE_SCHEDULES,
  VERIFY = DD_USE_VERIFY, INSPECT = DD_USE_INSPECT, EXPORT = DD_USE_EXPORT
};

#define TABLE_ROW(kind, name, value, min, max, choices, group, metavar, use, help)                                   \
  {#name, DD_KIND_##kind, DD_SETTING_##name, DD_GROUP_##group, use, offsetof(dd_settings, name),                     \
   sizeof(((dd_settings *)0)->name), value, min, max, choices_##choices, metavar, help},
static const dd_setting table[DD_SETTING_COUNT] = {DD_SETTINGS(TABLE_ROW)};

#define ALIAS_ROW(other, name) {other, name},
static const struct { const char *other, *name; } aliases[] = {DD_SETTING_ALIASES(ALIAS_ROW)};

#define IGNORED_ROW(pattern) pattern,
static const char *const ignored_keys[] = {DD_IGNORED_KEYS(IGNORED_ROW)};

#define PRESET_ROW(preset, key, value) {DD_PRESET_##preset, DD_SETTING_##key, value},
static const struct { int preset; enum dd_setting_id id; const char *value; } preset_values[] = {
  DD_PRESET_VALUES(PRESET_ROW)
};

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

const dd_setting *dd_setting_at(int id) { return id >= 0 && id < DD_SETTING_COUNT ? &table[id] : NULL; }

const char *dd_setting_group_title(int group) {
#define GROUP_TITLE(id, title) title,
  static const char *const titles[] = {DD_SETTING_GROUPS(GROUP_TITLE)};
  return group >= 0 && group < COUNT(titles) ? titles[group] : "";
}

bool dd_preset_value(int preset, int i, const char **key, const char **value) {
  for (int k = 0; k < COUNT(preset_values); k++) {
    if (preset_values[k].preset != preset || i--) continue;
    *key = table[preset_values[k].id].name;
    *value = preset_values[k].value;
    return true;
  }
  return false;
}

/* ---- names ---- */

/* '-' and '_' are one character in keys, and in the names of choices (val_loss is val-loss). */
static bool same_name(const char *a, const char *b) {
  for (;; a++, b++) {
    char x = *a == '-' ? '_' : *a, y = *b == '-' ? '_' : *b;
    if (x != y) return false;
    if (!x) return true;
  }
}

int dd_setting_choice_index(const dd_setting *d, const char *name) {
  for (int i = 0; d->choices[i]; i++)
    if (same_name(name, d->choices[i])) return i;
  return -1;
}

const dd_setting *dd_setting_find(const char *key) {
  for (int i = 0; i < COUNT(aliases); i++)
    if (same_name(key, aliases[i].other)) {
      key = aliases[i].name;
      break;
    }
  for (int i = 0; i < DD_SETTING_COUNT; i++)
    if (same_name(key, table[i].name)) return &table[i];
  return NULL;
}

#define LIST_ROW(use, option, name) {use, option, name},
static const struct { unsigned use; const char *option, *name; } lists[] = {DD_SETTING_LISTS(LIST_ROW)};

const dd_setting *dd_setting_option(const char *option, unsigned use) {
  for (int i = 0; i < COUNT(lists); i++)
    if ((lists[i].use & use) && same_name(option, lists[i].option)) return dd_setting_find(lists[i].name);
  return dd_setting_find(option);
}

const char *dd_setting_option_name(const dd_setting *d) {
  for (int i = 0; i < COUNT(lists); i++)
    if (!strcmp(d->name, lists[i].name)) return lists[i].option;
  return d->name;
}

bool dd_setting_is_ignored(const char *key) {
  for (int i = 0; i < COUNT(ignored_keys); i++) {
    size_t n = strlen(ignored_keys[i]);
    if (ignored_keys[i][n - 1] != '*') {
      if (same_name(key, ignored_keys[i])) return true;
      continue;
    }
    char head[32];
    if (strlen(key) < n - 1 || n > sizeof head) continue;
    snprintf(head, sizeof head, "%.*s*", (int)(n - 1), key);
    if (same_name(head, ignored_keys[i])) return true;
  }
  return false;
}

/* Edits (insert, delete, replace, swap of neighbours) between two words; long words count as far apart. */
static int edit_distance(const char *a, const char *b) {
  enum { MAX = 48 };
  size_t n = strlen(a), m = strlen(b);
  if (n >= MAX || m >= MAX) return MAX;
  int d[MAX][MAX];
  for (size_t i = 0; i <= n; i++)
    for (size_t j = 0; j <= m; j++) {
      if (!i || !j) {
        d[i][j] = (int)(i + j);
        continue;
      }
      char x = a[i - 1] == '-' ? '_' : a[i - 1], y = b[j - 1] == '-' ? '_' : b[j - 1];
      int best = d[i - 1][j - 1] + (x != y);
      if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
      if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
        best = d[i - 2][j - 2] + 1;
      d[i][j] = best;
    }
  return d[n][m];
}

/* How far a name is from a misspelt word, or a large number when nobody would take one for the other. */
static int misfit(const char *word, const char *name) {
  size_t n = strlen(word);
  if (n > 40) return 1000;
  int d = edit_distance(word, name), limit = n <= 3 ? 1 : (int)(n + 2) / 3;
  if (n >= 3 && !strncmp(word, name, n) && d > 1) return 1; /* the beginning of a name is as good as one wrong letter */
  return d <= limit ? d : 1000;
}

const char *dd_suggest(const char *word, const char *const *names) {
  const char *best = NULL;
  int least = 1000;
  for (; *names; names++) {
    int d = misfit(word, *names);
    if (d < least) least = d, best = *names;
  }
  return best;
}

const char *dd_setting_suggest(const char *key, unsigned use) {
  const char *names[DD_SETTING_COUNT + COUNT(aliases) + 1];
  int n = 0;
  for (int i = 0; i < DD_SETTING_COUNT; i++)
    if (!use || (table[i].use & use)) names[n++] = table[i].name;
  for (int i = 0; i < COUNT(aliases); i++)
    if (!use || (dd_setting_find(aliases[i].name)->use & use)) names[n++] = aliases[i].other;
  names[n] = NULL;
  return dd_suggest(key, names);
}

/* ---- values from text ---- */

/* Shortest of 15 to 17 digits that reads back to the same double. */
static void format_real(char *out, size_t size, double v) {
  const char *end;
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(out, size, "%.*g", digits, v);
    for (char *p = out; *p; p++)
      if (*p == ',') *p = '.'; /* the host program may have called setlocale */
    if (dd_parse_real(out, &end) == v) return;
  }
}

static bool is_space(char c) { return isspace((unsigned char)c); }

bool dd_setting_trim(const char *text, char *buf, size_t size) {
  while (is_space(*text)) text++;
  size_t n = strlen(text);
  while (n && is_space(text[n - 1])) n--;
  if (!n || n >= size) return false;
  memcpy(buf, text, n);
  buf[n] = '\0';
  return true;
}

static void describe_bound(char *out, size_t size, double v) {
  if (v == DD_BELOW_1) snprintf(out, size, "below 1");
  else format_real(out, size, v);
}

int dd_setting_bad_value(const char *name, const char *what, const char *value, dd_error *err) {
  return dd_fail(err, DD_E_USAGE, "%s must be %s, not '%.60s%s'", name, what, value, strlen(value) > 60 ? "..." : "");
}

void dd_setting_add_suggestion(const char *close, dd_error *err) {
  const size_t n = err ? strlen(err->message) : 0;
  if (close && err) snprintf(err->message + n, sizeof err->message - n, "; did you mean '%s'?", close);
}

static int set_int(const dd_setting *d, int64_t *field, const char *value, dd_error *err) {
  char what[96], buf[64], *end = buf;
  snprintf(what, sizeof what, "a whole number from %.0f to %.0f", d->min, d->max);
  if (!dd_setting_trim(value, buf, sizeof buf)) return dd_setting_bad_value(d->name, what, value, err);
  const char *digits = buf + (buf[0] == '+' || buf[0] == '-');
  if (!*digits || digits[strspn(digits, "0123456789")]) return dd_setting_bad_value(d->name, what, value, err);
  errno = 0;
  long long v = strtoll(buf, &end, 10);
  if (errno || *end || v < (int64_t)d->min || v > (int64_t)d->max)
    return dd_setting_bad_value(d->name, what, value, err);
  *field = v;
  return DD_OK;
}

static int set_real(const dd_setting *d, double *field, const char *value, dd_error *err) {
  char what[128], lo[40], hi[40], buf[64];
  const char *end = buf;
  describe_bound(lo, sizeof lo, d->min);
  describe_bound(hi, sizeof hi, d->max);
  snprintf(what, sizeof what, "a number from %s to %s", lo, hi);
  if (!dd_setting_trim(value, buf, sizeof buf)) return dd_setting_bad_value(d->name, what, value, err);
  const double v = dd_parse_real(buf, &end);
  if (end == buf || *end || !isfinite(v) || v < d->min || v > d->max)
    return dd_setting_bad_value(d->name, what, value, err);
  *field = v + 0.0; /* -0 becomes 0 */
  return DD_OK;
}

static int set_bool(const dd_setting *d, bool *field, const char *value, dd_error *err) {
  static const char *const words[2][5] = {{"false", "0", "no", "False", "off"}, {"true", "1", "yes", "True", "on"}};
  char buf[16];
  if (dd_setting_trim(value, buf, sizeof buf))
    for (int v = 0; v < 2; v++)
      for (int i = 0; i < 5; i++)
        if (!strcmp(buf, words[v][i])) return *field = v, DD_OK;
  return dd_setting_bad_value(d->name, "true or false", value, err);
}

int dd_setting_parse_choice(const dd_setting *d, int *field, const char *value, dd_error *err) {
  char buf[64], what[384] = "one of ";
  int found;
  if (dd_setting_trim(value, buf, sizeof buf))
    if ((found = dd_setting_choice_index(d, buf)) >= 0) return *field = found, DD_OK;
  for (int i = 0; d->choices[i]; i++)
    snprintf(what + strlen(what), sizeof what - strlen(what), "%s%s", i ? ", " : "", d->choices[i]);
  const char *close = dd_suggest(value, d->choices);
  int rc = dd_setting_bad_value(d->name, what, value, err);
  return dd_setting_add_suggestion(close, err), rc;
}

static int set_seed(const dd_setting *d, uint64_t *field, const char *value, dd_error *err) {
  const char *what = "a whole number from 0 to 18446744073709551615, or hexadecimal 0x...";
  char buf[64], *end = buf;
  if (!dd_setting_trim(value, buf, sizeof buf)) return dd_setting_bad_value(d->name, what, value, err);
  bool hex = buf[0] == '0' && (buf[1] == 'x' || buf[1] == 'X');
  const char *digits = hex ? buf + 2 : buf;
  if (!*digits || digits[strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789")])
    return dd_setting_bad_value(d->name, what, value, err);
  errno = 0;
  unsigned long long v = strtoull(digits, &end, hex ? 16 : 10);
  if (errno || *end) return dd_setting_bad_value(d->name, what, value, err);
  *field = v;
  return DD_OK;
}

/* Length of the UTF-8 sequence at p (shortest form, no surrogates, up to U+10FFFF), or 0. */
static int utf8_length(const unsigned char *p) {
  if (p[0] < 0x80) return 1;
  int n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
  if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
  for (int i = 1; i < n; i++)
    if ((p[i] & 0xc0) != 0x80) return 0; /* also stops at the NUL */
  if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
      (p[0] == 0xf4 && p[1] > 0x8f)) return 0;
  return n;
}

static int set_text(const dd_setting *d, char *field, const char *value, dd_error *err) {
  size_t n = strlen(value);
  if (n >= d->size)
    return dd_fail(err, DD_E_USAGE, "%s is too long: %zu bytes, at most %zu fit", d->name, n, d->size - 1);
  for (const unsigned char *p = (const unsigned char *)value; *p; p += utf8_length(p))
    if (!utf8_length(p)) /* JSON, where settings are kept, has no other text */
      return dd_fail(err, DD_E_USAGE, "%s is not valid UTF-8 at byte %td", d->name, p - (const unsigned char *)value);
  const int rc = dd_settings_check_text(d, value, err);
  if (rc) return rc;
  memcpy(field, value, n + 1);
  return DD_OK;
}

static int set_field(dd_settings *s, const dd_setting *d, const char *value, dd_error *err) {
  void *field = (char *)s + d->offset;
  switch (d->kind) {
  case DD_KIND_INT: return set_int(d, field, value, err);
  case DD_KIND_REAL: return set_real(d, field, value, err);
  case DD_KIND_BOOL: return set_bool(d, field, value, err);
  case DD_KIND_CHOICE: return dd_setting_parse_choice(d, field, value, err);
  case DD_KIND_SEED: return set_seed(d, field, value, err);
  case DD_KIND_TEXT:
  case DD_KIND_PATH: return set_text(d, field, value, err);
  }
  return dd_fail(err, DD_E_RUNTIME, "setting %s has no kind", d->name);
}

/* ---- the object ---- */

void dd_settings_reset(dd_settings *s, enum dd_setting_id id) {
  set_field(s, &table[id], table[id].default_text, NULL);
  s->set[id] = false;
  dd_settings_derive(s);
}

dd_settings *dd_settings_create(void) {
  dd_settings *s = calloc(1, sizeof *s);
  if (s)
    for (int i = 0; i < DD_SETTING_COUNT; i++) dd_settings_reset(s, (enum dd_setting_id)i);
  return s;
}

void dd_settings_destroy(dd_settings *s) { free(s); }

void dd_settings_overlay(dd_settings *s, const dd_settings *given) {
  for (int i = 0; i < DD_SETTING_COUNT; i++) {
    if (!given->set[i]) continue;
    memcpy((char *)s + table[i].offset, (const char *)given + table[i].offset, table[i].size);
    s->set[i] = true;
  }
  dd_settings_derive(s);
}

static void apply_preset(dd_settings *s, int preset) {
  for (int i = 0; i < COUNT(preset_values); i++) dd_settings_reset(s, preset_values[i].id);
  for (int i = 0; i < COUNT(preset_values); i++)
    if (preset_values[i].preset == preset) set_field(s, &table[preset_values[i].id], preset_values[i].value, NULL);
}

static int note_ignored(dd_settings *s, const char *key) {
  size_t used = strlen(s->ignored), n = strlen(key);
  if (used + n + 3 < sizeof s->ignored)
    snprintf(s->ignored + used, sizeof s->ignored - used, "%s%s", used ? ", " : "", key);
  return DD_OK;
}

/* "expr:p0*(1-t/T)": the name, and the argument to the setting that holds it. */
static int set_schedule(dd_settings *s, const char *value, const char *colon, dd_error *err) {
  const dd_setting *d = &table[DD_SETTING_schedule];
  char name[64];
  const char *example;
  int id;
  snprintf(name, sizeof name, "%.*s", (int)(colon - value < 63 ? colon - value : 63), value);
  int rc = dd_setting_parse_choice(d, &id, name, err);
  if (rc) return rc;
  const int argument = dd_schedule_argument((enum dd_schedule_id)id, &example);
  if (argument < 0)
    return dd_fail(err, DD_E_USAGE, "schedule %s takes no argument, but '%.60s' follows the colon", d->choices[id],
                   colon + 1);
  if (!colon[1 + strspn(colon + 1, " \t")])
    return dd_fail(err, DD_E_USAGE, "schedule %s needs an argument: --schedule '%s:%s'", d->choices[id], d->choices[id],
                   example);
  if ((rc = dd_settings_set(s, table[argument].name, colon + 1, err))) return rc;
  s->schedule = id;
  s->set[DD_SETTING_schedule] = true;
  dd_settings_derive(s);
  return DD_OK;
}

int dd_settings_set(dd_settings *s, const char *key, const char *value, dd_error *err) {
  if (same_name(key, "init_from")) { /* nanoGPT says --resume like that, too */
    const bool scratch = !strcmp(value, "scratch");
    if (scratch) dd_settings_reset(s, DD_SETTING_init_from);
    if (scratch || !strcmp(value, "resume")) value = scratch ? "false" : "true", key = "resume";
    static const char *const hub[] = {"gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"}; /* nanoGPT's names */
    for (int i = 0; i < COUNT(hub); i++) {
      if (strcmp(value, hub[i])) continue;
      return dd_fail(err, DD_E_USAGE, "init_from %s: weights are not downloaded; fetch them (huggingface-cli download "
                     "openai-community/%s --local-dir %s) and name the directory: --init-from ./%s", value, value,
                     value, value);
    }
  }
  if (same_name(key, "dataset") && !strcmp(value, "shakespeare_char")) value = "shakespeare";
  if (dd_setting_is_ignored(key)) return note_ignored(s, key);
  const dd_setting *d = dd_setting_find(key);
  if (!d) {
    const char *close = dd_setting_suggest(key, 0);
    if (close) return dd_fail(err, DD_E_USAGE, "unknown setting '%.60s'; did you mean '%s'?", key, close);
    return dd_fail(err, DD_E_USAGE, "unknown setting '%.60s'; see `dd-cpu train --help`", key);
  }
  const char *colon = d->id == DD_SETTING_schedule ? strchr(value, ':') : NULL;
  if (colon) return set_schedule(s, value, colon, err);
  int rc = set_field(s, d, value, err);
  if (rc) return rc;
  if (d->id == DD_SETTING_preset) apply_preset(s, s->preset);
  s->set[d->id] = true;
  dd_settings_derive(s);
  return DD_OK;
}

int dd_settings_get(const dd_settings *s, const char *key, char *buf, size_t size, dd_error *err) {
  const dd_setting *d = dd_setting_find(key);
  if (!d) return dd_fail(err, DD_E_USAGE, "unknown setting '%.60s'", key);
  const void *field = (const char *)s + d->offset;
  char number[64] = "";
  const char *text = number;
  switch (d->kind) {
  case DD_KIND_INT: snprintf(number, sizeof number, "%lld", (long long)*(const int64_t *)field); break;
  case DD_KIND_REAL: format_real(number, sizeof number, *(const double *)field); break;
  case DD_KIND_BOOL: text = *(const bool *)field ? "true" : "false"; break;
  case DD_KIND_CHOICE: text = d->choices[*(const int *)field]; break;
  case DD_KIND_SEED: snprintf(number, sizeof number, "%llu", (unsigned long long)*(const uint64_t *)field); break;
  case DD_KIND_TEXT:
  case DD_KIND_PATH: text = field; break;
  }
  size_t n = strlen(text);
  if (n >= size)
    return dd_fail(err, DD_E_USAGE, "the value of %s needs a buffer of %zu bytes, not %zu", key, n + 1, size);
  memcpy(buf, text, n + 1);
  return DD_OK;
}

const char *dd_settings_choice(const dd_settings *s, enum dd_setting_id id) {
  return table[id].choices[*(const int *)((const char *)s + table[id].offset)];
}
