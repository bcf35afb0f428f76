/* Facts of machine and build, and the small entry points of the library. */
#include "core/arena.h"
#include "core/machine.h"
#include "dd_config.h"
#include "run/train.h"
#include <string.h>
#include <stdio.h>
#include <jansson.h>
#include <xxhash.h>

#define DD_PUBLIC_STRUCTS(X)                                                                                           \
  X(dd_error)                                                                                                          \
  X(dd_step_record) X(dd_eval_record) X(dd_study_job) X(dd_study_status) X(dd_check_record) X(dd_inspect_record)       \
      X(dd_rate_query) X(dd_callbacks) X(dd_train_result) X(dd_sample_result) X(dd_eval_result) X(dd_verify_result)    \
          X(dd_compare_result) X(dd_export_result) X(dd_gpt_info) X(dd_tensor_view)

size_t dd_struct_size(const char *name) {
  if (strncmp(name, "struct ", 7) == 0) name += 7;
#define SIZE_ROW(type)                                                                                                 \
  if (strcmp(name, #type) == 0) return sizeof(type);
  DD_PUBLIC_STRUCTS(SIZE_ROW)
  return 0;
}

const char *dd_version(void) { return DD_VERSION_STRING; }
int dd_numerics_version(void) { return DD_NUMERICS_VERSION; }

int dd_info(const dd_settings *s, const dd_callbacks *cb, dd_error *err) {
  char cpu[256], why[128], tiers[128] = "";
  const dd_kernels *k;
  int rc = dd_tier_select(s->tier, &k, why, sizeof why, err);
  if (!rc) rc = dd_self_test(k, err);
  if (rc) return rc;
  dd_machine_name(cpu, sizeof cpu);
  dd_say(cb, DD_INFO, "dd-cpu %s, numerics version %d, %s, %s build", dd_version(), DD_NUMERICS_VERSION, DD_COMPILER,
         DD_BUILDTYPE);
  dd_say(cb, DD_INFO, "processor   %s", cpu);
  const dd_kernels *t;
  for (int i = 0, runs; (t = dd_tier_at(i, &runs)); i++)
    snprintf(tiers + strlen(tiers), sizeof tiers - strlen(tiers), "%s%s%s", i ? ", " : "", t->tier,
             runs ? "" : " (not on this processor)");
  dd_say(cb, DD_INFO, "tiers       %s", tiers);
  dd_say(cb, DD_INFO, "tier used   %s (%s), self-test passed", k->tier, why);
  const int threads = dd_machine_threads(s->threads, why, sizeof why);
  dd_say(cb, DD_INFO, "threads     %d (%s)", threads, why);
  const double quota = dd_machine_quota("");
  if (quota > 0)
    dd_say(cb, DD_INFO, "processors  %d allowed, %d physical cores, cgroup quota %.2f", dd_machine_cpus(),
           dd_machine_cores(""), quota);
  else
    dd_say(cb, DD_INFO, "processors  %d allowed, %d physical cores, no cgroup quota", dd_machine_cpus(),
           dd_machine_cores(""));
  dd_say(cb, DD_INFO, "FMA peak    %.0f GFLOP/s per thread, measured now", dd_machine_peak(k, 20) / 1e9);
  dd_say(cb, DD_INFO, "memory      %.1f GB free, %d NUMA node%s%s", (double)dd_machine_free_memory("") / 1e9,
         dd_numa_nodes(), dd_numa_nodes() > 1 ? "s" : "",
#ifdef DD_HAVE_NUMA
         " (libnuma)"
#else
         " (built without libnuma)"
#endif
  );
  dd_say(cb, DD_INFO, "libraries   xxHash %u.%u.%u, jansson %s", XXH_versionNumber() / 10000,
         XXH_versionNumber() / 100 % 100, XXH_versionNumber() % 100, jansson_version_str());
  return DD_OK;
}
