/* Tokenizers: text <-> ids 0..size-1. A vocabulary has at most 65,535 entries, so an id always fits a uint16. */
#ifndef DD_RUN_VOCAB_H
#define DD_RUN_VOCAB_H
#include "core/error.h"
#include "core/utf8.h"
#include "formats/bpe.h"
#include <jansson.h>

typedef enum dd_vocab_kind {
  DD_VOCAB_CHAR,  /* unique code points; of a text: sorted, id = rank; of other programs' data: in any order */
  DD_VOCAB_BYTE,  /* the 256 byte values; any file will do */
  DD_VOCAB_NUMBER, /* ids without a text (foreign token files): decodes to "123 " */
  DD_VOCAB_GPT2   /* byte-level BPE of GPT-2's kind; its tokens and merges come from the user's files */
} dd_vocab_kind;

enum { DD_VOCAB_MAX = 65535 };

typedef struct dd_vocab {
  dd_vocab_kind kind;
  int size;       /* gpt2: at least that of bpe; ids beyond have no text (models pad 50257 to 50304) */
  uint32_t *code; /* char only: `size` different code points; else NULL */
  dd_bpe *bpe;    /* gpt2 only, an owner of it; else NULL */
} dd_vocab;

/** "char", "byte", "number", "gpt2". */
const char *dd_vocab_kind_name(dd_vocab_kind kind);
/** Name -> kind; only "char", "byte" and "gpt2" may be asked for, others are DD_E_USAGE. */
int dd_vocab_kind_parse(const char *name, dd_vocab_kind *kind, dd_error *err);

/** The vocabulary of a text; `source` names the text in errors (DD_E_CORRUPT with the offset of the first bad byte;
 *  DD_E_USAGE above DD_VOCAB_MAX; DD_E_STOPPED when cb, which may be NULL, asks for it). */
int dd_vocab_from_text(dd_vocab *v, dd_vocab_kind kind, const char *text, size_t n, const char *source,
                       const dd_callbacks *cb, dd_error *err);
/** GPT-2's vocabulary, a new owner of bpe; size: 0, or that of a model with more ids (at most DD_VOCAB_MAX). */
void dd_vocab_gpt2(dd_vocab *v, dd_bpe *bpe, int size);
/** A vocabulary of `size` bare numbers. */
void dd_vocab_numbers(dd_vocab *v, int size);
/** Text -> fresh ids (free() by the caller). An unknown character is DD_E_USAGE with line and column (from 1, columns
 * in characters; in bytes for the byte tokenizer). */
int dd_vocab_encode(const dd_vocab *v, const char *text, size_t n, const char *source, uint16_t **ids, int64_t *count,
                    const dd_callbacks *cb, dd_error *err);
/** The same for the text of a prompt: where the vocabulary has a token <|endoftext|>, that text means it. */
int dd_vocab_encode_prompt(const dd_vocab *v, const char *text, size_t n, uint16_t **ids, int64_t *count,
                           dd_error *err);
/** Id -> text: *n bytes at the place returned, which is scratch or belongs to v (0 for an id outside the vocabulary). A
 *  token of bytes may end in the middle of a character. */
const char *dd_vocab_decode(const dd_vocab *v, int id, char scratch[8], size_t *n);
/** Bytes of the text that ids stand for; 0 for bare numbers. Special tokens such as <|endoftext|> stand for none. */
int64_t dd_vocab_text_bytes(const dd_vocab *v, const uint16_t *ids, int64_t n);
int dd_vocab_equal(const dd_vocab *a, const dd_vocab *b);
int dd_vocab_copy(dd_vocab *to, const dd_vocab *from, dd_error *err);
void dd_vocab_free(dd_vocab *v); /* leaves an empty vocabulary; safe on a zeroed one */

/** Add "tokenizer", "vocab_size" and (char) "vocabulary": [code points] or (gpt2) what dd_bpe_to_json adds to a JSON
 *  object, and read them back; `source` names the file in errors (DD_E_CORRUPT). Used by meta.json and by the runs' own
 *  files, so that either is complete without the files of --bpe. */
int dd_vocab_to_json(const dd_vocab *v, json_t *object, dd_error *err);
int dd_vocab_from_json(dd_vocab *v, const json_t *object, const char *source, dd_error *err);
#endif
