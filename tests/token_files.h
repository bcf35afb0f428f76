/* Token files of other programs, made in memory. */
#ifndef DD_TESTS_TOKEN_FILES_H
#define DD_TESTS_TOKEN_FILES_H
#include <stdint.h>
#include <string.h>

static unsigned char image[4096];


/* An .npy file of that dictionary and data; returns its size. */
static inline size_t npy(int version, const char *dictionary, const void *data, size_t n) {
  const size_t fixed = version == 1 ? 10 : 12;
  const size_t length = (fixed + strlen(dictionary) + 1 + 63) / 64 * 64 - fixed;
  memcpy(image, "\x93NUMPY", 6);
  image[6] = (unsigned char)version, image[7] = 0;
  image[8] = (unsigned char)length, image[9] = (unsigned char)(length >> 8), image[10] = image[11] = 0;
  memset(image + fixed, ' ', length);
  memcpy(image + fixed, dictionary, strlen(dictionary));
  image[fixed + length - 1] = '\n';
  memcpy(image + fixed + length, data, n);
  return fixed + length + n;
}

static inline void put_le32(unsigned char *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> 8 * i);
}

static inline size_t llmc(uint32_t magic, uint32_t version, uint32_t count, const void *data, size_t n) {
  memset(image, 0, 1024);
  put_le32(image, magic), put_le32(image + 4, version), put_le32(image + 8, count);
  if (n) memcpy(image + 1024, data, n);
  return 1024 + n;
}

/* The dictionary of an .npy file. */
#define NPY(type, order, shape) "{'descr': '" type "', 'fortran_order': " order ", 'shape': " shape ", }"
#endif
