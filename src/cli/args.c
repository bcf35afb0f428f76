/* Command line to settings: GNU long options over the table of settings, both spellings of every name. */
#include "cli/cli.h"
#include <string.h>

static const dd_cli_option options[] = {
  {"config", 0, "FILE",
   "read settings from FILE (`key = value` lines, nanoGPT's config files, or a run's config.json); applied where it "
   "stands, so that options after it win"},
  {"quiet", 'q', NULL, "no progress on stderr, only warnings and errors"},
  {"verbose", 'v', NULL, "more on stderr"},
  {"json", 0, NULL, "the result as one line of JSON on stdout, nothing else there"},
  {"color", 0, "WHEN", "auto, always or never"},
  {"help", 'h', NULL, "this text"},
};

static const struct { char letter; enum dd_setting_id id; } letters[] = {
  {'t', DD_SETTING_threads}, {'o', DD_SETTING_out}
};

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

const dd_cli_option *dd_cli_option_at(int i) { return i >= 0 && i < COUNT(options) ? &options[i] : NULL; }

char dd_setting_letter(int id) {
  const char *option = dd_setting_option_name(dd_setting_at(id));
  for (int i = 0; i < COUNT(letters); i++)
    if (!strcmp(dd_setting_at((int)letters[i].id)->name, option)) return letters[i].letter;
  return 0;
}

/* A position in the arguments. */
typedef struct cursor {
  dd_cli *cli;
  int argc, i;
  char *const *argv;
  bool presets;  /* this pass applies --preset and nothing else */
  bool ended;    /* "--" was seen */
  int positionals;
} cursor;

static void dashed(const char *name, char *buf, size_t size) {
  snprintf(buf, size, "%s", name);
  for (char *p = buf; *p; p++)
    if (*p == '_') *p = '-';
}

static int apply_option(cursor *c, const dd_cli_option *o, const char *value, dd_error *err) {
  dd_cli *cli = c->cli;
  if (!strcmp(o->name, "help")) cli->help = true;
  if (c->presets) return DD_OK;
  if (!strcmp(o->name, "config")) return dd_settings_load(cli->settings, value, err);
  if (!strcmp(o->name, "quiet")) cli->quiet = true;
  if (!strcmp(o->name, "verbose")) cli->verbose = true;
  if (!strcmp(o->name, "json")) cli->json = true;
  if (!strcmp(o->name, "color")) {
    static const char *const modes[] = {"auto", "always", "never", NULL};
    for (int m = 0; modes[m]; m++)
      if (!strcmp(value, modes[m])) return cli->color = (dd_color_mode)m, DD_OK;
    const char *close = dd_suggest(value, modes);
    return dd_fail(err, DD_E_USAGE, "--color must be auto, always or never, not '%.60s'%s%s%s", value,
                   close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "");
  }
  return DD_OK;
}

/* The value of an option: after '=', else the next argument. */
static int take_value(cursor *c, const char *option, const char *inlined, const char **value, dd_error *err) {
  if (inlined) return *value = inlined, DD_OK;
  if (c->i + 1 >= c->argc) return dd_fail(err, DD_E_USAGE, "option '%.60s' needs a value", option);
  *value = c->argv[++c->i];
  return DD_OK;
}

static int set(cursor *c, const char *key, const char *value, dd_error *err) {
  const dd_setting *d = dd_setting_find(key);
  if ((d && d->id == DD_SETTING_preset) != c->presets) return DD_OK;
  if (!d || d->id != DD_SETTING_grid || !dd_settings_is_set(c->cli->settings, DD_SETTING_grid))
    return dd_settings_set(c->cli->settings, key, value, err);
  char all[2 * sizeof c->cli->settings->grid]; /* --grid again: one more dimension */
  snprintf(all, sizeof all, "%s;%.1023s", c->cli->settings->grid, value);
  return dd_settings_set(c->cli->settings, key, all, err);
}

static int not_of_command(const cursor *c, const char *name, const dd_setting *d, dd_error *err) {
  char users[128] = "";
  const dd_command *k;
  for (int i = 0; (k = dd_command_at(i)); i++)
    if (k->use & d->use)
      snprintf(users + strlen(users), sizeof users - strlen(users), "%s%s", *users ? ", " : "", k->name);
  return dd_fail(err, DD_E_USAGE, "'--%.60s' is no option of %s; it belongs to: %s", name, c->cli->command->name,
                 users);
}

static int unknown_option(const cursor *c, const char *name, dd_error *err) {
  const char *names[DD_SETTING_COUNT + COUNT(options) + 1], *close;
  int n = 0;
  const dd_setting *d;
  for (int i = 0; (d = dd_setting_at(i)); i++)
    if (d->use & c->cli->command->use) names[n++] = dd_setting_option_name(d);
  for (int i = 0; i < COUNT(options); i++) names[n++] = options[i].name;
  names[n] = NULL;
  close = dd_suggest(name, names);
  char buf[64];
  if (close) dashed(close, buf, sizeof buf);
  if (close) return dd_fail(err, DD_E_USAGE, "unknown option '--%.60s'; did you mean '--%s'?", name, buf);
  return dd_fail(err, DD_E_USAGE, "unknown option '--%.60s'", name);
}

/* `--bias false`: the next argument is the value only when it says so in words, so that `--resume RUN` keeps RUN. */
static bool is_boolean_word(const char *text) {
  static const char *const words[] = {"true", "false", "yes", "no", "True", "False"};
  for (int i = 0; text && i < COUNT(words); i++)
    if (!strcmp(text, words[i])) return true;
  return false;
}

static int parse_long(cursor *c, const char *arg, dd_error *err) {
  char name[64];
  const char *value = strchr(arg + 2, '=');
  size_t n = value ? (size_t)(value - arg - 2) : strlen(arg + 2);
  if (value) value++;
  if (n >= sizeof name) return dd_fail(err, DD_E_USAGE, "unknown option '%.60s...'", arg);
  memcpy(name, arg + 2, n);
  name[n] = '\0';
  const unsigned use = c->cli->command->use;
  const dd_setting *d = dd_setting_option(name, use);
  for (int i = 0; i < COUNT(options); i++) {
    if (strcmp(name, options[i].name) || (d && (d->use & use))) continue; /* a command's own --json goes before */
    if (!options[i].metavar && value) return dd_fail(err, DD_E_USAGE, "option '--%s' takes no value", name);
    int rc = options[i].metavar ? take_value(c, arg, value, &value, err) : DD_OK;
    return rc ? rc : apply_option(c, &options[i], value, err);
  }
  if (!d && (!strncmp(name, "no-", 3) || !strncmp(name, "no_", 3))) {
    d = dd_setting_find(name + 3);
    if (!d || d->kind != DD_KIND_BOOL) return unknown_option(c, name, err);
    if (value) return dd_fail(err, DD_E_USAGE, "option '--%s' takes no value", name);
    value = "false";
    memmove(name, name + 3, n - 2);
  }
  if (d && !(d->use & use)) return not_of_command(c, name, d, err);
  bool foreign = dd_setting_is_ignored(name) || !strcmp(name, "init_from") || !strcmp(name, "init-from");
  if (!d && !(foreign && (use & DD_USE_TRAIN))) return unknown_option(c, name, err);
  if (d && d->kind == DD_KIND_BOOL && !value)
    value = c->i + 1 < c->argc && is_boolean_word(c->argv[c->i + 1]) ? c->argv[++c->i] : "true";
  int rc = value ? DD_OK : take_value(c, arg, value, &value, err);
  return rc ? rc : set(c, d && dd_setting_option_name(d) != d->name ? d->name : name, value, err);
}

/* -q -v -h alone or together, -t4 -t 4 -t=4. */
static int parse_letters(cursor *c, const char *arg, dd_error *err) {
  for (const char *p = arg + 1; *p; p++) {
    const dd_cli_option *o = NULL;
    const dd_setting *d = NULL;
    for (int i = 0; i < COUNT(options); i++)
      if (options[i].letter == *p) o = &options[i];
    for (int i = 0; i < COUNT(letters); i++)
      if (letters[i].letter == *p) d = dd_setting_option(dd_setting_at((int)letters[i].id)->name, c->cli->command->use);
    if (o) {
      int rc = apply_option(c, o, NULL, err);
      if (rc) return rc;
      continue;
    }
    char option[3] = {'-', *p, '\0'};
    if (!d) return dd_fail(err, DD_E_USAGE, "unknown option '%s' in '%.60s'", *p > 32 && *p < 127 ? option : "-?", arg);
    if (!(d->use & c->cli->command->use)) return not_of_command(c, d->name, d, err);
    const char *value = p[1] ? p + 1 + (p[1] == '=') : NULL;
    int rc = take_value(c, option, value, &value, err);
    return rc ? rc : set(c, d->name, value, err);
  }
  return DD_OK;
}

/* One more for a list. */
static int add_positional(cursor *c, const char *arg, dd_error *err) {
  const dd_command *k = c->cli->command;
  const dd_setting *d = dd_setting_at((int)k->positional_id);
  char list[4096] = "";
  if (c->presets) return DD_OK;
  int rc = dd_settings_get(c->cli->settings, d->name, list, sizeof list, err);
  const size_t n = strlen(list), more = strlen(arg), room = d->size < sizeof list ? d->size : sizeof list;
  if (rc) return rc;
  if (strchr(arg, k->many) && k->many < 32)
    return dd_fail(err, DD_E_USAGE, "a line feed in the name of a %s is not supported", k->positional);
  if (n + more + 2 > room)
    return dd_fail(err, DD_E_USAGE, "too many or too long: the %ss of `%s` may have %zu bytes together", k->positional,
                   k->name, room - 1);
  if (n) list[n] = k->many;
  memcpy(list + n + (n > 0), arg, more + 1);
  return set(c, d->name, list, err);
}

static int parse_positional(cursor *c, const char *arg, dd_error *err) {
  const dd_command *k = c->cli->command;
  if (k->many) return add_positional(c, arg, err);
  if (k->positional && c->positionals++ == 0) return set(c, dd_setting_at((int)k->positional_id)->name, arg, err);
  if (k->positional)
    return dd_fail(err, DD_E_USAGE, "`%s` takes one %s, '%.60s' is one too many", k->name, k->positional, arg);
  const char *dot = strrchr(arg, '.');
  if ((k->use & DD_USE_TRAIN) && dot && (!strcmp(dot, ".py") || !strcmp(dot, ".json")))
    return dd_fail(err, DD_E_USAGE, "unexpected argument '%.200s'; a config file is given with --config", arg);
  return dd_fail(err, DD_E_USAGE, "unexpected argument '%.200s'; options start with --", arg);
}

static int parse_pass(cursor *c, dd_error *err) {
  int rc = DD_OK;
  for (c->i = 0; c->i < c->argc && !rc; c->i++) {
    const char *arg = c->argv[c->i];
    if (c->ended || arg[0] != '-' || !arg[1]) rc = parse_positional(c, arg, err);
    else if (!strcmp(arg, "--")) c->ended = true;
    else rc = arg[1] == '-' ? parse_long(c, arg, err) : parse_letters(c, arg, err);
  }
  return rc;
}

/* --preset first, then everything else in order: a preset never undoes an option that stands before it. */
int dd_args_parse(dd_cli *cli, int argc, char *const *argv, dd_error *err) {
  int rc = DD_OK;
  for (int pass = 0; pass < 2 && !rc; pass++) {
    cursor c = {.cli = cli, .argc = argc, .argv = argv, .presets = pass == 0};
    rc = parse_pass(&c, err);
  }
  return rc;
}
