/* `dd-cpu inspect`: what a file is and what is in it. A kind of file is a row of inspect.def and two functions, which
 * live in inspect_KIND.c; they collect facts, from which both lines for people and JSON are made. */
#ifndef DD_RUN_INSPECT_H
#define DD_RUN_INSPECT_H
#include "core/error.h"
#include "run/inspect.def"
#include "run/vocab.h"
#include <jansson.h>
#include <stdbool.h>

/** A file before it is known what it is. */
typedef struct dd_probe {
  const char *path, *name; /* name: last part of the path */
  bool is_directory;
  uint64_t size;           /* bytes of a file */
  const unsigned char *head;
  size_t n_head;           /* first bytes of a file, at most DD_TOKENS_HEAD; followed by a NUL byte */
} dd_probe;

/** Does the name end in ".npy"? Do the first bytes hold that text? */
bool dd_probe_ends(const dd_probe *p, const char *ending);
bool dd_probe_holds(const dd_probe *p, const char *text);

/** Facts in the order in which they are added. Values: text, numbers, lists of them, objects (shown indented) and lists
 *  of objects with the same keys (shown as a table). */
typedef struct dd_facts {
  json_t *object;
  bool failed; /* out of memory; told by dd_inspect */
} dd_facts;
/** Steals value; NULL counts as out of memory. */
void dd_fact(dd_facts *f, const char *key, json_t *value);
void dd_fact_int(dd_facts *f, const char *key, int64_t value);
void dd_fact_real(dd_facts *f, const char *key, double value); /* not finite: null */
/** Text that need not be UTF-8: what is not becomes '?'. */
void dd_fact_text(dd_facts *f, const char *key, const char *fmt, ...) DD_PRINTF(3, 4);
json_t *dd_any_text(const char *text, size_t n);
/** Kind and size of a vocabulary and, of characters, the first ones. */
void dd_fact_vocab(dd_facts *f, const dd_vocab *v);
/** Lines for people: "  key  value", control characters escaped. NULL: out of memory; free() by the caller. */
char *dd_facts_lines(const json_t *object);

#define DD_INSPECT_FUNCTIONS(id, ...)                                                                                \
  int dd_is_##id(const dd_probe *p);                                                                                 \
  int dd_tell_##id(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err);
DD_INSPECT_KINDS(DD_INSPECT_FUNCTIONS)
#undef DD_INSPECT_FUNCTIONS
#endif
