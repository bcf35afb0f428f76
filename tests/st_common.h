/* What test_safetensors and test_safetensors_hostile share. */
#ifndef DD_TESTS_ST_COMMON_H
#define DD_TESTS_ST_COMMON_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mem_file.h"
#include "model/safetensors.h"

static long cases; /* damaged or hostile inputs tried */

/* Open the file in memory and read everything of it. 0 when all of it is accepted. */
static int try_all(dd_error *err) {
  dd_st *st;
  err->message[0] = '\0';
  cases++;
  int rc = dd_st_open("some.safetensors", &st, err);
  if (rc == DD_OK) {
    rc = dd_st_verify(st, err);
    for (size_t i = 0; rc == DD_OK && i < dd_st_count(st); i++) {
      const dd_tensor_info *t = dd_st_at(st, i);
      const size_t n = (size_t)(t->end - t->begin);
      void *dst = malloc(n + 1);
      assert_ptr_equal(dd_st_find(st, t->name), t);
      rc = dd_st_read(st, t, dst, n, err);
      free(dst);
    }
    dd_st_close(st);
  }
  assert_int_equal(mem_file.open, 0);
  if (rc != DD_OK) {
    assert_int_equal(rc, err->code);
    assert_true(strlen(err->message) > 20);
    assert_non_null(strstr(err->message, "some.safetensors"));
    for (const char *p = err->message; *p; p++) assert_true((unsigned char)*p >= 0x20);
  }
  return rc;
}

static void must_be_corrupt(const char *what, size_t at) {
  dd_error err;
  const int rc = try_all(&err);
  if (rc != DD_E_CORRUPT) fail_msg("%s at %zu: status %d %s", what, at, rc, err.message);
}
#endif
