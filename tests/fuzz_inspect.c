/* Fuzz target of `dd-cpu inspect`: the same bytes under names of every kind are described, or refused with a sentence.
 * What is said has no control characters but line feeds, and is JSON. */
#include "fuzz_common.h"
#include "pickle_cases.h"
#include "run/settings.h"
#include <jansson.h>

static int told;

static void on_inspect(void *user, const dd_inspect_record *r) {
  (void)user;
  told++;
  for (const unsigned char *c = (const unsigned char *)r->lines; *c; c++) {
    demand(*c >= 32 || *c == '\n', "a control character");
    demand(*c != 127 && !(*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0), "a control character");
  }
  json_t *o = json_loads(r->json, JSON_ALLOW_NUL, NULL);
  demand(json_is_object(o) && json_object_size(o), "no JSON");
  json_decref(o);
}

static int inspect(const char *path, const uint8_t *data, size_t size) {
  const dd_callbacks cb = {.inspect = on_inspect};
  dd_error err = {.message = ""};
  dd_settings *s = dd_settings_create();
  demand(s && !dd_settings_set(s, "files", path, NULL), "settings");
  mem_use((const char *const[]){path, NULL}, data, size);
  const int before = told, rc = dd_inspect(s, &cb, &err);
  demand(rc == DD_OK || rc == DD_E_CORRUPT || rc == DD_E_USAGE, "status");
  demand((rc == DD_OK) == (told == before + 1), "not told");
  demand(!rc || strlen(err.message) > 10, "no sentence");
  mem_done();
  dd_settings_destroy(s);
  return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_name = "fuzz_inspect";
  static const char *const names[] = {"/m/x",         "/m/x.bin",   "/m/config.json",
                                      "/m/meta.json", "/m/x.jsonl", "/m/meta.pkl"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    *(inspect(names[i], data, size) ? &refused : &accepted) += 1;
  return 0;
}

#ifndef DD_LIBFUZZER
#define NPY "\x93NUMPY\1\0\x47\0{'descr': '<u2', 'fortran_order': False, 'shape': (2,), }             \n\1\0\2\0"
#define ST                                                                                                             \
  "\x4e\0\0\0\0\0\0\0{\"__metadata__\":{\"a\":\"b\"},\"w\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}ab"
static fuzz_seed seeds[] = {
    {NPY, sizeof NPY - 1},
    {ST, sizeof ST - 1},
    {"{\"program\": \"dd-cpu\", \"version\": \"1\", \"settings\": {\"preset\": \"tiny\", \"n_layer\": 3}, "
     "\"data\": {\"name\": \"x\"}}",
     0},
    {"{\"vocab_size\": 3, \"tokenizer\": \"char\", \"vocabulary\": [10, 97, 233], \"hash\": \"00\"}", 0},
    {"{\"type\":\"config\",\"version\":\"0\"}\n{\"type\":\"step\",\"iter\":0,\"loss\":4.2}\n"
     "{\"type\":\"eval\",\"iter\":0,\"val_loss\":4.1,\"best_iter\":0}\n", 0},
    {"A text of \xc3\xa9 and \xe2\x82\xac.\n", 0},
    {"\1\0\2\0", 4},
    {"\x80\4\x8c\3a\0b\x94.", 9}, /* a text that holds a NUL */
    {NULL, 0}};
static const char *const words[] = {
    "{", "}", "[", "]", ",", ":", "\"", "\\u0007", "\\u009b", "\x1b[2J", "\n", "null", "1e999", "\"settings\":",
    "\"dd-cpu\"", "\"vocab_size\":", "\"type\":", "\"iter\":", "\xc2\x9b", "\x80\4", "K\1", "u.", "'shape'", "<u4",
    "PK\3\4", "\xff"};
static void fill_seeds(void) __attribute__((constructor));
static void fill_seeds(void) {
  seeds[sizeof seeds / sizeof *seeds - 1] = (fuzz_seed){pickled_every[4].data, pickled_every[4].size};
}
FUZZ_MAIN("fuzz_inspect", 3000)
#endif
