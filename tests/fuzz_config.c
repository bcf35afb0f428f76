/* Fuzz target of configuration files: nanoGPT's flat Python, key = value, config.json; and of the sentences about
 * settings. What is accepted can be written out and read again to the same values. */
#include "fuzz_common.h"
#include "run/settings.h"

static void same_again(const dd_settings *s) {
  dd_settings *again = dd_settings_create();
  json_t *o = dd_settings_to_json(s);
  dd_error err;
  const dd_setting *d;
  static char a[8192], b[8192];
  demand(again && o, "memory, or a value that is no UTF-8");
  demand(!dd_settings_from_json(again, o, &err), "settings do not read back");
  for (int i = 0; (d = dd_setting_at(i)); i++) {
    if (!(d->use & DD_USE_RUN)) continue;
    demand(!dd_settings_get(s, d->name, a, sizeof a, &err) && !dd_settings_get(again, d->name, b, sizeof b, &err),
           "get");
    demand(!strcmp(a, b), "another value");
  }
  (void)dd_settings_check(s, &err);
  json_decref(o);
  dd_settings_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  dd_error err = {.message = ""};
  fuzz_name = "fuzz_config";
  mem_use((const char *const[]){"/m/config", NULL}, data, size);
  dd_settings *s = dd_settings_create();
  demand(s != NULL, "memory");
  const int rc = dd_settings_load(s, "/m/config", &err);
  demand(rc == DD_OK || rc == DD_E_USAGE || rc == DD_E_CORRUPT, "status");
  if (!rc) same_again(s);
  else demand(strlen(err.message) > 5, "message");
  dd_settings_destroy(s);
  mem_done();
  *(rc ? &refused : &accepted) += 1;
  return 0;
}

#ifndef DD_LIBFUZZER
static const fuzz_seed seeds[] = {
    {"# nanoGPT\nout_dir = 'out'\neval_interval = 250 # keep\nlearning_rate = 1e-3\nmax_iters = 5_000\nn_layer = 2*3\n"
     "dropout = 0.2\nbias = False\ncompile = False\ndevice = 'cpu'\nstart = \"\\n\\u00e9\"\nblock_size = (64 + 64) / "
     "1\n",
     0},
    {"prompt = 'it does not end", 0},
    {"prompt = 'nor does it here\\", 0},
    {"preset = tiny\nschedule = 'expr:p0*(1-t/T)'\nseed = 7\n", 0},
    {"\xef\xbb\xbfn_head = 4\r\nwandb_log = anything at all\r\nmin_lr = None\r\n", 0},
    {"{\"settings\": {\"n_layer\": 4, \"lr\": 0.001, \"schedule\": \"linear\", \"bias\": true, \"seed\": \"12\", "
     "\"resume\": true}}",
     0},
    {"{\"preset\": \"small\", \"dropout\": 0.5, \"data\": \"x\", \"prompt\": \"\\u00e9\"}", 0}};
static const char *const words[] = {"=",          "'",
                                    "\"",         "\\",
                                    "\n",         "#",
                                    "(",          ")",
                                    "*",          "/",
                                    "+",          "-",
                                    "**",         "1e308",
                                    "0x1",        "None",
                                    "True",       "_",
                                    "{",          "}",
                                    "[",          "]",
                                    ",",          ":",
                                    "\\x41",      "\\U0010ffff",
                                    "\\ud800",    "\"settings\":",
                                    "n_layer",    "dropout_steps",
                                    "4000000000", "\xff",
                                    "\x1b[31m",   "-i"};
FUZZ_MAIN("fuzz_config", 40000)
#endif
