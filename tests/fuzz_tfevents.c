/* Fuzz target of TensorBoard's event files: the bytes as a file, and (so that checksums do not keep everything out) the
 * bytes as messages between marks, framed into records with good checksums. */
#include "formats/crc32c.h"
#include "fuzz_common.h"
#include "run/events.h"

static long long values;

static int take(void *user, const dd_tfevent *e) {
  (void)user;
  if (e->tag) demand(strlen(e->tag) < 512, "tag");
  values++;
  return DD_OK;
}

static int read_file(const uint8_t *data, size_t size) {
  dd_error err = {.message = ""};
  dd_tfevents_end end;
  json_t *o;
  mem_use((const char *const[]){"/m/events", NULL}, data, size);
  const int rc = dd_tfevents_read("/m/events", take, NULL, &end, &err);
  demand(rc == DD_OK || rc == DD_E_CORRUPT, "status");
  demand(!rc || strlen(err.message) > 10, "sentence");
  demand(end.bytes <= size, "bytes");
  demand(rc || end.torn == (end.bytes < size), "torn");
  const int rc2 = dd_events_describe("/m/events", &o, &err);
  demand(rc2 == (rc || end.records ? rc : DD_E_CORRUPT), "described otherwise");
  demand((rc2 == DD_OK) == (o != NULL), "object");
  json_decref(o);
  mem_done();
  return rc2;
}

static void store(uint8_t *p, uint64_t v, int n) {
  for (int i = 0; i < n; i++) p[i] = (uint8_t)(v >> 8 * i);
}

static int framed(const uint8_t *data, size_t size) {
  static const char mark[] = "%%";
  static uint8_t file[1 << 18];
  size_t n = 0;
  for (;;) {
    const uint8_t *end = size ? memmem(data, size, mark, 2) : NULL;
    const size_t part = end ? (size_t)(end - data) : size;
    if (n + part + 16 > sizeof file) break;
    store(file + n, part, 8);
    store(file + n + 8, dd_crc32c_masked(file + n, 8), 4);
    memcpy(file + n + 12, data, part);
    store(file + n + 12 + part, dd_crc32c_masked(data, part), 4);
    n += part + 16;
    if (!end) break;
    data += part + 2;
    size -= part + 2;
  }
  uint8_t *exact = malloc(n);
  demand(exact != NULL, "memory");
  memcpy(exact, file, n);
  const int rc = read_file(exact, n);
  free(exact);
  return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_name = "fuzz_tfevents";
  const int rc = framed(data, size);
  demand(read_file(data, size) != DD_OK || size > 0, "an empty file");
  *(rc ? &refused : &accepted) += 1;
  return 0;
}

#ifndef DD_LIBFUZZER
/* Messages of every kind we write; a file. */
#define WALL "\x09\x00\x00\x00\x00\x00\x00\xf0\x3f"
static const char messages[] =
    WALL "\x1a\x0d" "brain.Event:2" "%%" WALL "\x10\x05\x3a\x02\x08\x01" "%%" WALL "\x10\x05\x2a\x1e"
    "\x0a\x0f\x0a\x08" "loss/val" "\x15\x00\x00\x80\x3f" "\x0a\x0b\x0a\x04" "loss" "\x15\x00\x00\xc0\x7f" "%%" WALL
    "\x2a\x1f\x0a\x1d\x0a\x01s\x42\x0b\x08\x07\x12\x04\x12\x02\x08\x01\x42\x01x\x4a\x08\x0a\x06\x0a\x04text";
static const char file[] = "\x18\x00\x00\x00\x00\x00\x00\x00\xa3\x7f\x4b\x22";
static const fuzz_seed seeds[] = {{messages, sizeof messages - 1}, {file, sizeof file - 1}, {"%%%%", 0}};
static const char *const words[] = {"%%",   "\x0a",     "\x12", "\x15",         "\x2a", "\x3a", "\x08\x01",
                                    "\x42", "\xff\xff", "\x80", "\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
                                    "\x10", "\x09",     "\x1a", "\x4a",         "loss", "\x01", "\x2a\x80\x80\x04"};
FUZZ_MAIN("fuzz_tfevents", 30000)
#endif
