/* Byte-level byte pair encoding as GPT-2 uses it: a text is cut into words (formats/pretokenizer.h), a word begins as
 * its bytes, and of all neighbours the pair of the lowest rank is joined, the leftmost first, until no pair has a rank
 * (Sennrich et al. 2016; Radford et al. 2019). Ids and merges come from files of the user; every byte has an id, so
 * every text, and any other file, comes back from its ids.
 *
 * A vocabulary does not change once it is loaded and may be used by many threads. */
#ifndef DD_FORMATS_BPE_H
#define DD_FORMATS_BPE_H
#include "core/error.h"
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum {
  DD_BPE_MAX_IDS = 65535,       /* ids are 0..65534 */
  DD_BPE_MAX_TOKEN = 512,       /* bytes of a token; GPT-2's longest has 128 */
  DD_BPE_MAX_PAIRS = 1 << 20,   /* merges, or pairs that a file of ranks allows */
  DD_BPE_MAX_FILE = 16 << 20,   /* bytes of a file that is read */
  DD_BPE_MAX_STORED = 3 << 20   /* bytes of what dd_bpe_to_json writes, so that it fits the header of a checkpoint */
};

typedef struct dd_bpe dd_bpe;

/** path: a directory with, in this order, tokenizer.json, vocab.json + merges.txt, encoder.json + vocab.bpe, either
 *  merges alone (ids are then GPT-2's: bytes, merges, <|endoftext|>), or one *.tiktoken; or one of these files, in
 *  which case its partner is looked for beside it.
 *  tokenizer.json: model BPE with the pre-tokenizer ByteLevel and no normalizer; anything else is refused, because the
 *  same ids could not be promised. Files of ranks (base64 and rank on each line) follow tiktoken: a word that is a
 *  token is that token, and any two neighbours join that form a token.
 *  DD_E_IO: not there or not readable. DD_E_CORRUPT: damaged, or no byte-level BPE. */
int dd_bpe_load(dd_bpe **out, const char *path, dd_error *err);
/** One more owner of the same vocabulary; each owner releases it. */
dd_bpe *dd_bpe_share(dd_bpe *b);
void dd_bpe_release(dd_bpe *b); /* accepts NULL */

/** 1 + the largest id. */
int dd_bpe_size(const dd_bpe *b);
/** Text of an id, *n bytes, not NUL-terminated, owned by b; for a special token its name. *n = 0: no such id. */
const char *dd_bpe_token(const dd_bpe *b, int id, size_t *n);
/** 1 for tokens that no text is encoded to, such as <|endoftext|>. */
int dd_bpe_is_special(const dd_bpe *b, int id);
/** Id of <|endoftext|>, -1 when there is none. */
int dd_bpe_end_of_text(const dd_bpe *b);
/** 1 for special tokens that go by a name, such as <|endoftext|>: other libraries look for these in every text. */
int dd_bpe_is_added(const dd_bpe *b, int id);
/** XXH3-128 of ids and their texts: equal where every id stands for the same text. */
const char *dd_bpe_hash(const dd_bpe *b);

/** What one thread encodes with: a cache of words and room for the merges of one. NULL: out of memory. */
typedef struct dd_bpe_encoder dd_bpe_encoder;
dd_bpe_encoder *dd_bpe_encoder_create(const dd_bpe *b); /* borrows b */
void dd_bpe_encoder_destroy(dd_bpe_encoder *e);         /* accepts NULL */
/** Text -> ids[room for n]; returns how many, or -1: no memory for a word (some 32 bytes for each of its bytes above
 *  64). Special tokens in the text are text. text + n must be the end of the text or a place that dd_word_cut found. */
int64_t dd_bpe_encode(dd_bpe_encoder *e, const char *text, size_t n, uint16_t *ids);

/* ---- for the files of other libraries ---- */

/** Text of an id as vocab.json, tokenizer.json and GGUF files have it, UTF-8, its bytes; 0: no such id. The name of an
 *  added token, else bytes in GPT-2's printable alphabet. */
size_t dd_bpe_spell(const dd_bpe *b, int id, char out[2 * DD_BPE_MAX_TOKEN]);
/** The same of a single byte. */
size_t dd_bpe_spell_byte(unsigned char byte, char out[4]);
/** *n merges, left and right id, the first to be done first, fresh (free). Those of a file of ranks are all pairs that
 *  form a token, by its rank; where two pairs that form the same token overlap in a word, libraries that go by merges
 *  may differ from those that go by ranks. DD_E_RUNTIME: out of memory. */
int dd_bpe_merges(const dd_bpe *b, uint16_t (**merge)[2], size_t *n, dd_error *err);
/** 1 when some word that is a token would be encoded otherwise by merges alone; -1: out of memory. */
int dd_bpe_needs_whole(const dd_bpe *b);

/* ---- stored ---- */

/** Add "tokens", "merges" (or "ranked": true), "special" and, for added tokens that "tokens" lists, "added" to a JSON
 *  object, and read them back; `source` names the file in errors (DD_E_CORRUPT). Tokens are in GPT-2's printable
 *  alphabet, one a line, merges as in merges.txt. */
int dd_bpe_to_json(const dd_bpe *b, json_t *object, dd_error *err);
int dd_bpe_from_json(dd_bpe **out, const json_t *object, const char *source, dd_error *err);
#endif
