/* What ranks.c wants of a plugin that carries messages. Statuses are 0 or the plugin's own, for describe. */
#ifndef DD_CORE_RANKS_PLUGIN_H
#define DD_CORE_RANKS_PLUGIN_H
#include <stddef.h>
#include <stdint.h>

enum { DD_RANKS_PLUGIN_VERSION = 1 };

typedef struct dd_ranks_plugin {
  int version;
  int (*begin)(int *rank, int *size);
  int (*end)(void);
  void (*end_all)(int code);
  void (*library)(char *out, size_t size);
  void (*describe)(int status, char *out, size_t size);
  /* Each starts a message and sets *handle; data may not be touched until test says done. */
  int (*send)(const void *data, size_t bytes, int to, int tag, uint64_t *handle);
  int (*receive)(void *data, size_t bytes, int from, int tag, uint64_t *handle);
  int (*broadcast)(void *data, size_t bytes, int from, uint64_t *handle);
  int (*gather)(void *data, const int *words, const int *offsets, uint64_t *handle); /* all to all, in place */
  int (*test)(uint64_t *handle, int *done);
} dd_ranks_plugin;

/* The one symbol of a plugin. */
#define DD_RANKS_PLUGIN_SYMBOL "dd_ranks_plugin_table"
#endif
