/* The runs of a study on stderr. On a terminal a table that is redrawn in place: one line for all, one per run at work.
 * Elsewhere the messages about finished runs suffice, with a plain line every few minutes so that a log shows life. */
#include "cli/cli.h"
#include "cli/options.h"
#include <math.h>
#include <string.h>
#include <time.h>

#define REDRAW_SECONDS 0.2
#define PLAIN_SECONDS 300

enum { BOARD_BYTES = 65536, LINE_BYTES = 1024 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double part(int64_t done, int64_t all) {
  const double x = all > 0 ? (double)done / (double)all : 0;
  return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* ", 3 failed" when there are any. */
static void tell(char *out, size_t size, int64_t n, const char *what) {
  char text[64];
  snprintf(text, sizeof text, ", %lld %s", (long long)n, what);
  if (n) dd_text_append(out, size, text);
}

static void summary(const dd_study_status *s, char *out, size_t size) {
  char elapsed[32], eta[32];
  dd_format_time(elapsed, sizeof elapsed, s->elapsed_s);
  dd_format_time(eta, sizeof eta, s->eta_s);
  snprintf(out, size, "%lld/%lld runs", (long long)s->finished, (long long)s->cells);
  tell(out, size, s->failed, "failed");
  tell(out, size, s->elsewhere, "elsewhere");
  dd_text_append(out, size, "  elapsed ");
  dd_text_append(out, size, elapsed);
  dd_text_append(out, size, "  ETA ");
  dd_text_append(out, size, eta);
}

/* A line of text and a bar that fills what is left of the width, up to 40 columns. */
static void put_row(const dd_progress *p, const char *text, double fraction, int width, char *out, size_t size) {
  char line[LINE_BYTES];
  const int frame = p->unicode ? 0 : 2, room = width - 1 - (int)strlen(text) - 2 - frame;
  snprintf(line, sizeof line, "%.*s", width - 1, text);
  dd_text_append(out, size, line);
  if (room >= 6) {
    dd_text_append(out, size, "  ");
    dd_progress_bar(p, out, size, room > 40 ? 40 : room, fraction);
  }
}

/* Figures of a run at work; those that do not fit into the width are left out, the name is cut last. */
static void run_row(const dd_progress *p, const dd_study_job *j, int name_width, int width, char *out, size_t size) {
  char text[LINE_BYTES], more[5][48], eta[32];
  int n = 0;
  dd_format_time(eta, sizeof eta, j->eta_s);
  snprintf(text, sizeof text, "  %-*.*s  %6lld/%lld", name_width, name_width, j->name, (long long)j->iter,
           (long long)j->max_iters);
  snprintf(more[n++], sizeof *more, "  ETA %7s", eta);
  snprintf(more[n++], sizeof *more, isnan(j->val_loss) ? "  val      -" : "  val %6.4f", j->val_loss);
  snprintf(more[n++], sizeof *more, "  p %.4f", j->dropout);
  snprintf(more[n++], sizeof *more, isnan(j->loss) ? "  loss      -" : "  loss %6.4f", j->loss);
  snprintf(more[n++], sizeof *more, isnan(j->best_val_loss) ? "  best      -" : "  best %6.4f", j->best_val_loss);
  for (int i = 0; i < n && (int)(strlen(text) + strlen(more[i])) < width - 1; i++)
    dd_text_append(text, sizeof text, more[i]);
  put_row(p, text, part(j->iter, j->max_iters), width, out, size);
}

int dd_board_text(const dd_progress *p, const dd_study_status *s, int width, int rows, char *out, size_t size) {
  char text[LINE_BYTES];
  int lines = 1, busy = 0, shown = 0, name_width = 12;
  double done = (double)(s->finished + s->failed);
  for (int i = 0; i < s->jobs; i++) {
    const int n = (int)strlen(s->job[i].name);
    busy += n > 0;
    if (n > name_width) name_width = n;
    done += part(s->job[i].iter, s->job[i].max_iters) * (n > 0);
  }
  if (name_width > width / 3) name_width = width / 3;
  out[0] = 0;
  summary(s, text, sizeof text);
  put_row(p, text, s->cells ? done / (double)s->cells : 0, width, out, size);
  const int most = rows > 4 ? rows - 3 : 1;
  for (int i = 0; i < s->jobs; i++) {
    if (!s->job[i].name[0] || shown >= most) continue;
    dd_text_append(out, size, "\n");
    run_row(p, s->job + i, name_width, width, out, size);
    shown++;
    lines++;
  }
  if (shown < busy) {
    snprintf(text, sizeof text, "\n  and %d more", busy - shown);
    dd_text_append(out, size, text);
    lines++;
  }
  return lines;
}

static void plain_line(dd_progress *p, const dd_study_status *s) {
  char text[LINE_BYTES];
  if (!p->board_at) p->board_at = now();
  if (now() - p->board_at < PLAIN_SECONDS) return;
  p->board_at = now();
  summary(s, text, sizeof text);
  dd_progress_message(p, DD_INFO, text);
}

void dd_progress_study(dd_progress *p, const dd_study_status *s) {
  if (p->quiet) return;
  if (!p->live) {
    plain_line(p, s);
    return;
  }
  if (p->drawn && now() - p->drawn_at < REDRAW_SECONDS) return;
  static const char *const keep = "\033[K";
  char text[BOARD_BYTES];
  const int width = dd_terminal_width(fileno(p->stream));
  const int lines = dd_board_text(p, s, width, dd_terminal_rows(fileno(p->stream)), text, sizeof text);
  /* Line by line over the old table, so that nothing flickers; a table that shrank leaves lines to erase below. In one
   * piece, so that a program stopped at any time leaves a whole table. */
  char frame[BOARD_BYTES + 4096];
  frame[0] = 0;
  if (p->board_lines > 1) snprintf(frame, sizeof frame, "\033[%dA", p->board_lines - 1);
  dd_text_append(frame, sizeof frame, "\r");
  for (char *line = text; line;) {
    char *next = strchr(line, '\n');
    if (next) *next++ = 0;
    dd_text_append(frame, sizeof frame, line);
    dd_text_append(frame, sizeof frame, keep);
    dd_text_append(frame, sizeof frame, next ? "\n" : "\033[J");
    line = next;
  }
  fwrite(frame, 1, strlen(frame), p->stream);
  fflush(p->stream);
  p->board_lines = lines;
  p->drawn = true;
  p->drawn_at = now();
}
