#include "core/ranks.h"
#include "core/machine.h"
#include "core/ranks_plugin.h"
#include <assert.h>
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "dd_config.h"

/* How ranks introduce themselves. */
typedef struct hello {
  char version[32], host[96];
  int64_t numerics, pid;
  uint64_t began; /* of the process, in the system's ticks: tells it from a later one of that number */
  cpu_set_t cpus;
} hello;

struct dd_ranks {
  const dd_ranks_plugin *plugin;
  int rank, size;
  hello *who;  /* [size] */
  char *names; /* [size][NAME_SIZE] */
  char library[96];
  int *watched; /* [size] processes of this machine whose end can be seen from here */
  int lost;     /* rank that died, -1: none */
  int crowded;  /* threads of this machine outnumber its processors */
  int agreed;   /* all know of this failure */
  dd_error failure;
};

enum { NAME_SIZE = 128, ABORT_SECONDS = 2 };

/* Waiting: so long without giving the processor away, where there is one for every thread; then in naps. */
#define SPIN_SECONDS 2e-3
#define NAP_NANOSECONDS 20000
#define WATCH_SECONDS 0.2 /* how often a waiting rank looks whether the others live */

/* ---- what the environment says ---- */

/* X(variable of the size, of the rank, which MPI): first that is there. */
#define LAUNCHERS(X)                                                                                                   \
  X("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "openmpi")                                                         \
  X("PMI_SIZE", "PMI_RANK", "mpich")                                                                                   \
  X("SLURM_STEP_NUM_TASKS", "PMIX_RANK", "openmpi")

static int env_number(const char *name, int *n) {
  const char *s = getenv(name);
  if (!s || !isdigit((unsigned char)*s)) return 0;
  const long v = strtol(s, NULL, 10);
  *n = (int)(v > 1 << 20 ? 1 << 20 : v);
  return 1;
}

dd_launch dd_ranks_launch(void) {
  static const struct {
    const char *size, *rank, *plugin;
  } row[] = {
#define ROW(...) {__VA_ARGS__},
      LAUNCHERS(ROW)
#undef ROW
  };
  const char *want = getenv("DD_CPU_MPI");
  dd_launch l = {.size = 1};
  if (want && strcmp(want, "none") == 0) return l;
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    int size, rank;
    if (!env_number(row[i].size, &size) || !env_number(row[i].rank, &rank) || size < 2 || rank >= size) continue;
    return (dd_launch){.rank = rank, .size = size, .plugin = want && *want ? want : row[i].plugin, .sign = row[i].size};
  }
  return l;
}

/* ---- the plugin ---- */

/* Beside an installed program, where the build installs it, and in the build's own directory. */
static void *open_plugin(const char *name, char *why, size_t why_size) {
  char self[PATH_MAX], path[PATH_MAX + 128];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  self[n > 0 ? n : 0] = '\0';
  char *slash = strrchr(self, '/');
  if (slash) *slash = '\0';
  why[0] = '\0';
  const char *const form[] = {"%s/dd-mpi-%s.so", "%s/../" DD_LIBDIR "/dd-cpu/dd-mpi-%s.so",
                              DD_PLUGINDIR "/dd-mpi-%s.so"};
  for (int i = 0; i < 3; i++) {
    if (strchr(name, '/')) snprintf(path, sizeof path, "%s", name);
    else if (i < 2 && slash) snprintf(path, sizeof path, form[i], self, name);
    else snprintf(path, sizeof path, form[2], name);
    if (access(path, R_OK)) continue;
    /* global: components that Open MPI loads by itself look for its symbols there */
    void *so = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (so) return so;
    snprintf(why, why_size, "%s", dlerror());
  }
  return NULL;
}

static int load(const dd_launch *l, const dd_ranks_plugin **out, dd_error *err) {
  char why[400];
  void *so = open_plugin(l->plugin, why, sizeof why);
  if (!so && !*why && !strchr(l->plugin, '/')) so = open_plugin("mpi", why, sizeof why); /* of another MPI */
  if (!so && *why) return dd_fail(err, DD_E_RUNTIME, "cannot load the MPI library: %s", why);
  if (!so)
    return dd_fail(err, DD_E_USAGE,
                   "started as one of %d ranks (%s), but this dd-cpu was built or installed without dd-mpi-%.60s.so; "
                   "install it or build with -Dmpi=enabled, or set DD_CPU_MPI=none for %d trainings that do not know "
                   "of each other",
                   l->size, l->sign, l->plugin, l->size);
  const dd_ranks_plugin *p = dlsym(so, DD_RANKS_PLUGIN_SYMBOL);
  if (!p || p->version != DD_RANKS_PLUGIN_VERSION)
    return dd_fail(err, DD_E_USAGE,
                   "the plugin dd-mpi-%.200s.so belongs to another version of dd-cpu; install that of "
                   "%s",
                   l->plugin, dd_version());
  *out = p; /* never closed: MPI libraries do not unload */
  return DD_OK;
}

/* ---- joining ---- */

/* When a process began, from its stat file; 0: there is no such process. */
static uint64_t process_began(int64_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  const size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = '\0';
  char *p = strrchr(text, ')'); /* the name may hold anything */
  unsigned long long began = 0;
  /* fields after the name: state is the 3rd, starttime the 22nd */
  if (!p ||
      sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &began) != 1)
    return 0;
  return p[2] == 'Z' || p[2] == 'X' ? 0 : began;
}

static void introduce(hello *h) {
  *h = (hello){.numerics = DD_NUMERICS_VERSION, .pid = getpid(), .began = process_began(getpid())};
  snprintf(h->version, sizeof h->version, "%s", dd_version());
  if (gethostname(h->host, sizeof h->host - 1)) snprintf(h->host, sizeof h->host, "?");
  sched_getaffinity(0, sizeof h->cpus, &h->cpus);
}

int dd_ranks_same_host(const dd_ranks *r, int i) { return !r || strcmp(r->who[i].host, r->who[r->rank].host) == 0; }

static int meet(dd_ranks *r, dd_error *err) {
  static_assert(sizeof(hello) % 4 == 0, "exchanged in words");
  introduce(&r->who[r->rank]);
  const int rc = dd_ranks_exchange(r, r->who, sizeof *r->who, err);
  if (rc) return rc;
  for (int i = 0; i < r->size; i++) {
    hello *h = r->who + i;
    h->version[sizeof h->version - 1] = h->host[sizeof h->host - 1] = '\0';
    snprintf(r->names + i * NAME_SIZE, NAME_SIZE, "rank %d on %s", i, h->host);
    /* processes in other containers have numbers that mean nothing here */
    r->watched[i] = i != r->rank && dd_ranks_same_host(r, i) && h->began && process_began(h->pid) == h->began;
  }
  for (int i = 1; i < r->size; i++) {
    const hello *a = r->who, *b = r->who + i;
    if (strcmp(a->version, b->version) != 0 || a->numerics != b->numerics)
      return dd_fail(err, DD_E_USAGE,
                     "%s runs dd-cpu %s (numerics %lld), rank 0 on %s runs %s (numerics %lld); use one "
                     "program on all machines",
                     dd_ranks_name(r, i), b->version, (long long)b->numerics, a->host, a->version,
                     (long long)a->numerics);
  }
  return DD_OK;
}

static int create(dd_ranks **out, const dd_ranks_plugin *p, int rank, int size, dd_error *err) {
  dd_ranks *r = calloc(1, sizeof *r);
  if (r) {
    *r = (dd_ranks){.plugin = p, .rank = rank, .size = size, .lost = -1};
    r->who = calloc((size_t)size, sizeof *r->who);
    r->names = calloc((size_t)size, NAME_SIZE);
    r->watched = calloc((size_t)size, sizeof *r->watched);
  }
  *out = r;
  return r && r->who && r->names && r->watched ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory for %d ranks", size);
}

int dd_ranks_open(dd_ranks **out, dd_error *err) {
  const dd_launch l = dd_ranks_launch();
  const dd_ranks_plugin *p = NULL;
  int rank = 0, size = 1;
  *out = NULL;
  if (l.size < 2) return DD_OK;
  int rc = load(&l, &p, err);
  if (rc) return rc;
  const int status = p->begin(&rank, &size);
  if (status) return dd_fail(err, DD_E_RUNTIME, "MPI does not start (status %d)", status);
  if (size != l.size) {
    p->end();
    return dd_fail(err, DD_E_USAGE,
                   "%s says %d ranks, the MPI library says %d: mpirun belongs to another MPI than "
                   "dd-mpi-%.60s.so; name the right plugin in DD_CPU_MPI (openmpi, mpich, mpi, or a path)",
                   l.sign, l.size, size, l.plugin);
  }
  if ((rc = create(out, p, rank, size, err))) p->end_all(rc);
  p->library((*out)->library, sizeof(*out)->library);
  if ((rc = meet(*out, err)) && (*out)->lost < 0) { /* the same in all ranks */
    (*out)->agreed = 1;
    (*out)->failure = err ? *err : (dd_error){.code = (dd_status)rc};
  }
  return rc;
}

static void destroy(dd_ranks *r) {
  free(r->who);
  free(r->names);
  free(r->watched);
  free(r);
}

void dd_ranks_close(dd_ranks *r) {
  if (!r) return;
  r->plugin->end();
  destroy(r);
}

void dd_ranks_abort(dd_ranks *r, int code) {
  if (!r) return;
  /* a library may wait for ever to tell those that are gone */
  signal(SIGALRM, SIG_DFL);
  alarm(ABORT_SECONDS);
  r->plugin->end_all(code);
}

int dd_ranks_rank(const dd_ranks *r) { return r ? r->rank : 0; }
int dd_ranks_size(const dd_ranks *r) { return r ? r->size : 1; }
const char *dd_ranks_library(const dd_ranks *r) { return r ? r->library : ""; }
const char *dd_ranks_name(const dd_ranks *r, int rank) { return r ? r->names + rank * NAME_SIZE : "rank 0"; }
void dd_ranks_crowded(dd_ranks *r, int crowded) {
  if (r) r->crowded = crowded;
}

int dd_ranks_local(const dd_ranks *r) {
  int n = !r;
  for (int i = 0; r && i < r->size; i++) n += dd_ranks_same_host(r, i);
  return n;
}

int dd_ranks_sharing(const dd_ranks *r) {
  int n = !r;
  cpu_set_t both;
  for (int i = 0; r && i < r->size; i++) {
    CPU_AND(&both, &r->who[i].cpus, &r->who[r->rank].cpus);
    n += dd_ranks_same_host(r, i) && CPU_COUNT(&both) > 0;
  }
  return n > 0 ? n : 1;
}

int dd_ranks_local_cpus(const dd_ranks *r) {
  cpu_set_t all;
  CPU_ZERO(&all);
  if (!r) return dd_machine_cpus();
  for (int i = 0; i < r->size; i++)
    if (dd_ranks_same_host(r, i)) CPU_OR(&all, &all, &r->who[i].cpus);
  return CPU_COUNT(&all);
}

int dd_ranks_hosts(const dd_ranks *r) {
  int n = !r;
  for (int i = 0; r && i < r->size; i++) {
    int k = 0;
    while (strcmp(r->who[k].host, r->who[i].host) != 0) k++;
    n += k == i;
  }
  return n;
}

int dd_ranks_speaks(const dd_ranks *r) {
  for (int i = 0; r && i < r->rank; i++)
    if (dd_ranks_same_host(r, i) && i != r->lost) return 0;
  return 1;
}

/* ---- messages ---- */

static int failed(const dd_ranks *r, int status, int peer, dd_error *err) {
  char why[256];
  r->plugin->describe(status, why, sizeof why);
  return dd_fail(err, DD_E_RUNTIME, "messages between %s and %s fail: %s", dd_ranks_name(r, r->rank),
                 peer < 0 ? "the others" : dd_ranks_name(r, peer), why);
}

static int started(const dd_ranks *r, int status, int peer, dd_request *q, dd_error *err) {
  q->peer = peer;
  q->active = !status;
  return status ? failed(r, status, peer, err) : DD_OK;
}

static int fits(size_t bytes, dd_error *err) {
  return bytes <= INT_MAX ? DD_OK
                          : dd_fail(err, DD_E_USAGE, "a message of %zu bytes is too long; use more ranks", bytes);
}

int dd_ranks_send(dd_ranks *r, const void *data, size_t bytes, int to, int tag, dd_request *q, dd_error *err) {
  const int rc = fits(bytes, err);
  return rc ? rc : started(r, r->plugin->send(data, bytes, to, tag, &q->handle), to, q, err);
}

int dd_ranks_receive(dd_ranks *r, void *data, size_t bytes, int from, int tag, dd_request *q, dd_error *err) {
  const int rc = fits(bytes, err);
  return rc ? rc : started(r, r->plugin->receive(data, bytes, from, tag, &q->handle), from, q, err);
}

int dd_ranks_gather(dd_ranks *r, void *data, const int *counts, const int *offsets, dd_request *q, dd_error *err) {
  return started(r, r->plugin->gather(data, counts, offsets, &q->handle), -1, q, err);
}

int dd_ranks_test(dd_ranks *r, dd_request *q, int n, int *done, dd_error *err) {
  *done = 1;
  for (int i = 0; i < n; i++) {
    if (!q[i].active) continue;
    int one;
    const int status = r->plugin->test(&q[i].handle, &one);
    if (status) return failed(r, status, q[i].peer, err);
    q[i].active = !one;
    if (!one) *done = 0;
  }
  return DD_OK;
}

static int watch(dd_ranks *r, dd_error *err) {
  for (int i = 0; i < r->size; i++) {
    if (!r->watched[i] || process_began(r->who[i].pid) == r->who[i].began) continue;
    r->lost = i;
    return dd_fail(err, DD_E_RUNTIME, "%s (process %lld) ended unexpectedly", dd_ranks_name(r, i),
                   (long long)r->who[i].pid);
  }
  return DD_OK;
}

int dd_ranks_wait(dd_ranks *r, dd_request *q, int n, dd_error *err) {
  const double begin = dd_now();
  double watched = begin;
  for (int done;;) {
    const int rc = dd_ranks_test(r, q, n, &done, err);
    if (rc) return rc;
    if (done) return DD_OK;
    const double now = dd_now();
    if (now - begin < SPIN_SECONDS && !r->crowded) continue;
    nanosleep(&(struct timespec){.tv_nsec = NAP_NANOSECONDS}, NULL);
    if (now - watched < WATCH_SECONDS) continue;
    watched = now;
    const int gone = watch(r, err);
    if (gone) return gone;
  }
}

int dd_ranks_broadcast(dd_ranks *r, void *data, size_t bytes, int from, dd_error *err) {
  const size_t most = (size_t)1 << 28;
  for (size_t at = 0; r && at < bytes; at += most) {
    const size_t n = bytes - at < most ? bytes - at : most;
    dd_request q = {0};
    int rc = started(r, r->plugin->broadcast((char *)data + at, n, from, &q.handle), -1, &q, err);
    if (!rc) rc = dd_ranks_wait(r, &q, 1, err);
    if (rc) return rc;
  }
  return DD_OK;
}

int dd_ranks_exchange(dd_ranks *r, void *all, size_t bytes, dd_error *err) {
  if (!r) return DD_OK;
  int *counts = malloc(2 * (size_t)r->size * sizeof *counts), *offsets = counts + r->size;
  if (!counts) return dd_fail(err, DD_E_RUNTIME, "out of memory for %d ranks", r->size);
  for (int i = 0; i < r->size; i++) {
    counts[i] = (int)(bytes / 4);
    offsets[i] = i * counts[i];
  }
  dd_request q = {0};
  int rc = dd_ranks_gather(r, all, counts, offsets, &q, err);
  if (!rc) rc = dd_ranks_wait(r, &q, 1, err);
  if (!rc) free(counts); /* else they are still the library's */
  return rc;
}

/* ---- agreement ---- */

typedef struct fare {
  int32_t rc, ask;
  int64_t at;
} fare;

int dd_ranks_agree(dd_ranks *r, int rc, int *ask, int64_t at, dd_error *err) {
  dd_error local;
  if (!err) err = &local;
  if (!r) return rc;
  if (r->agreed) {
    *err = r->failure;
    return r->failure.code;
  }
  if (rc && r->lost >= 0) return rc; /* nobody is there to agree with */
  fare *all = calloc((size_t)r->size, sizeof *all);
  if (!all) return dd_fail(err, DD_E_RUNTIME, "out of memory for %d ranks", r->size);
  all[r->rank] = (fare){rc, ask ? *ask : 0, at};
  dd_error own = *err;
  int got = dd_ranks_exchange(r, all, sizeof *all, err), first = -1, wish = 0, apart = 0;
  for (int i = 0; !got && i < r->size; i++) {
    if (all[i].rc && first < 0) first = i;
    if (all[i].ask && (!wish || all[i].ask < wish)) wish = all[i].ask; /* 1, stop, before 2, save */
    apart |= all[i].at != all[0].at;
  }
  if (!got && first >= 0) {
    r->failure = own;
    got = dd_ranks_broadcast(r, &r->failure, sizeof r->failure, first, err);
    if (!got) {
      r->agreed = 1;
      r->failure.code = (dd_status)all[first].rc;
      r->failure.message[sizeof r->failure.message - 1] = '\0';
      *err = r->failure;
      if (first) dd_fail_prefix(err, "%s: ", dd_ranks_name(r, first));
      r->failure = *err;
      got = all[first].rc;
    }
  } else if (!got && apart) {
    got = dd_fail(err, DD_E_RUNTIME, "the ranks are at different iterations; this is a bug or a broken machine");
  }
  if (!got && ask) *ask = wish;
  if (!got || r->agreed) free(all); /* else it is still the library's */
  return got;
}

int dd_ranks_agreed(const dd_ranks *r) { return r && r->agreed; }
