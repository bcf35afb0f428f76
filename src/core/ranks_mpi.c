/* Messages between ranks over MPI: a plugin of its own, compiled against one MPI library. MPI carries bytes and decides
 * no sum: reductions follow the fixed tree (numerics contract), in model/joint.c. */
#include "core/ranks_plugin.h"
#include <assert.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

extern const dd_ranks_plugin dd_ranks_plugin_table;

static_assert(sizeof(MPI_Request) <= sizeof(uint64_t), "a request fits its handle");

static MPI_Request request_of(const uint64_t *handle) {
  MPI_Request q;
  memcpy(&q, handle, sizeof q);
  return q;
}

static int keep(int status, const MPI_Request *q, uint64_t *handle) {
  *handle = 0;
  memcpy(handle, q, sizeof *q);
  return status;
}

static int begin(int *rank, int *size) {
  int given, status = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given);
  if (status) return status;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  status = MPI_Comm_rank(MPI_COMM_WORLD, rank);
  return status ? status : MPI_Comm_size(MPI_COMM_WORLD, size);
}

static int end(void) { return MPI_Finalize(); }

static void end_all(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

static void library(char *out, size_t size) {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int n;
  if (MPI_Get_library_version(text, &n)) strcpy(text, "MPI");
  text[strcspn(text, ",\n")] = '\0'; /* "Open MPI v4.1.4", "MPICH Version:\t4.0.2" */
  size_t to = 0;
  for (const char *p = text; *p && to + 1 < size; p++)
    if (*p != ':') out[to++] = *p == '\t' ? ' ' : *p;
  out[to] = '\0';
}

static void describe(int status, char *out, size_t size) {
  char text[MPI_MAX_ERROR_STRING];
  int n;
  if (MPI_Error_string(status, text, &n)) strcpy(text, "unknown error");
  text[strcspn(text, "\n")] = '\0';
  snprintf(out, size, "%s", text);
}

static int start_send(const void *data, size_t bytes, int to, int tag, uint64_t *handle) {
  MPI_Request q = MPI_REQUEST_NULL;
  return keep(MPI_Isend(data, (int)bytes, MPI_BYTE, to, tag, MPI_COMM_WORLD, &q), &q, handle);
}

static int start_receive(void *data, size_t bytes, int from, int tag, uint64_t *handle) {
  MPI_Request q = MPI_REQUEST_NULL;
  return keep(MPI_Irecv(data, (int)bytes, MPI_BYTE, from, tag, MPI_COMM_WORLD, &q), &q, handle);
}

static int start_broadcast(void *data, size_t bytes, int from, uint64_t *handle) {
  MPI_Request q = MPI_REQUEST_NULL;
  return keep(MPI_Ibcast(data, (int)bytes, MPI_BYTE, from, MPI_COMM_WORLD, &q), &q, handle);
}

static int start_gather(void *data, const int *words, const int *offsets, uint64_t *handle) {
  MPI_Request q = MPI_REQUEST_NULL;
  return keep(
      MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, words, offsets, MPI_UINT32_T, MPI_COMM_WORLD, &q), &q,
      handle);
}

static int test(uint64_t *handle, int *done) {
  MPI_Request q = request_of(handle);
  return keep(MPI_Test(&q, done, MPI_STATUS_IGNORE), &q, handle);
}

__attribute__((visibility("default"))) const dd_ranks_plugin dd_ranks_plugin_table = {
    .version = DD_RANKS_PLUGIN_VERSION,
    .begin = begin,
    .end = end,
    .end_all = end_all,
    .library = library,
    .describe = describe,
    .send = start_send,
    .receive = start_receive,
    .broadcast = start_broadcast,
    .gather = start_gather,
    .test = test,
};
