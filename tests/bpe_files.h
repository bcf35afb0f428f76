/* A small vocabulary of GPT-2's kind, made up here, in all the forms that are read: what test_bpe.c and fuzz_bpe.c
 * share. 256 bytes in GPT-2's order, a token for each merge, <|endoftext|>. */
#ifndef DD_TESTS_BPE_FILES_H
#define DD_TESTS_BPE_FILES_H
#include "formats/bpe_internal.h"
#include "core/utf8.h"
#include <stdio.h>
#include <string.h>

static const char merges_text[] = "#version: 0.2\n"
                                  "\xc4\xa0 t\n"          /* " t" */
                                  "h e\n"
                                  "\xc4\xa0t he\n"        /* " the" */
                                  "i n\n"
                                  "in g\n"
                                  "l o\n"
                                  "lo w\n"
                                  "e r\n"
                                  "low er\n"
                                  "\xc3\x83 \xc2\xa9\n"   /* the bytes of e acute */
                                  "\xc4\x8a \xc4\x8a\n"   /* two newlines */
                                  "' s\n"
                                  "a a\n"
                                  "aa a\n"
                                  "aa aa\n";
enum { MERGES = 15, IDS = 256 + MERGES + 1 };

/* The token of a merge's line, in the printable alphabet; its length. */
static inline size_t merged(int i, char out[16]) {
  const char *line = strchr(merges_text, '\n') + 1;
  while (i-- > 0) line = strchr(line, '\n') + 1;
  size_t n = 0;
  for (; *line != '\n'; line++)
    if (*line != ' ') out[n++] = *line;
  return n;
}

static inline char *put_json_token(char *out, const char *token, size_t n) {
  *out++ = '"';
  for (size_t i = 0; i < n; i++) {
    if (token[i] == '"' || token[i] == '\\') *out++ = '\\';
    *out++ = token[i];
  }
  *out++ = '"';
  return out;
}

/* {"token": id, ...}; returns its end. */
static inline char *vocab_json(char *out) {
  int id = 0;
  char token[16];
  *out++ = '{';
  for (int prints = 1; prints >= 0; prints--)
    for (int byte = 0; byte < 256; byte++) {
      if ((dd_bpe_code_of((unsigned char)byte) < 0x100) != prints) continue;
      out = put_json_token(out, token, dd_utf8_encode(dd_bpe_code_of((unsigned char)byte), token));
      out += sprintf(out, ":%d,", id++);
    }
  for (int i = 0; i < MERGES; i++) {
    out = put_json_token(out, token, merged(i, token));
    out += sprintf(out, ":%d,", id++);
  }
  return out + sprintf(out, "\"<|endoftext|>\":%d}", id);
}

/* tokenizer.json; pairs: merges as lists of two. */
static inline char *tokenizer_json(char *out, int pairs) {
  out += sprintf(out, "{\"added_tokens\":[{\"id\":%d,\"content\":\"<|endoftext|>\",\"special\":true}],"
                      "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
                      "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"vocab\":", IDS - 1);
  out = vocab_json(out);
  out += sprintf(out, ",\"merges\":[");
  const char *line = strchr(merges_text, '\n') + 1;
  for (int i = 0; i < MERGES; i++, line = strchr(line, '\n') + 1) {
    const size_t n = strcspn(line, "\n"), left = strcspn(line, " ");
    if (i) *out++ = ',';
    if (pairs) {
      *out++ = '[';
      out = put_json_token(out, line, left);
      *out++ = ',';
      out = put_json_token(out, line + left + 1, n - left - 1);
      *out++ = ']';
    } else out = put_json_token(out, line, n);
  }
  return out + sprintf(out, "]}}");
}

/* Lines of base64 and rank. */
static inline char *rank_lines(char *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  int id = 0;
  for (int phase = 0; phase < 3; phase++)
    for (int i = 0; i < (phase < 2 ? 256 : MERGES); i++) {
      char token[16], b[20] = {0};
      size_t n = 1;
      b[0] = (char)i;
      if (phase < 2 && (dd_bpe_code_of((unsigned char)i) < 0x100) != !phase) continue;
      if (phase == 2) dd_bpe_unmap(token, merged(i, token), b, &n);
      b[n] = 0;
      for (size_t k = 0; k < n; k += 3) {
        const unsigned char *c = (const unsigned char *)b + k; /* zeros behind */
        const unsigned bits = (unsigned)c[0] << 16 | (unsigned)c[1] << 8 | c[2];
        *out++ = digits[bits >> 18];
        *out++ = digits[bits >> 12 & 63];
        *out++ = k + 1 < n ? digits[bits >> 6 & 63] : '=';
        *out++ = k + 2 < n ? digits[bits & 63] : '=';
      }
      out += sprintf(out, " %d\n", id++);
    }
  return out;
}
#endif
