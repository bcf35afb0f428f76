/* What machine is this: processors we may use, kernel tiers that run here, and which to take. */
#ifndef DD_CORE_MACHINE_H
#define DD_CORE_MACHINE_H
#include "core/error.h"
#include "simd.h"
#include <sched.h>

/** Processors in the affinity mask. */
int dd_machine_cpus(void);

/** Thread count to use. asked > 0 wins; else OMP_NUM_THREADS, SLURM_CPUS_PER_TASK; else the minimum of affinity mask,
 *  cgroup quota (rounded down, at least 1) and physical cores. why[size]: the reason, for people. */
int dd_machine_threads(int64_t asked, char *why, size_t size);
/** The same for one of `sharing` processes that have the same processors. */
int dd_machine_threads_shared(int64_t asked, int sharing, char *why, size_t size);
/** The cgroup quota in processors (v2 cpu.max or v1), 0 when there is none. root: "" or a test tree. */
double dd_machine_quota(const char *root);
/** Physical cores among the processors of the affinity mask (sysfs topology), 0 when not known. */
int dd_machine_cores(const char *root);
/** Give each of `jobs` jobs its own processors: block[i] gets `threads` physical cores with their hyperthreads, or,
 *  when there are not that many cores, `threads` processors; all of one memory node as far as the nodes hold them. Returns
 *  how many blocks there are, at most jobs; fewer when the processors do not suffice. among: processors to use, NULL:
 *  those of this process. root: "" or a test tree. */
int dd_machine_blocks(const char *root, const cpu_set_t *among, int threads, int jobs, cpu_set_t *block);
/** Bytes of data cache of the first processor; 0 where there is none or it is not known. l2 is one core's part of it where
 *  several share it, l3 the whole. root: "" or a test tree. */
typedef struct dd_caches {
  int64_t l1, l2, l3;
} dd_caches;
dd_caches dd_machine_caches(const char *root);
/** Model name of the processor, e.g. from /proc/cpuinfo. */
void dd_machine_name(char *out, size_t size);
/** Memory in bytes that this process may still take: the least of MemAvailable, what the control groups on the way from
 *  its own to the root leave (v2 and v1), and its limits (ulimit -v, -d); 0 when not known. root: "" or a test tree. */
uint64_t dd_machine_free_memory(const char *root);
/** Memory in bytes that this process has resident, 0 when not known. */
uint64_t dd_machine_used_memory(void);

/** Tiers built in, best first; NULL beyond the last. *runs: this processor can execute it. */
const dd_kernels *dd_tier_at(int i, int *runs);
/** want: a name, or NULL, "" or "auto": then DD_TIER from the environment, else the best that runs here. An unusable
 *  name is DD_E_USAGE and lists the usable ones. why[size]: the reason, for people. */
int dd_tier_select(const char *want, const dd_kernels **out, char *why, size_t size, dd_error *err);

/** Check what every fingerprint rests on: rounding mode, gradual underflow, fma, Philox's known answers, the hash of a
 *  small product and of exp on this tier. About a millisecond. DD_E_RUNTIME when the machine cannot keep the contract.
 */
int dd_self_test(const dd_kernels *k, dd_error *err);
/** FLOP/s of the tier's multiply-add units on one thread, measured for about ms milliseconds. */
double dd_machine_peak(const dd_kernels *k, int ms);
double dd_now(void); /* monotonic seconds */
#endif
