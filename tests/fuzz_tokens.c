/* Fuzz target of token files: the same bytes as .npy, llm.c or raw file, by what they begin with. What is accepted has
 * ids inside the file and below the size of its vocabulary; block-wise reading and reading at once agree. */
#include "formats/tokens.h"
#include "fuzz_common.h"
#include "run/dataset.h"

static int ids_of(size_t size) {
  dd_token_file *f;
  dd_error err = {.message = ""};
  int rc = dd_token_file_open("/m/x.npy", &f, &err);
  demand(rc == DD_OK || rc == DD_E_CORRUPT, "status");
  demand(!rc || strlen(err.message) > 20, "no sentence");
  if (rc) return rc;
  const dd_token_layout *l = dd_token_file_layout(f);
  demand(l->at + l->count * (uint64_t)l->width == size, "a layout that is not the file's");
  const size_t n = (size_t)l->count;
  int64_t *wide = malloc((n + 1) * sizeof *wide);
  uint16_t *ids = malloc((n + 1) * sizeof *ids);
  demand(wide && ids, "memory");
  demand(!dd_token_file_read(f, 0, wide, n, &err), "a file that cannot be read");
  rc = dd_token_file_ids(f, ids, NULL, &err);
  int fits = 1;
  for (size_t i = 0; i < n; i++) fits = fits && wide[i] >= 0 && wide[i] < DD_VOCAB_MAX;
  demand((rc == DD_OK) == fits, "ids that do not fit, or that do");
  for (size_t i = 0; !rc && i < n; i++) demand(ids[i] == wide[i], "another id");
  free(wide);
  free(ids);
  dd_token_file_close(f);
  return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_name = "fuzz_tokens";
  if (!size) return 0;
  mem_use((const char *const[]){"/m/x.npy", NULL}, data, size);
  dd_error err = {.message = ""};
  dd_dataset *d = NULL;
  const int rc = ids_of(size);
  const int as_data = dd_dataset_open(&d, "/m/x.npy", NULL, NULL, &err);
  demand(!rc || as_data || (data[0] != 0x93 && data[0] != 0x88 && data[0] != 0xa1), "damaged, but trained on");
  for (int64_t i = 0; !as_data && i < d->n_train + d->n_val; i++)
    demand(d->train[i] < d->vocab_size, "an id beyond the vocabulary");
  dd_dataset_close(d);
  mem_done();
  *(rc ? &refused : &accepted) += 1;
  return 0;
}

#ifndef DD_LIBFUZZER
#define NPY(type, shape, pad) "{'descr': '" type "', 'fortran_order': False, 'shape': (" shape ",), }" pad "\n"
static const char u2[] = "\x93NUMPY\1\0\x47\0" NPY("<u2", "6", "             ") "\1\0\2\0\3\0\4\0\5\0\6\0";
static const char i8[] = "\x93NUMPY\2\0\x47\0\0\0" NPY("<i8", "2", "             ") "\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0";
static char llmc[1024 + 8] = "\x88\xd8\x34\1\1\0\0\0\4\0\0\0";
static const fuzz_seed seeds[] = {{u2, sizeof u2 - 1}, {i8, sizeof i8 - 1}, {llmc, sizeof llmc}, {"\1\0\2\0\3\0", 6}};
static const char *const words[] = {
    "'descr'", "'fortran_order'", "'shape'", "(", ")", ",", "{", "}", "<u2", ">u2", "|u1", "<u4", "<i8", "<f4",
    "True", "False", "L", "18446744073709551615", "\x93NUMPY", "\"", "\xa1\xd9\x34\1\7", "\x8a\xd8\x34\1",
    "\xff\xff", "[("};
FUZZ_MAIN("fuzz_tokens", 10000)
#endif
