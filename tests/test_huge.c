/* Files that declare huge values: every integer field of every format set to twelve values at the edges of 32 and 64
 * bits. None crashes a loader or makes it allocate for what the file does not hold: peak memory of all cases together
 * grows by less than 64 MB. */
#define DD_LIBFUZZER /* no mutations here */
#include "fuzz_common.h"
#include "model/safetensors.h"
#include "run/dataset.h"
#include "run/settings.h"
#include "study/load.h"
#include <sys/resource.h>

static const char *const values[] = {"0",
                                     "1",
                                     "-1",
                                     "65536",
                                     "2147483647",
                                     "2147483648",
                                     "4294967295",
                                     "4294967296",
                                     "9007199254740993",
                                     "9223372036854775807",
                                     "9223372036854775808",
                                     "18446744073709551615",
                                     "4611686018427387905" /* times 4 is 4 */,
                                     "1e300"};
enum { VALUES = sizeof values / sizeof *values };
static long cases, fine;

static void count(int rc) {
  demand(rc == DD_OK || rc == DD_E_CORRUPT || rc == DD_E_USAGE || rc == DD_E_IO, "status");
  cases++;
  fine += rc == DD_OK;
}

static void tensors(const uint8_t *data, size_t size) {
  dd_error err;
  dd_st *st;
  mem_use((const char *const[]){"/m/c", NULL}, data, size);
  const int rc = dd_st_open("/m/c", &st, &err);
  if (!rc) dd_st_verify(st, &err);
  dd_st_close(st);
  count(rc);
}
/* The text is a header: its length goes before it, 16 bytes of data behind. */
static void safetensors(const char *text, size_t n) {
  uint8_t file[4096] = {(uint8_t)n, (uint8_t)(n >> 8)};
  memcpy(file + 8, text, n);
  tensors(file, 8 + n + 16);
}
static void header_length(const char *text, size_t n) {
  (void)n;
  uint8_t file[64] = "????????{\"a\":{\"dtype\":\"U8\",\"shape\":[16],\"data_offsets\":[0,16]}}";
  uint64_t v = strtoull(text, NULL, 10);
  for (int i = 0; i < 8; i++) file[i] = (uint8_t)(v >> 8 * i);
  tensors(file, sizeof file);
}
static void meta(const char *text, size_t n) {
  dd_error err;
  dd_dataset *d;
  char all[4096];
  memcpy(all, text, n);
  memcpy(all + n, "\n%%\n\1\0\2\0\1\0\n%%\n\1\0\2\0", 18);
  mem_use((const char *const[]){"/m/meta.json", "/m/train.bin", "/m/val.bin", NULL}, (const uint8_t *)all, n + 18);
  count(dd_dataset_open(&d, "/m", NULL, NULL, &err));
  dd_dataset_close(d);
}
static void config(const char *text, size_t n) {
  dd_error err;
  mem_use((const char *const[]){"/m/config", NULL}, (const uint8_t *)text, n);
  dd_settings *s = dd_settings_create();
  int rc = dd_settings_load(s, "/m/config", &err);
  if (!rc) rc = dd_settings_check(s, &err);
  count(rc);
  dd_settings_destroy(s);
}
static void study_of(const char *const *paths, const char *text, size_t n) {
  dd_error err;
  dd_study st;
  const char *dir = "/m";
  mem_use(paths, (const uint8_t *)text, n);
  count(dd_study_load(&dir, 1, NULL, &st, &err));
  dd_study_free(&st);
}
static void metrics(const char *text, size_t n) {
  study_of((const char *const[]){"/m/metrics.jsonl", "/m/config.json", NULL}, text, n);
}
static void plan(const char *text, size_t n) { study_of((const char *const[]){"/m/compare.json", NULL}, text, n); }

/* '@' stands for the value; each text has its fields in turn. */
#define RUN_CONFIG(iters, numerics, threads)                                                                           \
  "\n%%\n{\"numerics_version\":" numerics ",\"settings\":{\"max_iters\":" iters                                        \
  "},\"data\":{\"name\":\"t\",\"hash\":\"ab\"},"                                                                       \
  "\"machine\":{\"threads\":" threads "}}"
#define LINE(type, iter)                                                                                               \
  "{\"type\":\"" type "\",\"iter\":" iter ",\"loss\":1,\"dropout\":0,\"ms_per_iter\":1,\"elapsed_s\":1}\n"
static const struct {
  void (*load)(const char *, size_t);
  const char *text;
} formats[] = {
    {header_length, "@"},
    {safetensors, "{\"a\":{\"dtype\":\"F32\",\"shape\":[@],\"data_offsets\":[0,16]}}"},
    {safetensors, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,@],\"data_offsets\":[0,16]}}"},
    {safetensors, "{\"a\":{\"dtype\":\"F32\",\"shape\":[@,@,@,@],\"data_offsets\":[0,16]}}"},
    {safetensors, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[@,16]}}"},
    {safetensors, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,@]}}"},
    {safetensors, "{\"a\":{\"dtype\":\"U8\",\"shape\":[@],\"data_offsets\":[0,@]}}"},
    {meta, "{\"tokenizer\":\"number\",\"vocab_size\":@}"},
    {meta, "{\"tokenizer\":\"char\",\"vocab_size\":@,\"vocabulary\":[1,2,3]}"},
    {meta, "{\"tokenizer\":\"char\",\"vocab_size\":3,\"vocabulary\":[1,2,@]}"},
    {meta, "{\"tokenizer\":\"byte\",\"vocab_size\":256,\"source\":{\"bytes\":@}}"},
    {config, "n_layer = @\n"},
    {config, "n_embd = @\nn_head = @\n"},
    {config, "block_size = @ * @\n"},
    {config, "{\"batch_size\": @, \"max_iters\": @}"},
    {config, "seed = @\n"},
    {metrics, LINE("step", "@") RUN_CONFIG("10", "1", "1")},
    {metrics, LINE("step", "1") LINE("step", "@") LINE("diverged", "@") RUN_CONFIG("4000000000", "1", "1")},
    {metrics, LINE("step", "1") RUN_CONFIG("@", "1", "1")},
    {metrics, LINE("step", "1") RUN_CONFIG("10", "@", "1")},
    {metrics, LINE("step", "1") RUN_CONFIG("10", "1", "@")},
    {plan, "{\"cells\":[{\"name\":\"a\",\"settings\":{\"n_layer\":@,\"seed\":\"@\"}}],\"settings\":{\"max_iters\":@}}"},
};

static long peak_kb(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_maxrss;
}

int main(void) {
  fuzz_name = "test_huge";
  (void)accepted, (void)refused;
  char text[2048];
  const long before = peak_kb();
  for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
    for (int v = 0; v < VALUES; v++) {
      size_t n = 0;
      for (const char *p = formats[f].text; *p; p++)
        if (*p == '@') n += (size_t)snprintf(text + n, sizeof text - n, "%s", values[v]);
        else text[n++] = *p;
      text[n] = '\0';
      formats[f].load(text, n);
      mem_done();
    }
  const long grown = peak_kb() - before;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  const int enough = 1; /* their own memory is not ours */
#else
  const int enough = grown < 64 * 1024;
#endif
  printf("%ld cases, %ld accepted, peak memory grew by %.1f MB\n%d passed, %d failed\n", cases, fine,
         (double)grown / 1024, enough && fine, !(enough && fine));
  return !(enough && fine);
}
