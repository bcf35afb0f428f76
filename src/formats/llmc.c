/* Header of llm.c's token files: 256 int32, of which three are used: magic, version, number of tokens. */
#include "formats/tokens.h"

enum { HEADER = 256 * 4, MAGIC_GPT2 = 20240520, MAGIC_LLAMA3 = 20240801, MAGIC_EVAL = 20240522 };

static uint32_t word(const unsigned char *head, int i) {
  const unsigned char *p = head + 4 * i;
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

bool dd_llmc_is(const unsigned char *head, size_t n) {
  const uint32_t magic = n >= 4 ? word(head, 0) : 0;
  return magic == MAGIC_GPT2 || magic == MAGIC_LLAMA3 || magic == MAGIC_EVAL;
}

int dd_llmc_layout(const char *path, const unsigned char *head, size_t n, uint64_t size, dd_token_layout *out,
                   dd_error *err) {
  if (n < HEADER) return dd_fail(err, DD_E_CORRUPT, "%.700s is truncated: its header of 1024 bytes is not whole", path);
  const uint32_t magic = word(head, 0), version = word(head, 1), count = word(head, 2);
  if (magic == MAGIC_EVAL)
    return dd_fail(err, DD_E_CORRUPT,
                   "%.700s holds llm.c's multiple-choice examples, not a text; use a file of its training data", path);
  const uint32_t known = magic == MAGIC_GPT2 ? 1 : 7;
  if (version != known)
    return dd_fail(err, DD_E_CORRUPT, "%.700s has version %u of llm.c's token files; with magic %u version %u is known",
                   path, version, magic, known);
  const int width = magic == MAGIC_GPT2 ? 2 : 4;
  if (count > INT32_MAX || size - HEADER != (uint64_t)count * (unsigned)width)
    return dd_fail(err, DD_E_CORRUPT, "%.700s is damaged: its header promises %u tokens, and %llu bytes follow it",
                   path, count, (unsigned long long)(size - HEADER));
  *out = (dd_token_layout){.format = DD_TOKENS_LLMC, .version = (int)version, .width = width, .at = HEADER,
                           .count = count};
  return DD_OK;
}
