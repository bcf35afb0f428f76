/* Fuzz target of what users write about rates: formulas, lists of steps, tables, and settings of sites. No input may
 * crash, hang or leak; what is accepted gives rates in [0, 1), the same each time.
 *   libFuzzer:  clang -DDD_LIBFUZZER -fsanitize=fuzzer,address,undefined ... fuzz_rates.c
 *   otherwise:  fuzz_rates [FILE...]  replays files; without arguments $DD_FUZZ_ROUNDS (40000) mutations of good input,
 *               the same every time. */
#include "core/file.h"
#include "run/rates.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static long accepted[4], refused[4];

static void demand(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "fuzz_rates: %s\n", what);
  abort();
}

static void try_rates(const dd_schedule *s) {
  static const int64_t at[] = {-1, 0, 1, 499, 500, 999, 1000, INT64_MAX};
  dd_schedule_state st;
  dd_schedule_start(s, &st);
  for (int pass = 0; pass < 2; pass++) { /* before and after evaluations */
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
      const double p = dd_schedule_rate(s, &st, at[i]), again = dd_schedule_rate(s, &st, at[i]);
      demand(p >= 0 && p < 1 && p == again, "a rate out of range");
    }
    dd_schedule_observe(s, &st, 1.5, 2.0);
  }
}

static void try_expr(const char *text) {
  dd_expr *e;
  dd_error err;
  const int rc = dd_expr_compile(&e, text, &err);
  demand(rc == DD_OK || (rc == DD_E_USAGE && !e), "status of a formula");
  if (!rc) try_rates(&(dd_schedule){.id = DD_SCHEDULE_EXPR, .p0 = 0.2, .pf = 0.1, .T = 1000, .expr = e});
  dd_expr_destroy(e);
  (rc ? refused : accepted)[0]++;
}

static void try_list(const char *text) {
  dd_points *p;
  dd_error err;
  int rc = dd_points_parse_list(&p, "list", text, &err);
  demand(rc == DD_OK || (rc == DD_E_USAGE && !p), "status of a list");
  if (!rc) {
    rc = dd_points_check(p, "list", 1000, &err);
    if (!rc) try_rates(&(dd_schedule){.id = DD_SCHEDULE_STEPS, .p0 = 0.2, .T = 1000, .points = p});
    free(p);
  }
  (rc ? refused : accepted)[1]++;
}

static void try_table(const char *text, size_t size) {
  dd_points *p;
  dd_error err;
  int rc = dd_points_parse_table(&p, "table", text, size, &err);
  demand(rc == DD_OK || (rc == DD_E_CORRUPT && !p), "status of a table");
  if (!rc) {
    rc = dd_points_check(p, "table", 1000, &err);
    if (!rc) try_rates(&(dd_schedule){.id = DD_SCHEDULE_TABLE, .p0 = 0.2, .T = 1000, .points = p});
    free(p);
  }
  (rc ? refused : accepted)[2]++;
}

static void try_settings(const char *text) {
  dd_error err;
  dd_settings *s = dd_settings_create();
  demand(s != NULL, "memory");
  int rc = dd_settings_set(s, "dropout_attn", text, &err);
  const int other = dd_settings_set(s, "schedule", text, &err);
  demand((rc == DD_OK || rc == DD_E_USAGE) && (other == DD_OK || other == DD_E_USAGE), "status of a setting");
  if (!dd_settings_check(s, &err)) {
    dd_rates *r;
    char label[64];
    dd_settings_schedule_label(s, label, sizeof label);
    (void)dd_settings_schedule_param(s, DD_SETTING_dropout);
    if (s->schedule != DD_SCHEDULE_TABLE && !dd_rates_create(&r, s, &err)) { /* no files here */
      dd_rates_state st;
      dd_dropout_rates rates;
      dd_rates_start(r, &st);
      dd_rates_observe(r, &st, 1, 2);
      dd_rates_at(r, &st, 77, &rates);
      for (int i = 0; i < DD_SITES; i++) demand(rates.site[i] >= 0 && rates.site[i] < 1, "a site's rate out of range");
      dd_rates_destroy(r);
    }
  }
  dd_settings_destroy(s);
  (rc ? refused : accepted)[3]++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  demand(text != NULL, "memory");
  if (size) memcpy(text, data, size);
  text[size] = '\0';
  try_expr(text);
  try_list(text);
  try_table(text, size);
  if (size < 2000 && !strstr(text, "table")) try_settings(text);
  free(text);
  return 0;
}

#ifndef DD_LIBFUZZER
static const char *const seeds[] = {
    "p0*(1-t/T)", "t < 0.5*T ? p0 : pf", "clamp(p0 + 0.1*(gap-0.2), 0, 0.5)", "p0*exp(-5*t/T)^2 + sin(pi*t/T)/10",
    "min(0.5, max(pf, val/best - 1)) * !(train > 3 || t == 0)", "0=0.2,50%=0.1,90%=0", "0=.5,100=0.25,1000=0.125",
    "iteration,rate\n0,0.2\n500,0.1\n100%,0\n", "# a\n0 0.2 # b\n\n25% 0.4\r\n1000\t1e-3", "0.1", "0.1,cosine", "late",
    "0.25,expr:p0*(t<500)", "steps:0=0.2,50%=0.1", "expr:p0*(1-t/T)^2", "0.3,gap", "-t^-2^3", "((((t))))"};
static const char *const words[] = {"(", ")", "?", ":", ",", "=", "%", "^", "-", "<=", "&&", "||", "!", "e", "1e308",
                                    "1e-308", "nan", "inf", "0x", "val", "gap", "min(", "log(", "floor(", "\n", "#",
                                    "\t", " ", "\xff", "\xc3\xa9", "steps:", "expr:",
                                    "4000000000", "0.99999999999999999"};

static uint64_t random_state = 20240905;
static size_t below(size_t n) { /* xorshift64*: the same everywhere */
  random_state ^= random_state >> 12, random_state ^= random_state << 25, random_state ^= random_state >> 27;
  return n ? (size_t)((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % n : 0;
}

enum { CAP = 8192 };
static size_t insert(uint8_t *buf, size_t size, size_t at, const char *what, size_t n) {
  if (size + n > CAP) return size;
  memmove(buf + at + n, buf + at, size - at);
  memcpy(buf + at, what, n);
  return size + n;
}

static size_t mutate(uint8_t *buf, size_t size) {
  const size_t at = below(size + 1);
  const char *w = words[below(sizeof words / sizeof *words)];
  char piece[256];
  switch (below(6)) {
  case 0:
    if (at < size) buf[at] = (uint8_t)(32 + below(96));
    return size;
  case 1:
    if (at < size) buf[at] ^= (uint8_t)(1u << below(8));
    return size;
  case 2: { /* cut a piece out */
    const size_t n = below(size - at + 1) % 12;
    memmove(buf + at, buf + at + n, size - at - n);
    return size - n;
  }
  case 3: return insert(buf, size, at, w, strlen(w));
  case 4: { /* repeat a piece, sometimes often */
    size_t n = below(size - at + 1) % 16;
    memcpy(piece, buf + at, n);
    for (size_t k = below(10) ? 1 : below(200); k; k--) size = insert(buf, size, at, piece, n);
    return size;
  }
  default: { /* a word again and again: deep or long */
    for (size_t k = below(20) ? 1 : below(300); k; k--) size = insert(buf, size, at, w, strlen(w));
    return size;
  }
  }
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    char *data;
    size_t size;
    if (dd_file_read_all(argv[i], 1 << 20, &data, &size, NULL)) return 1;
    LLVMFuzzerTestOneInput((const uint8_t *)data, size);
    free(data);
  }
  if (argc > 1) return 0;
  const char *rounds_text = getenv("DD_FUZZ_ROUNDS");
  const long rounds = rounds_text ? strtol(rounds_text, NULL, 10) : 40000;
  static uint8_t buf[CAP];
  for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
    LLVMFuzzerTestOneInput((const uint8_t *)seeds[i], strlen(seeds[i]));
  for (long r = 0; r < rounds; r++) {
    const char *s = seeds[below(sizeof seeds / sizeof *seeds)];
    size_t size = strlen(s);
    memcpy(buf, s, size);
    for (size_t k = 1 + below(3); k; k--) size = mutate(buf, size);
    LLVMFuzzerTestOneInput(buf, size);
  }
  static const char *const kinds[] = {"formulas", "lists", "tables", "settings"};
  int fine = 1;
  for (int k = 0; k < 4; k++) {
    printf("%s: %ld accepted, %ld refused\n", kinds[k], accepted[k], refused[k]);
    if (!accepted[k] || !refused[k]) fine = 0; /* then the mutations test nothing */
  }
  printf("%d passed, %d failed\n", fine, !fine);
  return !fine;
}
#endif
