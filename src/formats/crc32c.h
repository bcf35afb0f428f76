/* CRC-32C (Castagnoli), as TensorFlow's record files use it. */
#ifndef DD_FORMATS_CRC32C_H
#define DD_FORMATS_CRC32C_H
#include <stddef.h>
#include <stdint.h>

/** CRC-32C of data[n]; "123456789" gives e3069283. */
uint32_t dd_crc32c(const void *data, size_t n);
/** The same, rotated and offset, as it stands in record files: a checksum of bytes that hold checksums stays good. */
uint32_t dd_crc32c_masked(const void *data, size_t n);
#endif
