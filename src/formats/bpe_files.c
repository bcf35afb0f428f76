/* The files that vocabularies come in. */
#include "core/file.h"
#include "core/json.h"
#include "formats/bpe_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *path, const char *wrong, dd_error *err) {
  if (wrong == dd_bpe_no_memory) return dd_fail(err, DD_E_RUNTIME, "out of memory reading %s", path);
  return dd_fail(err, DD_E_CORRUPT, "%s %s; give --bpe the files of a GPT-2 tokenizer", path, wrong);
}

static int read_text(const char *path, char **text, dd_error *err) {
  size_t n;
  const int rc = dd_file_read_all(path, DD_BPE_MAX_FILE, text, &n, err);
  if (rc || !memchr(*text, 0, n)) return rc;
  free(*text);
  *text = NULL;
  return failed(path, "holds a NUL byte", err);
}

/* ---- JSON ---- */

static int parse(const char *path, const char *text, json_t **out, dd_error *err) {
  dd_json_fault fault;
  const int rc = dd_json_parse(text, strlen(text), 8U * DD_BPE_MAX_IDS, out, &fault);
  if (rc == DD_E_RUNTIME) return failed(path, dd_bpe_no_memory, err);
  if (rc) return dd_fail(err, rc, "%s is damaged: line %d %s; fetch it again", path, fault.line, fault.what);
  return DD_OK;
}

/* {"token": id, ...}. What is not in the printable alphabet is the name of a special token. */
static const char *put_vocab(dd_bpe *b, const json_t *vocab) {
  const char *token;
  json_t *value;
  json_object_foreach((json_t *)vocab, token, value) {
    const size_t n = strlen(token);
    char bytes[2 * DD_BPE_MAX_TOKEN];
    size_t length = n;
    if (n > sizeof bytes) return "has a token of more than 512 bytes";
    if (!json_is_integer(value)) return "has a token without an id";
    const int mapped = dd_bpe_unmap(token, n, bytes, &length);
    const char *wrong = dd_bpe_put_token(b, json_integer_value(value), mapped ? bytes : token, length, !mapped);
    if (wrong) return wrong;
  }
  return b->size ? NULL : "has no tokens";
}

/* "left right" or ["left", "right"]. */
static const char *put_merges(dd_bpe *b, const json_t *merges) {
  static const char not_two[] = "has a merge that is not two tokens";
  size_t i;
  json_t *value;
  json_array_foreach((json_t *)merges, i, value) {
    const char *left = json_string_value(value), *right;
    char a[2 * DD_BPE_MAX_TOKEN], c[2 * DD_BPE_MAX_TOKEN];
    size_t n_left, n_right;
    if (left) {
      right = strchr(left, ' ');
      if (!right) return not_two;
      n_left = (size_t)(right++ - left);
    } else {
      left = json_string_value(json_array_get(value, 0));
      right = json_string_value(json_array_get(value, 1));
      if (!left || !right || json_array_size(value) != 2) return not_two;
      n_left = strlen(left);
    }
    n_right = strlen(right);
    if (n_left > sizeof a || n_right > sizeof c) return "has a token of more than 512 bytes";
    if (!dd_bpe_unmap(left, n_left, a, &n_left) || !dd_bpe_unmap(right, n_right, c, &n_right)) return not_two;
    const char *wrong = dd_bpe_put_merge(b, a, n_left, c, n_right);
    if (wrong) return wrong;
  }
  return NULL;
}

/* Names that the text of a data set does not stand for. Those that the vocabulary lists too keep their id. */
static const char *put_added(dd_bpe *b, const json_t *added) {
  size_t i;
  json_t *value;
  json_array_foreach((json_t *)added, i, value) {
    const json_t *id = json_object_get(value, "id");
    const char *text = json_string_value(json_object_get(value, "content"));
    if (!json_is_integer(id) || !text) return "has an added token without id or content";
    const json_int_t at = json_integer_value(id);
    size_t n = 0;
    const char *there = at >= 0 && at < b->size ? dd_bpe_token(b, (int)at, &n) : "";
    if (n) {
      if (n != strlen(text) || memcmp(there, text, n) != 0) return "has an added token whose id is another's";
      b->token[at].added = 1;
      continue;
    }
    const char *wrong = dd_bpe_put_token(b, at, text, strlen(text), 1);
    if (wrong) return wrong;
  }
  return NULL;
}

static int empty(const json_t *value) {
  return !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);
}

static int is_byte_level(const json_t *pre) {
  const char *type = json_string_value(json_object_get(pre, "type"));
  const json_t *list = json_object_get(pre, "pretokenizers");
  if (type && !strcmp(type, "Sequence") && json_array_size(list) == 1) return is_byte_level(json_array_get(list, 0));
  return type && !strcmp(type, "ByteLevel") && json_is_false(json_object_get(pre, "add_prefix_space")) &&
         !json_is_false(json_object_get(pre, "use_regex"));
}

static const char *put_tokenizer(dd_bpe *b, const json_t *root) {
  const json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab");
  const json_t *merges = json_object_get(model, "merges"), *type = json_object_get(model, "type");
  if ((type && strcmp(json_string_value(type) ? json_string_value(type) : "", "BPE") != 0) || !json_is_object(vocab) ||
      !json_is_array(merges))
    return "has a model that is not BPE";
  const json_t *normalizer = json_object_get(root, "normalizer"), *dropout = json_object_get(model, "dropout");
  if ((normalizer && !json_is_null(normalizer)) || !is_byte_level(json_object_get(root, "pre_tokenizer")))
    return "cuts its text in another way than GPT-2";
  if ((dropout && !json_is_null(dropout)) || !empty(json_object_get(model, "continuing_subword_prefix")) ||
      !empty(json_object_get(model, "end_of_word_suffix")))
    return "merges in another way than GPT-2";
  b->whole = json_is_true(json_object_get(model, "ignore_merges"));
  const char *wrong = put_vocab(b, vocab);
  if (!wrong) wrong = put_merges(b, merges);
  return wrong ? wrong : put_added(b, json_object_get(root, "added_tokens"));
}

/* ---- text ---- */

/* Ids as GPT-2 has them: the bytes that print, the others, a token for each merge, <|endoftext|>. */
static const char *put_gpt2_tokens(dd_bpe *b, const char *text) {
  const char *wrong = NULL;
  int64_t id = 0;
  for (int prints = 1; prints >= 0; prints--)
    for (int i = 0; i < 256 && !wrong; i++) {
      const char byte = (char)i;
      if ((dd_bpe_code_of((unsigned char)i) < 0x100) == prints) wrong = dd_bpe_put_token(b, id++, &byte, 1, 0);
    }
  for (int line = 1; *text && !wrong; line++) {
    const size_t n = strcspn(text, "\n"), end = n && text[n - 1] == '\r' ? n - 1 : n;
    if (end && !(line == 1 && !strncmp(text, "#version", 8))) {
      char joined[4 * DD_BPE_MAX_TOKEN], bytes[4 * DD_BPE_MAX_TOKEN];
      const char *space = memchr(text, ' ', end);
      const size_t left = space ? (size_t)(space - text) : 0;
      size_t length;
      if (!space || end > sizeof joined) return "has a line that is not two tokens with a blank between";
      memcpy(joined, text, left);
      memcpy(joined + left, space + 1, end - left - 1);
      if (!dd_bpe_unmap(joined, end - 1, bytes, &length)) return "has a token that is not in GPT-2's alphabet of bytes";
      if (dd_bpe_find(b, bytes, length) < 0) wrong = dd_bpe_put_token(b, id++, bytes, length, 0);
    }
    text += n + (text[n] == '\n');
  }
  return wrong ? wrong : dd_bpe_put_token(b, id, DD_BPE_END_OF_TEXT, strlen(DD_BPE_END_OF_TEXT), 1);
}

static int base64_value(char c) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *at = c ? strchr(digits, c) : NULL;
  return at ? (int)(at - digits) : -1;
}

/* Whole groups of four, '=' at the end; 0 when it is none. */
static size_t base64(const char *text, size_t n, char *out) {
  size_t made = 0;
  if (n % 4) return 0;
  for (size_t i = 0; i < n; i += 4) {
    const int pad = i + 4 == n ? (text[i + 3] == '=') + (text[i + 3] == '=' && text[i + 2] == '=') : 0;
    uint32_t bits = 0;
    for (size_t k = 0; k < 4; k++) {
      const int value = k + (size_t)pad >= 4 ? 0 : base64_value(text[i + k]);
      if (value < 0) return 0;
      bits = bits << 6 | (uint32_t)value;
    }
    for (int k = 0; k < 3 - pad; k++) out[made++] = (char)(bits >> (16 - 8 * k));
  }
  return made;
}

static const char *put_ranks(dd_bpe *b, const char *text) {
  static const char not_rank[] = "has a line that is not a token in base64 and its rank";
  b->ranked = b->whole = 1;
  while (*text) {
    const size_t n = strcspn(text, "\n"), key = strcspn(text, " \n"), end = n && text[n - 1] == '\r' ? n - 1 : n;
    if (end) {
      char bytes[DD_BPE_MAX_TOKEN + 3];
      const size_t digits = key < end ? strspn(text + key + 1, "0123456789") : 0;
      if (key > (DD_BPE_MAX_TOKEN + 2) / 3 * 4) return "has a token of more than 512 bytes";
      if (digits == 0 || digits > 9 || key + 1 + digits != end) return not_rank;
      const size_t length = base64(text, key, bytes);
      if (length == 0) return not_rank;
      const char *wrong = dd_bpe_put_token(b, strtol(text + key + 1, NULL, 10), bytes, length, 0);
      if (wrong) return wrong;
    }
    text += n + (text[n] == '\n');
  }
  /* the ranks of GPT-2, which its special token follows */
  if (b->size != 50256) return NULL;
  return dd_bpe_put_token(b, b->size, DD_BPE_END_OF_TEXT, strlen(DD_BPE_END_OF_TEXT), 1);
}

/* ---- which file is what ---- */

static int ends_with(const char *path, const char *end) {
  const size_t n = strlen(path), k = strlen(end);
  return n >= k && strcmp(path + n - k, end) == 0;
}

/* Does its first line look like one of a file of ranks? */
static int looks_ranked(const char *path, const char *text) {
  char bytes[DD_BPE_MAX_TOKEN + 3];
  const size_t key = strcspn(text, " \r\n");
  return ends_with(path, ".tiktoken") ||
         (text[key] == ' ' && text[key + 1] >= '0' && text[key + 1] <= '9' && key <= DD_BPE_MAX_TOKEN &&
          strncmp(text, "#version", 8) != 0 && base64(text, key, bytes) > 0);
}

/* path.. beside another file: its directory and this name. */
static int beside(char *out, size_t size, const char *path, const char *name, dd_error *err) {
  const char *slash = strrchr(path, '/');
  const int n = snprintf(out, size, "%.*s%s", slash ? (int)(slash + 1 - path) : 0, path, name);
  return n >= 0 && (size_t)n < size ? DD_OK : dd_fail(err, DD_E_USAGE, "the path given to --bpe is too long");
}

static const char *const partners[2][2] = {{"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}};

/* vocabulary may be NULL. */
static int read_pair(dd_bpe *b, const char *vocabulary, const char *merges, dd_error *err) {
  char *text = NULL;
  json_t *root = NULL;
  const char *wrong = NULL;
  int rc = DD_OK, line = 0;
  if (vocabulary) {
    if ((rc = read_text(vocabulary, &text, err)) || (rc = parse(vocabulary, text, &root, err))) goto done;
    wrong = json_is_object(root) ? put_vocab(b, root) : "is no object of tokens and ids";
    json_decref(root);
    free(text);
    text = NULL;
    if (wrong) return failed(vocabulary, wrong, err);
  }
  if ((rc = read_text(merges, &text, err))) goto done;
  if (!vocabulary) wrong = put_gpt2_tokens(b, text);
  if (!wrong && (wrong = dd_bpe_put_lines(b, text, &line)) && wrong != dd_bpe_no_memory)
    rc = dd_fail(err, DD_E_CORRUPT, "%s: line %d %s; give --bpe the files of a GPT-2 tokenizer", merges, line, wrong);
  else if (wrong) rc = failed(merges, wrong, err);
done:
  free(text);
  return rc;
}

static int read_one(dd_bpe *b, const char *path, dd_error *err) {
  char other[4200];
  for (int i = 0; i < 2; i++)
    for (int k = 0; k < 2; k++) {
      const char *name = partners[i][k], *slash = strrchr(path, '/');
      if (strcmp(slash ? slash + 1 : path, name) != 0) continue;
      int there = 0, rc = beside(other, sizeof other, path, partners[i][!k], err);
      if (!rc) rc = dd_file_exists(other, &there, err);
      if (rc) return rc;
      if (there) return k ? read_pair(b, other, path, err) : read_pair(b, path, other, err);
      if (!k)
        return dd_fail(err, DD_E_IO, "%s has no %s beside it, which says how its tokens merge", path, partners[i][1]);
    }
  char *text;
  json_t *root;
  int rc = read_text(path, &text, err);
  if (rc) return rc;
  const size_t blank = strspn(text, " \t\r\n");
  if (text[blank] == '{') {
    if (!(rc = parse(path, text, &root, err))) {
      const char *wrong = json_object_get(root, "model") ? put_tokenizer(b, root)
                                                         : "is neither tokenizer.json nor vocab.json with merges.txt";
      json_decref(root);
      if (wrong) rc = failed(path, wrong, err);
    }
  } else if (looks_ranked(path, text)) {
    const char *wrong = put_ranks(b, text);
    if (wrong) rc = failed(path, wrong, err);
  } else rc = read_pair(b, NULL, path, err);
  free(text);
  return rc;
}

static int is_ranks(const char *dir, const char *name, const void *user) {
  (void)dir, (void)user;
  return ends_with(name, ".tiktoken");
}

/* The only file of that ending; DD_E_IO when there is none, or more than one. */
static int find_ranks(const char *dir, char *out, size_t size, dd_error *err) {
  dd_names l;
  int rc = dd_dir_names(dir, &(dd_names_wanted){.keep = is_ranks}, &l, err);
  if (rc) return rc;
  if (l.n == 1) rc = dd_path_join(out, size, dir, l.name[0], err);
  else if (l.n) rc = dd_fail(err, DD_E_IO, "%s holds %zu *.tiktoken files: name one of them", dir, l.n);
  else
    rc = dd_fail(err, DD_E_IO,
                 "%s holds no vocabulary of GPT-2: tokenizer.json, vocab.json with merges.txt, encoder.json with "
                 "vocab.bpe, or one *.tiktoken",
                 dir);
  dd_names_free(&l);
  return rc;
}

static int read_directory(dd_bpe *b, const char *dir, dd_error *err) {
  static const char *const names[] = {"tokenizer.json", "vocab.json", "encoder.json", "merges.txt", "vocab.bpe"};
  char path[4200];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    int there = 0, rc = dd_path_join(path, sizeof path, dir, names[i], err);
    if (!rc) rc = dd_file_exists(path, &there, err);
    if (rc) return rc;
    if (there) return read_one(b, path, err);
  }
  const int rc = find_ranks(dir, path, sizeof path, err);
  return rc ? rc : read_one(b, path, err);
}

int dd_bpe_load(dd_bpe **out, const char *path, dd_error *err) {
  *out = NULL;
  int there, rc = dd_file_exists(path, &there, err);
  if (rc) return rc;
  if (!there) return dd_fail(err, DD_E_IO, "there is no %s, which --bpe names", path);
  dd_bpe *b = dd_bpe_new();
  if (!b) return failed(path, dd_bpe_no_memory, err);
  rc = dd_is_dir(path) ? read_directory(b, path, err) : read_one(b, path, err);
  const char *wrong = rc ? NULL : dd_bpe_finish(b);
  if (wrong) rc = failed(path, wrong, err);
  if (rc) dd_bpe_release(b);
  else *out = b;
  return rc;
}
