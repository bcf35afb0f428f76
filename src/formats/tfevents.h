/* TensorBoard's event files: records {u64 length, masked crc of it, data, masked crc of that}, little endian; the data
 * are Event messages of protocol buffers, of which we write and read
 *
 *   Event    1 wall_time (double, seconds from 1970), 2 step (int64), 3 file_version (string), 5 summary, 7 session_log
 *   Summary  1 value: {1 tag, 2 simple_value (float), 8 tensor of strings, 9 metadata: {1 plugin: {1 name, 2 content}}}
 *   SessionLog  1 status: 1 is START, which tells readers to forget what earlier files have from this step on */
#ifndef DD_FORMATS_TFEVENTS_H
#define DD_FORMATS_TFEVENTS_H
#include "core/error.h"
#include <stdbool.h>
#include <stdint.h>

/** Bytes of records, ready to be appended to a file. Begins as {0}; free(data). After memory ran out calls do nothing
 *  and `failed` stays set. */
typedef struct dd_tfevents {
  unsigned char *data;
  size_t n, room;
  int failed;
} dd_tfevents;

typedef struct dd_tfscalar {
  const char *tag; /* "loss/val" */
  float value;
} dd_tfscalar;

enum { DD_TFSCALARS_MOST = 32 }; /* of one event */

/* One record each. wall: seconds since 1970. */
void dd_tfevents_version(dd_tfevents *out, double wall); /* the first record of every file */
void dd_tfevents_start(dd_tfevents *out, double wall, int64_t step);
void dd_tfevents_scalars(dd_tfevents *out, double wall, int64_t step, const dd_tfscalar *scalars, int n);
/** markdown: for the dashboard of texts. */
void dd_tfevents_text(dd_tfevents *out, double wall, int64_t step, const char *tag, const char *markdown);

/** A hyperparameter: a string, or a number when text is NULL. */
typedef struct dd_tfparam {
  const char *name, *text;
  double number;
} dd_tfparam;
void dd_tfevents_hparams(dd_tfevents *out, double wall, const char *group, const dd_tfparam *params, int n);

/* ---- reading ---- */

/** An event as it is read. */
typedef struct dd_tfevent {
  double wall;
  int64_t step;
  bool version, start;    /* says the version of the file; is the start of a session */
  const char *tag;        /* of a value of a summary, else NULL; valid during the call */
  bool is_scalar;         /* the value is a number */
  float value;
} dd_tfevent;

typedef struct dd_tfevents_end { /* how the file ends */
  int64_t records;
  uint64_t bytes; /* of whole records */
  bool torn;      /* something follows that is no whole record: the writer died, or writes now */
} dd_tfevents_end;

/** Calls take for every value of every summary, and once for events that have none; it returns a dd_status, and what is
 *  not DD_OK ends the reading. Checks lengths before it allocates, and both checksums of every record. DD_E_CORRUPT: no
 *  event file, or damaged; the message names path and byte. */
int dd_tfevents_read(const char *path, int (*take)(void *user, const dd_tfevent *e), void *user, dd_tfevents_end *end,
                     dd_error *err);
#endif
