/* What a data directory holds: the token files of its two splits, and what says which vocabulary they index. */
#ifndef DD_RUN_TOKEN_DIR_H
#define DD_RUN_TOKEN_DIR_H
#include "run/vocab.h"

/** The tokens of a split, "train" or "val", in fresh memory (free() by the caller; at least 2). A split is, in this
 *  order, the file SPLIT.bin, the file SPLIT.npy, or all files NAME_SPLIT.bin, NAME_SPLIT_*.bin (and .npy) with one
 *  NAME, one after another in the order of their names, as llm.c cuts large data. Each is read as what its first bytes
 *  say it is (formats/tokens.h). DD_E_IO: there is none. DD_E_USAGE: files of several NAMEs. */
int dd_token_dir_read(const char *dir, const char *split, const dd_callbacks *cb, uint16_t **ids, int64_t *n,
                      dd_error *err);
/** Does a directory hold both splits? Where that cannot be told: no. */
int dd_token_dir_is(const char *dir);
/** One token file in the same way. */
int dd_token_path_read(const char *path, const dd_callbacks *cb, uint16_t **ids, int64_t *n, dd_error *err);

/** Size of the vocabulary of tokens of which nothing but the largest is known: largest + 1, or that of GPT-2, 50257,
 *  when the largest is in the upper third of it: nanoGPT's and llm.c's files of GPT-2 tokens say nothing else, and
 *  rarely hold the very last. */
int dd_token_vocab_size(int largest);

/** Vocabulary of nanoGPT's meta.pkl: {'vocab_size': n, 'itos': {id: character}, 'stoi': {character: id}}. Where itos
 *  gives every id a character of its own they become a vocabulary of characters, in any order; otherwise, and without
 *  itos, of bare numbers, which is told as a warning when itos says something that is lost. DD_E_CORRUPT: damaged, no
 *  plain data, or itos and stoi contradict each other. */
int dd_meta_pkl_read(dd_vocab *v, const char *path, const dd_callbacks *cb, dd_error *err);
#endif
