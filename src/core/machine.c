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

int dd_machine_cores(const char *root) {
  cpu_set_t set;
  if (!allowed(&set)) return 0;
  int cores = 0;
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (!CPU_ISSET(i, &set)) continue;
    char path[128], line[256];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
    if (!read_line(root, path, line, sizeof line)) return 0;
    /* Count a core at its first sibling that we may use: lists look like "0,64" or "0-1". */
    int first = -1;
    for (char *p = line; *p && first < 0;) {
      char *end;
      const long a = strtol(p, &end, 10);
      if (end == p) break;
      long b = a;
      if (*end == '-') b = strtol(end + 1, &end, 10);
      for (long s = a; s <= b && s < CPU_SETSIZE && first < 0; s++)
        if (CPU_ISSET((int)s, &set)) first = (int)s;
      p = *end == ',' ? end + 1 : end;
      if (*p == '\n') break;
    }
    if (first == i) cores++;
  }
  return cores;
}

/* Leading positive integer of an environment variable ("8", "4,2"), else 0. */
static int env_count(const char *name) {
  const char *s = getenv(name);
  if (!s || !isdigit((unsigned char)*s)) return 0;
  const long n = strtol(s, NULL, 10);
  return n > 0 && n <= 65536 ? (int)n : 0;
}

int dd_machine_threads(int64_t asked, char *why, size_t size) {
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

uint64_t dd_machine_free_memory(void) {
  uint64_t best = 0;
  FILE *f = fopen("/proc/meminfo", "r");
  if (f) {
    char line[256];
    unsigned long long kb;
    while (fgets(line, sizeof line, f))
      if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1) best = (uint64_t)kb * 1024;
    fclose(f);
  }
  char line[64], used[64];
  if (read_line("", "/sys/fs/cgroup/memory.max", line, sizeof line) && isdigit((unsigned char)line[0]) &&
      read_line("", "/sys/fs/cgroup/memory.current", used, sizeof used)) {
    const uint64_t max = strtoull(line, NULL, 10), now = strtoull(used, NULL, 10), left = max > now ? max - now : 0;
    if (!best || left < best) best = left;
  }
  return best;
}
