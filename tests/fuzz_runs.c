/* Fuzz target of run directories and studies as `report` and `train --resume` read them: config.json, metrics.jsonl,
 * `latest`, a plan compare.json, measured.json; and the repair of metrics.jsonl. */
#include "fuzz_common.h"
#include "run/rundir.h"
#include "study/analysis.h"
#include "study/load.h"
#include "study/metrics.h"
#include "study/tables.h"

static void repair(const uint8_t *data, size_t size) {
  dd_error err;
  dd_rundir *rd;
  mem_use((const char *const[]){"/m/a/metrics.jsonl", "/m/a/config.json", "/m/a/latest", NULL}, data, size);
  int rc = dd_rundir_open("/m/a", DD_RUN_RESUME, &rd, &err);
  demand(!rc, "open");
  rc = dd_metrics_truncate_after(rd, (int64_t)(size % 5), &err);
  demand(rc == DD_OK, "repair");
  dd_rundir_close(rd);
  char path[4096];
  rc = dd_run_find_checkpoint("/m/a", "latest", path, sizeof path, &err);
  demand(rc == DD_OK || rc == DD_E_USAGE || rc == DD_E_CORRUPT, "latest");
  mem_done();
}

/* Read, analysed, and written as the report does. */
static int study(const char *const *paths, const char *dir, const uint8_t *data, size_t size) {
  dd_error err = {.message = ""};
  json_t *report = NULL;
  mem_use(paths, data, size);
  dd_settings *s = dd_settings_create();
  demand(s != NULL, "memory");
  const int rc = dd_study_analyse(&dir, 1, s, NULL, &report, &err);
  demand(rc == DD_OK || rc == DD_E_USAGE || rc == DD_E_CORRUPT || rc == DD_E_IO, "status");
  demand(!rc || strlen(err.message) > 5, "message");
  if (!rc) {
    dd_str out = {0};
    dd_report_md(report, &out);
    demand(!out.failed && out.n > 0, "report");
    dd_str_free(&out);
  }
  json_decref(report);
  dd_settings_destroy(s);
  mem_done();
  return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_name = "fuzz_runs";
  repair(data, size);
  const int run =
      study((const char *const[]){"/m/a/metrics.jsonl", "/m/a/config.json", "/m/a/latest", NULL}, "/m/a", data, size);
  const int plan = study((const char *const[]){"/m/runs/a-s1/metrics.jsonl", "/m/runs/a-s1/config.json",
                                               "/m/compare.json", "/m/measured.json", NULL},
                         "/m", data, size);
  *(run || plan ? &refused : &accepted) += 1;
  return 0;
}

#ifndef DD_LIBFUZZER
#define STEP(i)                                                                                                        \
  "{\"type\":\"step\",\"iter\":" i ",\"loss\":2.5,\"lr\":0.001,\"dropout\":0.1,\"grad_norm\":1,"                       \
  "\"ms_per_iter\":2,\"tokens_per_s\":100,\"elapsed_s\":1}\n"
#define EVAL(i)                                                                                                        \
  "{\"type\":\"eval\",\"iter\":" i ",\"train_loss\":2.5,\"val_loss\":2.6,\"best_val_loss\":2.6,\"best_iter\":0,"       \
  "\"improved\":true,\"dropout\":0.1,\"fingerprint\":\"00112233445566778899aabbccddeeff\",\"seconds\":1,\"elapsed_"    \
  "s\":1}\n"
#define CONFIG                                                                                                         \
  "{\"program\":\"dd-cpu\",\"version\":\"0.1.0\",\"numerics_version\":2,\"settings\":{\"n_layer\":2,"                  \
  "\"max_iters\":2,\"eval_interval\":2,\"schedule\":\"linear\",\"seed\":\"1\"},\"data\":{\"name\":\"t\",\"hash\":"     \
  "\"ab\"},"                                                                                                           \
  "\"machine\":{\"cpu\":\"x\",\"tier\":\"scalar\",\"threads\":1}}"
static const fuzz_seed seeds[] = {
    {EVAL("0") STEP("0") STEP("1") EVAL("2") STEP("2") "\n%%\n" CONFIG "\n%%\nckpt-0000002.safetensors\n", 0},
    {"{\"type\":\"config\"}\n" EVAL("0") STEP("0") "{\"type\":\"diverged\",\"iter\":1}\n\n%%\n" CONFIG "\n%%\nx", 0},
    {EVAL("0") STEP("0") EVAL("2")
         STEP("2") "\n%%\n" CONFIG "\n%%\n{\"program\":\"dd-cpu\",\"numerics_version\":2,\"commands\":[\"dd-cpu "
                                   "compare\"],\"baseline\":\"\","
                   "\"settings\":{\"n_layer\":2,\"max_iters\":2},\"schedules\":[\"linear\"],\"seeds\":[\"1\",\"2\"],"
                   "\"grid\":[],\"cells\":["
                   "{\"name\":\"a-s1\",\"settings\":{\"schedule\":\"linear\",\"seed\":\"1\"}},"
                   "{\"name\":\"a-s2\",\"settings\":{\"schedule\":\"linear\",\"seed\":\"2\"}}]}\n%%\n{\"cost\":{\"x\":["
                   "1,2]}}",
     0}};
static const char *const words[] = {"\n",
                                    "\n%%\n",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    ",",
                                    ":",
                                    "null",
                                    "1e999",
                                    "-1",
                                    "\"iter\":",
                                    "\"type\":",
                                    "\"eval\"",
                                    "\"step\"",
                                    "\"cells\":",
                                    "../",
                                    "\\u001b[31m",
                                    "\"schedule\":\"expr:t\"",
                                    "\"n_layer\":9999999999",
                                    "\"seed\":\"18446744073709551615\"",
                                    "\xff",
                                    "{\"iter\":1}\n"};
FUZZ_MAIN("fuzz_runs", 6000)
#endif
