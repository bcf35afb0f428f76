#include "study/metrics.h"
#include "core/file.h"
#include "core/json.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MOST = 1 << 18, ELEMENTS_MOST = 4096, FIRST_ROOM = 256 };

typedef struct reader {
  dd_study_run *run;
  dd_metrics_end *end;
  dd_run_step last; /* newest step record, kept apart from those that are thinned; iter -1: none */
  int64_t stride, seen; /* every stride-th of the steps seen is kept */
  size_t step_room, eval_room;
} reader;

static bool grow(void **items, size_t *room, size_t size, size_t most) {
  const size_t more = *room ? (*room * 2 < most ? *room * 2 : most) : FIRST_ROOM;
  void *bigger = realloc(*items, more * size);
  if (!bigger) return false;
  *items = bigger;
  *room = more;
  return true;
}

/* Forget what a record of iteration `iter` replaces. An evaluation comes before the step of its iteration. */
static void rewind_to(reader *r, int64_t iter, bool step) {
  dd_study_run *run = r->run;
  while (run->n_steps && run->steps[run->n_steps - 1].iter >= iter) run->n_steps--;
  if (r->last.iter >= iter) {
    r->last.iter = -1;
    if (run->n_steps) r->last = run->steps[run->n_steps - 1];
  }
  while (run->n_evals && run->evals[run->n_evals - 1].iter >= iter + step) run->n_evals--;
  r->end->diverged = false;
}

static bool add_step(reader *r, const dd_run_step *p) {
  dd_study_run *run = r->run;
  rewind_to(r, p->iter, true);
  r->last = *p;
  if (r->seen++ % r->stride) return true;
  if (run->n_steps == DD_RUN_STEPS_MOST) {
    for (size_t i = 0; i < run->n_steps / 2; i++) run->steps[i] = run->steps[2 * i];
    run->n_steps /= 2;
    r->stride *= 2;
  }
  if (run->n_steps == r->step_room &&
      !grow((void **)&run->steps, &r->step_room, sizeof *run->steps, DD_RUN_STEPS_MOST + 1))
    return false;
  run->steps[run->n_steps++] = *p;
  return true;
}

static bool add_eval(reader *r, const dd_run_eval *e) {
  dd_study_run *run = r->run;
  rewind_to(r, e->iter, false);
  if (run->n_evals == DD_RUN_EVALS_MOST) {
    r->end->too_many = true;
    return true;
  }
  if (run->n_evals == r->eval_room &&
      !grow((void **)&run->evals, &r->eval_room, sizeof *run->evals, DD_RUN_EVALS_MOST))
    return false;
  run->evals[run->n_evals++] = *e;
  return true;
}

/* A number, or null for one that was not finite. */
static bool number(const json_t *o, const char *key, double *out) {
  const json_t *v = json_object_get(o, key);
  *out = json_is_number(v) ? json_number_value(v) : NAN;
  return json_is_number(v) || json_is_null(v);
}

static bool take_fingerprint(const json_t *o, char out[33]) {
  const char *hex = json_string_value(json_object_get(o, "fingerprint"));
  if (!hex || strlen(hex) != 32 || strspn(hex, "0123456789abcdef") != 32) return false;
  memcpy(out, hex, 33);
  return true;
}

/* -1: out of memory, 0: no record, 1: a record. */
static int take_record(reader *r, const json_t *o) {
  const char *type = json_string_value(json_object_get(o, "type"));
  const json_t *i = json_object_get(o, "iter");
  const int64_t iter = json_is_integer(i) ? json_integer_value(i) : -1;
  if (!type) return 0;
  if (!strcmp(type, "config")) return 1;
  if (iter < 0 || iter > r->run->max_iters) return 0;
  if (!strcmp(type, "step")) {
    dd_run_step p = {.iter = iter};
    if (!number(o, "loss", &p.loss) || !number(o, "dropout", &p.rate) || !number(o, "ms_per_iter", &p.ms) ||
        !number(o, "elapsed_s", &p.elapsed_s))
      return 0;
    return add_step(r, &p) ? 1 : -1;
  }
  if (!strcmp(type, "eval")) {
    dd_run_eval e = {.iter = iter};
    char hex[33];
    if (!number(o, "train_loss", &e.train) || !number(o, "val_loss", &e.val) || !number(o, "dropout", &e.rate) ||
        !take_fingerprint(o, hex))
      return 0;
    memcpy(r->run->fingerprint, hex, sizeof hex);
    return add_eval(r, &e) ? 1 : -1;
  }
  if (!strcmp(type, "diverged")) {
    r->end->diverged = true;
    r->end->diverged_at = iter;
    return 1;
  }
  return 1; /* records of later versions */
}

static bool take_line(reader *r, const char *line, size_t n) {
  if (!line[strspn(line, " \t\r")] && strlen(line) == n) return true;
  json_t *o;
  if (dd_json_parse(line, n, ELEMENTS_MOST, &o, NULL) == DD_E_RUNTIME) return false;
  const int got = json_is_object(o) ? take_record(r, o) : 0;
  json_decref(o);
  if (!got) r->run->bad_lines++;
  return got >= 0;
}

/* Lines of any length; of one above LINE_MOST only the fact is kept. buf has room for a line and a block. */
static int read_lines(reader *r, int fd, const char *path, char *buf, dd_error *err) {
  size_t n = 0;
  bool skipping = false;
  for (;;) {
    const ssize_t got = dd_fs()->read(fd, buf + n, LINE_MOST - n);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return dd_fail(err, DD_E_IO, "cannot read %.700s: %s", path, strerror(errno));
    if (got == 0) break;
    n += (size_t)got;
    size_t at = 0;
    for (char *end; (end = memchr(buf + at, '\n', n - at)); at = (size_t)(end - buf) + 1) {
      *end = '\0';
      if (!skipping && !take_line(r, buf + at, (size_t)(end - (buf + at))))
        return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
      skipping = false;
    }
    memmove(buf, buf + at, n - at);
    n -= at;
    if (n == LINE_MOST) {
      if (!skipping) r->run->bad_lines++;
      skipping = true;
      n = 0;
    }
  }
  r->end->torn = n > 0 || skipping;
  return DD_OK;
}

int dd_study_metrics_read(const char *path, dd_study_run *run, dd_metrics_end *end, dd_error *err) {
  *end = (dd_metrics_end){0};
  const int fd = dd_fs()->open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0 && errno == ENOENT) {
    end->missing = true;
    return DD_OK;
  }
  if (fd < 0) return dd_fail(err, DD_E_IO, "cannot open %.700s: %s", path, strerror(errno));
  struct stat st;
  reader r = {.run = run, .end = end, .last = {.iter = -1}, .stride = 1};
  char *buf = malloc(LINE_MOST + 1);
  int rc = DD_OK;
  if (!buf) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
  else if (dd_fs()->fstat(fd, &st) || !S_ISREG(st.st_mode))
    rc = dd_fail(err, DD_E_IO, "cannot read %.700s: it is no regular file", path);
  else rc = read_lines(&r, fd, path, buf, err);
  dd_fs()->close(fd);
  free(buf);
  /* The newest step belongs to the curve even where it is thinned; there is room for one more. */
  if (!rc && run->n_steps && r.last.iter > run->steps[run->n_steps - 1].iter) {
    if (run->n_steps == r.step_room &&
        !grow((void **)&run->steps, &r.step_room, sizeof *run->steps, DD_RUN_STEPS_MOST + 1))
      return dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", path);
    run->steps[run->n_steps++] = r.last;
  }
  return rc;
}
