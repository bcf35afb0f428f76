/* `dd-cpu --version`: what this program was built from, with what, and what is in it. */
#include "cli/options.h"
#include "core/machine.h"
#include "dd_config.h"
#include "dd_revision.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* "scalar, avx2", best last. */
static void tier_names(char *out, size_t size) {
  const dd_kernels *t;
  int n = 0;
  for (int runs; dd_tier_at(n, &runs); n++) {}
  *out = '\0';
  for (int i = n - 1, runs; i >= 0 && (t = dd_tier_at(i, &runs)); i--) {
    dd_text_append(out, size, *out ? ", " : "");
    dd_text_append(out, size, t->tier);
  }
}

static json_t *json_tiers(void) {
  json_t *a = json_array();
  const dd_kernels *t;
  for (int i = 0, runs; (t = dd_tier_at(i, &runs)); i++) json_array_append_new(a, json_string(t->tier));
  return a;
}

#ifdef DD_HAVE_NUMA
static const bool have_numa = true;
#else
static const bool have_numa = false;
#endif

static int print_json(FILE *out, const char *xxhash) {
  json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:o, s:b, s:{s:s, s:s, s:s, s:b}}", "program", "dd-cpu",
                        "version", dd_version(), "numerics", dd_numerics_version(), "revision", DD_REVISION, "compiler",
                        DD_COMPILER, "build", DD_BUILDTYPE, "tiers", json_tiers(), "static", DD_STATIC, "libraries",
                        "threads", DD_THREADS, "xxhash", xxhash, "jansson", jansson_version_str(), "libnuma",
                        (int)have_numa);
  char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
  json_decref(o);
  if (!text) return DD_E_RUNTIME;
  fprintf(out, "%s\n", text);
  free(text);
  return DD_OK;
}

int dd_print_version(FILE *out, bool json) {
  char tiers[128], xxhash[32];
  const unsigned x = XXH_versionNumber();
  snprintf(xxhash, sizeof xxhash, "%u.%u.%u", x / 10000, x / 100 % 100, x % 100);
  tier_names(tiers, sizeof tiers);
  if (json) return print_json(out, xxhash);
  fprintf(out, "dd-cpu %s (numerics %d)\n", dd_version(), dd_numerics_version());
  if (*DD_REVISION) fprintf(out, "revision   %s\n", DD_REVISION);
  fprintf(out, "compiler   %s, %s build%s\n", DD_COMPILER, DD_BUILDTYPE, DD_STATIC ? ", linked statically" : "");
  fprintf(out, "tiers      %s\n", tiers);
  fprintf(out, "libraries  threads by %s, xxHash %s, jansson %s, %s libnuma\n", DD_THREADS, xxhash,
          jansson_version_str(), have_numa ? "with" : "without");
  return DD_OK;
}
