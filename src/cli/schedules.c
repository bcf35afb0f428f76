/* `dd-cpu schedules`: every schedule with its formula, source, settings and a drawing of p over t; or one, large. */
#include "cli/cli.h"
#include "run/rates.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SAMPLES = 513, EVALS_MAX = 20000 };

#define NAME_ROW(id, name, formula, uses, source, help) {name, formula, source, help},
static const struct { const char *name, *formula, *source, *help; } rows[] = {DD_SCHEDULES(NAME_ROW)};

static const char table_example[] = "0, 0\n20%, 0.2\n50%, 0.05\n100%, 0.1\n";

/* Losses against which schedules that react are drawn: nanoGPT's Shakespeare model at a fixed rate of 0.2, which learns
 * until a third of the run and overfits afterwards. Fraction of the run, training loss, validation loss. */
static const double typical[][3] = {{0, 4.29, 4.28},    {0.05, 1.96, 2.07}, {0.1, 1.53, 1.73}, {0.15, 1.37, 1.59},
                                    {0.2, 1.28, 1.522}, {0.25, 1.21, 1.49}, {0.3, 1.16, 1.48}, {0.35, 1.10, 1.471},
                                    {0.4, 1.05, 1.48},  {0.5, 0.96, 1.50},  {0.6, 0.87, 1.53}, {0.8, 0.70, 1.63},
                                    {1, 0.62, 1.71}};

static double loss_at(double x, int column) {
  size_t i = 1;
  while (i + 1 < sizeof typical / sizeof *typical && typical[i][0] < x) i++;
  const double *a = typical[i - 1], *b = typical[i], u = (x - a[0]) / (b[0] - a[0]);
  return a[column] * (1 - u) + b[column] * u;
}

/* One schedule, drawn. */
typedef struct sketch {
  enum dd_schedule_id id;
  char label[1100];
  unsigned uses;        /* DD_USES_x */
  bool example, reacts; /* its argument is an example; drawn against typical losses */
  int64_t t[SAMPLES];
  double p[SAMPLES], top;
} sketch;

static void run_through(sketch *k, const dd_rates *r, const dd_settings *s) {
  const int64_t T = s->max_iters;
  int64_t every = s->eval_interval, next = 0;
  if (T / every > EVALS_MAX) every = T / EVALS_MAX;
  dd_rates_state st;
  dd_rates_start(r, &st);
  for (int i = 0; i < SAMPLES; i++) {
    k->t[i] = (int64_t)((double)T * i / (SAMPLES - 1) + 0.5);
    for (; next <= k->t[i] && next <= T; next = next < T && next + every > T ? T : next + every) {
      const double x = (double)next / (double)T;
      dd_rates_observe(r, &st, loss_at(x, 1), loss_at(x, 2));
    }
    k->p[i] = dd_rates_at(r, &st, k->t[i], NULL);
    if (k->p[i] > k->top) k->top = k->p[i];
  }
}

/* Fill k for a schedule as the settings s have it; an argument that is missing is replaced by an example. */
static int make(sketch *k, const dd_settings *s, enum dd_schedule_id id, dd_error *err) {
  dd_settings *one = malloc(sizeof *one);
  dd_rates *r = NULL;
  if (!one) return dd_fail(err, DD_E_RUNTIME, "out of memory for a drawing");
  *one = *s;
  *k = (sketch){.id = id, .top = s->dropout > s->dropout_final ? s->dropout : s->dropout_final};
  const char *example;
  const int argument = dd_schedule_argument(id, &example);
  bool table = false;
  int rc = dd_settings_set(one, "schedule", rows[id].name, err);
  if (!rc && argument >= 0 && !*((const char *)one + dd_setting_at(argument)->offset)) {
    k->example = true;
    table = id == DD_SCHEDULE_TABLE;
    rc = table ? dd_settings_set(one, "schedule", "fixed", err)
               : dd_settings_set(one, dd_setting_at(argument)->name, example, err);
  }
  /* sites of their own are no matter of this drawing */
  static const enum dd_setting_id sites[] = {DD_SETTING_dropout_embed, DD_SETTING_dropout_attn, DD_SETTING_dropout_proj,
                                             DD_SETTING_dropout_mlp};
  for (int i = 0; i < 4; i++) dd_settings_reset(one, sites[i]);
  if (!rc) rc = dd_settings_check(one, err);
  if (!rc) rc = dd_rates_create(&r, one, err);
  if (!rc && table) {
    rc = dd_points_parse_table(&r->table, "example", table_example, sizeof table_example - 1, err);
    r->all.id = DD_SCHEDULE_TABLE;
    r->all.points = r->table;
  }
  if (!rc) {
    dd_settings_schedule_label(one, k->label, sizeof k->label);
    if (table) snprintf(k->label, sizeof k->label, "table:%s", example);
    k->uses = table ? DD_USES_TABLE : dd_settings_uses(one);
    k->reacts = (k->uses & DD_USES_EVALS) && id != DD_SCHEDULE_CALLBACK; /* which is drawn as p0 */
    run_through(k, r, one);
    if (!(k->top > 0)) k->top = 0.1;
  }
  dd_rates_destroy(r);
  free(one);
  return rc;
}

/* ---- text ---- */

/* Takes words from *text as long as they fit into width columns; the rest stays. Counts UTF-8 characters. */
static void take_line(char *out, size_t size, const char **text, int width) {
  size_t used = 0;
  int columns = 0;
  *out = '\0';
  while (**text) {
    const size_t n = strcspn(*text, " ");
    int wide = 0;
    for (size_t i = 0; i < n; i++) wide += ((unsigned char)(*text)[i] & 0xc0) != 0x80;
    if ((columns && columns + 1 + wide > width) || used + n + 2 > size) return;
    used += (size_t)snprintf(out + used, size - used, "%s%.*s", columns ? " " : "", (int)n, *text);
    columns += wide + (columns > 0);
    *text += n;
    *text += strspn(*text, " ");
  }
}

/* "dropout 0.2, dropout-final 0": the settings that a schedule reads, with their values if s is given. */
static void list_settings(char *out, size_t size, unsigned uses, const dd_settings *s) {
  const dd_setting *d;
  *out = '\0';
  for (int i = 0; (d = dd_setting_at(i)); i++) {
    if (!dd_setting_is_used(i, uses) || !(d->use & DD_USE_SCHEDULES)) continue;
    char name[64], value[4096] = "";
    snprintf(name, sizeof name, "%s", d->name);
    for (char *p = name; *p; p++)
      if (*p == '_') *p = '-';
    if (s) dd_settings_get(s, d->name, value, sizeof value, NULL);
    const size_t n = strlen(out);
    snprintf(out + n, size - n, "%s%s%s%.60s", *out ? ", " : "", name, *value ? " " : "", value);
  }
}

#define LOSSES                                                                                                       \
  "the losses of nanoGPT's Shakespeare model, which learns until a third of the run and overfits afterwards"

/* Everything about a schedule but its picture, paragraph by paragraph. */
static int paragraphs(char text[6][2048], const sketch *k, const dd_settings *s) {
  char settings[1900];
  int n = 0;
  list_settings(settings, sizeof settings, k->uses, s);
  snprintf(text[n++], 2048, "%s", rows[k->id].formula);
  snprintf(text[n++], 2048, "%s", rows[k->id].help);
  snprintf(text[n++], 2048, "source: %s", rows[k->id].source);
  if (*settings) snprintf(text[n++], 2048, "reads: %s", settings);
  if (k->example) snprintf(text[n++], 2048, "drawn: %s", k->label);
  if (k->reacts) snprintf(text[n++], 2048, "%s", s ? "an example, drawn against " LOSSES : "an example, see below");
  return n;
}

static void style(dd_cli *cli, bool color, const char *name) {
  dd_cli_write(cli, color ? "\033[1m" : "");
  dd_cli_write(cli, name);
  dd_cli_write(cli, color ? "\033[0m\n" : "\n");
}

typedef struct screen {
  int width;
  bool unicode, color;
} screen;

/* A picture at the left and text beside it, both as long as they are. */
static void side_by_side(dd_cli *cli, const sketch *k, const screen *at, int cols, int high, char text[][2048], int n) {
  char picture[4096], line[1024];
  dd_draw_curve(picture, k->p, SAMPLES, k->top, cols, high, at->unicode);
  const char *p = picture;
  int item = 0;
  const char *rest = text[0];
  for (int r = 0; r < high || item < n; r++) {
    char label[16] = "", words[512] = "";
    const int bytes = r < high ? (int)strcspn(p, "\n") : 0;
    if (r == 0) snprintf(label, sizeof label, "%.3g", k->top);
    if (r == high - 1) snprintf(label, sizeof label, "0");
    if (item < n) {
      const int indent = rest == text[item] ? 0 : 2; /* paragraphs are told apart by what hangs */
      take_line(words + indent, sizeof words - 2, &rest, at->width - cols - 11 - indent);
      memset(words, ' ', (size_t)indent);
      if (!*rest && ++item < n) rest = text[item];
    }
    snprintf(line, sizeof line, "%6s %.*s%*s   %s", label, bytes, p, r < high ? 0 : cols, "", words);
    size_t end = strlen(line);
    while (end && line[end - 1] == ' ') end--;
    snprintf(line + end, sizeof line - end, "\n");
    dd_cli_write(cli, line);
    if (r < high) p += bytes + 1;
  }
  dd_cli_write(cli, "\n");
}

static void write_wrapped(dd_cli *cli, const char *text, int indent, int width) {
  char words[1024], line[1100];
  for (const char *rest = text; *rest;) {
    take_line(words, sizeof words, &rest, width - indent);
    snprintf(line, sizeof line, "%*s%s\n", indent, "", words);
    dd_cli_write(cli, line);
  }
}

static int show_all(dd_cli *cli, const screen *at, dd_error *err) {
  sketch *k = malloc(sizeof *k);
  if (!k) return dd_fail(err, DD_E_RUNTIME, "out of memory for a drawing");
  const int cols = at->width >= 160 ? 60 : at->width >= 110 ? 40 : at->width >= 72 ? 26 : 16;
  char line[512];
  snprintf(line, sizeof line, "p0 = dropout %g, pf = dropout-final, T = max-iters %lld, t = iteration",
           cli->settings->dropout, (long long)cli->settings->max_iters);
  write_wrapped(cli, line, 0, at->width);
  dd_cli_write(cli, "\n");
  for (int i = 0; i < DD_SCHEDULE_COUNT; i++) {
    char text[6][2048];
    dd_error why;
    const int rc = make(k, cli->settings, (enum dd_schedule_id)i, &why);
    style(cli, at->color, rows[i].name);
    if (rc) {
      write_wrapped(cli, why.message, 7, at->width);
      dd_cli_write(cli, "\n");
      continue;
    }
    const int n = paragraphs(text, k, NULL);
    side_by_side(cli, k, at, cols, 4, text, n);
  }
  free(k);
  write_wrapped(cli, "Schedules that react to evaluations are drawn against " LOSSES ". `dd-cpu schedules NAME` draws "
                "one large, with the options that are given.", 0, at->width);
  return DD_OK;
}

static void explain_expr(dd_cli *cli, int width) {
  static const struct { const char *name, *help; } vars[] = {
#define VAR_ROW(name, help) {#name, help},
      DD_EXPR_VARS(VAR_ROW)};
  static const struct { const char *name; int n; const char *help; } functions[] = {
#define FUNCTION_ROW(name, n, help) {#name, n, help},
      DD_EXPR_FUNCTIONS(FUNCTION_ROW)};
  char text[2048] = "names:";
  for (size_t i = 0; i < sizeof vars / sizeof *vars; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s %s (%s)", i ? "," : "", vars[i].name, vars[i].help);
  write_wrapped(cli, text, 2, width);
  snprintf(text, sizeof text, "functions: pi");
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), ", %s%s%s%s", functions[i].name,
             *functions[i].help ? " (" : "", functions[i].help, *functions[i].help ? ")" : "");
  write_wrapped(cli, text, 2, width);
  write_wrapped(cli, "operators, the weakest first: c ? a : b; ||; &&; < <= > >= == != (1 or 0); + -; * /; - ! before "
                "a value; ^ (power, from right to left)", 2, width);
  write_wrapped(cli, "Results are clamped to [0, 1), and one that is not a number gives p0. The losses are those of "
                "the last evaluation; the first one is before iteration 0.", 2, width);
}

static int show_one(dd_cli *cli, const screen *at, dd_error *err) {
  enum { HIGH = 12 };
  sketch *k = malloc(sizeof *k);
  char *picture = malloc(HIGH * (3 * 400 + 1) + 1);
  int rc = k && picture ? make(k, cli->settings, (enum dd_schedule_id)cli->settings->schedule, err)
                        : dd_fail(err, DD_E_RUNTIME, "out of memory for a drawing");
  if (!rc) {
    const int cols = at->width - 10 > 140 ? 140 : at->width - 10 < 16 ? 16 : at->width - 10;
    char line[2048], text[6][2048], half[24], whole[24];
    style(cli, at->color, k->label);
    dd_draw_curve(picture, k->p, SAMPLES, k->top, cols, HIGH, at->unicode);
    const char *p = picture;
    for (int r = 0; r < HIGH; r++) {
      char label[16] = "";
      const int bytes = (int)strcspn(p, "\n");
      if (r == 0) snprintf(label, sizeof label, "%.3g", k->top);
      if (r == HIGH - 1) snprintf(label, sizeof label, "0");
      snprintf(line, sizeof line, "%6s %s %.*s\n", label, at->unicode ? "\xe2\x94\x82" : "|", bytes, p);
      dd_cli_write(cli, line);
      p += bytes + 1;
    }
    snprintf(half, sizeof half, "%lld", (long long)k->t[SAMPLES / 2]);
    snprintf(whole, sizeof whole, "%lld", (long long)k->t[SAMPLES - 1]);
    snprintf(line, sizeof line, "%8s 0%*s%*s\n", "t =", cols / 2 + (int)strlen(half) / 2 - 1, half,
             cols - cols / 2 - (int)strlen(half) / 2, whole);
    dd_cli_write(cli, line);
    const int n = paragraphs(text, k, cli->settings);
    for (int i = 0; i < n; i++) write_wrapped(cli, text[i], 2, at->width);
    if (k->id == DD_SCHEDULE_EXPR) explain_expr(cli, at->width);
  }
  free(k);
  free(picture);
  return rc;
}

/* ---- JSON ---- */

static json_t *sketch_json(const sketch *k) {
  char settings[2048];
  json_t *names = json_array(), *curve = json_array();
  list_settings(settings, sizeof settings, k->uses, NULL);
  for (char *p = settings, *next; p && *p; p = next) {
    next = strstr(p, ", ");
    if (next) *next = '\0', next += 2;
    for (char *c = p; *c; c++)
      if (*c == '-') *c = '_';
    json_array_append_new(names, json_string(p));
  }
  for (int i = 0; i < SAMPLES; i += 4)
    json_array_append_new(curve, json_pack("[I, f]", (json_int_t)k->t[i], k->p[i]));
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:b, s:o}", "name", rows[k->id].name, "label", k->label,
                   "formula", rows[k->id].formula, "source", rows[k->id].source, "help", rows[k->id].help, "settings",
                   names, "example_argument", k->example, "example_losses", k->reacts, "rates", curve);
}

static int show_json(dd_cli *cli, bool all, dd_error *err) {
  sketch *k = malloc(sizeof *k);
  json_t *list = json_array(), *o;
  int rc = k ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory for a drawing");
  for (int i = 0; i < DD_SCHEDULE_COUNT && !rc; i++) {
    dd_error why;
    if (!all && i != cli->settings->schedule) continue;
    const int bad = make(k, cli->settings, (enum dd_schedule_id)i, &why);
    if (bad && !all) rc = dd_fail(err, why.code, "%s", why.message);
    else json_array_append_new(list, bad ? json_pack("{s:s, s:s}", "name", rows[i].name, "error", why.message)
                                         : sketch_json(k));
  }
  o = json_pack("{s:s, s:I, s:o}", "command", "schedules", "max_iters", (json_int_t)cli->settings->max_iters,
                "schedules", list);
  char *text = rc ? NULL : json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17));
  if (text) dd_cli_write(cli, text), dd_cli_write(cli, "\n");
  free(text);
  json_decref(o);
  free(k);
  return rc;
}

int dd_cli_schedules(dd_cli *cli, dd_error *err) {
  const char *term = getenv("TERM");
  const bool plain = term && (!strcmp(term, "linux") || !strcmp(term, "dumb")); /* consoles have no Braille */
  const int width = dd_terminal_width(STDOUT_FILENO);
  const screen at = {.width = width < 60 ? 60 : width > 240 ? 240 : width,
                     .unicode = dd_speaks_utf8() && !plain,
                     .color = dd_wants_color(cli->color, dd_is_terminal(STDOUT_FILENO))};
  const bool all = !dd_settings_is_set(cli->settings, DD_SETTING_schedule);
  if (cli->json) return show_json(cli, all, err);
  return all ? show_all(cli, &at, err) : show_one(cli, &at, err);
}
