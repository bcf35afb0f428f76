/* Fuzz target of the command line: words, each ended by a line feed, the first the command. */
#include "cli/cli.h"
#include "fuzz_common.h"

enum { WORDS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1), *word[WORDS + 1] = {0}, *rest = NULL;
  fuzz_name = "fuzz_args";
  demand(text != NULL, "memory");
  if (size) memcpy(text, data, size);
  text[size] = '\0';
  int n = 0;
  for (char *p = strtok_r(text, "\n", &rest); p && n < WORDS; p = strtok_r(NULL, "\n", &rest)) word[n++] = p;
  const dd_command *command = n ? dd_command_find(word[0]) : NULL;
  if (command) {
    dd_error err = {.message = ""};
    mem_use((const char *const[]){"/m/config", NULL}, (const uint8_t *)"n_layer = 3\nlr = 2\n", 19);
    dd_cli cli = {.command = command, .settings = dd_settings_create()};
    demand(cli.settings != NULL, "memory");
    const int rc = dd_args_parse(&cli, n - 1, word + 1, &err);
    demand(rc == DD_OK || rc == DD_E_USAGE || rc == DD_E_CORRUPT || rc == DD_E_IO, "status");
    if (!rc) (void)dd_settings_check(cli.settings, &err);
    else demand(strlen(err.message) > 5, "message");
    dd_settings_destroy(cli.settings);
    mem_done();
    *(rc ? &refused : &accepted) += 1;
  } else refused++;
  free(text);
  return 0;
}

#ifndef DD_LIBFUZZER
static const fuzz_seed seeds[] = {
    {"train\n--n-layer=3\n--n_head\n4\n--no-bias\n-t4\n-o\ndir\n-qv\n--json\n--color\nnever\n--preset\ntiny\n--"
     "resume\n",
     0},
    {"train\n--config\n/m/config\n--schedule=steps:0=0.2,50%=0.1\n--dropout-attn\n0.1,late\n", 0},
    {"sample\nruns/x\n--prompt=--a=b\n--temperature\n0\n--\n-odd-\n", 0},
    {"compare\n--schedules\nfixed,linear,expr:p0*(1-t/T)\n--grid\nn_layer=1,2;lr=1e-3,1e-4\n--seeds\n3\n--shard\n1/2\n",
     0},
    {"bench\nkernels\n--preset\npaper,small\n-t1,2\n--json\nx.json\nstep\n", 0},
    {"report\na\nb\n--format\nmd\n", 0},
    {"schedules\nexpr\np0*exp(-t/T)\n--plot\n", 0},
    {"prepare\nbook.txt\n-o\nx\n--help\n", 0}};
static const char *const words[] = {
    "\n",      "--",     "-",          "=",       "--no-", "-t",       "-o", "\n--help\n",
    "train\n", "eval\n", "--config\n", ",",       ";",     ":",        "%",  "999999999999999999999",
    "nan",     "\xff",   "\x1b",       "--seed=", "0x",    "--grid\n", "_",  " ",
    "=true",   "=\n",    "-1",         "1e400"};
FUZZ_MAIN("fuzz_args", 60000)
#endif
