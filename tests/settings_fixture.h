/* Settings made and checked in tests: helpers that fail the test where something is not as said. */
#ifndef SETTINGS_FIXTURE_H
#define SETTINGS_FIXTURE_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "run/settings.h"
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static dd_error err;

static inline dd_settings *fresh(void) {
  dd_settings *s = dd_settings_create();
  assert_non_null(s);
  memset(&err, 0, sizeof err);
  return s;
}

static inline void assert_mentions(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("\"%s\" does not mention \"%s\"", text, part);
}

static inline void assert_value(const dd_settings *s, const char *key, const char *expected) {
  char buf[4096];
  assert_int_equal(dd_settings_get(s, key, buf, sizeof buf, &err), DD_OK);
  assert_string_equal(buf, expected);
}

static inline void set_ok(dd_settings *s, const char *key, const char *value) {
  int rc = dd_settings_set(s, key, value, &err);
  if (rc) fail_msg("%s = %s: %s", key, value, err.message);
}

static inline void set_bad(dd_settings *s, const char *key, const char *value, const char *mention) {
  dd_settings before = *s;
  err.message[0] = '\0';
  if (dd_settings_set(s, key, value, &err) != DD_E_USAGE) fail_msg("%s = %s was taken", key, value);
  assert_int_equal(err.code, DD_E_USAGE);
  assert_mentions(err.message, mention);
  assert_memory_equal(s, &before, sizeof before); /* nothing half done */
}

/* ---- table and defaults ---- */
#endif
