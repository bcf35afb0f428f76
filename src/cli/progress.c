/* Progress on stderr. On a terminal: one live line, redrawn at most ten times a second, and evaluations and messages as
 * lines that stay. Elsewhere (files, Slurm logs): one plain line per record, no control characters. */
#include "cli/cli.h"
#include "cli/options.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1
#define TICK_SECONDS 0.5 /* of the clocks, while an iteration or evaluation takes long */
#define CLEAR_LINE "\r\033[K"
#define BOLD "\033[1m"
#define DIM "\033[2m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

enum { LINE_BYTES = 4096 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --color wins over NO_COLOR, that over CLICOLOR_FORCE, that over CLICOLOR. */
bool dd_wants_color(dd_color_mode mode, bool live) {
  const char *v;
  if (mode != DD_COLOR_AUTO) return mode == DD_COLOR_ALWAYS;
  if ((v = getenv("NO_COLOR")) && *v) return false;
  if ((v = getenv("CLICOLOR_FORCE")) && *v && strcmp(v, "0")) return true;
  if ((v = getenv("CLICOLOR")) && !strcmp(v, "0")) return false;
  return live;
}

bool dd_is_terminal(int fd) {
  const char *term = getenv("TERM");
  return isatty(fd) && term && *term && strcmp(term, "dumb");
}

bool dd_speaks_utf8(void) {
  static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
  for (int i = 0; i < 3; i++) {
    const char *v = getenv(names[i]);
    if (v && *v) return strstr(v, "UTF-8") || strstr(v, "utf8") || strstr(v, "UTF8") || strstr(v, "utf-8");
  }
  return false;
}

void dd_progress_init(dd_progress *p, FILE *stream, dd_color_mode color, bool quiet, bool verbose) {
  memset(p, 0, sizeof *p);
  p->stream = stream;
  p->quiet = quiet;
  p->verbose = verbose;
  p->live = dd_is_terminal(fileno(stream));
  p->color = dd_wants_color(color, p->live);
  p->unicode = p->live && dd_speaks_utf8();
}

/* ---- pieces ---- */

void dd_format_time(char *out, size_t size, double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) {
    snprintf(out, size, "?");
    return;
  }
  long long s = (long long)(seconds + 0.5);
  if (s >= 3600) snprintf(out, size, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  else snprintf(out, size, "%lld:%02lld", s / 60, s % 60);
}

static void format_rate(char *out, size_t size, double v) {
  if (v >= 999.5e3) snprintf(out, size, "%.2fM tok/s", v / 1e6);
  else if (v >= 999.5) snprintf(out, size, "%.1fk tok/s", v / 1e3);
  else snprintf(out, size, "%.1f tok/s", v);
}

void dd_progress_bar(const dd_progress *p, char *out, size_t size, int cells, double fraction) {
  int full = (int)(fraction * cells);
  dd_text_append(out, size, p->unicode ? "" : "[");
  if (p->color) dd_text_append(out, size, GREEN);
  for (int i = 0; i < full; i++) dd_text_append(out, size, p->unicode ? "━" : "=");
  if (p->color) dd_text_append(out, size, PLAIN DIM);
  for (int i = full; i < cells; i++) dd_text_append(out, size, p->unicode ? "─" : i == full ? ">" : " ");
  if (p->color) dd_text_append(out, size, PLAIN);
  dd_text_append(out, size, p->unicode ? "" : "]");
}

/* ---- the live line ---- */

enum part { WHERE, BAR, PERCENT, LOSS, VAL, RATE, LR, MS, SPEED, PEAK, ELAPSED, ETA, PARTS };

void dd_progress_line(const dd_progress *p, int width, char *out, size_t size) {
  /* What goes first when the line is narrow. */
  static const enum part dropped[] = {PEAK, ELAPSED, LR, MS, PERCENT, SPEED, BAR, VAL, RATE, ETA, LOSS};
  char text[PARTS][48] = {{0}}, t[32];
  const dd_step_record *r = &p->step;
  bool in_phase = p->phase[0];
  int64_t done = in_phase ? p->phase_done : r->iter, total = in_phase ? p->phase_total : r->max_iters;
  double fraction = total > 0 ? (double)done / (double)total : 0;
  fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;

  if (in_phase && total <= 0) snprintf(text[WHERE], sizeof *text, "%.30s", p->phase);
  else
    snprintf(text[WHERE], sizeof *text, "%.20s%s%lld/%lld", p->phase, in_phase ? " " : "", (long long)done,
             (long long)total);
  snprintf(text[PERCENT], sizeof *text, "%3.0f%%", 100 * fraction);
  if (p->has_eval) snprintf(text[VAL], sizeof *text, "val %.4f", p->eval.val_loss);
  if (p->has_step) {
    snprintf(text[LOSS], sizeof *text, "loss %.4f", r->loss);
    snprintf(text[RATE], sizeof *text, "p %.4f", r->dropout);
    snprintf(text[LR], sizeof *text, "lr %.2e", r->lr);
    snprintf(text[MS], sizeof *text, r->ms_per_iter < 100 ? "%.1f ms/it" : "%.0f ms/it", r->ms_per_iter);
    format_rate(text[SPEED], sizeof *text, r->tokens_per_s);
    if (r->peak_fraction > 0) snprintf(text[PEAK], sizeof *text, "%.0f%% peak", 100 * r->peak_fraction);
    dd_format_time(t, sizeof t, r->elapsed_s + p->since_step);
    snprintf(text[ELAPSED], sizeof *text, "%s", t);
    dd_format_time(t, sizeof t, r->eta_s > p->since_step ? r->eta_s - p->since_step : 0);
    snprintf(text[ETA], sizeof *text, "ETA %s", t);
  }

  const int gap = 2, frame = p->unicode ? 0 : 2, least = 8 + frame;
  bool bar = total > 0;
  int room = width - 1, used = 0; /* the last column stays free: some terminals wrap when it is written */
  for (int i = 0; i < PARTS; i++)
    if (text[i][0]) used += (int)strlen(text[i]) + (i ? gap : 0);
  for (size_t k = 0; k < sizeof dropped / sizeof *dropped && used + (bar ? gap + least : 0) > room; k++) {
    if (dropped[k] == BAR) bar = false;
    else if (text[dropped[k]][0]) {
      used -= (int)strlen(text[dropped[k]]) + gap;
      text[dropped[k]][0] = '\0';
    }
  }
  int cells = room - used - gap - frame;
  if (cells > 40) cells = 40;
  if (used > room && room >= 0 && room < (int)sizeof *text) text[WHERE][room] = '\0';

  out[0] = '\0';
  for (int i = 0; i < PARTS; i++) {
    if (i == BAR ? !bar : !text[i][0]) continue;
    if (i) dd_text_append(out, size, "  ");
    if (i == BAR) dd_progress_bar(p, out, size, cells, fraction);
    else if (p->color && (i == LOSS || i == VAL)) {
      dd_text_append(out, size, BOLD);
      dd_text_append(out, size, text[i]);
      dd_text_append(out, size, PLAIN);
    } else dd_text_append(out, size, text[i]);
  }
}

static void draw(dd_progress *p, bool at_once) {
  if (!p->live || p->quiet || (!p->has_step && !p->phase[0])) return;
  double t = now();
  if (!at_once && t - p->drawn_at < REDRAW_SECONDS) return;
  p->since_step = t - p->step_at;
  char line[LINE_BYTES] = "\r";
  dd_progress_line(p, dd_terminal_width(fileno(p->stream)), line + 1, sizeof line - 8);
  dd_text_append(line, sizeof line, "\033[K");
  fwrite(line, 1, strlen(line), p->stream);
  fflush(p->stream);
  p->drawn = true;
  p->drawn_at = t;
}

void dd_progress_tick(dd_progress *p) {
  if (p->drawn && now() - p->drawn_at >= TICK_SECONDS) draw(p, true);
}

void dd_progress_forget(dd_progress *p) {
  p->drawn = false;
  p->board_lines = 0;
}

void dd_progress_clear(dd_progress *p) {
  if (!p->drawn) return;
  if (p->board_lines > 1) fprintf(p->stream, "\033[%dA", p->board_lines - 1);
  fputs(p->board_lines ? "\r\033[J" : CLEAR_LINE, p->stream);
  p->board_lines = 0;
  fflush(p->stream);
  p->drawn = false;
}

/* Columns of text[bytes]: characters of eastern scripts and emoji take two, control bytes are shown as \x1b. */
static int columns_of(const char *text, int bytes) {
  int n = 0;
  for (int i = 0; i < bytes; i++) {
    const unsigned char c = (unsigned char)text[i];
    n += c < 32 || c == 127 ? 4 : (c & 0xc0) != 0x80;
    if (c < 0xe1 || i + 2 >= bytes) continue;
    const unsigned u = (c & 15u) << 12 | ((unsigned char)text[i + 1] & 63u) << 6 | ((unsigned char)text[i + 2] & 63u);
    const int wide = (u >= 0x1100 && u < 0x1160) || (u >= 0x2e80 && u < 0xa4d0) || (u >= 0xac00 && u < 0xd7a4) ||
                     (u >= 0xf900 && u < 0xfb00) || (u >= 0xff00 && u < 0xff61);
    n += wide || c >= 0xf0;
  }
  return n;
}

static void put_bytes(dd_progress *p, const char *text, int n) {
  for (int i = 0; i < n; i++) {
    const unsigned char c = (unsigned char)text[i];
    if (c < 32 || c == 127) fprintf(p->stream, "\\x%02x", c);
    else fputc(c, p->stream);
  }
}

/* A line that stays, above the live one; on a terminal broken between words, so that they stay whole. File names and
 * other foreign text may hold control bytes; they are shown. */
static void put_line(dd_progress *p, const char *before, const char *text, const char *after) {
  const int width = p->live ? dd_terminal_width(fileno(p->stream)) : 0;
  dd_progress_clear(p);
  if (p->color) fputs(before, p->stream);
  for (int at = 0; *text;) {
    const int spaces = (int)strspn(text, " "), n = (int)strcspn(text + spaces, " ");
    const int columns = columns_of(text + spaces, n);
    if (width > 20 && at > 2 && at + spaces + columns > width) {
      fputs("\n  ", p->stream);
      at = 2;
    } else {
      fprintf(p->stream, "%*s", spaces, "");
      at += spaces;
    }
    put_bytes(p, text + spaces, n);
    at += columns;
    text += spaces + n;
  }
  if (p->color) fputs(after, p->stream);
  fputc('\n', p->stream);
  fflush(p->stream);
}

/* ---- records ---- */

void dd_progress_message(dd_progress *p, dd_level level, const char *text) {
  if (level == DD_WARNING) {
    char line[LINE_BYTES];
    snprintf(line, sizeof line, "dd-cpu: warning: %s", text);
    put_line(p, YELLOW, line, PLAIN);
  } else if (!p->quiet && (level == DD_INFO || p->verbose)) {
    put_line(p, level == DD_DEBUG ? DIM : "", text, level == DD_DEBUG ? PLAIN : "");
  } else return;
  draw(p, true);
}

void dd_progress_phase(dd_progress *p, const char *what, int64_t done, int64_t total) {
  bool begins = strncmp(p->phase, what, sizeof p->phase - 1) != 0;
  snprintf(p->phase, sizeof p->phase, "%s", what);
  p->phase_done = done;
  p->phase_total = total;
  if (total > 0 && done >= total) p->phase[0] = '\0';
  draw(p, begins);
}

void dd_progress_step(dd_progress *p, const dd_step_record *r) {
  p->step = *r;
  p->has_step = true;
  p->step_at = now();
  p->phase[0] = '\0';
  if (p->quiet) return;
  if (p->live) {
    draw(p, r->iter >= r->max_iters);
    return;
  }
  char line[512], elapsed[32], eta[32], peak[32] = "";
  dd_format_time(elapsed, sizeof elapsed, r->elapsed_s);
  dd_format_time(eta, sizeof eta, r->eta_s);
  if (r->peak_fraction > 0) snprintf(peak, sizeof peak, " peak %.1f%%", 100 * r->peak_fraction);
  snprintf(line, sizeof line,
           "iter %lld/%lld loss %.4f p %.4f lr %.3e norm %.3f %.1f ms/it %.0f tok/s%s elapsed %s eta %s",
           (long long)r->iter, (long long)r->max_iters, r->loss, r->dropout, r->lr, r->grad_norm, r->ms_per_iter,
           r->tokens_per_s, peak, elapsed, eta);
  put_line(p, "", line, "");
}

void dd_progress_eval(dd_progress *p, const dd_eval_record *r) {
  p->eval = *r;
  p->has_eval = true;
  p->phase[0] = '\0';
  if (p->quiet) return;
  char line[512], total[32], elapsed[32];
  int digits = snprintf(total, sizeof total, "%lld", (long long)r->max_iters);
  dd_format_time(elapsed, sizeof elapsed, r->elapsed_s);
  if (p->live) {
    int n = snprintf(line, sizeof line, "eval %*lld  train %.4f  val %.4f%s", digits, (long long)r->iter, r->train_loss,
                     r->val_loss, r->improved ? " best" : "     ");
    char more[3][48]; /* what a narrow terminal does without */
    snprintf(more[0], sizeof *more, "  p %.4f", r->dropout);
    snprintf(more[1], sizeof *more, "  %.1f s  at %s", r->seconds, elapsed);
    snprintf(more[2], sizeof *more, "  %s", p->verbose ? r->fingerprint : "");
    const int width = dd_terminal_width(fileno(p->stream));
    for (int i = 0; i < 2 + p->verbose && (n + (int)strlen(more[i]) <= width || i == 2); i++)
      n += snprintf(line + n, sizeof line - (size_t)n, "%s", more[i]);
    put_line(p, r->improved ? GREEN : "", line, r->improved ? PLAIN : "");
    draw(p, true);
    return;
  }
  snprintf(line, sizeof line,
           "eval %lld/%s train %.4f val %.4f best %.4f at %lld%s p %.4f %.1f s elapsed %s fingerprint %s",
           (long long)r->iter, total, r->train_loss, r->val_loss, r->best_val_loss, (long long)r->best_iter,
           r->improved ? " (improved)" : "", r->dropout, r->seconds, elapsed, r->fingerprint);
  put_line(p, r->improved ? GREEN : "", line, r->improved ? PLAIN : "");
}
