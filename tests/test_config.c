/* Files of settings: `key = value` lines, nanoGPT's config files, a run's config.json. */
#include "settings_fixture.h"
#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static int load_text(dd_settings *s, const char *text, size_t size) {
  char path[] = "/tmp/dd-settings-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, size), size);
  close(fd);
  int rc = dd_settings_load(s, path, &err);
  if (rc) assert_mentions(err.message, path);
  unlink(path);
  return rc;
}

static void test_config_good(void **state) {
  (void)state;
  static const char text[] =
    "\xef\xbb\xbf# comment\r\n"
    "import time\n"
    "from os import path as p\n"
    "out_dir = 'out-shakespeare-char'\n"
    "  eval_interval=20 # why\n"
    "\n"
    "wandb_run_name = 'ft-' + str(time.time())\n"
    "dataset = \"shakespeare_char\"\n"
    "gradient_accumulation_steps = 5 * 8\n"
    "batch-size = (3 + 1) * -(-2) - 1\n"
    "learning_rate = 1e-3 / 2\n"
    "min_lr = 1_0 / 1e6\n"
    "max_iters = 600_000\n"
    "bias = True\n"
    "decay_lr = False\n"
    "top_k = None\n"
    "seed = 0\n"
    "prompt = 'a\\t\\'\\\\\\x41\\u00e9\\U0001F600#\"'\n"
    "preset = 'tiny'\n"
    "n_head = 4\n"
    "n_head = 8";
  dd_settings *s = fresh();
  set_ok(s, "top_k", "7");
  int rc = load_text(s, text, sizeof text - 1);
  if (rc) fail_msg("%s", err.message);
  assert_string_equal(s->out, "out-shakespeare-char");
  assert_string_equal(s->data, "shakespeare");
  assert_true(s->eval_interval == 20 && s->gradient_accumulation_steps == 40 && s->batch_size == 7);
  assert_true(s->lr == 1e-3 / 2 && s->min_lr == 10 / 1e6 && s->max_iters == 600000);
  assert_true(s->bias && !s->decay_lr && s->top_k == 200 && !dd_settings_is_set(s, DD_SETTING_top_k) && s->seed == 0);
  assert_string_equal(s->prompt, "a\t'\\A\xc3\xa9\xf0\x9f\x98\x80#\"");
  assert_string_equal(s->ignored, "wandb_run_name");
  assert_true(s->preset == DD_PRESET_TINY && s->n_layer == 2 && s->n_head == 8); /* last one wins, preset first */
  assert_int_equal(load_text(s, "", 0), DD_OK);
  dd_settings_destroy(s);
}

static void test_config_bad(void **state) {
  (void)state;
  static const struct { const char *line, *mention; } bad[] = {
    {"n_layer = int(6)", "only strings, numbers"}, {"import", "expected `key = value`"},
    {"import = 3", "unknown setting"}, {"out_dir = 'out-' + str(time.time())", "only strings, numbers"},
    {"n_layer", "expected `key = value`"}, {"n_layer == 3", "expected `key = value`"}, {"= 3", "expected"},
    {"3 = 3", "expected"}, {"n_layer = ", "only strings"}, {"n_layer = '6", "does not end"},
    {"n_layer = 6; n_head = 6", "only strings"}, {"n_layer = 2 ** 3", "only strings"},
    {"n_layer = 7 // 2", "only strings"},
    {"n_layer = 1 / 0", "division by zero"}, {"n_layer = (1", "')'"}, {"n_layer = 1)", "only strings"},
    {"n_layer = 9223372036854775807 + 1", "too large"}, {"n_layer = 9223372036854775807 * 2", "too large"},
    {"n_layer = 99999999999999999999", "too large"}, {"lr = 1e999", "not a number"}, {"lr = 1e308 * 10", "lr must be"},
    {"lr = 1.2.3", "not a number"}, {"prompt = '\\q'", "backslash"}, {"prompt = '\\x4'", "hexadecimal"},
    {"prompt = '\\ud800'", "backslash"}, {"prompt = '\\0'", "backslash"}, {"prompt = '\\", "backslash"},
    {"prompt = '''a'''", "three quotes"}, {"prompt = 'a' 'b'", "only strings"}, {"prompt = 'a' + 'b'", "only strings"},
    {"prompt = f'a'", "only strings"}, {"bias = Truely", "only strings"}, {"n_layer = [6]", "only strings"},
    {"n_layer = 2.5", "n_layer must be"}, {"n_layr = 3", "did you mean 'n_layer'?"}, {"n_layr = None", "n_layr"},
    {"preset = 'huge'", "preset must be"}, {"init_from = 'gpt2'", "not downloaded"},
    {"n_layer = 0", "n_layer must be"},
  };
  for (int i = 0; i < COUNT(bad); i++) {
    char text[256];
    dd_settings *s = fresh();
    int n = snprintf(text, sizeof text, "# one\n\n%s\nn_head = 2\n", bad[i].line);
    int rc = load_text(s, text, (size_t)n);
    if (rc != DD_E_USAGE) fail_msg("`%s` was taken", bad[i].line);
    assert_mentions(err.message, bad[i].mention);
    assert_mentions(err.message, ":3: ");
    dd_settings_destroy(s);
  }
  dd_settings *s = fresh();
  char deep[500];
  memset(deep, '(', sizeof deep);
  memcpy(deep, "lr = ", 5);
  assert_int_equal(load_text(s, deep, sizeof deep), DD_E_USAGE);
  assert_mentions(err.message, "parentheses");
  char big[5000];
  memset(big, 'a', sizeof big);
  memcpy(big, "out = '", 7);
  big[sizeof big - 1] = '\'';
  assert_int_equal(load_text(s, big, sizeof big), DD_E_USAGE);
  assert_mentions(err.message, "too long");
  assert_int_equal(load_text(s, "n_layer = 3\0x", 13), DD_E_USAGE);
  assert_mentions(err.message, "NUL");
  assert_int_equal(dd_settings_load(s, "/nonexistent/config.py", &err), DD_E_IO);
  assert_mentions(err.message, "/nonexistent/config.py");
  dd_settings_destroy(s);
}

static void test_config_json(void **state) {
  (void)state;
  static const char nested[] =
    " \n{\"format\": 1, \"settings\": {\"n_layer\": 4, \"resume\": true, \"seed\": \"0x10\"}}";
  static const char *const bad[][2] = {
    {"{\"n_layer\": 3", ":1:"}, {"{\"n_layer\": 3, \"n_layer\": 4}", "twice"}, {"{\"n_layr\": 3}", "n_layer"}};
  dd_settings *s = fresh();
  assert_int_equal(load_text(s, nested, sizeof nested - 1), DD_OK);
  assert_true(s->n_layer == 4 && s->seed == 16 && !s->resume); /* resume belonged to that call of the program */
  for (int i = 0; i < COUNT(bad); i++) {
    assert_int_equal(load_text(s, bad[i][0], strlen(bad[i][0])), DD_E_USAGE);
    assert_mentions(err.message, bad[i][1]);
  }
  dd_settings_destroy(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_config_good), cmocka_unit_test(test_config_bad), cmocka_unit_test(test_config_json),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
