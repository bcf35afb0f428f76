/* Memory in a few large pieces, sized once. The only file that knows libnuma is arena.c.
 * Pages are zero, huge where the system allows, first touched (placed) by whoever writes them first; on machines of
 * several nodes dd_arena_interleave spreads them. */
#ifndef DD_CORE_ARENA_H
#define DD_CORE_ARENA_H
#include "core/error.h"

typedef struct dd_arena {
  void *base;
  size_t size, used;
} dd_arena;

/** what: for the message when memory runs out. size 0 is allowed. */
int dd_arena_create(dd_arena *a, size_t size, const char *what, dd_error *err);
void dd_arena_destroy(dd_arena *a);
/** 64-byte aligned piece, NULL when the arena is full (a sizing mistake of the caller). With base NULL only counts:
 *  run the same takes on an empty arena to learn the size. */
void *dd_arena_take(dd_arena *a, size_t bytes);
void dd_arena_interleave(dd_arena *a);
/** NUMA nodes with memory, 1 without libnuma. */
int dd_numa_nodes(void);
#endif
