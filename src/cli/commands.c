/* The commands: call the library, report what it says, turn its status into the exit code. */
#include "bench/bench.h"
#include "cli/cli.h"
#include "run/train.h"
#include "study/analysis.h"
#include "study/tables.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- standard output ---- */

static void out_write(dd_cli *cli, const char *text, size_t n) {
  if (cli->out_errno || !n) return;
  errno = 0;
  if (fwrite(text, 1, n, stdout) != n) cli->out_errno = errno ? errno : EIO;
}

static void out_flush(dd_cli *cli) {
  errno = 0;
  if (fflush(stdout) && !cli->out_errno) cli->out_errno = errno ? errno : EIO;
}

static void out_printf(dd_cli *cli, const char *format, ...) DD_PRINTF(2, 3);
static void out_printf(dd_cli *cli, const char *format, ...) {
  if (cli->out_errno) return;
  va_list ap;
  va_start(ap, format);
  errno = 0;
  if (vprintf(format, ap) < 0) cli->out_errno = errno ? errno : EIO;
  va_end(ap);
}

void dd_cli_write(dd_cli *cli, const char *text) { out_write(cli, text, strlen(text)); }

/* Generated text. A terminal would obey control bytes in it, so they are shown there instead: C0 and DEL, and C1, which
 * in UTF-8 is C2 followed by 80..9f, possibly in the next piece. */
static void write_text(dd_cli *cli, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)text[i];
    char shown[16];
    int k;
    if (cli->after_c2) {
      cli->after_c2 = false;
      if (c >= 0x80 && c <= 0x9f) k = snprintf(shown, sizeof shown, "\\u00%02x", c);
      else {
        out_write(cli, "\xc2", 1);
        k = 0;
      }
      if (k) {
        out_write(cli, shown, (size_t)k);
        continue;
      }
    }
    if (c == 0xc2) cli->after_c2 = true;
    else if ((c < 32 && c != '\n' && c != '\t') || c == 127) {
      k = snprintf(shown, sizeof shown, "\\x%02x", c);
      out_write(cli, shown, (size_t)k);
    } else out_write(cli, text + i, 1);
  }
}

/* ---- callbacks ---- */

static void on_message(void *user, dd_level level, const char *text) {
  dd_cli *cli = user;
  if (cli->lines && cli->settings->dry_run && level == DD_INFO) json_array_append_new(cli->lines, json_string(text));
  dd_progress_message(&cli->progress, level, text);
}

/* --dry-run with --json: what is said is the result. */
static void keep_lines(dd_cli *cli) {
  if (cli->json && cli->settings->dry_run) cli->lines = json_array();
}

/* `info` is all result: its messages go to stdout. */
static void on_info(void *user, dd_level level, const char *text) {
  dd_cli *cli = user;
  if (level != DD_INFO) on_message(user, level, text);
  else if (cli->json) json_array_append_new(cli->lines, json_string(text));
  else out_printf(cli, "%s\n", text);
}

static void on_phase(void *user, const char *what, int64_t done, int64_t total) {
  dd_progress_phase(&((dd_cli *)user)->progress, what, done, total);
}
static void on_step(void *user, const dd_step_record *r) { dd_progress_step(&((dd_cli *)user)->progress, r); }
static void on_study(void *user, const dd_study_status *s) {
  dd_cli *cli = user;
  if (dd_signal_continued()) dd_progress_forget(&cli->progress); /* a shell has written over the table */
  dd_progress_study(&cli->progress, s);
}
static void on_eval(void *user, const dd_eval_record *r) { dd_progress_eval(&((dd_cli *)user)->progress, r); }

/* Text as it comes; with --json it is kept for the result. */
static void on_text(void *user, const char *utf8, size_t n) {
  dd_cli *cli = user;
  if (!n) return;
  if (cli->json) {
    char *more = realloc(cli->text, cli->text_size + n);
    if (!more) return;
    memcpy(more + cli->text_size, utf8, n);
    cli->text = more;
    cli->text_size += n;
    return;
  }
  dd_progress_clear(&cli->progress);
  if (cli->escape_text) write_text(cli, utf8, n);
  else out_write(cli, utf8, n);
  cli->mid_line = utf8[n - 1] != '\n';
  out_flush(cli);
}

static void end_line(dd_cli *cli) {
  if (cli->mid_line) out_write(cli, "\n", 1);
  cli->mid_line = false;
}

static void on_check(void *user, const dd_check_record *r) { dd_cli_check(user, r); }

static int on_should_stop(void *user) {
  dd_cli *cli = user;
  if (!cli->silent) dd_progress_tick(&cli->progress);
  if (dd_signal_stop() && !cli->stop_announced && !cli->silent) {
    cli->stop_announced = true;
    const unsigned use = cli->command->use;
    dd_progress_message(&cli->progress, DD_INFO,
                        use & DD_USE_COMPARE ? "stopping: every run saves a checkpoint (Ctrl-C again: stop at once)"
                        : use & DD_USE_TRAIN ? "stopping: saving a checkpoint (Ctrl-C again: stop at once)"
                                             : "stopping (Ctrl-C again: stop at once)");
  }
  if (dd_signal_stop()) return 1;
  if (cli->out_errno && (cli->command->use & DD_USE_SAMPLE)) return 1; /* nobody reads: do not generate on */
  return dd_signal_save() ? 2 : 0;
}

static dd_callbacks callbacks_of(dd_cli *cli) {
  return (dd_callbacks){.user = cli, .message = on_message, .phase = on_phase, .step = on_step, .eval = on_eval,
                        .text = on_text, .study = on_study, .check = on_check,
                        .should_stop = on_should_stop};
}

/* ---- results ---- */

static void add_real(json_t *object, const char *key, double v) {
  json_object_set_new(object, key, isfinite(v) ? json_real(v) : json_null());
}

/* Generated text; of a byte model it may be no UTF-8, which JSON cannot hold: then '?' stands for bytes above 7f. */
static void add_text(dd_cli *cli, json_t *object) {
  if (!cli->text) return;
  json_t *text = json_stringn(cli->text, cli->text_size);
  if (!text) {
    for (size_t i = 0; i < cli->text_size; i++)
      if ((unsigned char)cli->text[i] >= 0x80) cli->text[i] = '?';
    text = json_stringn(cli->text, cli->text_size);
  }
  json_object_set_new(object, "text", text);
}

/* Steals the object. */
static void out_json(dd_cli *cli, json_t *object) {
  char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
  if (text) out_printf(cli, "%s\n", text);
  free(text);
  json_decref(object);
}

/* " key=value" of the options of `train` that differ from `plain`, or of those that were given when plain is NULL. */
static void list_settings(dd_cli *cli, const char *head, const dd_settings *plain) {
  const dd_settings *s = cli->settings;
  char line[2048];
  snprintf(line, sizeof line, "%s", head);
  const dd_setting *d;
  for (int i = 0; (d = dd_setting_at(i)); i++) {
    char value[4096], other[4096];
    if (!(d->use & DD_USE_TRAIN) || dd_settings_get(s, d->name, value, sizeof value, NULL)) continue;
    if (!plain && !dd_settings_is_set(s, (enum dd_setting_id)i)) continue;
    if (plain && (dd_settings_get(plain, d->name, other, sizeof other, NULL) || !strcmp(value, other))) continue;
    size_t n = strlen(line);
    const char *quote = value[strcspn(value, " \t\n'\"")] || !*value ? "\"" : "";
    snprintf(line + n, sizeof line - n, " %s=%s%.200s%s", d->name, quote, value, quote);
  }
  if (strlen(line) > strlen(head)) dd_progress_message(&cli->progress, DD_INFO, line);
}

/* The configuration in two lines: the shape, and what differs from the preset. A resumed run has its own configuration;
 * there it is what was given on top. */
static void echo_settings(dd_cli *cli) {
  const dd_settings *s = cli->settings;
  dd_settings *plain = dd_settings_create();
  char line[640], parts[32] = "";
  if (!plain) return;
  dd_settings_set(plain, "preset", dd_settings_choice(s, DD_SETTING_preset), NULL);
  if (s->gradient_accumulation_steps > 1)
    snprintf(parts, sizeof parts, "%lld x ", (long long)s->gradient_accumulation_steps);
  snprintf(line, sizeof line,
           "preset %s: %lld layers, %lld heads, %lld channels, context %lld, batch %s%lld, %lld iterations",
           dd_settings_choice(s, DD_SETTING_preset), (long long)s->n_layer, (long long)s->n_head, (long long)s->n_embd,
           (long long)s->block_size, parts, (long long)s->batch_size, (long long)s->max_iters);
  if (*s->init_from) /* the shape is that of the file */
    snprintf(line, sizeof line, "batch %s%lld, %lld iterations", parts, (long long)s->batch_size,
             (long long)s->max_iters);
  if (!s->resume) dd_progress_message(&cli->progress, DD_INFO, line);
  list_settings(cli, s->resume ? "given:" : "changed:", s->resume ? NULL : plain);
  if (*s->ignored) {
    snprintf(line, sizeof line, "ignored, as they mean nothing here: %s", s->ignored);
    dd_progress_message(&cli->progress, DD_INFO, line);
  }
  dd_settings_destroy(plain);
}

static void report_train(dd_cli *cli, const dd_train_result *r, int rc) {
  char time[32];
  dd_format_time(time, sizeof time, r->seconds);
  end_line(cli);
  if (cli->json) {
    json_t *o = json_object();
    json_object_set_new(o, "command", json_string("train"));
    json_object_set_new(o, "status", json_integer(rc));
    json_object_set_new(o, "iter", json_integer(r->iter));
    add_real(o, "final_loss", r->final_loss);
    add_real(o, "train_loss", r->train_loss);
    add_real(o, "val_loss", r->val_loss);
    add_real(o, "best_val_loss", r->best_val_loss);
    json_object_set_new(o, "best_iter", json_integer(r->best_iter));
    json_object_set_new(o, "skipped", json_integer(r->skipped));
    json_object_set_new(o, "rollbacks", json_integer(r->rollbacks));
    add_real(o, "seconds", r->seconds);
    json_object_set_new(o, "run_dir", json_string(r->run_dir));
    json_object_set_new(o, "fingerprint", json_string(r->fingerprint));
    add_text(cli, o);
    out_json(cli, o);
  } else {
    out_printf(cli, "%s %lld iterations, train loss %.4f, val loss %.4f, best %.4f at %lld, %s in %s\n",
               rc == DD_E_IO ? "trained" : rc ? "stopped after" : "done:", (long long)r->iter, r->train_loss,
               r->val_loss, r->best_val_loss, (long long)r->best_iter, time, r->run_dir);
  }
  if (!cli->json) out_printf(cli, "fingerprint %s\n", r->fingerprint);
}

/* The estimate of --dry-run as JSON. */
static void report_dry_run(dd_cli *cli, int rc) {
  if (!rc && cli->lines) {
    json_t *o = json_object();
    json_object_set_new(o, "command", json_string(cli->command->name));
    json_object_set_new(o, "status", json_integer(rc));
    json_object_set_new(o, "dry_run", json_true());
    json_object_set(o, "lines", cli->lines);
    out_json(cli, o);
  }
  json_decref(cli->lines);
  cli->lines = NULL;
}

/* ---- commands ---- */

static int train_over(dd_cli *cli, dd_ranks *ranks, dd_error *err) {
  dd_train_result r = {0};
  dd_callbacks cb = callbacks_of(cli);
  /* A resumed run takes from its own configuration what was not given: only dd_train can check the sum. */
  int rc = cli->settings->resume || cli->settings->auto_resume ? DD_OK : dd_settings_check(cli->settings, err);
  if (!rc && !cli->silent) echo_settings(cli);
  dd_signals_catch();
  if (!rc) keep_lines(cli);
  if (!rc) rc = dd_train_over(ranks, cli->settings, &cb, &r, err);
  else rc = dd_ranks_agree(ranks, rc, NULL, 0, err); /* the others wait for it */
  if (cli->silent) return rc;
  dd_progress_clear(&cli->progress);
  if (r.fingerprint[0]) report_train(cli, &r, rc); /* none after --dry-run or an early error */
  report_dry_run(cli, rc);
  return rc;
}

/* Failures that all ranks know of are told by rank 0 and are its exit code; others end them all. */
static int run_train(dd_cli *cli, dd_error *err) {
  dd_ranks *ranks;
  cli->silent = dd_ranks_launch().rank > 0;
  int rc = dd_ranks_open(&ranks, err);
  if (!rc) rc = train_over(cli, ranks, err);
  if (!ranks) return rc;
  const bool follower = cli->silent, shared = dd_ranks_agreed(ranks) || cli->settings->dry_run;
  out_flush(cli);
  if (rc && !shared) cli->silent = !dd_ranks_speaks(ranks);
  if (rc) dd_report_error(cli, "dd-cpu", rc, err); /* now: a launcher that ends the job may not wait for more */
  if (rc && !shared) dd_ranks_abort(ranks, rc);
  dd_ranks_close(ranks);
  cli->silent = rc != 0;
  return follower ? DD_OK : rc;
}

static int need_run(const dd_cli *cli, dd_error *err) {
  if (*cli->settings->run) return DD_OK;
  return dd_fail(err, DD_E_USAGE, "%s needs a run directory or checkpoint: dd-cpu %s runs/NAME", cli->command->name,
                 cli->command->name);
}

static int run_eval(dd_cli *cli, dd_error *err) {
  dd_eval_result r = {0};
  dd_callbacks cb = callbacks_of(cli);
  int rc = need_run(cli, err);
  if (rc) return rc;
  dd_signals_catch();
  rc = dd_evaluate(cli->settings, &cb, &r, err);
  dd_progress_clear(&cli->progress);
  if (rc) return rc;
  if (cli->json) {
    json_t *o = json_object();
    json_object_set_new(o, "command", json_string("eval"));
    json_object_set_new(o, "tokens", json_integer(r.tokens));
    add_real(o, "loss", r.loss);
    add_real(o, "bits_per_byte", r.bits_per_byte);
    out_json(cli, o);
  } else {
    out_printf(cli, "loss %.6f nats/token, %.6f bits/byte, %lld tokens\n", r.loss, r.bits_per_byte,
               (long long)r.tokens);
  }
  return DD_OK;
}

static int run_sample(dd_cli *cli, dd_error *err) {
  dd_sample_result r = {0};
  dd_callbacks cb = callbacks_of(cli);
  int rc = need_run(cli, err);
  if (rc) return rc;
  dd_signals_catch();
  rc = dd_sample(cli->settings, &cb, &r, err);
  dd_progress_clear(&cli->progress);
  if (cli->escape_text) end_line(cli); /* for the shell's prompt; files get the text and nothing else */
  if (rc) return rc;
  char line[128];
  snprintf(line, sizeof line, "%lld tokens in %.2f s, %.1f tokens/s", (long long)r.tokens, r.seconds,
           r.seconds > 0 ? (double)r.tokens / r.seconds : 0.0);
  if (cli->json) {
    json_t *o = json_object();
    json_object_set_new(o, "command", json_string("sample"));
    json_object_set_new(o, "tokens", json_integer(r.tokens));
    add_real(o, "seconds", r.seconds);
    add_text(cli, o);
    out_json(cli, o);
  }
  dd_progress_message(&cli->progress, DD_INFO, line);
  return DD_OK;
}

static int run_verify(dd_cli *cli, dd_error *err) {
  dd_callbacks cb = callbacks_of(cli);
  const int rc = need_run(cli, err);
  if (rc) return rc;
  dd_signals_catch();
  return dd_cli_verify(cli, &cb, err);
}

static int run_inspect(dd_cli *cli, dd_error *err) {
  dd_callbacks cb = callbacks_of(cli);
  dd_signals_catch();
  return dd_cli_inspect(cli, &cb, err);
}

static int run_prepare(dd_cli *cli, dd_error *err) {
  dd_callbacks cb = callbacks_of(cli);
  dd_signals_catch();
  int rc = dd_prepare(cli->settings, &cb, err);
  dd_progress_clear(&cli->progress);
  if (!rc && cli->json) {
    json_t *o = json_object();
    json_object_set_new(o, "command", json_string("prepare"));
    json_object_set_new(o, "data", json_string(cli->settings->data));
    json_object_set_new(o, "out", json_string(cli->settings->out));
    out_json(cli, o);
  }
  return rc;
}

static int run_export(dd_cli *cli, dd_error *err) {
  dd_callbacks cb = callbacks_of(cli);
  const int rc = need_run(cli, err);
  if (rc) return rc;
  dd_signals_catch();
  return dd_cli_export(cli, &cb, err);
}

static int run_info(dd_cli *cli, dd_error *err) {
  dd_callbacks cb = callbacks_of(cli);
  cb.message = on_info;
  cli->lines = json_array();
  int rc = dd_info(cli->settings, &cb, err);
  if (!rc && cli->json) {
    json_t *o = json_object();
    json_object_set_new(o, "command", json_string("info"));
    json_object_set_new(o, "version", json_string(dd_version()));
    json_object_set_new(o, "numerics", json_integer(dd_numerics_version()));
    json_object_set(o, "lines", cli->lines);
    out_json(cli, o);
  }
  json_decref(cli->lines);
  return rc;
}

static int run_bench(dd_cli *cli, dd_error *err) {
  dd_callbacks cb = callbacks_of(cli);
  dd_signals_catch();
  int rc = dd_run_bench(cli->settings, &cb, err);
  dd_progress_clear(&cli->progress);
  return rc;
}

/* The call in words that repeat it: what was given and decides the results. */
static void call_text(const dd_cli *cli, char *out, size_t size) {
  snprintf(out, size, "dd-cpu %s", cli->command->name);
  const dd_setting *d;
  for (int i = 0; (d = dd_setting_at(i)); i++) {
    char value[4096], name[64];
    const bool how = i == DD_SETTING_jobs || i == DD_SETTING_shard || i == DD_SETTING_dry_run;
    if (!dd_settings_is_set(cli->settings, (enum dd_setting_id)i) || !(d->use & cli->command->use) || how) continue;
    if (dd_setting_is_harmless(i) && !(d->use & DD_USE_COMPARE)) continue;
    if (dd_settings_get(cli->settings, d->name, value, sizeof value, NULL)) continue;
    snprintf(name, sizeof name, "%s", d->name);
    for (char *p = name; *p; p++)
      if (*p == '_') *p = '-';
    const char *quote = value[strcspn(value, " \t\n'\"*?;&|<>()$`\\")] || !*value ? "'" : "";
    const size_t n = strlen(out);
    snprintf(out + n, size - n, " --%s %s%s%s", name, quote, value, quote);
  }
}

/* The study's table on stdout, as wide as the terminal. */
static void show_study(dd_cli *cli, const char *dir) {
  json_t *report;
  dd_str text = {0};
  const int terminal = isatty(STDOUT_FILENO);
  if (dd_study_analyse(&dir, 1, cli->settings, NULL, &report, NULL)) return;
  dd_report_terminal(report, terminal ? dd_terminal_width(STDOUT_FILENO) : 100,
                     dd_wants_color(cli->color, dd_is_terminal(STDOUT_FILENO)), &text);
  if (!text.failed) out_write(cli, text.data, text.n);
  dd_str_free(&text);
  json_decref(report);
}

static int run_compare(dd_cli *cli, dd_error *err) {
  dd_compare_result r = {0};
  dd_callbacks cb = callbacks_of(cli);
  char call[16384], time[32];
  int rc = dd_settings_check(cli->settings, err);
  if (rc) return rc;
  call_text(cli, call, sizeof call);
  dd_signals_catch();
  keep_lines(cli);
  rc = dd_compare(cli->settings, call, &cb, &r, err);
  dd_progress_clear(&cli->progress);
  dd_format_time(time, sizeof time, r.seconds);
  if (*r.dir && cli->json) {
    json_t *o = json_object();
    json_object_set_new(o, "command", json_string("compare"));
    json_object_set_new(o, "status", json_integer(rc));
    json_object_set_new(o, "cells", json_integer(r.cells));
    json_object_set_new(o, "finished", json_integer(r.finished));
    json_object_set_new(o, "failed", json_integer(r.failed));
    json_object_set_new(o, "elsewhere", json_integer(r.elsewhere));
    add_real(o, "seconds", r.seconds);
    json_object_set_new(o, "dir", json_string(r.dir));
    json_object_set_new(o, "report", json_string(r.report));
    out_json(cli, o);
  } else if (*r.dir) {
    if (*r.report) show_study(cli, r.dir);
    if (r.elsewhere)
      out_printf(cli, "%lld are being trained by other processes: `dd-cpu report %s` when they are done\n",
                 (long long)r.elsewhere, r.dir);
    out_printf(cli, "%lld of %lld runs finished, %s in %s%s%s\n", (long long)r.finished, (long long)r.cells, time,
               r.dir, *r.report ? ", report in " : "", r.report);
  }
  report_dry_run(cli, rc);
  return rc;
}

static int run_report(dd_cli *cli, dd_error *err) {
  dd_callbacks cb = callbacks_of(cli);
  dd_signals_catch();
  int rc = dd_report(cli->settings, &cb, err);
  dd_progress_clear(&cli->progress);
  if (rc || !cli->json) return rc;
  json_t *o = json_object();
  json_object_set_new(o, "command", json_string("report"));
  json_object_set_new(o, "format", json_string(dd_settings_choice(cli->settings, DD_SETTING_format)));
  char path[4096];
  if (!dd_report_path(cli->settings, path, sizeof path, NULL) && *path)
    json_object_set_new(o, "out", json_string(path));
  add_text(cli, o);
  out_json(cli, o);
  return DD_OK;
}

static const char *const train_examples[] = {
  "train                        # the paper's setting on Tiny Shakespeare",
  "train --preset small         # nanoGPT's recipe for CPUs",
  "train --schedule linear --dropout 0.2 --dropout-final 0.05 -o runs/linear",
  "train --schedule val-loss --data book.txt -t 16",
  "train --resume -o runs/linear",
  "train --init-from ./gpt2 --data tokens --lr 3e-5 --warmup-iters 0   # fine-tune",
  "train --config train_shakespeare_char.py --n_layer=4", NULL};
static const char *const eval_examples[] = {"eval runs/linear", "eval runs/linear --data other.txt --json",
                                            "eval runs/linear --weights int8", NULL};
static const char *const sample_examples[] = {
  "sample runs/linear --prompt 'ROMEO:' --max-new-tokens 300", "sample runs/linear --temperature 0",
  "sample runs/linear --weights int8 --num-samples 10", NULL};
static const char *const verify_examples[] = {
  "verify runs/linear           # every file of the run", "verify runs/linear/ckpt-0000250.safetensors",
  "verify runs/linear --replay last   # trains again between the two newest checkpoints",
  "verify runs/linear --replay 250..1000 -t 8", NULL};
static const char *const inspect_examples[] = {
  "inspect runs/linear          # iteration, losses, model, settings", "inspect model.safetensors meta.pkl train.npy",
  "inspect --json runs/linear/metrics.jsonl", NULL};
static const char *const prepare_examples[] = {
  "prepare book.txt -o data/book", "prepare tokens.npy -o data/mine     # or a directory of nanoGPT or llm.c", NULL};
static const char *const export_examples[] = {
  "export runs/linear --format hf -o model         # transformers: from_pretrained('model')",
  "export runs/linear --format nanogpt -o nano     # nanoGPT: sample.py --out_dir=nano",
  "export runs/linear --format gguf -o linear.gguf # llama.cpp", NULL};
static const char *const info_examples[] = {"info", "info --tier scalar -t 4", NULL};

static const char *const compare_examples[] = {
  "compare --preset small --dropout 0.2 --seeds 8 -o studies/small   # the paper's five schedules",
  "compare --schedules fixed,late,curriculum --seeds 5 -t 32",
  "compare --grid 'n_layer=6,12;dropout=0.1,0.2' -o studies/depth",
  "compare -o studies/shared --shard 2/4        # second of four machines that share a file system", NULL};
static const char *const schedules_examples[] = {
  "schedules                    # all of them",
  "schedules cosine --dropout 0.3 --dropout-final 0.1 --max-iters 2000",
  "schedules 'expr:p0*(1-t/T)^2'", "schedules table:rates.csv", "schedules gap --eval-interval 100", NULL};

static const char *const bench_examples[] = {
  "bench                        # everything, quickly",
  "bench products --preset paper,small -t 1,2 --json new.json",
  "bench step --preset gpt2 --compare old.json", NULL};

static const char *const report_examples[] = {
  "report studies/shakespeare   # studies/shakespeare/report.html",
  "report studies/shakespeare --format md",
  "report runs --format tsv     # all runs in a directory, one line each",
  "report runs/fixed-1 runs/linear-1 runs/fixed-2 runs/linear-2 -o report.html", NULL};

static const dd_command commands[] = {
  {"train", "train a model and print the fingerprint of its weights", DD_USE_TRAIN, NULL, 0, run_train, train_examples,
   0},
  {"compare", "train schedules x seeds and settle which is best", DD_USE_TRAIN | DD_USE_COMPARE, NULL, 0, run_compare,
   compare_examples, 0},
  {"eval", "loss of a run over a text", DD_USE_EVAL, "RUN", DD_SETTING_run, run_eval, eval_examples, 0},
  {"sample", "generate text from a run", DD_USE_SAMPLE, "RUN", DD_SETTING_run, run_sample, sample_examples, 0},
  {"verify", "check every file of a run, and train a part again", DD_USE_VERIFY, "RUN", DD_SETTING_run, run_verify,
   verify_examples, 0},
  {"inspect", "say what files are and what is in them", DD_USE_INSPECT, "FILE", DD_SETTING_files, run_inspect,
   inspect_examples, '\n'},
  {"prepare", "turn text or token files into train.bin, val.bin, meta.json", DD_USE_PREPARE, "TEXT",
   DD_SETTING_data, run_prepare, prepare_examples, 0},
  {"export", "write a run in the format of another program", DD_USE_EXPORT, "RUN", DD_SETTING_run, run_export,
   export_examples, 0},
  {"schedules", "list, explain and draw the dropout schedules", DD_USE_SCHEDULES, "NAME[:ARG]", DD_SETTING_schedule,
   dd_cli_schedules, schedules_examples, 0},
  {"info", "facts of machine and build", DD_USE_INFO, NULL, 0, run_info, info_examples, 0},
  {"bench", "measure the machine, the kernels, training and generation", DD_USE_BENCH, "SUBJECT", DD_SETTING_subjects,
   run_bench, bench_examples, ','},
  {"report", "analyse a study or runs: which schedule wins", DD_USE_REPORT, "DIR", DD_SETTING_study, run_report,
   report_examples, '\n'}, /* names of directories hold no line feeds */
};

const dd_command *dd_command_at(int i) {
  return i >= 0 && i < (int)(sizeof commands / sizeof *commands) ? &commands[i] : NULL;
}

const dd_command *dd_command_find(const char *name) {
  const dd_command *k;
  for (int i = 0; (k = dd_command_at(i)); i++)
    if (!strcmp(name, k->name)) return k;
  return NULL;
}

/* "dd-cpu: error: ..." on stderr, whatever --quiet and --json say. */
int dd_command_execute(dd_cli *cli, const char *program) {
  dd_error err = {0};
  cli->escape_text = isatty(STDOUT_FILENO) && !cli->json;
  int rc = dd_cli_check_launch(cli, &err);
  if (rc) dd_cli_refused(cli);
  else rc = cli->command->run(cli, &err);
  if (rc && !err.message[0]) snprintf(err.message, sizeof err.message, "%s failed", cli->command->name);
  out_flush(cli);
  /* What failed because nobody reads is told as that. */
  bool stopped_by_pipe = rc == DD_E_STOPPED && !dd_signal_stop();
  if (cli->out_errno && (!rc || stopped_by_pipe))
    rc = dd_fail(&err, DD_E_IO, "cannot write to standard output: %s", strerror(cli->out_errno));
  if (rc) dd_report_error(cli, program, rc, &err);
  free(cli->text);
  cli->text = NULL;
  return rc;
}
