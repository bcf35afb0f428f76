/* Rates at given iterations: the lists of schedule `steps` and the files of schedule `table`. */
#ifndef DD_MODEL_POINTS_H
#define DD_MODEL_POINTS_H
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DD_POINTS_MAX = 100000, DD_POINTS_FILE_MAX = 8 << 20 };

typedef struct dd_point {
  double at; /* iteration, or per cent of T */
  bool percent;
  double rate; /* in [0, 1) */
} dd_point;
typedef struct dd_points {
  size_t n; /* at least 1 */
  dd_point point[];
} dd_points;

/** "0=0.2,50%=0.1,3000=0": iterations or percentages of T, each with a rate. free() by the caller. name: of the
 *  setting, for messages. DD_E_USAGE. */
int dd_points_parse_list(dd_points **out, const char *name, const char *text, dd_error *err);
/** A table from a stranger: lines `iteration, rate` with a comma, semicolon, tab or spaces between; blank lines, `#`
 *  comments and one header line are passed over; an iteration may be a percentage of T. n bytes, text[n] = '\0'. name:
 *  of the file. free() by the caller. DD_E_CORRUPT with the number of the line. */
int dd_points_parse_table(dd_points **out, const char *name, const char *text, size_t n, dd_error *err);
/** Iterations must increase when per cent become iterations of T. */
int dd_points_check(const dd_points *p, const char *name, int64_t T, dd_error *err);

/** Rate of the last point that t has reached; `before` ahead of the first. */
double dd_points_step(const dd_points *p, int64_t T, int64_t t, double before);
/** Straight lines between points; the first rate ahead of the first, the last one after the last. */
double dd_points_line(const dd_points *p, int64_t T, int64_t t);
#endif
