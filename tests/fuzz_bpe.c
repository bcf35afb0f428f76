/* Fuzz target of vocabularies: merges alone, merges with vocab.json, tokenizer.json, a file of ranks. What is accepted
 * encodes every byte and gives it back, and survives being stored. */
#include "fuzz_common.h"
#include "bpe_files.h"

static void round_trip(const dd_bpe *b, const uint8_t *data, size_t size) {
  static uint16_t ids[70000];
  if (size > 65536) size = 65536;
  dd_bpe_encoder *e = dd_bpe_encoder_create(b);
  demand(e != NULL, "memory");
  const int64_t n = dd_bpe_encode(e, (const char *)data, size, ids);
  size_t at = 0, length;
  for (int64_t i = 0; i < n; i++, at += length) {
    const char *token = dd_bpe_token(b, ids[i], &length);
    demand(length > 0 && at + length <= size && !memcmp(token, data + at, length), "text does not come back");
  }
  demand(at == size, "text is cut");
  dd_bpe_encoder_destroy(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const forms[][3] = {{"/m/v/merges.txt", "/m/v/vocab.json"}, {"/m/v/x.tiktoken"},
                                         {"/m/v/tokenizer.json"}, {"/m/v/vocab.bpe"}};
  fuzz_name = "fuzz_bpe";
  int good = 0;
  for (int i = 0; i < 4; i++) {
    dd_error err = {.message = ""};
    dd_bpe *b = NULL, *again = NULL;
    mem_use((const char *const[]){forms[i][0], forms[i][1], NULL}, data, size);
    const int rc = dd_bpe_load(&b, i == 0 ? "/m/v" : forms[i][0], &err);
    demand(rc == DD_OK || rc == DD_E_CORRUPT || rc == DD_E_IO, "status");
    demand((rc == DD_OK) == (b != NULL), "object");
    if (b) {
      round_trip(b, data, size);
      json_t *o = json_object();
      demand(o && !dd_bpe_to_json(b, o, &err) && !dd_bpe_from_json(&again, o, "x", &err), "storing");
      demand(!strcmp(dd_bpe_hash(b), dd_bpe_hash(again)), "another vocabulary");
      round_trip(again, data, size);
      json_decref(o);
      good = 1;
    }
    dd_bpe_release(again);
    dd_bpe_release(b);
    mem_done();
  }
  *(good ? &accepted : &refused) += 1;
  return 0;
}

#ifndef DD_LIBFUZZER
static char pair_seed[16384], json_seed[16384], rank_seed[16384];
static fuzz_seed seeds[] = {{merges_text, sizeof merges_text - 1}, {pair_seed, 0}, {json_seed, 0}, {rank_seed, 0}};
__attribute__((constructor)) static void make_seeds(void) {
  seeds[1].size = (size_t)(vocab_json(pair_seed + sprintf(pair_seed, "%s\n%%%%\n", merges_text)) - pair_seed);
  seeds[2].size = (size_t)(tokenizer_json(json_seed, 0) - json_seed);
  seeds[3].size = (size_t)(rank_lines(rank_seed) - rank_seed);
}
static const char *const words[] = {"\n%%\n", " ", "\n", "a a\n", "aa a\n", "aa aa\n", "#version", "IQ== 0\n",
                                    "QUE= 300\n",
                                    "\"ignore_merges\":true,", "\"merges\":[", "[\"a\",\"a\"],", "65534", "65535", "-1",
                                    "\"added_tokens\":[", "null", "\xc4\xa0", "\xc4\x80", "\xff", "\r\n",
                                    ":9999999999,",
                                    "\"a\\u0000\":1,"};
FUZZ_MAIN("fuzz_bpe", 12000)
#endif
