/* Trains a small GPT with a dropout schedule of its own: half a rate in the first tenth, then higher the more the model
 * overfits.
 *
 *   cc own_schedule.c $(pkg-config --cflags --libs libdd) -o own_schedule && ./own_schedule TEXT [RUN_DIRECTORY] */
#include <dd_cpu.h>
#include <stdio.h>

static double my_rate(void *user, const dd_rate_query *q) {
  (void)user;
  if (q->iter * 10 < q->max_iters) return q->p0 / 2;
  const double gap = q->val_loss - q->train_loss;
  return q->p0 + (gap > 0 ? gap : 0); /* what is not in [0, 1) is clamped */
}

static void on_eval(void *user, const dd_eval_record *r) {
  (void)user;
  printf("iteration %3d: training loss %.4f, validation loss %.4f, dropout %.3f\n", (int)r->iter, r->train_loss,
         r->val_loss, r->dropout);
}

static void on_message(void *user, dd_level level, const char *text) {
  (void)user;
  if (level == DD_WARNING) fprintf(stderr, "warning: %s\n", text);
}

int main(int argc, char **argv) {
  const char *values[][2] = {{"preset", "tiny"}, {"schedule", "callback:follow-the-gap"}, {"data", NULL},
                             {"out", "runs/own-schedule"}, {"auto-resume", "true"}};
  dd_error err;
  dd_train_result r;
  dd_settings *s = dd_settings_create();
  int rc = s ? DD_OK : DD_E_RUNTIME;
  const dd_callbacks cb = {.message = on_message, .eval = on_eval, .rate = my_rate};

  if (argc < 2) return fprintf(stderr, "usage: %s TEXT [RUN_DIRECTORY]\n", argv[0]), 2;
  values[2][1] = argv[1];
  if (argc > 2) values[3][1] = argv[2];
  for (size_t i = 0; i < sizeof values / sizeof *values && !rc; i++)
    rc = dd_settings_set(s, values[i][0], values[i][1], &err);
  if (!rc) rc = dd_train(s, &cb, &r, &err);
  if (rc) fprintf(stderr, "%s\n", s ? err.message : "out of memory");
  else printf("%s: best validation loss %.4f at iteration %d\nfingerprint %s\n", r.run_dir, r.best_val_loss,
              (int)r.best_iter, r.fingerprint);
  dd_settings_destroy(s);
  return rc;
}
