/* Reading JSON from files of strangers into jansson's values: bounded in depth and number of elements, so that a file
 * cannot make far more memory of itself than it has bytes, and certain to say when memory runs out. */
#ifndef DD_CORE_JSON_H
#define DD_CORE_JSON_H
#include "core/error.h"
#include <jansson.h>

enum { DD_JSON_DEPTH = 32 }; /* of arrays and objects inside each other: what we write has at most 8 */

/** What is wrong with a text: a phrase such as "is not valid JSON", never bytes of the text; line and byte count
 *  from 1. */
typedef struct dd_json_fault {
  const char *what;
  int line;
  size_t byte;
} dd_json_fault;

/** Object or array in text[n], not more deeply nested than DD_JSON_DEPTH and with at most `most` elements in all;
 *  *out is new (json_decref). DD_E_CORRUPT: damaged, *fault (may be NULL) says how. DD_E_RUNTIME: out of memory. */
int dd_json_parse(const char *text, size_t n, size_t most, json_t **out, dd_json_fault *fault);

/** 1 when text[n] is UTF-8, without surrogates and overlong forms. */
int dd_utf8_valid(const char *text, size_t n);
#endif
