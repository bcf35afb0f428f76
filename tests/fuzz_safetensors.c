/* Fuzz target of the safetensors reader: no input may crash it, hang it, leak, or make it allocate far more than the
 * file has bytes; what it accepts must hold together.
 *   libFuzzer:  clang -DDD_LIBFUZZER -fsanitize=fuzzer,address,undefined ... fuzz_safetensors.c
 *   otherwise:  fuzz_safetensors [FILE...]  replays files; without arguments it makes a corpus from the test cases and
 *               a checkpoint of our own, and tries $DD_FUZZ_ROUNDS (50000) mutations of it, the same every time. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/checked.h"
#include "core/file.h"
#include "core/hash.h"
#include "mem_file.h"
#include "model/safetensors.h"
#include "st_cases.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static long accepted, refused;

static void demand(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "fuzz_safetensors: %s\n", what);
  abort();
}

static void use_tensor(dd_st *st, size_t i, uint64_t *at) {
  const dd_tensor_info *t = dd_st_at(st, i);
  dd_error err;
  uint64_t n = 0;
  demand(t->begin == *at && t->end >= t->begin && t->end <= mem_file.size, "offsets");
  demand(dd_tensor_bytes(t, &n) && n == t->end - t->begin, "shape");
  demand(dd_st_find(st, t->name) == t, "index");
  *at = t->end;
  void *dst = malloc((size_t)n + 1); /* at most the file */
  demand(dst != NULL, "memory");
  const int rc = dd_st_read(st, t, dst, (size_t)n, &err);
  demand(rc == DD_OK || (rc == DD_E_CORRUPT && !dd_st_is_foreign(st)), "status of a read");
  free(dst);
}

static int try_one(const uint8_t *data, size_t size) {
  dd_error err;
  dd_st *st;
  mem_file_use(data, size);
  const int rc = dd_st_open("fuzz", &st, &err);
  demand(rc == DD_OK || rc == DD_E_CORRUPT, "status");
  demand((rc == DD_OK) == (st != NULL), "object");
  if (rc == DD_OK) {
    uint64_t at = 0;
    const char *key;
    json_t *value;
    for (size_t i = 0; i < dd_st_count(st); i++) use_tensor(st, i, &at);
    demand(at < size, "data");
    json_object_foreach((json_t *)(uintptr_t)dd_st_metadata(st), key, value)
      demand(dd_st_meta(st, key) == json_string_value(value) && json_is_string(value), "metadata");
    const int verified = dd_st_verify(st, &err);
    demand(verified == DD_OK || verified == DD_E_CORRUPT, "status of verify");
    dd_st_close(st);
  }
  demand(mem_file.open == 0, "a descriptor is left open");
  (*(rc == DD_OK ? &accepted : &refused))++;
  return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char prefix[] = "{\"__metadata__\":{\"header_xxh3\":\"";
  const size_t digits = 8 + sizeof prefix - 1;
  try_one(data, size);
  /* behind the hash of the header: put the right one in, so that what follows is reached */
  if (size < digits + 32 || memcmp(data + 8, prefix, sizeof prefix - 1) != 0) return 0;
  uint64_t n = 0;
  for (int i = 0; i < 8; i++) n |= (uint64_t)data[i] << 8 * i;
  if (n > size - 8 || n + 8 < digits + 32) return 0;
  uint8_t *copy = malloc(size);
  char hex[33];
  demand(copy != NULL, "memory");
  memcpy(copy, data, size);
  memset(copy + digits, '0', 32);
  dd_hash_hex(copy, (size_t)n + 8, hex);
  memcpy(copy + digits, hex, 32);
  try_one(copy, size);
  free(copy);
  return 0;
}

#ifndef DD_LIBFUZZER
#define MAX_SEEDS 128
static struct {
  uint8_t *data;
  size_t size;
} seed[MAX_SEEDS];
static size_t seeds;

static void add_seed(const void *data, size_t size) {
  if (seeds == MAX_SEEDS) return;
  seed[seeds].data = malloc(size + 1);
  demand(seed[seeds].data != NULL, "memory");
  if (size) memcpy(seed[seeds].data, data, size);
  seed[seeds++].size = size;
}

static void add_case(const st_case *c) {
  const size_t len = strlen(c->json);
  uint8_t buf[4096] = {0};
  if (8 + len + c->n > sizeof buf) return;
  for (int i = 0; i < 8; i++) buf[i] = (uint8_t)((uint64_t)len >> 8 * i);
  memcpy(buf + 8, c->json, len);
  add_seed(buf, 8 + len + c->n);
}

/* Our own writer, through a temporary file. */
static int add_own(void) {
  const float x[12] = {1, 2, 3};
  const dd_tensor_info t[3] = {{.name = "a", .dtype = DD_F32, .ndim = 2, .shape = {3, 4}, .data = x},
                               {.name = "none", .dtype = DD_U8, .ndim = 1, .shape = {0}},
                               {.name = "b", .dtype = DD_F64, .ndim = 0, .data = x}};
  const char *tmp = getenv("TMPDIR");
  char path[300];
  dd_error err = {.message = "no temporary file"};
  json_t *meta = json_pack("{s:s}", "key", "value");
  snprintf(path, sizeof path, "%s/dd-fuzz-XXXXXX", tmp && *tmp && strlen(tmp) < 200 ? tmp : "/tmp");
  const int fd = mkstemp(path);
  char *data = NULL;
  size_t size = 0;
  int rc = fd < 0 ? DD_E_IO : DD_OK;
  if (fd >= 0) close(fd);
  if (rc == DD_OK) rc = dd_st_write(path, t, 3, meta, &err);
  if (rc == DD_OK) rc = dd_file_read_all(path, 1 << 20, &data, &size, &err);
  for (int i = 0; rc == DD_OK && i < 20; i++) add_seed(data, size); /* as often as all the others matter */
  if (fd >= 0) unlink(path);
  free(data);
  json_decref(meta);
  if (rc != DD_OK) fprintf(stderr, "fuzz_safetensors: %s\n", err.message);
  return rc;
}

static uint64_t random_state = 20180612;
static size_t below(size_t n) { /* xorshift64*: the same everywhere */
  random_state ^= random_state >> 12, random_state ^= random_state << 25, random_state ^= random_state >> 27;
  return n ? (size_t)((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % n : 0;
}

static const char *const words[] = {"\"", "{", "}", "[", "]", ",", ":", "0", "-1", "1e9", "18446744073709551615",
                                    "null",
                                    "9223372036854775807", "4294967296", "\"F32\"", "\"U8\"", "\"shape\"",
                                    "\"dtype\"", "\"data_offsets\"", "\"__metadata__\":{}", "\"tensors_xxh3\"",
                                    "\"header_xxh3\"", "\\u0000", "\\ud800", "\xff", " ", "[0,0]", "{}"};

/* One change of buf; returns the new size. cap leaves room for the longest word. */
static size_t mutate(uint8_t *buf, size_t size, size_t cap) {
  const size_t at = below(size + 1);
  switch (below(7)) {
  case 0:
    if (at < size) buf[at] ^= (uint8_t)(1u << below(8));
    break;
  case 1:
    if (at < size) buf[at] = (uint8_t)below(256);
    break;
  case 2: { /* cut a piece out */
    const size_t n = below(size - at + 1) % 24;
    memmove(buf + at, buf + at + n, size - at - n);
    return size - n;
  }
  case 3: { /* put a word in, and let the header length follow */
    const char *w = words[below(sizeof words / sizeof *words)];
    const size_t n = strlen(w);
    if (size + n > cap || at < 8) break;
    memmove(buf + at + n, buf + at, size - at);
    memcpy(buf + at, w, n);
    if (buf[0] + n < 256) buf[0] = (uint8_t)(buf[0] + n);
    return size + n;
  }
  case 4: { /* write a word over */
    const char *w = words[below(sizeof words / sizeof *words)];
    const size_t n = strlen(w);
    if (at + n <= size) memcpy(buf + at, w, n);
    break;
  }
  case 5: /* another digit for a digit */
    for (size_t i = at; i < size; i++)
      if (buf[i] >= '0' && buf[i] <= '9') {
        buf[i] = (uint8_t)('0' + below(10));
        break;
      }
    break;
  default:
    if (below(4) == 0) return at;
    if (size > 0) buf[below(size < 8 ? size : 8)] += (uint8_t)(below(2) ? 1 : 255);
  }
  return size;
}

static int replay(const char *path) {
  char *data;
  size_t size;
  dd_error err;
  dd_fs_replace(NULL);
  if (dd_file_read_all(path, (size_t)1 << 31, &data, &size, &err) != DD_OK) {
    fprintf(stderr, "fuzz_safetensors: %s\n", err.message);
    return 1;
  }
  LLVMFuzzerTestOneInput((const uint8_t *)data, size);
  free(data);
  return 0;
}

int main(int argc, char **argv) {
  int failed = 0;
  for (int i = 1; i < argc; i++) failed |= replay(argv[i]);
  if (argc == 1) {
    const char *text = getenv("DD_FUZZ_ROUNDS");
    const long rounds = text ? atol(text) : 50000;
    uint8_t buf[4096 + 64];
    for (size_t i = 0; i < GOOD_CASES; i++) add_case(&good_cases[i]);
    for (size_t i = 0; i < BAD_CASES; i++) add_case(&bad_cases[i]);
    if (add_own() != DD_OK) return 1;
    for (size_t i = 0; i < seeds; i++) LLVMFuzzerTestOneInput(seed[i].data, seed[i].size);
    for (long r = 0; r < rounds; r++) {
      const size_t s = below(seeds);
      size_t size = seed[s].size;
      memcpy(buf, seed[s].data, size);
      for (size_t k = 1 + below(4); k > 0; k--) size = mutate(buf, size, 4096);
      uint8_t *exact = malloc(size + !size); /* so that a read beyond it is found by ASan */
      demand(exact != NULL, "memory");
      memcpy(exact, buf, size);
      LLVMFuzzerTestOneInput(exact, size);
      free(exact);
    }
    while (seeds > 0) free(seed[--seeds].data);
  }
  printf("fuzz_safetensors: %ld inputs accepted, %ld refused\n", accepted, refused);
  return failed;
}
#endif
