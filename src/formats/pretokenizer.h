/* GPT-2's cut of a text into words, before any merge. A lexer written by hand that finds the same words as its pattern
 *
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * with the classes of formats/unicode.h (Radford et al., Language Models are Unsupervised Multitask Learners, 2019,
 * and their published encoder). The words together are the text. A byte that is no UTF-8 counts as a symbol, so any
 * file has words and none of its bytes is lost. */
#ifndef DD_FORMATS_PRETOKENIZER_H
#define DD_FORMATS_PRETOKENIZER_H
#include <stddef.h>

/** Bytes, 1..n, of the first word of text[0..n), n > 0. text + n is the end of the text: white space there is one
 *  word. */
size_t dd_word_length(const char *text, size_t n);

/** The first place at or behind `from` where a text may be cut so that both parts have the words of the whole; n when
 *  there is none. */
size_t dd_word_cut(const char *text, size_t n, size_t from);
#endif
