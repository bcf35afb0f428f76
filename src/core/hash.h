/* XXH3-128 fingerprints (xxHash) and SHA-256 (FIPS 180-4, to verify downloads). */
#ifndef DD_CORE_HASH_H
#define DD_CORE_HASH_H
#include "core/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct dd_hasher dd_hasher; /* streaming XXH3-128, seed 0 */
dd_hasher *dd_hasher_create(void);  /* NULL: out of memory */
void dd_hasher_update(dd_hasher *h, const void *data, size_t n);
/** 32 lower-case hex digits of the canonical (big-endian) digest, and a NUL. */
void dd_hasher_hex(const dd_hasher *h, char hex[33]);
void dd_hasher_destroy(dd_hasher *h);
void dd_hash_hex(const void *data, size_t n, char hex[33]);
/** SHA-256 of a buffer as 64 hex digits and a NUL. */
void dd_sha256_hex(const void *data, size_t n, char hex[65]);
/** The same for what may be large; DD_E_STOPPED when cb->should_stop asks for it. name: of the data, for that. */
int dd_sha256_polled(const void *data, size_t n, const char *name, const dd_callbacks *cb, char hex[65],
                     dd_error *err);
#endif
