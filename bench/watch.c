/* What else the machine did while we measured, and what machine it is. */
#include "bench/bench.h"
#include "dd_config.h"
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* First line of a small system file without its line feed; "" when there is none. */
static void first_line(const char *path, char *out, size_t size) {
  out[0] = '\0';
  FILE *f = fopen(path, "r");
  if (!f) return;
  if (!fgets(out, (int)size, f)) out[0] = '\0';
  out[strcspn(out, "\n")] = '\0';
  fclose(f);
}

static double seconds_of(struct timeval t) { return (double)t.tv_sec + 1e-6 * (double)t.tv_usec; }

void dd_watch_now(dd_watch *w) {
  char line[512];
  unsigned long long v[8] = {0}; /* user, nice, system, idle, iowait, irq, softirq, steal */
  *w = (dd_watch){.wall = dd_now()};
  first_line("/proc/stat", line, sizeof line);
  if (sscanf(line, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7) >=
      7) {
    const double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    w->busy = (double)(v[0] + v[1] + v[2] + v[5] + v[6]) * tick;
    w->steal = (double)v[7] * tick;
  }
  struct rusage self, children;
  getrusage(RUSAGE_SELF, &self);
  getrusage(RUSAGE_CHILDREN, &children);
  w->own = seconds_of(self.ru_utime) + seconds_of(self.ru_stime) + seconds_of(children.ru_utime) +
           seconds_of(children.ru_stime);
}

void dd_watch_between(const dd_watch *from, const dd_watch *to, double *others, double *stolen) {
  const double wall = to->wall - from->wall;
  *others = *stolen = 0;
  if (wall <= 0 || to->busy <= 0) return;
  *others = (to->busy - from->busy - (to->own - from->own)) / wall;
  if (*others < 0) *others = 0; /* ticks are coarse */
  *stolen = (to->steal - from->steal) / wall / (double)sysconf(_SC_NPROCESSORS_ONLN);
}

static uint64_t status_kb(const char *key) {
  char line[256];
  unsigned long long kb = 0;
  FILE *f = fopen("/proc/self/status", "r");
  if (!f) return 0;
  const size_t n = strlen(key);
  while (fgets(line, sizeof line, f))
    if (!strncmp(line, key, n) && line[n] == ':' && sscanf(line + n + 1, "%llu", &kb) == 1) break;
  fclose(f);
  return (uint64_t)kb * 1024;
}

uint64_t dd_memory_now(void) { return status_kb("VmRSS"); }
uint64_t dd_memory_peak(void) { return status_kb("VmHWM"); }

int dd_memory_peak_reset(void) {
  FILE *f = fopen("/proc/self/clear_refs", "w"); /* 5: see proc(5) */
  if (!f) return 0;
  const int ok = fputs("5", f) >= 0;
  return fclose(f) == 0 && ok;
}

/* "madvise" of "always [madvise] never". */
static void chosen_word(char *text) {
  char *open = strchr(text, '['), *close = strchr(text, ']');
  if (!open || !close || close < open) return;
  memmove(text, open + 1, (size_t)(close - open - 1));
  text[close - open - 1] = '\0';
}

json_t *dd_machine_json(void) {
  char cpu[256], pages[128], load[128], date[32];
  struct utsname u;
  double load1 = 0;
  const dd_caches c = dd_machine_caches("");
  const time_t now = time(NULL);
  struct tm utc;
  dd_machine_name(cpu, sizeof cpu);
  first_line("/sys/kernel/mm/transparent_hugepage/enabled", pages, sizeof pages);
  chosen_word(pages);
  first_line("/proc/loadavg", load, sizeof load);
  sscanf(load, "%lf", &load1);
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  if (uname(&u)) snprintf(u.release, sizeof u.release, "unknown");
  return json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:s}", "cpu", cpu,
                   "processors", dd_machine_cpus(), "cores", dd_machine_cores(""), "l1", (json_int_t)c.l1, "l2",
                   (json_int_t)c.l2, "l3", (json_int_t)c.l3, "numa_nodes", dd_numa_nodes(), "huge_pages",
                   *pages ? pages : "unknown", "kernel", u.release, "compiler", DD_COMPILER, "build", DD_BUILDTYPE,
                   "version", dd_version(), "numerics_version", DD_NUMERICS_VERSION, "load_average", load1, "date",
                   date);
}
