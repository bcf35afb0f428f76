#include "run/saver.h"
#include "core/machine.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct task { /* one save; the writer's until `ended`, then the caller's */
  dd_weights_view w;
  dd_run_state state;
  int written, named;   /* the file is durable; `latest` says so */
  dd_error first, last; /* of the first attempt to write, of the second; of the naming; code DD_OK: none */
  dd_error naming, metrics;
  atomic_int ended;
} task;

struct dd_saver {
  dd_saver_options o;
  dd_arena copy; /* param, m, v one after the other; base NULL: none yet, or no memory */
  task t;
  int running, threaded; /* a save has begun and was not looked at; in a thread */
  pthread_t thread;
  int64_t durable;
  int64_t lost, repeated; /* saves */
  int64_t first_lost;
  dd_error why_lost, why_repeated, newest;
};

uint64_t dd_saver_bytes(const dd_layout *l) { return 3 * (uint64_t)l->floats * sizeof(float); }

int dd_saver_create(dd_saver **out, const dd_saver_options *o, dd_error *err) {
  *out = calloc(1, sizeof **out);
  if (!*out) return dd_fail(err, DD_E_RUNTIME, "out of memory for checkpoints");
  (*out)->o = *o;
  (*out)->durable = (*out)->first_lost = -1;
  return DD_OK;
}

/* ---- the writer ---- */

static int write_file(const dd_saver *v, task *t, int spare, dd_error *err) {
  char path[4096];
  const int rc = dd_rundir_checkpoint_path(v->o.dir, t->state.iter, spare, path, sizeof path, err);
  return rc ? rc : dd_checkpoint_write(path, &t->w, &t->state, v->o.s, v->o.vocab, err);
}

static void save(const dd_saver *v, task *t) {
  int spare = 0;
  /* What the checkpoint's iterations reported should not be younger than it after a power failure. */
  if (v->o.metrics) dd_metrics_sync(v->o.metrics, &t->metrics);
  if (write_file(v, t, 0, &t->first) == DD_OK) t->written = 1;
  else if (write_file(v, t, spare = 1, &t->last) == DD_OK) t->written = 1;
  if (!t->written) return;
  const unsigned how = (t->state.best_iter == t->state.iter ? DD_PUBLISH_BEST : 0) | (spare ? DD_PUBLISH_SPARE : 0);
  /* What a rollback goes back to stays, however many checkpoints were asked for since. */
  const int rollback = v->o.s->on_nan == DD_ON_NAN_ROLLBACK && t->state.guard.anchor != t->state.iter;
  const int keep = rollback ? 0 : (int)v->o.s->keep_checkpoints;
  t->named = dd_rundir_publish(v->o.dir, t->state.iter, how, keep, &t->naming) == DD_OK ||
             dd_rundir_publish(v->o.dir, t->state.iter, how, keep, NULL) == DD_OK;
}

static void *writer(void *arg) {
  dd_saver *v = arg;
  save(v, &v->t);
  atomic_store(&v->t.ended, 1);
  return NULL;
}

/* ---- the caller ---- */

static void note(dd_saver *v, const dd_error *e, int lost) {
  if (lost) {
    if (!v->lost++) v->why_lost = *e, v->first_lost = v->t.state.iter;
  } else if (!v->repeated++) {
    v->why_repeated = *e;
  }
}

static void report(dd_saver *v) {
  task *t = &v->t;
  const long long iter = (long long)t->state.iter;
  v->newest = (dd_error){.code = DD_OK};
  if (t->metrics.code) {
    dd_say(v->o.cb, DD_WARNING, "%s", t->metrics.message);
    note(v, &t->metrics, 0);
  }
  if (!t->written) {
    v->newest = t->last;
    dd_say(v->o.cb, DD_WARNING, "%s", t->first.message);
    dd_say(v->o.cb, DD_WARNING,
           "the checkpoint of iteration %lld is lost, under a second name too: %s; training goes on, the checkpoints "
           "before it stay", iter, t->last.message);
    note(v, &t->last, 1);
    return;
  }
  v->durable = t->state.iter;
  if (t->first.code) {
    dd_say(v->o.cb, DD_WARNING, "%s; the checkpoint of iteration %lld was written again under a second name",
           t->first.message, iter);
    note(v, &t->first, 0);
  }
  if (t->naming.code) {
    dd_say(v->o.cb, DD_WARNING, "the checkpoint of iteration %lld is saved, but %s%s", iter, t->naming.message,
           t->named ? "; the second attempt succeeded" : "; a resume will find it all the same");
    note(v, &t->naming, 0);
  }
}

static void look(dd_saver *v) {
  if (v->threaded) pthread_join(v->thread, NULL);
  v->running = v->threaded = 0;
  report(v);
}

void dd_saver_poll(dd_saver *v) {
  if (v->running && atomic_load(&v->t.ended)) look(v);
}

int64_t dd_saver_wait(dd_saver *v, dd_error *why) {
  if (v->running) look(v);
  if (why) *why = v->newest;
  return v->durable;
}

/* Memory that is merely promised would end the run when it is touched: ask for some more to be free. */
static float *room(dd_saver *v, const dd_layout *l) {
  const uint64_t bytes = dd_saver_bytes(l), left = v->copy.base ? 0 : dd_machine_free_memory("");
  if (left && left < bytes + bytes / 4 + (64u << 20)) return NULL;
  if (!v->copy.base) (void)dd_arena_create(&v->copy, (size_t)bytes, "a copy of the model", NULL);
  return v->copy.base;
}

static int start_writer(dd_saver *v) {
  sigset_t all, before;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return 0; /* signals are for the caller's thread */
  const int rc = pthread_create(&v->thread, NULL, writer, v);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return rc == 0;
}

void dd_saver_save(dd_saver *v, const dd_run_state *st) {
  const dd_model *m = v->o.m;
  const dd_layout *l = &m->layout;
  dd_saver_wait(v, NULL);
  task *t = &v->t;
  memset(t, 0, sizeof *t);
  t->state = *st;
  t->w = (dd_weights_view){.layout = l, .param = m->param, .m = m->m, .v = m->v};
  v->running = 1;
  float *copy = room(v, l);
  if (copy) {
    const size_t n = (size_t)l->floats;
    memcpy(copy, m->param, n * sizeof *copy);
    memcpy(copy + n, m->m, n * sizeof *copy);
    memcpy(copy + 2 * n, m->v, n * sizeof *copy);
    t->w = (dd_weights_view){.layout = l, .param = copy, .m = copy + n, .v = copy + 2 * n};
    v->threaded = start_writer(v);
  }
  if (v->threaded) return;
  writer(v);
  look(v);
}

int dd_saver_close(dd_saver *v, dd_error *err) {
  if (!v) return DD_OK;
  dd_saver_wait(v, NULL);
  int rc = DD_OK;
  if (v->lost) {
    char have[96] = "no checkpoint was saved";
    if (v->durable >= 0)
      snprintf(have, sizeof have, "the newest good one is of iteration %lld", (long long)v->durable);
    rc = dd_fail(err, DD_E_IO, "%lld checkpoint%s could not be saved, first that of iteration %lld (%.600s); %s",
                 (long long)v->lost, v->lost == 1 ? "" : "s", (long long)v->first_lost, v->why_lost.message, have);
  } else if (v->repeated) {
    rc = dd_fail(err, DD_E_IO, "every checkpoint is saved, but not at the first attempt (%.600s); check the disk "
                 "before the next run", v->why_repeated.message);
  }
  dd_arena_destroy(&v->copy);
  free(v);
  return rc;
}
