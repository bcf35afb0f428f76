/* Fuzz target of checkpoints beyond their container (fuzz_safetensors has that): the metadata of a run, shapes that do
 * not fit it, a model made of it. The input is the metadata, as JSON object of strings; the container around it is made
 * here, hashes and all, so that every byte gets past them. */
#include "fuzz_common.h"
#include "core/machine.h"
#include "model/safetensors.h"
#include "run/checkpoint.h"

static const float zeros[64];
static uint8_t *sunk;
static size_t sunk_n, sunk_room;
static ssize_t keep(int fd, const void *buf, size_t n) {
  (void)fd;
  demand(sunk_n + n <= sunk_room, "container");
  memcpy(sunk + sunk_n, buf, n);
  sunk_n += n;
  return (ssize_t)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  dd_error err = {.message = ""};
  fuzz_name = "fuzz_checkpoint";
  json_t *meta = size < 30000 ? json_loadb((const char *)data, size, 0, NULL) : NULL;
  const dd_tensor_info t[] = {
      {.name = "transformer.wte.weight", .dtype = DD_F32, .ndim = 2, .shape = {8, 8}, .data = zeros},
      {.name = "transformer.ln_f.weight", .dtype = DD_F32, .ndim = 1, .shape = {8}, .data = zeros}};
  dd_fs_ops ops = mem_ops;
  ops.write = keep;
  mem_use((const char *const[]){"/m/none", NULL}, data, 0);
  dd_fs_replace(&ops);
  sunk_room = 8 * size + 4096;
  sunk_n = 0;
  sunk = malloc(sunk_room);
  demand(sunk != NULL, "memory");
  const int written = meta && json_is_object(meta) ? dd_st_write("/m/c", t, 2, meta, &err) : DD_E_USAGE;
  json_decref(meta);
  int rc = written;
  if (!written) {
    dd_checkpoint *c;
    mem_use((const char *const[]){"/m/c", NULL}, sunk, sunk_n);
    rc = dd_checkpoint_open("/m/c", &c, &err);
    demand(rc == DD_OK || rc == DD_E_CORRUPT, "status");
    if (!rc) {
      const dd_shape *s = dd_checkpoint_shape(c);
      demand(s->C % s->H == 0 && s->V >= dd_checkpoint_vocab(c)->size, "shape");
      /* Tensors of this shape are not all in it, and those that are have another fingerprint. */
      demand(dd_checkpoint_verify(c, &err) == DD_E_CORRUPT, "verified");
      const dd_kernels *k;
      char why[128];
      if (s->L * s->C * s->C < 100000 && s->S * s->C < 100000 &&
          s->V * s->C < 1000000) { /* too large: a want of memory */
        dd_model *m;
        demand(!dd_tier_select("scalar", &k, why, sizeof why, &err), "tier");
        const dd_model_options o = {.shape = *s, .B = 1, .T = 1, .accumulation = 1};
        if (!dd_model_create(&m, &o, k, 1, &err)) {
          demand(dd_checkpoint_load(c, m, &err) == DD_E_CORRUPT, "tensors that are not there");
          dd_model_destroy(m);
        }
      }
    }
    dd_checkpoint_close(c);
  }
  free(sunk);
  mem_done();
  *(rc ? &refused : &accepted) += 1;
  return 0;
}

#ifndef DD_LIBFUZZER
#define ZERO "0000000000000000"
static const fuzz_seed seeds[] = {
    {"{\"format\":\"dd-cpu checkpoint "
     "1\",\"numerics_version\":\"2\",\"fingerprint\":\"00112233445566778899aabbccddeeff\","
     "\"n_layer\":\"1\",\"n_head\":\"2\",\"n_embd\":\"8\",\"block_size\":\"4\",\"vocab_size\":\"3\",\"bias\":\"0\","
     "\"train_loss\":\"" ZERO "\",\"val_loss\":\"" ZERO "\",\"best_val_loss\":\"" ZERO "\",\"schedule_p\":\"" ZERO "\","
     "\"schedule_best\":\"" ZERO "\",\"schedule_prev\":\"" ZERO "\",\"elapsed_s\":\"" ZERO
     "\",\"iter\":\"2\",\"evaluated\":\"-1\","
     "\"best_iter\":\"-1\",\"schedule_waited\":\"0\",\"schedule_p_attn\":\"" ZERO
     "\",\"data_hash\":\"ab\",\"settings\":"
     "\"{\\\"n_layer\\\":1,\\\"lr\\\":0.001,\\\"schedule\\\":\\\"linear\\\"}\",\"vocab\":"
     "\"{\\\"tokenizer\\\":\\\"char\\\",\\\"vocab_size\\\":3,\\\"vocabulary\\\":[10,97,233]}\"}",
     0}};
static const char *const words[] = {"\"",
                                    "\\\"",
                                    "{",
                                    "}",
                                    "[",
                                    "]",
                                    ",",
                                    ":",
                                    "0",
                                    "-1",
                                    "7ff8000000000000",
                                    "fff0000000000000",
                                    "4097",
                                    "65536",
                                    "9223372036854775807",
                                    "18446744073709551616",
                                    "\\\"byte\\\"",
                                    "256",
                                    "null",
                                    "\\\"seed\\\":\\\"1\\\",",
                                    "\\u0000",
                                    "\\u001b",
                                    " ",
                                    "+1",
                                    "0x1"};
FUZZ_MAIN("fuzz_checkpoint", 40000)
#endif
