/* Fuzz target of pickles: read within the limits or refused with a sentence, every value reachable and sound; as
 * meta.pkl a vocabulary of at most 65,535 different characters or numbers. */
#include "formats/pickle.h"
#include "fuzz_common.h"
#include "pickle_cases.h"
#include "run/token_dir.h"

/* Lists may hold themselves: not deeper than this. */
static void walk(const dd_pickle_value *v, const uint8_t *data, size_t size, int depth, long *left) {
  demand(v->kind >= DD_PICKLE_NONE && v->kind <= DD_PICKLE_DICT, "kind");
  if ((v->kind == DD_PICKLE_TEXT || v->kind == DD_PICKLE_DATA) && v->size)
    demand(v->size <= 2 * size && memchr(v->text, v->text[v->size - 1], v->size), "text");
  demand(v->kind != DD_PICKLE_DICT || v->count % 2 == 0, "a key without a value");
  for (size_t i = 0; i < v->count && depth < 6 && --*left > 0; i++) walk(v->item[i], data, size, depth + 1, left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  dd_pickle *p;
  dd_error err = {.message = ""};
  long left = 10000;
  fuzz_name = "fuzz_pickle";
  const int rc = dd_pickle_parse((const char *)data, size, "x.pkl", &p, &err);
  demand(rc == DD_OK || rc == DD_E_CORRUPT, "status");
  demand((rc == DD_OK) == (p != NULL) && (!rc || strlen(err.message) > 20), "object");
  if (p) walk(dd_pickle_root(p), data, size, 0, &left);
  dd_pickle_free(p);
  mem_use((const char *const[]){"/m/meta.pkl", NULL}, data, size);
  dd_vocab v;
  const int as_meta = dd_meta_pkl_read(&v, "/m/meta.pkl", NULL, &err);
  demand(as_meta == DD_OK || as_meta == DD_E_CORRUPT, "status of meta.pkl");
  demand(!rc || as_meta, "damaged, but used");
  const int sound = v.size > 0 && v.size <= DD_VOCAB_MAX && (v.kind == DD_VOCAB_CHAR) == (v.code != NULL);
  demand(as_meta || sound, "vocabulary");
  dd_vocab_free(&v);
  mem_done();
  *(rc ? &refused : &accepted) += 1;
  return 0;
}

#ifndef DD_LIBFUZZER
static fuzz_seed seeds[12];
static const char *const words[] = {
    "(", "}", "]", ")", "u", "s", "e", "a", "t", "d", "l", "h\1", "q\1", "\x94", "0", "1", "2", "K\1", "M\377\377",
    "J\377\377\377\377", "X\1\1", "\x8c\1a", "\x8a\1\377", "G@", "Vab\n", "I01\n", "p1\n", "g1\n", "\x95", "cos\n",
    "R", "\x85", "\x88", "N.", ".", "\x80\4", "\xff\xff\xff"};
static void fill_seeds(void) __attribute__((constructor));
static void fill_seeds(void) {
  for (int k = 0; k < 6; k++) {
    seeds[k] = (fuzz_seed){pickled_meta[k].data, pickled_meta[k].size};
    seeds[6 + k] = (fuzz_seed){pickled_every[k].data, pickled_every[k].size};
  }
}
FUZZ_MAIN("fuzz_pickle", 400000)
#endif
