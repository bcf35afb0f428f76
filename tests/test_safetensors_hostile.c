/* Headers of safetensors files that somebody else made, with the worst intentions. */
#include "st_common.h"
#include "st_cases.h"

/* A foreign file of that header and n bytes of data, in memory. */
static int try_header(const char *json, size_t n, dd_error *err) {
  const size_t len = strlen(json);
  unsigned char *data = malloc(8 + len + n);
  for (int i = 0; i < 8; i++) data[i] = (unsigned char)((uint64_t)len >> 8 * i);
  memcpy(data + 8, json, len);
  memset(data + 8 + len, 0, n);
  mem_file_use(data, 8 + len + n);
  const int rc = try_all(err);
  free(data);
  return rc;
}

static void test_foreign_accepted(void **state) {
  (void)state;
  dd_error err;
  for (size_t i = 0; i < GOOD_CASES; i++) {
    if (try_header(good_cases[i].json, good_cases[i].n, &err) != DD_OK)
      fail_msg("%s: %s", good_cases[i].json, err.message);
  }
}

static void test_hostile_headers(void **state) {
  (void)state;
  for (size_t i = 0; i < BAD_CASES; i++) {
    dd_error err;
    const int rc = try_header(bad_cases[i].json, bad_cases[i].n, &err);
    if (rc != DD_E_CORRUPT) fail_msg("%s: status %d %s", bad_cases[i].json, rc, rc ? err.message : "(accepted)");
  }
  print_message("hostile headers: %zu, all refused\n", BAD_CASES);
}

/* Each integer of a header replaced by numbers that overflow somewhere. */
static void test_hostile_numbers(void **state) {
  (void)state;
  static const char *const numbers[] = {
      "0", "2", "3", "255", "65535", "65536", "2147483647", "2147483648", "4294967295", "4294967296",
      "4294967297", "9007199254740993", "1073741824", "4611686018427387904", "4611686018427387905",
      "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "-1", "-2147483648",
      "-9223372036854775808", "1e3", "1e400", "0.5", "99999999999999999999999999999999999999"};
  long n = 0;
  for (size_t field = 0; field < 8; field++)
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
      const char *v[8] = {"1", "4", "0", "16", "1", "1", "16", "20"};
      char json[400];
      dd_error err;
      if (strcmp(v[field], numbers[i]) == 0) continue;
      v[field] = numbers[i];
      snprintf(json, sizeof json,
               "{\"a\":{\"dtype\":\"F32\",\"shape\":[%s,%s],\"data_offsets\":[%s,%s]},"
               "\"b\":{\"dtype\":\"F32\",\"shape\":[%s,%s],\"data_offsets\":[%s,%s]}}",
               v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
      const int rc = try_header(json, 20, &err);
      if (rc != DD_E_CORRUPT) fail_msg("%s: status %d", json, rc);
      n++;
    }
  static const uint64_t lengths[] = {0, 1, 7, 64, 16777216, 16777217, 2147483647, 2147483648u, 4294967295u, 4294967296u,
                                     UINT64_C(1) << 53, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - 8, UINT64_MAX - 7,
                                     UINT64_MAX};
  unsigned char data[40] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++, n++) {
    for (int b = 0; b < 8; b++) data[b] = (unsigned char)(lengths[i] >> 8 * b);
    mem_file_use(data, sizeof data);
    must_be_corrupt("header length", i);
  }
  print_message("hostile numbers: %ld, all refused\n", n);
}

/* Headers whose parsed form would be far larger than their text. */
static void test_bombs(void **state) {
  (void)state;
  const size_t cap = DD_ST_MAX_HEADER + 64;
  char *json = malloc(cap + 1);
  dd_error err;
  static const char *const unit[] = {"[", "{\"a\":", "[[],", "{},", "1,", "\"\","};
  for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
    const size_t len = strlen(unit[u]);
    size_t n = (size_t)snprintf(json, cap, "{\"a\":[");
    for (; n + len < DD_ST_MAX_HEADER - 8; n += len) memcpy(json + n, unit[u], len);
    json[n] = '\0';
    assert_int_equal(try_header(json, 0, &err), DD_E_CORRUPT);
  }
  for (int depth = 2; depth < 5000; depth = depth * 3 / 2 + 1) { /* well formed, but deep */
    size_t n = (size_t)snprintf(json, cap, "{\"a\":");
    memset(json + n, '[', (size_t)depth);
    memset(json + n + depth, ']', (size_t)depth);
    memcpy(json + n + 2 * depth, "}", 2);
    assert_int_equal(try_header(json, 0, &err), DD_E_CORRUPT);
  }
  for (int n = 65535; n <= 100000; n += n == 65536 ? 100000 - 65536 : 1) { /* 65535, 65536, 100000 tensors */
    size_t at = 1;
    json[0] = '{';
    for (int i = 0; i < n; i++)
      at += (size_t)snprintf(json + at, cap - at, "%s\"t%d\":" T("U8", "[1,1,1,1]", "[%d,%d]"), i ? "," : "", i, i,
                             i + 1);
    memcpy(json + at, "}", 2);
    const int rc = try_header(json, (size_t)n, &err);
    assert_int_equal(rc, n <= 65536 ? DD_OK : DD_E_CORRUPT);
  }
  memset(json, ' ', cap);
  memcpy(json, "{}", 2);
  json[DD_ST_MAX_HEADER] = '\0';
  assert_int_equal(try_header(json, 0, &err), DD_OK); /* exactly the limit */
  json[DD_ST_MAX_HEADER] = ' ';
  json[DD_ST_MAX_HEADER + 1] = '\0';
  assert_int_equal(try_header(json, 0, &err), DD_E_CORRUPT);
  free(json);
}

/* Without hashes not every change can be noticed, but none may do harm. */
static void test_foreign_damage(void **state) {
  (void)state;
  const char *json = "{\"__metadata__\":{\"k\":\"v\"},\"a\":" T("F32", "[2,3]", "[0,24]") ",\"b\":"
                     T("U8", "[]", "[24,25]") "}";
  const size_t len = strlen(json), size = 8 + len + 25;
  unsigned char *data = calloc(size, 1);
  data[0] = (unsigned char)len;
  memcpy(data + 8, json, len);
  long refused = 0, accepted = 0;
  mem_file_use(data, size);
  for (size_t i = 0; i < 8 + len; i++)
    for (unsigned x = 1; x < 256; x++) {
      dd_error err;
      data[i] ^= (unsigned char)x;
      const int rc = try_all(&err);
      data[i] ^= (unsigned char)x;
      assert_true(rc == DD_OK || rc == DD_E_CORRUPT);
      if (rc == DD_OK)
        accepted++;
      else
        refused++;
    }
  print_message("foreign header: %ld changes refused, %ld accepted (other names or metadata)\n", refused, accepted);
  free(data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_foreign_accepted), cmocka_unit_test(test_hostile_headers),
      cmocka_unit_test(test_hostile_numbers),  cmocka_unit_test(test_bombs),
      cmocka_unit_test(test_foreign_damage),
  };
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  printf("damaged or hostile inputs tried: %ld\n", cases);
  return failed != 0;
}
