#include "core/machine.h"
#include "core/parallel.h"
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double dd_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The affinity mask this process began with: what OpenMP pinned the first thread away from is still ours. */
static int allowed(cpu_set_t *set) {
  if (dd_openmp_places(set, sizeof *set) > 0) return 1;
  return sched_getaffinity(0, sizeof *set, set) == 0 && CPU_COUNT(set) > 0;
}

int dd_machine_cpus(void) {
  cpu_set_t set;
  if (allowed(&set)) return CPU_COUNT(&set);
  const long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (int)n : 1;
}

/* First line of a small system file; these are not data files, so they do not go through core/file. */
static int read_line(const char *root, const char *path, char *out, size_t size) {
  char full[512];
  if (snprintf(full, sizeof full, "%s%s", root, path) >= (int)sizeof full) return 0;
  FILE *f = fopen(full, "r");
  if (!f) return 0;
  const int ok = fgets(out, (int)size, f) != NULL;
  fclose(f);
  return ok;
}

static double quota_of(const char *root, const char *dir_v2, const char *dir_v1) {
  char line[256], path[400];
  double quota, period;
  snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", dir_v2);
  if (read_line(root, path, line, sizeof line) && sscanf(line, "%lf %lf", &quota, &period) == 2 && period > 0)
    return quota / period;
  snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", dir_v1);
  if (!read_line(root, path, line, sizeof line) || sscanf(line, "%lf", &quota) != 1 || quota <= 0) return 0;
  snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", dir_v1);
  if (!read_line(root, path, line, sizeof line) || sscanf(line, "%lf", &period) != 1 || period <= 0) return 0;
  return quota / period;
}

double dd_machine_quota(const char *root) {
  /* The smallest quota on the way from our own group to the root. */
  char full[512], line[512];
  double best = quota_of(root, "", "");
  if (snprintf(full, sizeof full, "%s/proc/self/cgroup", root) >= (int)sizeof full) return best;
  FILE *f = fopen(full, "r");
  if (!f) return best;
  while (fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':'), *dir = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!dir || strlen(dir) > 250) continue;
    *dir++ = 0;
    const int v2 = controllers[1] == 0;
    if (!v2 && !strstr(controllers, "cpu")) continue;
    for (;;) {
      const double q = v2 ? quota_of(root, dir, "/none") : quota_of(root, "/none", dir);
      if (q > 0 && (best <= 0 || q < best)) best = q;
      char *slash = strrchr(dir, '/');
      if (!slash || slash == dir) break;
      *slash = 0;
    }
  }
  fclose(f);
  return best;
}

/* Processors of a list such as "0,64" or "0-1,8-9". */
static void parse_cpu_list(const char *p, cpu_set_t *set) {
  CPU_ZERO(set);
  while (*p && *p != '\n') {
    char *end;
    const long a = strtol(p, &end, 10);
    if (end == p) break;
    long b = a;
    if (*end == '-') b = strtol(end + 1, &end, 10);
    for (long s = a; s <= b && s >= 0 && s < CPU_SETSIZE; s++) CPU_SET((int)s, set);
    p = *end == ',' ? end + 1 : end;
  }
}

static int first_of(const cpu_set_t *set) {
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, set)) return i;
  return -1;
}

/* The processors of `among` that share a core with this one. */
static int core_of(const char *root, int cpu, const cpu_set_t *among, cpu_set_t *core) {
  char path[128], line[256];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
  if (!read_line(root, path, line, sizeof line)) return 0;
  parse_cpu_list(line, core);
  CPU_AND(core, core, among);
  return CPU_ISSET(cpu, core);
}

int dd_machine_cores(const char *root) {
  cpu_set_t set, core;
  if (!allowed(&set)) return 0;
  int cores = 0;
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (!CPU_ISSET(i, &set)) continue;
    if (!core_of(root, i, &set, &core)) return 0;
    cores += first_of(&core) == i;
  }
  return cores;
}

/* ---- blocks of processors ---- */

enum { NODES_MAX = 256 };

/* What a block is made of: a core with its hyperthreads, or one processor. */
typedef struct unit {
  cpu_set_t cpus;
  int node, taken;
} unit;

static int node_of(const char *root, int cpu) {
  for (int node = 0; node < NODES_MAX; node++) {
    char path[128], line[4096];
    cpu_set_t set;
    snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", node);
    if (!read_line(root, path, line, sizeof line)) continue; /* numbers may have gaps */
    parse_cpu_list(line, &set);
    if (CPU_ISSET(cpu, &set)) return node;
  }
  return 0;
}

/* Units in the order of node, core, hyperthread. */
static int find_units(const char *root, const cpu_set_t *set, int whole_cores, unit *u) {
  cpu_set_t core;
  int n = 0;
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (!CPU_ISSET(i, set)) continue;
    if (!core_of(root, i, set, &core)) {
      CPU_ZERO(&core);
      CPU_SET(i, &core);
    }
    if (first_of(&core) != i) continue;
    const int node = node_of(root, i);
    for (int c = i; c < CPU_SETSIZE; c++) {
      if (!CPU_ISSET(c, &core)) continue;
      u[n] = (unit){.node = node};
      if (whole_cores) u[n].cpus = core;
      else CPU_SET(c, &u[n].cpus);
      n++;
      if (whole_cores) break;
    }
  }
  return n;
}

/* Take `threads` free units of one node, or of any when node < 0. */
static int take_block(unit *u, int n, int node, int threads, cpu_set_t *block) {
  int found = 0;
  for (int i = 0; i < n; i++) found += !u[i].taken && (node < 0 || u[i].node == node);
  if (found < threads) return 0;
  CPU_ZERO(block);
  for (int i = 0; i < n && threads; i++)
    if (!u[i].taken && (node < 0 || u[i].node == node)) {
      CPU_OR(block, block, &u[i].cpus);
      u[i].taken = 1;
      threads--;
    }
  return 1;
}

int dd_machine_blocks(const char *root, const cpu_set_t *among, int threads, int jobs, cpu_set_t *block) {
  cpu_set_t own;
  if (!among && !allowed(&own)) return 0;
  if (!among) among = &own;
  unit *u = malloc(CPU_SETSIZE * sizeof *u);
  int made = 0;
  if (!u) return 0;
  int n = find_units(root, among, 1, u);
  if (n < (int64_t)threads * jobs) n = find_units(root, among, 0, u);
  for (int node = 0; node < NODES_MAX && made < jobs; node++)
    while (made < jobs && take_block(u, n, node, threads, block + made)) made++;
  while (made < jobs && take_block(u, n, -1, threads, block + made)) made++;
  free(u);
  return made;
}

dd_caches dd_machine_caches(const char *root) {
  dd_caches c = {0};
  char path[128], line[256];
  cpu_set_t threads, sharers;
  CPU_ZERO(&threads);
  if (read_line(root, "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", line, sizeof line))
    parse_cpu_list(line, &threads);
  for (int i = 0; i < 8; i++) {
    const char *dir = "/sys/devices/system/cpu/cpu0/cache";
    snprintf(path, sizeof path, "%s/index%d/type", dir, i);
    if (!read_line(root, path, line, sizeof line) || !strncmp(line, "Instruction", 11)) continue;
    snprintf(path, sizeof path, "%s/index%d/size", dir, i);
    if (!read_line(root, path, line, sizeof line)) continue;
    char *suffix;
    int64_t bytes = strtoll(line, &suffix, 10);
    bytes *= *suffix == 'K' ? 1024 : *suffix == 'M' ? 1048576 : 1;
    snprintf(path, sizeof path, "%s/index%d/level", dir, i);
    if (!read_line(root, path, line, sizeof line)) continue;
    if (line[0] == '1') c.l1 = bytes;
    if (line[0] == '3') c.l3 = bytes;
    if (line[0] != '2') continue;
    snprintf(path, sizeof path, "%s/index%d/shared_cpu_list", dir, i);
    CPU_ZERO(&sharers);
    if (read_line(root, path, line, sizeof line)) parse_cpu_list(line, &sharers);
    const int cores = CPU_COUNT(&threads) ? CPU_COUNT(&sharers) / CPU_COUNT(&threads) : 1;
    c.l2 = cores > 1 ? bytes / cores : bytes;
  }
  return c;
}

/* Leading positive integer of an environment variable ("8", "4,2"), else 0. */
static int env_count(const char *name) {
  const char *s = getenv(name);
  if (!s || !isdigit((unsigned char)*s)) return 0;
  const long n = strtol(s, NULL, 10);
  return n > 0 && n <= 65536 ? (int)n : 0;
}

int dd_machine_threads(int64_t asked, char *why, size_t size) {
  return dd_machine_threads_shared(asked, 1, why, size);
}

int dd_machine_threads_shared(int64_t asked, int sharing, char *why, size_t size) {
  if (asked > 0) {
    snprintf(why, size, "asked for");
    return (int)(asked > 65536 ? 65536 : asked);
  }
  static const char *const vars[] = {"OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"};
  for (int i = 0; i < 2; i++) {
    const int n = env_count(vars[i]);
    if (n) {
      snprintf(why, size, "from %s", vars[i]);
      return n;
    }
  }
  int n = dd_machine_cpus();
  snprintf(why, size, "%d processors may be used", n);
  const int cores = dd_machine_cores("");
  if (cores > 0 && cores < n) {
    snprintf(why, size, "%d physical cores of %d processors", cores, n);
    n = cores;
  }
  const double quota = dd_machine_quota("");
  if (quota > 0 && quota < n) {
    n = quota >= 1 ? (int)quota : 1;
    snprintf(why, size, "cgroup quota of %.2f processors", quota);
  }
  if (sharing > 1) {
    const size_t end = strlen(why);
    snprintf(why + end, size - end, ", shared by %d ranks", sharing);
    n = n > sharing ? n / sharing : 1;
  }
  return n;
}

void dd_machine_name(char *out, size_t size) {
  snprintf(out, size, "unknown processor");
  FILE *f = fopen("/proc/cpuinfo", "r");
  if (!f) return;
  char line[512];
  while (fgets(line, sizeof line, f)) {
    char *colon = strchr(line, ':');
    if (!colon || (strncmp(line, "model name", 10) != 0 && strncmp(line, "Model", 5) != 0)) continue;
    colon += strspn(colon, ": \t");
    colon[strcspn(colon, "\n")] = 0;
    snprintf(out, size, "%s", colon);
    break;
  }
  fclose(f);
}
