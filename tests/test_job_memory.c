/* The n-th allocation of whole jobs fails, and all after it: train, resume, eval, sample, prepare, compare (parent and
 * children), report, reading of configuration files. A job then says that memory is short, and leaks nothing; or it
 * ends as if nothing had happened, because it could do without. jansson allocates through json_set_alloc_funcs and is
 * met too; threads, child processes and hash states count as allocations. Linked with --wrap of each function below. */
#include "jobs_fixture.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* ---- what is allocated: a set of addresses, so that those of other libraries are told apart ---- */

enum { SLOTS = 1 << 17 };
static const void *slot[SLOTS]; /* open addressing; GONE where one was */
static const char gone;
static long live;
static atomic_flag busy = ATOMIC_FLAG_INIT;
static long calls, fail_at, harmless;
static int persistent, armed;
static const char *failed;

static size_t find(const void *p, const void *stop) {
  size_t i = (uintptr_t)p / 16 * 0x9e3779b97f4a7c15u >> 20 & (SLOTS - 1);
  while (slot[i] && slot[i] != p && slot[i] != stop) i = (i + 1) & (SLOTS - 1);
  return i;
}
static void *keep(void *p) {
  if (!p || !armed) return p;
  while (atomic_flag_test_and_set(&busy)) {}
  slot[find(p, &gone)] = p;
  live++;
  atomic_flag_clear(&busy);
  return p;
}
static void forget(const void *p) {
  if (!p || !armed) return;
  while (atomic_flag_test_and_set(&busy)) {}
  const size_t i = find(p, NULL);
  if (slot[i] == p) slot[i] = &gone, live--;
  atomic_flag_clear(&busy);
}
static int fails(const char *name) {
  if (!armed) return 0;
  const long n = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
  if (!fail_at || (persistent ? n < fail_at : n != fail_at)) return 0;
  if (n == fail_at) failed = name;
  errno = ENOMEM;
  return 1;
}

#define WRAP(ret, name, declared, passed, failure, kept)                                                               \
  extern ret __real_##name declared;                                                                                   \
  ret __wrap_##name declared;                                                                                          \
  ret __wrap_##name declared {                                                                                         \
    if (fails(#name)) return failure;                                                                                  \
    return kept(__real_##name passed);                                                                                 \
  }
#define PLAIN(x) x
WRAP(void *, malloc, (size_t n), (n), NULL, keep)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL, keep)
WRAP(void *, aligned_alloc, (size_t align, size_t n), (align, n), NULL, keep)
WRAP(char *, strdup, (const char *s), (s), NULL, keep)
WRAP(char *, strndup, (const char *s, size_t n), (s, n), NULL, keep)
WRAP(void *, mmap, (void *p, size_t n, int prot, int flags, int fd, off_t at), (p, n, prot, flags, fd, at), MAP_FAILED,
     keep)
WRAP(void *, XXH3_createState, (void), (), NULL, PLAIN)
WRAP(int, vasprintf, (char **out, const char *format, va_list ap), (out, format, ap), -1, PLAIN)
WRAP(int, pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*f)(void *), void *arg), (t, a, f, arg),
     EAGAIN, PLAIN)
WRAP(pid_t, fork, (void), (), -1, PLAIN)
extern void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n) {
  if (fails("realloc")) return NULL;
  void *bigger = __real_realloc(p, n);
  if (bigger) forget(p);
  return bigger ? keep(bigger) : NULL;
}
extern void __real_free(void *p);
void __wrap_free(void *p);
void __wrap_free(void *p) {
  forget(p);
  __real_free(p);
}
extern int __real_munmap(void *p, size_t n);
int __wrap_munmap(void *p, size_t n);
int __wrap_munmap(void *p, size_t n) {
  forget(p);
  return __real_munmap(p, n);
}
static void *json_malloc(size_t n) { return __wrap_malloc(n); }
static void json_free(void *p) { __wrap_free(p); }

/* ---- jobs ---- */

typedef struct job {
  const char *name;
  int (*run)(const dd_settings *, dd_error *);
  const char *from;  /* directory copied to "run" before, "" for none there, NULL: not touched */
  const char *clean; /* directory removed before, or NULL */
  dd_settings *s;
} job;

/* DD_E_IO: a checkpoint was saved at the second attempt only, or not at all, and the run went on. */
static long once(job *j, long n, int all_later) {
  dd_error err = {.message = ""};
  if (j->from) drop("run");
  if (j->from && *j->from) copy_dir(j->from, "run");
  if (j->clean) drop(j->clean);
  hear_nothing();
  memset(slot, 0, sizeof slot);
  live = calls = 0, fail_at = n, persistent = all_later, failed = NULL, armed = 1;
  const int rc = j->run(j->s, &err);
  armed = 0;
  const long made = calls, left = live;
  cases++;
  assert_int_equal(fs.balance, 0);
  if (left) fail_msg("%s, call %ld (%s): %ld allocations are left", j->name, n, failed ? failed : "none", left);
  if (rc && (!n || (rc != DD_E_RUNTIME && rc != DD_E_IO) || rc != (int)err.code || strlen(err.message) < 10 ||
             (!strstr(err.message, "memory") && !strstr(err.message, "thread") && !strstr(err.message, "child"))))
    fail_msg("%s, call %ld (%s): status %d: %s", j->name, n, failed ? failed : "none", rc, err.message);
  harmless += !rc && n && made >= n;
  if (!rc && *wanted && strcmp(outcome, wanted))
    fail_msg("%s, call %ld (%s): %s, not %s", j->name, n, failed ? failed : "none", outcome, wanted);
  if (j->from && (rc || n % 16 == 0)) recover("run", *j->from != 0);
  else if (j->from) check_records("run");
  return made;
}

/* n = 1, 2, ... `dense`, then in strides so that about `more` follow; all with DD_LONG. */
static void sweep(job *j, long dense, long more) {
  const long before = cases;
  const double t0 = __real_dd_now();
  wanted[0] = '\0';
  use_plain();
  const long made = once(j, 0, 0);
  memcpy(wanted, outcome, sizeof wanted);
  long stride = made > dense ? 1 + (made - dense) / more : 1;
  if (getenv("DD_QUICK")) stride *= 8, dense = 8;
  if (getenv("DD_LONG")) stride = 1;
  harmless = 0;
  for (int all = 0; all < 2; all++)
    for (long n = 1; once(j, n, all) >= n;) n += n < dense ? 1 : stride;
  printf("%s: %ld allocations, %ld cases in %.1f s, %ld without harm\n", j->name, made, cases - before,
         __real_dd_now() - t0, harmless);
  dd_settings_destroy(j->s);
}

static dd_settings *reading(const char *const *more) {
  dd_settings *s = settings_of(more);
  set_path(s, "run", "done");
  return s;
}

static void train(void **state) {
  (void)state;
  sweep(&(job){.name = "train", .run = run_train, .from = "", .s = training("run", "")}, 60, 70);
}
static void resume(void **state) {
  (void)state;
  sweep(&(job){.name = "resume", .run = run_train, .from = "half", .s = training("run", "resume")}, 60, 70);
}
static void readers(void **state) {
  (void)state;
  static const char *const threads[] = {"threads", "1", "max_new_tokens", "20", NULL};
  static const char *const packed[] = {"threads", "2", "max_new_tokens", "20", "weights", "int8", NULL};
  sweep(&(job){.name = "eval", .run = run_eval, .s = reading(threads)}, 100, 200);
  sweep(&(job){.name = "sample", .run = run_sample, .s = reading(threads)}, 100, 200);
  sweep(&(job){.name = "sample int8, 2 threads", .run = run_sample, .s = reading(packed)}, 100, 100);
}
static void prepare(void **state) {
  (void)state;
  dd_settings *s = settings_of(NULL);
  set_path(s, "data", "text.txt");
  set_path(s, "out", "data");
  sweep(&(job){.name = "prepare", .run = run_prepare, .clean = "data", .s = s}, 200, 100);
}
static int run_export(const dd_settings *s, dd_error *err) {
  dd_export_result r;
  const int rc = dd_export(s, &listening, &r, err);
  if (!rc) snprintf(outcome, sizeof outcome, "%d files of %d bytes", (int)r.files, (int)r.bytes);
  return rc;
}
/* Models out, and in as the beginning of a run. */
static void models(void **state) {
  (void)state;
  static const char *const formats[] = {"hf", "nanogpt", "gguf"};
  static const char *const begin[] = {"done", "model-hf", "model-nanogpt/ckpt.pt"};
  char name[64];
  for (int i = 0; i < 3; i++) {
    dd_settings *s = settings_of((const char *const[]){"export_format", formats[i], "overwrite", "true", NULL});
    snprintf(name, sizeof name, "model-%s", formats[i]);
    set_path(s, "run", "done");
    set_path(s, "out", name);
    sweep(&(job){.name = name, .run = run_export, .s = s}, 150, 50);
  }
  for (int i = 0; i < 3; i++) {
    dd_settings *s = training("run", "");
    snprintf(name, sizeof name, "begin with %s", begin[i]);
    set_path(s, "init_from", begin[i]);
    s->eval_only = true;
    sweep(&(job){.name = name, .run = run_train, .s = s}, 300, 10);
  }
}
static dd_hasher *said; /* by run_inspect; not of the memory that fails */
static void on_inspect(void *user, const dd_inspect_record *r) {
  (void)user;
  dd_hasher_update(said, r->lines, strlen(r->lines));
}
static int run_inspect(const dd_settings *s, dd_error *err) {
  const dd_callbacks cb = {.inspect = on_inspect};
  armed = 0;
  said = dd_hasher_create();
  armed = 1;
  const int rc = dd_inspect(s, &cb, err);
  armed = 0;
  dd_hasher_hex(said, outcome);
  dd_hasher_destroy(said);
  armed = 1;
  return rc;
}
static void inspect(void **state) {
  (void)state;
  static const char *const files[] = {"done", "done/ckpt-0000004.safetensors", "done/metrics.jsonl", "text.txt"};
  for (int i = 0; i < 4; i++) {
    dd_settings *s = settings_of(NULL);
    char name[64];
    set_path(s, "files", files[i]);
    snprintf(name, sizeof name, "inspect %s", files[i]);
    sweep(&(job){.name = name, .run = run_inspect, .s = s}, 100, 100);
  }
}
static void configure(void **state) {
  (void)state;
  dd_settings *s = settings_of(NULL), *json = settings_of(NULL);
  set_path(s, "run", "config.py");
  sweep(&(job){.name = "config.py", .run = run_config, .s = s}, 1000, 1000);
  set_path(json, "run", "done/config.json");
  sweep(&(job){.name = "config.json", .run = run_config, .s = json}, 1000, 1000);
}
static void report(void **state) {
  (void)state;
  static const char *const forms[] = {"html", "md", "csv", "json"};
  for (int i = 0; i < 4; i++) {
    dd_settings *s = settings_of((const char *const[]){"format", forms[i], "out", "-", NULL});
    char name[32];
    set_path(s, "study", "done");
    snprintf(name, sizeof name, "report %s", forms[i]);
    sweep(&(job){.name = name, .run = run_report, .s = s}, 100, i ? 100 : 200);
  }
}
static void compare(void **state) {
  (void)state;
  dd_settings *s = settings_of(tiny_run);
  static const char *const more[] = {"schedules", "fixed,linear", "seeds", "1", "jobs", "2", "max_iters", "2"};
  dd_error err;
  s->set[DD_SETTING_schedule] = false;
  for (int i = 0; i < 8; i += 2) assert_int_equal(dd_settings_set(s, more[i], more[i + 1], &err), DD_OK);
  set_path(s, "data", "text.txt");
  set_path(s, "out", "study");
  sweep(&(job){.name = "compare", .run = run_compare, .clean = "study", .s = s}, 15, 25);
}

int main(void) {
  (void)get, (void)count_files;
  if (!make_root()) return 1;
  json_set_alloc_funcs(json_malloc, json_free);
  make_inputs();
  const struct CMUnitTest tests[] = {cmocka_unit_test(configure), cmocka_unit_test(prepare), cmocka_unit_test(readers),
                                     cmocka_unit_test(train),     cmocka_unit_test(resume),  cmocka_unit_test(report),
                                     cmocka_unit_test(compare),   cmocka_unit_test(inspect), cmocka_unit_test(models)};
  return run_group("jobs without memory", tests, sizeof tests / sizeof *tests);
}
