/* Numbers as text and as JSON, the same for every report and whatever the locale. */
#ifndef DD_STUDY_NUMBERS_H
#define DD_STUDY_NUMBERS_H
#include <jansson.h>

typedef struct dd_num { char s[48]; } dd_num;

/** x with `digits` after the point, never "-0.00"; "-" when it is not known. */
dd_num dd_fixed(double x, int digits);
/** The same with a sign also above zero. */
dd_num dd_signed(double x, int digits);
/** "0.0312" or "<0.0001": for cells of a table. */
dd_num dd_p_cell(double p);
/** "= 0.0312", "< 0.0001" (one may write "p %s"), "unknown". */
dd_num dd_p_text(double p);
/** Number, or null when it is not finite. */
json_t *dd_json_real(double x);
/** NaN for anything but a number. */
double dd_json_value(const json_t *v);
/** String; bytes that are no UTF-8 and control characters become '?'. dd_json_lines keeps line feeds. */
json_t *dd_json_text(const char *text);
json_t *dd_json_lines(const char *text);
/** Sets a member; the value is stolen. A value of NULL or lack of memory sets *failed. */
void dd_json_put(json_t *object, const char *key, json_t *value, int *failed);
void dd_json_push(json_t *array, json_t *value, int *failed);
/** String made as by printf. */
json_t *dd_json_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
#endif
