/* Settings and config files: everything that turns text into struct dd_settings, and back. */
#include "settings_fixture.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static void test_table(void **state) {
  (void)state;
  dd_settings *s = fresh();
  const dd_setting *d;
  int n = 0;
  for (int i = 0; (d = dd_setting_at(i)); i++, n++) {
    assert_int_equal(d->id, i);
    assert_ptr_equal(dd_setting_find(d->name), d);
    assert_true(d->use & ~(unsigned)DD_USE_ONCE);
    assert_true(*d->help && strlen(d->name) < 48);
    assert_int_equal(d->kind == DD_KIND_CHOICE, d->choices != NULL);
    assert_int_equal(d->kind == DD_KIND_BOOL, !*d->metavar);
    assert_false(dd_setting_is_ignored(d->name));
    set_ok(s, d->name, d->default_text); /* every default obeys its own rules */
    assert_true(dd_settings_is_set(s, (enum dd_setting_id)i));
    dd_settings_reset(s, (enum dd_setting_id)i);
    assert_false(dd_settings_is_set(s, (enum dd_setting_id)i));
  }
  assert_int_equal(n, DD_SETTING_COUNT);
  assert_null(dd_setting_at(-1));
  dd_settings *other = fresh();
  assert_memory_equal(s, other, sizeof *s);
  dd_settings_destroy(other);
  dd_settings_destroy(s);
  dd_settings_destroy(NULL);
}

static void test_defaults(void **state) {
  (void)state;
  static const char *const expected[][2] = {
    {"n_layer", "6"}, {"n_head", "6"}, {"n_embd", "384"}, {"block_size", "256"}, {"bias", "false"},
    {"init_std", "0.02"}, {"preset", "paper"}, {"data", "shakespeare"}, {"tokenizer", "char"}, {"bpe", ""},
    {"batch_size", "64"},
    {"gradient_accumulation_steps", "1"}, {"max_iters", "5000"}, {"lr", "0.001"}, {"min_lr", "0.0001"},
    {"warmup_iters", "100"}, {"lr_decay_iters", "0"}, {"decay_lr", "true"}, {"weight_decay", "0.1"}, {"beta1", "0.9"},
    {"beta2", "0.99"}, {"grad_clip", "1"}, {"seed", "1337"}, {"dropout", "0.2"}, {"dropout_final", "0"},
    {"schedule", "fixed"}, {"dropout_step", "0.01"}, {"dropout_min", "0"}, {"dropout_max", "0.5"},
    {"val_compare", "best"}, {"val_patience", "1"}, {"val_min_delta", "0"}, {"dropout_sites", "all"},
    {"dropout_steps", ""}, {"dropout_table", ""}, {"dropout_expr", ""}, {"dropout_callback", ""},
    {"dropout_gamma", "10"},
    {"dropout_cutoff", "0.5"}, {"dropout_cycles", "4"}, {"gap_target", "0.1"}, {"gap_gain", "0.1"},
    {"dropout_embed", ""}, {"dropout_attn", ""}, {"dropout_proj", ""}, {"dropout_mlp", ""}, {"dropout_depth", "flat"},
    {"eval_interval", "250"}, {"eval_iters", "0"}, {"eval_only", "false"}, {"out", ""}, {"resume", "false"},
    {"auto_resume", "false"}, {"strict", "false"}, {"replay", ""}, {"files", ""}, {"on_nan", "stop"},
    {"outlier_sigma", "0"}, {"max_skips", "10"}, {"overwrite", "false"}, {"checkpoint_interval", "0"},
    {"keep_checkpoints", "2"}, {"log_interval", "10"},
    {"train_fraction", "1"}, {"schedules", "fixed,linear,exponential,cosine,val-loss"}, {"seeds", "8"}, {"grid", ""},
    {"jobs", "0"}, {"shard", ""}, {"baseline", ""}, {"study", ""}, {"format", "html"}, {"plots", ""},
    {"tensorboard", "false"}, {"dry_run", "false"}, {"sample_chars", "0"},
    {"tier", "auto"}, {"slice", "0"}, {"recompute", "false"},
    {"threads", "0"},
    {"subjects", ""}, {"presets", "auto"}, {"thread_counts", "auto"}, {"repeats", "0"}, {"quick", "false"},
    {"peers", "auto"}, {"json", ""}, {"compare", ""}, {"run", ""},
    {"checkpoint", "best"}, {"prompt", "\n"}, {"max_new_tokens", "500"}, {"temperature", "0.8"}, {"top_k", "200"},
    {"num_samples", "1"}, {"weights", "f32"}, {"overflow", "slide"}, {"init_from", ""}, {"export_format", "hf"}};
  dd_settings *s = fresh();
  assert_int_equal(COUNT(expected), DD_SETTING_COUNT);
  for (int i = 0; i < COUNT(expected); i++) assert_value(s, expected[i][0], expected[i][1]);
  assert_int_equal(dd_settings_check(s, &err), DD_OK);
  dd_settings_destroy(s);
}

/* ---- values ---- */

static void test_integers(void **state) {
  (void)state;
  static const char *const bad[] = {"", " ", "x", "1e3", "1.0", "0x10", "1 2", "+", "-", "--1", "12a", "1,000", "0",
                                    "4097", "-3", "9223372036854775808", "99999999999999999999999", "nan", "\xd9\xa3"};
  dd_settings *s = fresh();
  set_ok(s, "n_layer", "12");
  assert_int_equal(s->n_layer, 12);
  set_ok(s, "n-layer", "  +7 ");
  assert_int_equal(s->n_layer, 7);
  set_ok(s, "n_layer", "0012");
  assert_int_equal(s->n_layer, 12);
  set_ok(s, "n_layer", "4096");
  set_ok(s, "max_iters", "4000000000");
  assert_int_equal(s->max_iters, 4000000000);
  for (int i = 0; i < COUNT(bad); i++) set_bad(s, "n_layer", bad[i], "n_layer must be a whole number from 1 to 4096");
  dd_settings_destroy(s);
}

static void test_reals(void **state) {
  (void)state;
  static const char *const bad[] = {"", "x", "nan", "NaN", "inf", "-inf", "infinity", "0x1p-3", "0.1x", "0.1 0.2",
                                    "0,1", "1e999", "--1", "1e", ".", "-0.1", "1", "1.0", "1.5", "0.99999999999999999"};
  dd_settings *s = fresh();
  set_ok(s, "dropout", " .25 ");
  assert_true(s->dropout == 0.25);
  set_ok(s, "dropout", "1e-3");
  assert_true(s->dropout == 1e-3);
  set_ok(s, "dropout", "-0.0");
  assert_value(s, "dropout", "0");
  set_ok(s, "dropout", "0.9999999999999999");
  for (int i = 0; i < COUNT(bad); i++) set_bad(s, "dropout", bad[i], "dropout must be a number from 0 to below 1");
  set_bad(s, "init_std", "0", "init_std must be a number from 1e-09 to 100");
  set_ok(s, "lr", "0.1");
  assert_value(s, "lr", "0.1"); /* the shortest text that reads back */
  set_ok(s, "lr", "0.30000000000000004");
  assert_value(s, "lr", "0.30000000000000004");
  dd_settings_destroy(s);
}

static void test_foreign_locale(void **state) {
  (void)state;
  static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8"};
  const char *got = NULL;
  for (int i = 0; i < COUNT(names) && !got; i++) got = setlocale(LC_ALL, names[i]);
  if (!got) skip(); /* no such locale here */
  dd_settings *s = fresh();
  set_ok(s, "lr", "0.25");
  assert_true(s->lr == 0.25);
  assert_value(s, "lr", "0.25");
  set_bad(s, "lr", "0,25", "lr must be");
  json_t *o = dd_settings_to_json(s);
  dd_settings *other = fresh();
  assert_int_equal(dd_settings_from_json(other, o, &err), DD_OK);
  assert_true(other->lr == 0.25);
  json_decref(o);
  dd_settings_destroy(other);
  dd_settings_destroy(s);
  setlocale(LC_ALL, "C");
}

static void test_booleans_choices_seed(void **state) {
  (void)state;
  static const char *const yes[] = {"true", "1", "yes", "True", "on"};
  static const char *const no[] = {"false", "0", "no", "False", "off"};
  dd_settings *s = fresh();
  for (int i = 0; i < COUNT(yes); i++) {
    set_ok(s, "bias", yes[i]);
    assert_true(s->bias);
    set_ok(s, "bias", no[i]);
    assert_false(s->bias);
  }
  set_bad(s, "bias", "maybe", "bias must be true or false, not 'maybe'");
  set_bad(s, "bias", "", "true or false");
#define CHECK_SCHEDULE(id, name, ...)                                                                                \
  set_ok(s, "schedule", name);                                                                                       \
  assert_int_equal(s->schedule, DD_SCHEDULE_##id);                                                                   \
  assert_string_equal(dd_settings_choice(s, DD_SETTING_schedule), name);
  DD_SCHEDULES(CHECK_SCHEDULE)
  set_ok(s, "schedule", "val_loss");
  assert_int_equal(s->schedule, DD_SCHEDULE_VAL_LOSS);
  set_bad(s, "schedule", "cosin", "did you mean 'cosine'?");
  set_bad(s, "schedule", "zzz", "one of fixed, linear, exponential, cosine, val-loss");
  set_ok(s, "seed", "18446744073709551615");
  assert_true(s->seed == UINT64_MAX);
  assert_value(s, "seed", "18446744073709551615");
  set_ok(s, "seed", "0xDeadBeef00000001");
  assert_true(s->seed == 0xdeadbeef00000001u);
  static const char *const bad[] = {"", "-1", "18446744073709551616", "0x", "0xg", "1.0", "0x1ffffffffffffffff"};
  for (int i = 0; i < COUNT(bad); i++) set_bad(s, "seed", bad[i], "seed must be a whole number");
  dd_settings_destroy(s);
}

static void test_text(void **state) {
  (void)state;
  dd_settings *s = fresh();
  char big[5000];
  memset(big, 'a', sizeof big);
  big[1023] = '\0';
  set_ok(s, "prompt", big);
  big[1023] = 'a', big[1024] = '\0';
  set_bad(s, "prompt", big, "1024 bytes, at most 1023 fit");
  set_ok(s, "out", big);
  set_ok(s, "prompt", "\xe4\xb8\x96 \xf0\x9f\x98\x80\x01");
  static const char *const bad[] = {"\xff", "a\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe4\xb8",
                                    "\xf0\x8f\xbf\xbf"};
  for (int i = 0; i < COUNT(bad); i++) set_bad(s, "prompt", bad[i], "not valid UTF-8");
  char small[3];
  assert_int_equal(dd_settings_get(s, "max_iters", small, sizeof small, &err), DD_E_USAGE);
  assert_int_equal(dd_settings_get(s, "nothing", small, sizeof small, &err), DD_E_USAGE);
  dd_settings_destroy(s);
}

static void test_sites(void **state) {
  (void)state;
  dd_settings *s = fresh();
  assert_int_equal(dd_settings_site_mask(s), 15);
  set_ok(s, "dropout_sites", "embed, proj,mlp");
  assert_int_equal(dd_settings_site_mask(s),
                   1 << DD_DROPOUT_SITE_EMBED | 1 << DD_DROPOUT_SITE_PROJ | 1 << DD_DROPOUT_SITE_MLP);
  set_ok(s, "dropout_sites", "none");
  assert_int_equal(dd_settings_site_mask(s), 0);
  set_ok(s, "dropout_sites", "attn");
  assert_int_equal(dd_settings_site_mask(s), 2);
  set_bad(s, "dropout_sites", "attn,", "with commas between");
  set_bad(s, "dropout_sites", "", "with commas between");
  set_bad(s, "dropout_sites", "attn,mpl", "not 'mpl'");
  dd_settings_destroy(s);
}

/* ---- names ---- */

static void test_names(void **state) {
  (void)state;
  dd_settings *s = fresh();
  set_ok(s, "learning-rate", "0.5");
  assert_true(s->lr == 0.5 && dd_settings_is_set(s, DD_SETTING_lr));
  set_ok(s, "dataset", "shakespeare_char");
  assert_string_equal(s->data, "shakespeare");
  set_ok(s, "data", "shakespeare_char"); /* may be a file of that name */
  assert_string_equal(s->data, "shakespeare_char");
  set_ok(s, "out_dir", "here");
  assert_string_equal(s->out, "here");
  set_ok(s, "init_from", "resume");
  assert_true(s->resume);
  set_ok(s, "init-from", "scratch");
  assert_false(s->resume);
  set_bad(s, "init_from", "gpt2-xl", "--init-from ./gpt2-xl");
  assert_string_equal(s->ignored, "");
  static const char *const ignored[] = {"device", "dtype", "compile", "backend", "wandb_log", "wandb-project",
                                        "always_save_checkpoint"};
  for (int i = 0; i < COUNT(ignored); i++) set_ok(s, ignored[i], "anything");
  assert_string_equal(s->ignored,
                      "device, dtype, compile, backend, wandb_log, wandb-project, always_save_checkpoint");
  for (int i = 0; i < 200; i++) set_ok(s, "wandb_x", ""); /* the list has an end */
  set_bad(s, "n_layr", "1", "did you mean 'n_layer'?");
  set_bad(s, "n_laeyr", "1", "did you mean 'n_layer'?");
  set_bad(s, "N_layer", "1", "did you mean 'n_layer'?");
  set_bad(s, "learnig_rate", "1", "did you mean 'learning_rate'?");
  set_bad(s, "warmup", "1", "did you mean 'warmup_iters'?");
  set_bad(s, "dropuot", "1", "did you mean 'dropout'?");
  set_bad(s, "qqqq", "1", "unknown setting 'qqqq'");
  assert_null(strstr(err.message, "did you mean"));
  set_bad(s, "", "1", "unknown setting ''");
  char big[300];
  memset(big, 'n', sizeof big - 1);
  big[sizeof big - 1] = '\0';
  set_bad(s, big, "1", "unknown setting");
  dd_settings_destroy(s);
}

static void test_presets(void **state) {
  (void)state;
  dd_settings *s = fresh(), *paper = fresh();
  const char *key, *value;
  static const char *const names[] = {"paper", "small", "tiny", "gpt2", "nanogpt"};
  for (int p = 0; p < COUNT(names); p++) {
    set_ok(s, "preset", names[p]);
    assert_int_equal(s->preset, p);
    for (int i = 0; dd_preset_value(p, i, &key, &value); i++) {
      dd_settings *one = fresh();
      char text[64];
      set_ok(one, key, value);
      assert_int_equal(dd_settings_get(one, key, text, sizeof text, &err), DD_OK);
      assert_value(s, key, text);
      assert_false(dd_settings_is_set(s, (enum dd_setting_id)dd_setting_find(key)->id));
      dd_settings_destroy(one);
    }
    assert_int_equal(dd_settings_check(s, &err), DD_OK);
  }
  assert_true(!s->bias && s->n_embd == 768 && s->gradient_accumulation_steps == 40 && s->max_iters == 600000);
  set_ok(s, "preset", "small");
  assert_true(!s->bias && s->n_layer == 4 && s->n_embd == 128 && s->block_size == 64 && s->batch_size == 12);
  assert_true(s->dropout == 0 && s->max_iters == 2000 && s->gradient_accumulation_steps == 1);
  set_ok(s, "n_layer", "3"); /* later calls override */
  assert_true(s->n_layer == 3 && s->n_head == 4);
  set_ok(s, "seed", "5");
  set_ok(s, "preset", "paper"); /* all of it back, what no preset knows stays */
  assert_true(s->seed == 5 && s->n_layer == 6);
  assert_false(dd_settings_is_set(s, DD_SETTING_n_layer));
  set_ok(s, "seed", "1337");
  for (int i = 0; i < DD_SETTING_COUNT; i++) s->set[i] = false;
  assert_memory_equal(s, paper, sizeof *s);
  dd_settings_destroy(paper);
  dd_settings_destroy(s);
}

static void test_dropout_final_default(void **state) {
  (void)state;
  dd_settings *s = fresh();
  assert_true(s->dropout_final == 0);
  set_ok(s, "schedule", "exponential");
  assert_true(s->dropout_final == 0.01);
  assert_int_equal(dd_settings_check(s, &err), DD_OK);
  set_ok(s, "schedule", "linear");
  assert_true(s->dropout_final == 0);
  set_ok(s, "dropout_final", "0");
  set_ok(s, "schedule", "exponential");
  assert_true(s->dropout_final == 0);
  assert_int_equal(dd_settings_check(s, &err), DD_E_USAGE);
  assert_mentions(err.message, "dropout_final");
  dd_settings_destroy(s);
}

static void test_overlay(void **state) {
  (void)state;
  dd_settings *s = fresh(), *given = fresh();
  set_ok(s, "n_layer", "9");
  set_ok(s, "out", "saved");
  set_ok(given, "preset", "tiny");
  set_ok(given, "max_iters", "70");
  set_ok(given, "out", "new");
  dd_settings_overlay(s, given);
  assert_true(s->n_layer == 9 && s->n_head == 6 && s->max_iters == 70 && s->preset == DD_PRESET_TINY);
  assert_string_equal(s->out, "new");
  assert_true(dd_settings_is_set(s, DD_SETTING_max_iters));
  dd_settings_destroy(given);
  dd_settings_destroy(s);
}

/* ---- what does not fit together ---- */

static void test_check(void **state) {
  (void)state;
  static const struct { const char *values[8], *mention; } bad[] = {
    {{"n_embd", "100"}, "use n_embd 96 or 102, or n_head 5"},
    {{"n_embd", "4"}, "use n_embd 6, or n_head 4"},
    {{"n_embd", "7", "n_head", "2"}, "use n_embd 6 or 8, or n_head 1"},
    {{"schedule", "exponential", "dropout_final", "0"}, "dropout_final 0"},
    {{"schedule", "exponential", "dropout", "0"}, "dropout 0"},
    {{"schedule", "val-loss", "dropout_min", "0.3", "dropout_max", "0.2"}, "dropout_min 0.3 is above dropout_max 0.2"},
    {{"schedule", "val-loss", "dropout", "0.6"}, "dropout 0.6"},
    {{"min_lr", "0.1"}, "min_lr 0.1 is above lr 0.001"},
    {{"lr_decay_iters", "50"}, "lr_decay_iters 50 is below warmup_iters 100"},
    {{"resume", "1", "overwrite", "1"}, "exclude each other"},
    {{"batch_size", "1048576", "block_size", "65536"}, "4294967296"},
  };
  static const struct { const char *values[8]; } good[] = {
    {{"dropout_min", "0.3", "dropout_max", "0.2"}}, /* unused by a fixed schedule */
    {{"min_lr", "0.1", "decay_lr", "false"}},
    {{"max_iters", "1"}},
    {{"schedule", "val-loss", "dropout", "0.5"}},
    {{"dropout", "0"}},
  };
  for (int i = 0; i < COUNT(bad) + COUNT(good); i++) {
    const char *const *v = i < COUNT(bad) ? bad[i].values : good[i - COUNT(bad)].values;
    dd_settings *s = fresh();
    for (int k = 0; k < 8 && v[k]; k += 2) set_ok(s, v[k], v[k + 1]);
    int rc = dd_settings_check(s, &err);
    if (rc != (i < COUNT(bad) ? DD_E_USAGE : DD_OK)) fail_msg("case %d (%s=%s): %d %s", i, v[0], v[1], rc, err.message);
    if (i < COUNT(bad)) assert_mentions(err.message, bad[i].mention);
    dd_settings_destroy(s);
  }
}

/* ---- JSON ---- */

/* A value of every setting that is not its default, hard for text where that is possible. */
/* Settings that no run has. */
/* No part of a run's configuration. */
static bool foreign(const dd_setting *d) { return !(d->use & DD_USE_RUN); }

static void unusual_value(const dd_setting *d, char *buf, size_t size) {
  switch (d->kind) {
  case DD_KIND_INT: snprintf(buf, size, "%.0f", d->max < 9e15 ? d->max : 9e15); break;
  case DD_KIND_REAL: snprintf(buf, size, "%.17g", d->min + (d->max < 1 ? d->max : 1) / 3); break;
  case DD_KIND_BOOL: snprintf(buf, size, "%s", strcmp(d->default_text, "true") ? "true" : "false"); break;
  case DD_KIND_CHOICE: snprintf(buf, size, "%s", d->choices[1]); break;
  case DD_KIND_SEED: snprintf(buf, size, "18446744073709551557"); break;
  case DD_KIND_TEXT:
  case DD_KIND_PATH:
    if (d->id == DD_SETTING_dropout_sites) snprintf(buf, size, "attn,mlp");
    else if (d->id == DD_SETTING_dropout_steps) snprintf(buf, size, "1=0.2, 50%%=0.25");
    else if (d->id == DD_SETTING_dropout_expr) snprintf(buf, size, "t<5 ? p0*2 : \t min(pf,.5)");
    else if (d->id == DD_SETTING_dropout_callback) snprintf(buf, size, "mine-2.b_c");
    else if (!strncmp(d->name, "dropout_", 8) && d->kind == DD_KIND_TEXT) snprintf(buf, size, "0.25,expr:p0/(1+t)");
    else snprintf(buf, size, "%s \"\\\n\t\x01\xe4\xb8\x96/'", d->name);
    break;
  }
}

static void test_json_round_trip(void **state) {
  (void)state;
  dd_settings *s = fresh(), *back = fresh();
  const dd_setting *d;
  set_ok(s, "preset", "small"); /* first: it would undo what stands before it */
  int of_runs = 0;
  for (int i = 0; (d = dd_setting_at(i)); i++) {
    of_runs += !foreign(d);
    if (d->id == DD_SETTING_preset || foreign(d)) continue;
    char value[4096];
    unusual_value(d, value, sizeof value);
    set_ok(s, d->name, value);
  }
  json_t *o = dd_settings_to_json(s);
  assert_non_null(o);
  assert_int_equal(json_object_size(o), of_runs);
  for (int i = 0; (d = dd_setting_at(i)); i++) {
    if (foreign(d)) continue;
    const json_t *v = json_object_get(o, d->name);
    assert_int_equal(json_is_integer(v), d->kind == DD_KIND_INT);
    assert_int_equal(json_is_real(v), d->kind == DD_KIND_REAL);
    assert_int_equal(json_is_boolean(v), d->kind == DD_KIND_BOOL);
  }
  char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
  json_t *read = json_loads(text, 0, NULL);
  int rc = dd_settings_from_json(back, read, &err);
  if (rc) fail_msg("%s", err.message);
  assert_memory_equal(s, back, sizeof *s); /* every field, and all of them given */
  free(text);
  json_decref(o);
  json_decref(read);
  dd_settings_destroy(back);
  dd_settings_destroy(s);
}

static void test_json_input(void **state) {
  (void)state;
  static const struct { const char *text, *mention; } bad[] = {
    {"[]", "JSON object"}, {"{\"n_layr\": 3}", "did you mean 'n_layer'?"}, {"{\"n_layer\": []}", "n_layer must be"},
    {"{\"n_layer\": 2.5}", "n_layer must be"}, {"{\"n_layer\": true}", "n_layer must be"},
    {"{\"preset\": 3}", "preset"},
    {"{\"nothing\": null}", "nothing"},
  };
  for (int i = 0; i < COUNT(bad); i++) {
    dd_settings *s = fresh();
    json_t *o = json_loads(bad[i].text, JSON_DECODE_ANY, NULL);
    assert_int_equal(dd_settings_from_json(s, o, &err), DD_E_USAGE);
    assert_mentions(err.message, bad[i].mention);
    json_decref(o);
    dd_settings_destroy(s);
  }
  dd_settings *s = fresh();
  json_t *o = json_loads("{\"n_layer\": 3, \"lr\": 1, \"seed\": 7, \"top_k\": null, \"preset\": \"tiny\"}", 0, NULL);
  assert_int_equal(dd_settings_from_json(s, o, &err), DD_OK); /* the preset first, wherever it stands */
  assert_true(s->n_layer == 3 && s->n_head == 2 && s->lr == 1 && s->seed == 7 && s->top_k == 200);
  json_decref(o);
  dd_settings_destroy(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_table), cmocka_unit_test(test_defaults), cmocka_unit_test(test_integers),
    cmocka_unit_test(test_reals), cmocka_unit_test(test_foreign_locale), cmocka_unit_test(test_booleans_choices_seed),
    cmocka_unit_test(test_text), cmocka_unit_test(test_sites), cmocka_unit_test(test_names),
    cmocka_unit_test(test_presets), cmocka_unit_test(test_dropout_final_default), cmocka_unit_test(test_check),
    cmocka_unit_test(test_overlay),
    cmocka_unit_test(test_json_round_trip), cmocka_unit_test(test_json_input),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
