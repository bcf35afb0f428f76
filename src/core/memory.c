/* How much memory this process may still take: the machine's, its control groups', its own limits. */
#include "core/machine.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static FILE *open_under(const char *root, const char *path) {
  char full[1024];
  return snprintf(full, sizeof full, "%s%s", root, path) < (int)sizeof full ? fopen(full, "r") : NULL;
}

/* A file that is one number; 0 where there is none ("max", or no file). */
static int read_bytes(const char *root, const char *dir, const char *name, uint64_t *out) {
  char path[900], line[64] = "";
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = open_under(root, path);
  if (!f) return 0;
  const int ok = fgets(line, sizeof line, f) && isdigit((unsigned char)*line);
  fclose(f);
  if (ok) *out = strtoull(line, NULL, 10);
  return ok;
}

/* The number behind a key of a file with rows "key number" or "key: number kB"; 0 without. */
static uint64_t read_key(const char *root, const char *dir, const char *name, const char *key) {
  char path[900], line[256];
  unsigned long long value = 0;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = open_under(root, path);
  while (f && fgets(line, sizeof line, f)) {
    const size_t n = strlen(key);
    if (strncmp(line, key, n) != 0 || !strchr(" :", line[n])) continue;
    value = strtoull(line + n + 1, NULL, 10);
    break;
  }
  if (f) fclose(f);
  return value;
}

static void lower(uint64_t *best, uint64_t left) {
  if (!*best || left < *best) *best = left ? left : 1; /* 0 stands for not known */
}

/* What one group leaves: its limit less what is used, but for files that were read and can be given up. */
static void look_at_group(const char *root, const char *dir, int v2, uint64_t *best) {
  uint64_t most, used;
  if (!read_bytes(root, dir, v2 ? "memory.max" : "memory.limit_in_bytes", &most) || most >= (uint64_t)1 << 62) return;
  if (!read_bytes(root, dir, v2 ? "memory.current" : "memory.usage_in_bytes", &used)) return;
  const uint64_t files = read_key(root, dir, "memory.stat", v2 ? "inactive_file" : "total_inactive_file");
  used -= files < used ? files : used;
  lower(best, most > used ? most - used : 0);
}

/* Every group on the way from our own to the root. */
static void look_at_groups(const char *root, uint64_t *best) {
  char line[512], dir[800];
  look_at_group(root, "/sys/fs/cgroup", 1, best);
  look_at_group(root, "/sys/fs/cgroup/memory", 0, best);
  FILE *f = open_under(root, "/proc/self/cgroup");
  while (f && fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) continue;
    *group++ = 0;
    const int v2 = controllers[1] == 0;
    if (!v2 && !strstr(controllers, "memory")) continue;
    for (char *slash; (slash = strrchr(group, '/')) && group[1]; *slash = 0) {
      snprintf(dir, sizeof dir, "/sys/fs/cgroup%s%s", v2 ? "" : "/memory", group);
      look_at_group(root, dir, v2, best);
    }
  }
  if (f) fclose(f);
}

/* ulimit -v and -d: what is taken already is in /proc/self/statm, in pages. */
static void look_at_limits(uint64_t *best) {
  unsigned long long all = 0, data = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f && fscanf(f, "%llu %*u %*u %*u %*u %llu", &all, &data) != 2) all = data = 0;
  if (f) fclose(f);
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  struct rlimit r;
  if (!getrlimit(RLIMIT_AS, &r) && r.rlim_cur != RLIM_INFINITY)
    lower(best, r.rlim_cur > all * page ? r.rlim_cur - all * page : 0);
  if (!getrlimit(RLIMIT_DATA, &r) && r.rlim_cur != RLIM_INFINITY)
    lower(best, r.rlim_cur > data * page ? r.rlim_cur - data * page : 0);
}

uint64_t dd_machine_free_memory(const char *root) {
  uint64_t best = read_key(root, "/proc", "meminfo", "MemAvailable") * 1024;
  look_at_groups(root, &best);
  if (!*root) look_at_limits(&best);
  return best;
}

uint64_t dd_machine_used_memory(void) {
  unsigned long long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (f && fscanf(f, "%*u %llu", &pages) != 1) pages = 0;
  if (f) fclose(f);
  return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
