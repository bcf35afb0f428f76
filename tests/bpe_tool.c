/* The tokenizer for tests/interop/bpe_test.py:
 *   bpe_tool encode VOCABULARY < text > ids (uint16, little-endian)
 *   bpe_tool decode VOCABULARY < ids > text
 *   bpe_tool words < text > lengths of the words (decimal, one a line)
 * and its speed on one thread, best of 5 rounds with a fresh cache in each:
 *   bpe_tool time VOCABULARY < text */
#include "core/machine.h"
#include "formats/bpe.h"
#include "formats/pretokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *why) {
  fprintf(stderr, "bpe_tool: %s\n", why);
  return 1;
}

static char *read_all(size_t *n) {
  size_t room = 1 << 20, got;
  char *text = malloc(room);
  for (*n = 0; text && (got = fread(text + *n, 1, room - *n, stdin)) > 0;)
    if ((*n += got) == room) text = realloc(text, room *= 2);
  return text;
}

static int encode(const dd_bpe *b, const char *text, size_t n) {
  uint16_t *ids = malloc((n + 1) * sizeof *ids);
  dd_bpe_encoder *e = dd_bpe_encoder_create(b);
  const int64_t made = ids && e ? dd_bpe_encode(e, text, n, ids) : -1;
  for (int64_t i = 0; i < made; i++) putchar(ids[i] & 255), putchar(ids[i] >> 8);
  dd_bpe_encoder_destroy(e);
  free(ids);
  return made < 0 ? fail("out of memory") : 0;
}

static int decode(const dd_bpe *b, const char *ids, size_t n) {
  for (size_t i = 0; i + 1 < n; i += 2) {
    size_t length;
    const char *text = dd_bpe_token(b, (unsigned char)ids[i] | (unsigned char)ids[i + 1] << 8, &length);
    fwrite(text, 1, length, stdout);
  }
  return 0;
}

static int words(const char *text, size_t n) {
  for (size_t i = 0, length; i < n; i += length) printf("%zu\n", length = dd_word_length(text + i, n - i));
  return 0;
}

static int time_it(const dd_bpe *b, const char *text, size_t n) {
  uint16_t *ids = malloc((n + 1) * sizeof *ids);
  double best = 1e9;
  int64_t made = 0;
  for (int i = 0; i < 5 && ids && made >= 0; i++) {
    const double since = dd_now();
    dd_bpe_encoder *e = dd_bpe_encoder_create(b);
    made = e ? dd_bpe_encode(e, text, n, ids) : -1;
    dd_bpe_encoder_destroy(e);
    const double seconds = dd_now() - since;
    best = seconds < best ? seconds : best;
  }
  free(ids);
  if (!ids || made < 0) return fail("out of memory");
  printf("%zu bytes, %lld tokens, %.1f MB/s\n", n, (long long)made, (double)n / best / 1e6);
  return 0;
}

int main(int argc, char **argv) {
  dd_error err;
  dd_bpe *b = NULL;
  size_t n;
  if (argc < 2 || argc != (strcmp(argv[1], "words") ? 3 : 2)) return fail("encode|decode|time VOCABULARY, or words");
  char *input = read_all(&n);
  if (!input) return fail("out of memory");
  if (argc == 3 && dd_bpe_load(&b, argv[2], &err)) return fail(err.message);
  const int rc = argv[1][0] == 'w'   ? words(input, n)
                 : argv[1][0] == 't' ? time_it(b, input, n)
                 : argv[1][0] == 'e' ? encode(b, input, n)
                                     : decode(b, input, n);
  dd_bpe_release(b);
  free(input);
  return fflush(stdout) ? fail("cannot write") : rc;
}
