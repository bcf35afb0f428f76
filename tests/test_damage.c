/* A real checkpoint, damaged: every byte of its header changed four ways, cut off near every edge, lengthened, one bit
 * flipped in every 4 KB of its tensors and at both ends of each. Resume and verify open it by the calls made here, and
 * each time it must be refused with a sentence; a few go through the whole of both. */
#include "run_fixture.h"
#include "mem_file.h"
#include "model/safetensors.h"
#include "run/checkpoint.h"
#include "run/rundir.h"

static unsigned char *image; /* of the checkpoint */
static size_t size, header;  /* bytes of the file; of it before the tensors */
static long cases;

/* DD_OK only when the file would be trained from. */
static int load(const void *data, size_t n, dd_error *err) {
  dd_checkpoint *c;
  mem_file_use(data, n);
  int rc = dd_checkpoint_open("ckpt", &c, err);
  if (!rc) rc = dd_checkpoint_verify(c, err);
  dd_checkpoint_close(c);
  assert_int_equal(mem_file.open, 0);
  dd_fs_replace(NULL);
  cases++;
  return rc;
}

static void refuse(const void *data, size_t n, const char *what, size_t where) {
  dd_error err = {.message = ""};
  const int rc = load(data, n, &err);
  if (rc == DD_OK) fail_msg("accepted with %s %zu", what, where);
  if (rc != DD_E_CORRUPT || strlen(err.message) < 10 || !strstr(err.message, "ckpt"))
    fail_msg("%s %zu: status %d, \"%s\"", what, where, rc, err.message);
}

static void test_whole(void **state) {
  (void)state;
  dd_error err;
  if (load(image, size, &err)) fail_msg("%s", err.message);
}

static void test_header_bytes(void **state) {
  (void)state;
  for (size_t i = 0; i < header; i++) {
    const unsigned char was = image[i], ways[4] = {was ^ 1, was ^ 0x80, 0, 0xff};
    for (int w = 0; w < 4; w++) {
      if (ways[w] == was) continue; /* six bytes of the length are 0 */
      image[i] = ways[w];
      refuse(image, size, "a changed header byte at", i);
    }
    image[i] = was;
  }
}

/* Where tensors begin and end in the file. */
static void list_edges(size_t edge[64], size_t *n) {
  dd_st *st;
  mem_file_use(image, size);
  assert_int_equal(dd_st_open("ckpt", &st, NULL), DD_OK);
  *n = dd_st_count(st) + 1;
  assert_true(*n <= 64);
  edge[0] = header;
  for (size_t i = 1; i < *n; i++) edge[i] = header + (size_t)dd_st_at(st, i - 1)->end;
  dd_st_close(st);
  dd_fs_replace(NULL);
}

static void test_lengths(void **state) {
  (void)state;
  unsigned char *longer = calloc(1, size + 4096);
  assert_non_null(longer);
  memcpy(longer, image, size);
  for (size_t n = 0; n <= header + 64; n++) refuse(image, n, "only bytes to", n);
  size_t n_edges, edge[64];
  list_edges(edge, &n_edges);
  for (size_t i = 1; i < n_edges; i++) /* every edge between tensors, and one byte to both sides */
    for (size_t n = edge[i] - 1; n <= edge[i] + 1 && n < size; n++) refuse(image, n, "only bytes to", n);
  const size_t more[] = {1, 7, 8, 63, 64, 512, 4095, 4096};
  for (size_t i = 0; i < sizeof more / sizeof *more; i++) refuse(longer, size + more[i], "bytes appended:", more[i]);
  memset(longer + size, 'x', 4096);
  for (size_t i = 0; i < sizeof more / sizeof *more; i++) refuse(longer, size + more[i], "bytes appended:", more[i]);
  free(longer);
}

static void flip(size_t at, int bit) {
  image[at] ^= (unsigned char)(1 << bit);
  refuse(image, size, "a flipped bit in byte", at);
  image[at] ^= (unsigned char)(1 << bit);
}

static void test_payload_bits(void **state) {
  (void)state;
  uint32_t s = 7;
  const size_t step = getenv("DD_QUICK") ? 4096 : getenv("DD_LONG") ? 16 : 512;
  for (size_t at = header; at < size; at += step) {
    const size_t block = size - at < step ? size - at : step;
    s = s * 1664525u + 1013904223u;
    flip(at + (s >> 8) % block, (int)(s >> 29));
  }
  size_t n, edge[64];
  list_edges(edge, &n);
  for (size_t i = 0; i < n; i++) {
    if (i + 1 < n) flip(edge[i], 0);
    if (i) flip(edge[i] - 1, 7);
  }
}

/* The newest checkpoint is damaged: the run goes on from the one before, with a warning, and with strict it stops. */
static void test_resume(void **state) {
  (void)state;
  char whole[33], hex[33], path[700];
  dd_error err;
  if (train(at("whole"), 0, whole, &err, NULL)) fail_msg("%s", err.message);
  const char *const files[] = {"ckpt-0000010.safetensors", "ckpt-0000020.safetensors", "ckpt-0000030.safetensors",
                               "config.json", "metrics.jsonl"};
  for (int way = 0; way < 6; way++) {
    remove_tree(at("hurt"));
    assert_int_equal(mkdir(at("hurt"), 0755), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
      snprintf(path, sizeof path, "whole/%s", files[i]);
      char *from = strdup(at(path));
      snprintf(path, sizeof path, "hurt/%s", files[i]);
      copy_file(from, at(path));
      free(from);
    }
    size_t n;
    char *data = slurp(at("hurt/ckpt-0000030.safetensors"), &n);
    if (way == 0) data[n - 5] ^= 4;
    if (way == 1) data[100] ^= 4;
    if (way == 2) n -= 1;
    if (way == 3) n = 0;
    if (way == 4) memset(data + n / 2, 0, n - n / 2);
    if (way < 5) put(at("hurt/ckpt-0000030.safetensors"), data, n);
    free(data);
    if (way == 5) { /* of another run: named by nobody's mistake, but not ours */
      char other[33];
      if (train(at("other"), 0, other, &err, "max_iters", "50", NULL)) fail_msg("%s", err.message);
      char *from = strdup(at("other/ckpt-0000050.safetensors"));
      copy_file(from, at("hurt/ckpt-0000050.safetensors"));
      free(from);
    }
    assert_int_equal(train(at("hurt"), 1, hex, &err, "strict", "true", NULL), DD_E_CORRUPT);
    if (train(at("hurt"), 1, hex, &err, NULL)) fail_msg("way %d: %s", way, err.message);
    assert_part(heard, way == 5 ? "belongs to another run" : "ckpt-0000030.safetensors");
    assert_part(heard, "trying the checkpoint before it");
    assert_string_equal(hex, whole);
    cases += 2;
  }
}

int main(void) {
  char hex[33];
  dd_error err;
  if (!make_root()) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole), cmocka_unit_test(test_header_bytes),
                                     cmocka_unit_test(test_lengths), cmocka_unit_test(test_payload_bits),
                                     cmocka_unit_test(test_resume)};
  /* 24 channels: tensors of some ten blocks of 4 KB */
  if (train(at("run"), 0, hex, &err, "n_embd", "24", "max_iters", "4", "warmup_iters", "1", NULL)) {
    printf("%s\n", err.message);
    return 1;
  }
  size_t n;
  image = (unsigned char *)slurp(at("run/ckpt-0000004.safetensors"), &n);
  size = n;
  header = 8 + (size_t)(image[0] | image[1] << 8 | image[2] << 16);
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  printf("damaged checkpoints refused: %ld (header of %zu bytes, file of %zu)\n", cases, header, size);
  free(image);
  remove_tree(root);
  return failed != 0;
}
