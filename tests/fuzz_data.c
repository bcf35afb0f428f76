/* Fuzz target of training data: meta.json, train.bin and val.bin of a data directory; the same bytes as a text under
 * both tokenizers, encoded and decoded again. Ids that are accepted are below the size of the vocabulary. */
#include "fuzz_common.h"
#include "run/dataset.h"

static void check_ids(const uint16_t *ids, int64_t n, int size) {
  for (int64_t i = 0; i < n; i++) demand(ids[i] < size, "an id beyond the vocabulary");
}

static int directory(const uint8_t *data, size_t size) {
  dd_error err = {.message = ""};
  dd_dataset *d = NULL;
  mem_use((const char *const[]){"/m/data/meta.json", "/m/data/train.bin", "/m/data/val.bin", NULL}, data, size);
  const int rc = dd_dataset_open(&d, "/m/data", NULL, NULL, &err);
  demand(rc == DD_OK || rc == DD_E_CORRUPT || rc == DD_E_IO, "status");
  demand((rc == DD_OK) == (d != NULL), "object");
  if (!rc) {
    check_ids(d->train, d->n_train, d->vocab_size);
    check_ids(d->val, d->n_val, d->vocab_size);
  }
  dd_dataset_close(d);
  mem_done();
  return rc;
}

static int text(const uint8_t *data, size_t size, const char *tokenizer) {
  dd_error err = {.message = ""};
  dd_dataset *d = NULL;
  mem_use((const char *const[]){"/m/text", NULL}, data, size);
  int rc = dd_dataset_open(&d, "/m/text", tokenizer, NULL, &err);
  demand(rc == DD_OK || rc == DD_E_CORRUPT || rc == DD_E_USAGE, "status");
  if (!rc) {
    size_t at = 0;
    check_ids(d->train, d->n_train + d->n_val, d->vocab_size);
    for (int64_t i = 0; i < d->n_train + d->n_val; i++) {
      char scratch[8];
      size_t n;
      const char *out = dd_vocab_decode(&d->vocab, d->train[i], scratch, &n);
      demand(n > 0 && at + n <= size && !memcmp(out, data + at, n), "text does not come back");
      at += n;
    }
    demand(at == size, "text is cut");
    json_t *o = json_object();
    dd_vocab again = {0};
    demand(o && !dd_vocab_to_json(&d->vocab, o, &err) && !dd_vocab_from_json(&again, o, "x", &err), "vocabulary");
    demand(dd_vocab_equal(&again, &d->vocab), "another vocabulary");
    dd_vocab_free(&again);
    json_decref(o);
  }
  dd_dataset_close(d);
  mem_done();
  return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_name = "fuzz_data";
  const int rc = directory(data, size);
  if (size > 0) {
    text(data, size, "char");
    text(data, size, "byte");
  }
  *(rc ? &refused : &accepted) += 1;
  return 0;
}

#ifndef DD_LIBFUZZER
static const char binary[] =
    "{\"tokenizer\":\"number\",\"vocab_size\":300,\"source\":{\"bytes\":12}}\n%%\n\1\0\2\0\1\1\7\0\n%%\n\1\0\2\0";
static const fuzz_seed seeds[] = {
    {binary, sizeof binary - 1},
    {"{\"tokenizer\":\"char\",\"vocab_size\":3,\"vocabulary\":[10,97,233]}\n%%\n\1\0\0\0\n%%\n\2\0\1\0", 68},
    {"{\"tokenizer\":\"byte\",\"vocab_size\":256,\"hash\":\"00\"}\n%%\nabcdef\n%%\nabcd", 0},
    {"A text of \xc3\xa9 and \xe2\x82\xac and \xf0\x9f\x98\x80, long enough to be split into two parts.\n", 0}};
static const char *const words[] = {"\n%%\n",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    ",",
                                    "\"vocab_size\":",
                                    "\"tokenizer\":",
                                    "\"char\"",
                                    "\"byte\"",
                                    "\"number\"",
                                    "\"vocabulary\":[",
                                    "65535",
                                    "65536",
                                    "1114111",
                                    "55296",
                                    "\xff\xff",
                                    "\xc3",
                                    "\xed\xa0\x80",
                                    "\xf4\x90\x80\x80",
                                    "\"hash\":\"",
                                    "e3",
                                    ".0"};
FUZZ_MAIN("fuzz_data", 3000)
#endif
