#include "core/arena.h"
#include "dd_config.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#ifdef DD_HAVE_NUMA
#include <numa.h>
#endif

enum { ALIGN = 64 };
#define HUGE_PAGE ((size_t)2 << 20)

int dd_arena_create(dd_arena *a, size_t size, const char *what, dd_error *err) {
  *a = (dd_arena){0};
  if (!size) return DD_OK;
  if (size > SIZE_MAX - HUGE_PAGE)
    return dd_fail(err, DD_E_RUNTIME, "%s would need more memory than there can be", what);
  /* Whole huge pages for what is larger than one. */
  const size_t bytes = size > HUGE_PAGE ? (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE : (size + 4095) / 4096 * 4096;
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    return dd_fail(err, DD_E_RUNTIME,
                   "out of memory: %.1f MB for %s (%s); lower --batch-size, --block-size or the size of the model",
                   (double)bytes / 1e6, what, strerror(errno));
#ifdef MADV_HUGEPAGE
  if (bytes >= HUGE_PAGE) madvise(p, bytes, MADV_HUGEPAGE); /* only a wish */
#endif
  *a = (dd_arena){.base = p, .size = bytes};
  return DD_OK;
}

void dd_arena_destroy(dd_arena *a) {
  if (a->base) munmap(a->base, a->size);
  *a = (dd_arena){0};
}

void *dd_arena_take(dd_arena *a, size_t bytes) {
  const size_t at = a->used, next = at + (bytes + ALIGN - 1) / ALIGN * ALIGN;
  if (next < at || (a->base && next > a->size)) return NULL;
  a->used = next;
  return a->base ? (char *)a->base + at : NULL;
}

int dd_numa_nodes(void) {
#ifdef DD_HAVE_NUMA
  if (numa_available() >= 0) return numa_num_configured_nodes();
#endif
  return 1;
}

void dd_arena_interleave(dd_arena *a) {
#ifdef DD_HAVE_NUMA
  if (a->base && numa_available() >= 0 && numa_num_configured_nodes() > 1)
    numa_interleave_memory(a->base, a->size, numa_all_nodes_ptr);
#else
  (void)a;
#endif
}
