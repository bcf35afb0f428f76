/* A reader of Python's pickles that hold nothing but data: None, bool, int, float, str, bytes, list, tuple and dict, in
 * protocols 0 to 5. A pickle is a program; this is an interpreter of the harmless part of it. What names a Python
 * object or calls one (GLOBAL, REDUCE, BUILD ...) is refused, so that nothing of a stranger's file is ever run. */
#ifndef DD_FORMATS_PICKLE_H
#define DD_FORMATS_PICKLE_H
#include "core/error.h"

enum {
  DD_PICKLE_BYTES = 1 << 24,    /* largest file */
  DD_PICKLE_VALUES = 1 << 19,   /* most values in it */
  DD_PICKLE_ELEMENTS = 1 << 20, /* most places in lists, tuples and dicts, all together */
  DD_PICKLE_MARKS = 64          /* most containers that are open at a time */
};

typedef enum dd_pickle_kind {
  DD_PICKLE_NONE,
  DD_PICKLE_BOOL,
  DD_PICKLE_INT,
  DD_PICKLE_REAL,
  DD_PICKLE_TEXT, /* str: UTF-8, in which Python lets lone surrogates stand */
  DD_PICKLE_DATA, /* bytes */
  DD_PICKLE_LIST,
  DD_PICKLE_TUPLE,
  DD_PICKLE_DICT,
  /* Only of dd_pickle_parse_torch; nothing is called or loaded, these values say what would be. */
  DD_PICKLE_GLOBAL,    /* an object of Python: text is "module\nname" */
  DD_PICKLE_CALL,      /* item: a GLOBAL, the tuple of its arguments */
  DD_PICKLE_PERSISTENT /* item: what names an object outside of the pickle */
} dd_pickle_kind;

typedef struct dd_pickle_value dd_pickle_value;
struct dd_pickle_value {
  dd_pickle_kind kind;
  int64_t integer;              /* BOOL, INT */
  double real;                  /* REAL */
  const char *text;             /* TEXT, DATA: size bytes, not terminated */
  size_t size;
  const dd_pickle_value **item; /* LIST, TUPLE: count values; DICT: key, value, key, value ... */
  size_t count;                 /* of item; a dict may repeat a key: the last counts */
};

/** The name of a kind in Python: "dict". */
const char *dd_pickle_kind_name(dd_pickle_kind kind);

typedef struct dd_pickle dd_pickle;
/** Read data[n], which must stay in place as long as *out. name: of the file, for messages. DD_E_CORRUPT: damaged,
 *  beyond the limits above, or more than data. */
int dd_pickle_parse(const char *data, size_t n, const char *name, dd_pickle **out, dd_error *err);
/** The same for the pickles of torch.save, which also name classes of tensors and their storages, and functions that
 *  put them together: a fixed list of these is taken, all other names are refused. An OrderedDict is a DICT. */
int dd_pickle_parse_torch(const char *data, size_t n, const char *name, dd_pickle **out, dd_error *err);
void dd_pickle_free(dd_pickle *p); /* accepts NULL */
/** The value; containers may hold themselves, so do not walk through them without a limit. Lives as long as p. */
const dd_pickle_value *dd_pickle_root(const dd_pickle *p);
/** Value of a string key of a dict, or NULL (also when v is NULL or no dict). */
const dd_pickle_value *dd_pickle_get(const dd_pickle_value *v, const char *key);
/** Protocol of the file: 2 to 5, or 0 for 0 and 1, which do not say it. */
int dd_pickle_protocol(const dd_pickle *p);
#endif
