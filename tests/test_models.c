/* Models out and in: what export writes is read back to the same weights; damaged in any byte, cut off or lengthened it
 * is refused with a sentence, or, where the byte means nothing, read as before. */
#define DD_LIBFUZZER /* only the files in memory */
#include "run_fixture.h"
#include "fuzz_common.h"
#include "formats/float16.h"
#include "formats/gguf.h"
#include "formats/zip.h"
#include "run/checkpoint.h"
#include "run/import.h"
#include <math.h>

static char *torch_file, *gguf_file, *config_file, *weights_file;
static size_t torch_n, gguf_n, config_n, weights_n;
static float *want; /* the weights of the run */
static dd_layout layout;

static int export_to(const char *format, const char *to) {
  dd_settings *s = dd_settings_create();
  dd_error err;
  dd_export_result r;
  int rc = dd_settings_set(s, "run", at("run"), &err);
  if (!rc) rc = dd_settings_set(s, "checkpoint", "latest", &err);
  if (!rc) rc = dd_settings_set(s, "export_format", format, &err);
  if (!rc) rc = dd_settings_set(s, "out", to, &err);
  if (!rc) rc = dd_export(s, NULL, &r, &err);
  if (rc) fail_msg("%s", err.message);
  dd_settings_destroy(s);
  return rc;
}

static int setup(void **state) {
  (void)state;
  char hex[33];
  dd_error err;
  dd_checkpoint *c;
  fuzz_name = "models";
  if (!make_root()) return 1;
  if (train(at("run"), 0, hex, &err, "bias", "true", NULL)) fail_msg("%s", err.message);
  export_to("nanogpt", at("nano"));
  export_to("hf", at("hf"));
  export_to("gguf", at("model.gguf"));
  torch_file = slurp(at("nano/ckpt.pt"), &torch_n);
  gguf_file = slurp(at("model.gguf"), &gguf_n);
  config_file = slurp(at("hf/config.json"), &config_n);
  weights_file = slurp(at("hf/model.safetensors"), &weights_n);
  assert_int_equal(dd_checkpoint_open(at("run/ckpt-0000040.safetensors"), &c, &err), DD_OK);
  assert_int_equal(dd_layout_create(&layout, dd_checkpoint_shape(c), &err), DD_OK);
  want = calloc((size_t)layout.floats, sizeof *want);
  assert_int_equal(dd_checkpoint_read(c, &layout, want, NULL, NULL, &err), DD_OK);
  dd_checkpoint_close(c);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  free(torch_file), free(gguf_file), free(config_file), free(weights_file), free(want);
  dd_layout_destroy(&layout);
  dd_fs_replace(NULL);
  remove_tree(root);
  return 0;
}

/* Open and read; the weights must be those of the run when `same`. */
static int import(const char *path, int same, dd_error *err) {
  dd_import *i;
  dd_layout l = {0};
  float *flat = NULL;
  int rc = dd_import_open(path, NULL, &i, err);
  if (!rc) rc = dd_layout_create(&l, dd_import_shape(i), err);
  if (!rc) flat = calloc((size_t)l.floats, sizeof *flat);
  if (!rc) rc = dd_import_read(i, &l, flat, err);
  if (!rc && same) {
    assert_int_equal(l.floats, layout.floats);
    assert_memory_equal(flat, want, (size_t)l.floats * sizeof *flat);
  }
  free(flat);
  dd_layout_destroy(&l);
  dd_import_close(i);
  return rc;
}

static void use(const char *const *paths, const char *const *data, const size_t *n) {
  mem_n = 0;
  for (; *paths; paths++, data++, n++) mem[mem_n++] = (mem_entry){*paths, (const uint8_t *)*data, *n};
  dd_fs_replace(&mem_ops);
}

static void done(int rc, const dd_error *err, const char *what, size_t where) {
  mem_done();
  dd_fs_replace(NULL);
  *(rc ? &refused : &accepted) += 1;
  if (rc && ((rc != DD_E_CORRUPT && rc != DD_E_USAGE) || strlen(err->message) < 20 || !strstr(err->message, "/m")))
    fail_msg("%s %zu: status %d, \"%s\"", what, where, rc, err->message);
}

static int import_torch(const char *data, size_t n, int same, dd_error *err) {
  *err = (dd_error){.message = ""};
  use((const char *const[]){"/m/ckpt.pt", NULL}, &data, &n);
  return import("/m/ckpt.pt", same, err);
}

static void test_read_back(void **state) {
  (void)state;
  dd_error err;
  if (import_torch(torch_file, torch_n, 1, &err)) fail_msg("%s", err.message);
  mem_done();
  dd_fs_replace(NULL);
  if (import(at("hf"), 1, &err) || import(at("hf/model.safetensors"), 1, &err) ||
      import(at("run/ckpt-0000040.safetensors"), 1, &err) || import(at("run"), 0, &err))
    fail_msg("%s", err.message);
}

static void test_torch_bytes(void **state) {
  (void)state;
  const size_t step = getenv("DD_LONG") ? 1 : getenv("DD_QUICK") ? 61 : 5;
  dd_error err;
  accepted = refused = 0;
  for (size_t i = 0; i < torch_n; i += step) {
    const char was = torch_file[i], ways[2] = {(char)(was ^ 1 << i % 8), (char)(was ^ 0x80)};
    for (int w = 0; w < 2; w++) {
      torch_file[i] = ways[w];
      done(import_torch(torch_file, torch_n, 1, &err), &err, "a changed byte at", i);
    }
    torch_file[i] = was;
  }
  assert_true(accepted > 100 && refused > 100); /* moments and dates are not looked at */
}

static void test_torch_lengths(void **state) {
  (void)state;
  dd_error err;
  char *longer = calloc(1, torch_n + 512);
  memcpy(longer, torch_file, torch_n);
  for (size_t n = 4; n < torch_n; n += n < torch_n - 300 ? 97 : 1) {
    const int rc = import_torch(torch_file, n, 0, &err);
    if (!rc) fail_msg("accepted with only %zu bytes", n);
    done(rc, &err, "only bytes to", n);
  }
  for (size_t more = 1; more <= 512; more *= 2) {
    const int rc = import_torch(longer, torch_n + more, 0, &err);
    if (!rc) fail_msg("accepted with %zu bytes more", more);
    done(rc, &err, "bytes appended:", more);
  }
  free(longer);
}

static void test_config_bytes(void **state) {
  (void)state;
  dd_error err;
  accepted = refused = 0;
  const size_t step = getenv("DD_QUICK") ? 7 : 1;
  for (size_t i = 0; i < config_n; i += step) {
    const char was = config_file[i], ways[3] = {(char)(was ^ 1), '9', '"'};
    for (int w = 0; w < 3; w++) {
      config_file[i] = ways[w];
      err = (dd_error){.message = ""};
      use((const char *const[]){"/m/hf/config.json", "/m/hf/model.safetensors", NULL},
          (const char *const[]){config_file, weights_file}, (const size_t[]){config_n, weights_n});
      done(import("/m/hf", 0, &err), &err, "a changed byte at", i);
    }
    config_file[i] = was;
  }
  assert_true(accepted > 0 && refused > 100);
}

static void test_gguf_bytes(void **state) {
  (void)state;
  dd_error err;
  dd_gguf *g;
  accepted = refused = 0;
  for (size_t i = 0; i < gguf_n; i += i < 6000 ? 1 : 512) {
    const char was = gguf_file[i], ways[3] = {(char)(was ^ 1), (char)0xff, 0};
    for (int w = 0; w < 3; w++) {
      gguf_file[i] = ways[w];
      err = (dd_error){.message = ""};
      use((const char *const[]){"/m/model.gguf", NULL}, (const char *const[]){gguf_file}, &gguf_n);
      const int rc = dd_gguf_open("/m/model.gguf", &g, &err);
      dd_gguf_close(g);
      done(rc, &err, "a changed byte at", i);
    }
    gguf_file[i] = was;
  }
  assert_true(accepted > 100 && refused > 100);
  for (size_t n = 1; n < gguf_n; n += n < 6000 ? 1 : 512) {
    use((const char *const[]){"/m/model.gguf", NULL}, (const char *const[]){gguf_file}, &n);
    const int rc = dd_gguf_open("/m/model.gguf", &g, &err);
    if (!rc) fail_msg("accepted with only %zu bytes", n);
    done(rc, &err, "only bytes to", n);
  }
}

/* Every half-precision number against its definition. */
static void test_float16(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 65536; h++) {
    const int e = (int)(h >> 10 & 31), f = (int)(h & 1023);
    const double sign = h & 0x8000 ? -1 : 1;
    const double value = e == 31 ? (f ? NAN : INFINITY) : e ? ldexp(1024 + f, e - 25) : ldexp(f, -24);
    const float got = dd_from_f16((uint16_t)h);
    if (isnan(value)) assert_true(isnan(got));
    else assert_true((double)got == sign * value && !signbit(got) == !(h & 0x8000));
  }
  assert_true(dd_from_bf16(0x3f80) == 1 && dd_from_bf16(0xc000) == -2 && isinf(dd_from_bf16(0x7f80)));
}

static void test_crc32(void **state) {
  (void)state;
  assert_int_equal(dd_crc32(0, "123456789", 9), 0xcbf43926);
  assert_int_equal(dd_crc32(dd_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
  assert_int_equal(dd_crc32(0, "", 0), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_read_back),    cmocka_unit_test(test_torch_bytes), cmocka_unit_test(test_torch_lengths),
      cmocka_unit_test(test_config_bytes), cmocka_unit_test(test_gguf_bytes),  cmocka_unit_test(test_float16),
      cmocka_unit_test(test_crc32)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
