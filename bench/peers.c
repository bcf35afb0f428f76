/* Other libraries, found at run time and never linked: their names stand in bench.h, their functions are looked up
 * here.
 *
 * They run in this process, because what is compared must see the same pages, clocks and moments; their threads spin
 * for some milliseconds after a call, which rounds.c takes care of. RTLD_LOCAL keeps their names from each other. */
#include "bench/bench.h"
#include "dd_config.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void cblas_sgemm_fn(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                            const float *b, int ldb, float beta, float *c, int ldc);
typedef int dnnl_sgemm_fn(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
                          const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

#define PEER_SONAMES(id, name, ...) {name, {__VA_ARGS__, NULL}},
static const struct { const char *name, *sonames[4]; } known[DD_PEER_COUNT] = {DD_PEERS(PEER_SONAMES)};

/* In a list of names with commas; letter case does not count. */
static int listed(const char *name, const char *list) {
  const size_t n = strlen(name);
  for (const char *p = list;; p++) {
    const size_t len = strcspn(p, ",");
    if (len == n && !strncasecmp(p, name, n)) return 1;
    p += len;
    if (!*p) return 0;
  }
}

static int check_names(const char *which, dd_error *err) {
  for (const char *p = which;; p++) {
    const int len = (int)strcspn(p, ",");
    int found = 0;
    for (int i = 0; i < DD_PEER_COUNT; i++)
      found |= len == (int)strlen(known[i].name) && !strncasecmp(p, known[i].name, (size_t)len);
    if (!found)
      return dd_fail(err, DD_E_USAGE, "peers must be auto, none or some of openblas,blis,onednn, not '%.*s'",
                     len < 60 ? len : 60, p);
    p += len;
    if (!*p) return DD_OK;
  }
}

/* Object pointers from dlsym are functions here; C has no cast for that, POSIX promises it. */
#define LOOK_UP(fn, handle, name) (*(void **)(void *)&(fn) = dlsym(handle, name))

static void open_one(dd_peer *p, int id) {
  if (DD_STATIC) return; /* a program without a loader has no peers */
  for (int i = 0; known[id].sonames[i] && !p->handle; i++) {
    char path[256];
    const char *soname = known[id].sonames[i];
    if (strchr(soname, '/')) { /* where Debian's alternatives keep the builds with OpenMP */
      static const char *const roots[] = {"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"};
      for (size_t r = 0; r < 2 && !p->handle; r++) {
        snprintf(path, sizeof path, "%s/%s", roots[r], soname);
        p->handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
      }
    } else p->handle = dlopen(soname, RTLD_LAZY | RTLD_LOCAL);
  }
  if (!p->handle) return;
  static const char *const setters[DD_PEER_COUNT] = {"openblas_set_num_threads", "bli_thread_set_num_threads",
                                                     "omp_set_num_threads"}; /* found in what oneDNN depends on */
  p->sgemm = dlsym(p->handle, id == DD_PEER_ONEDNN ? "dnnl_sgemm" : "cblas_sgemm");
  p->set_threads = dlsym(p->handle, setters[id]);
  if (!p->sgemm || !p->set_threads) {
    dlclose(p->handle);
    p->handle = NULL;
  }
}

static void describe(dd_peer *p, int id) {
  snprintf(p->version, sizeof p->version, "version not told");
  if (id == DD_PEER_OPENBLAS) {
    char *(*config)(void), *(*core)(void);
    LOOK_UP(config, p->handle, "openblas_get_config");
    LOOK_UP(core, p->handle, "openblas_get_corename");
    if (config && core) {
      const char *text = config();
      const int skip = strncmp(text, "OpenBLAS ", 9) ? 0 : 9;
      snprintf(p->version, sizeof p->version, "%.*s, kernels %s", (int)strcspn(text + skip, " "), text + skip, core());
    }
  } else if (id == DD_PEER_BLIS) {
    const char *(*version)(void), *(*name)(int);
    int (*query)(void);
    LOOK_UP(version, p->handle, "bli_info_get_version_str");
    LOOK_UP(name, p->handle, "bli_arch_string");
    LOOK_UP(query, p->handle, "bli_arch_query_id");
    dd_peer_threads(p, 1); /* brings the library up: with BLIS_ARCH_TYPE set, it cannot answer before */
    if (version && name && query) snprintf(p->version, sizeof p->version, "%s, kernels %s", version(), name(query()));
  } else {
    typedef struct {
      int major, minor, patch;
    } version_t; /* the first fields of dnnl_version_t in 1.x to 3.x */
    const version_t *(*version)(void);
    int (*isa)(void);
    LOOK_UP(version, p->handle, "dnnl_version");
    LOOK_UP(isa, p->handle, "dnnl_get_effective_cpu_isa");
    if (version && isa)
      snprintf(p->version, sizeof p->version, "%d.%d.%d, instruction sets 0x%x", version()->major, version()->minor,
               version()->patch, (unsigned)isa());
  }
}

int dd_peers_open(dd_peer peers[DD_PEER_COUNT], const char *which, dd_error *err) {
  const int automatic = !*which || !strcmp(which, "auto"), none = !strcmp(which, "none");
  int rc = automatic || none ? DD_OK : check_names(which, err);
  for (int i = 0; i < DD_PEER_COUNT; i++) {
    peers[i] = (dd_peer){.name = known[i].name};
    if (rc || none || (!automatic && !listed(known[i].name, which))) continue;
    open_one(peers + i, i);
    if (peers[i].handle) describe(peers + i, i);
    else if (!automatic)
      rc = dd_fail(err, DD_E_USAGE, "%s is not installed here (no %s); install it or use --peers auto", known[i].name,
                   known[i].sonames[1]);
  }
  if (rc) dd_peers_close(peers);
  return rc;
}

void dd_peers_close(dd_peer peers[DD_PEER_COUNT]) {
  /* Not dlclose: their threads may still run code of theirs. */
  for (int i = 0; i < DD_PEER_COUNT; i++) peers[i].handle = NULL;
}

void dd_peer_threads(const dd_peer *p, int n) {
  if (!strcmp(p->name, "BLIS")) { /* takes a dim_t */
    void (*set)(int64_t);
    *(void **)(void *)&set = p->set_threads;
    set(n);
  } else {
    void (*set)(int);
    *(void **)(void *)&set = p->set_threads;
    set(n);
  }
}

void dd_peer_sgemm(const dd_peer *p, int ta, int tb, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
                   float *c) {
  const int64_t lda = ta ? m : k, ldb = tb ? k : n;
  if (!strcmp(p->name, "oneDNN")) {
    dnnl_sgemm_fn *fn;
    *(void **)(void *)&fn = p->sgemm;
    fn(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1, a, lda, b, ldb, 0, c, n);
  } else {
    cblas_sgemm_fn *fn;
    *(void **)(void *)&fn = p->sgemm;
    fn(ROW_MAJOR, ta ? TRANS : NO_TRANS, tb ? TRANS : NO_TRANS, (int)m, (int)n, (int)k, 1, a, (int)lda, b, (int)ldb, 0,
       c, (int)n);
  }
}
