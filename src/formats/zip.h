/* ZIP archives of stored (not compressed) entries, as torch.save makes them, with the 64-bit extension.
 * APPNOTE 6.3.9. An entry's bytes begin at a multiple of 64. */
#ifndef DD_FORMATS_ZIP_H
#define DD_FORMATS_ZIP_H
#include "core/file.h"
#include "formats/bytes.h"

enum {
  DD_ZIP_ALIGN = 64,
  DD_ZIP_MAX_ENTRIES = 1 << 18,
  DD_ZIP_MAX_DIRECTORY = 1 << 26, /* bytes of the central directory */
  DD_ZIP_MAX_NAME = 512
};

/** CRC-32 of IEEE 802.3, the checksum of entries; crc: of what came before, 0 at the beginning. */
uint32_t dd_crc32(uint32_t crc, const void *data, size_t n);

/* ---- writing: atomic and durable (dd_atomic_*) ---- */
typedef struct dd_zip_writer {
  dd_atomic a;
  dd_bytes central;
  uint64_t at, entries;
} dd_zip_writer;
int dd_zip_begin(dd_zip_writer *w, const char *path, uint64_t expected_bytes, dd_error *err);
int dd_zip_add(dd_zip_writer *w, const char *name, const void *data, uint64_t n, dd_error *err);
int dd_zip_commit(dd_zip_writer *w, dd_error *err);
void dd_zip_abort(dd_zip_writer *w); /* after any failure of the above, or instead of commit */

/* ---- reading ---- */
typedef struct dd_zip_entry {
  const char *name; /* printable, NUL-terminated */
  uint64_t at, n;   /* of its bytes in the file */
  uint32_t crc;
} dd_zip_entry;
typedef struct dd_zip dd_zip;
/** 1 when head[n], the first bytes of a file, begin like an archive with an entry. */
int dd_zip_is(const unsigned char *head, size_t n);
/** Read and check the directory and the head of every entry. DD_E_CORRUPT: damaged, compressed, encrypted, in several
 *  parts; entries must not overlap, and no two have one name. */
int dd_zip_open(const char *path, dd_zip **out, dd_error *err);
void dd_zip_close(dd_zip *z); /* accepts NULL */
size_t dd_zip_count(const dd_zip *z);
const dd_zip_entry *dd_zip_at(const dd_zip *z, size_t i);
/** Entry of that name, or NULL. */
const dd_zip_entry *dd_zip_find(const dd_zip *z, const char *name);
/** All bytes of an entry into dst[e->n], checksum verified. */
int dd_zip_read(dd_zip *z, const dd_zip_entry *e, void *dst, dd_error *err);
#endif
