/* Command line, help and progress line: the program around the library. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "cli/cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static dd_error err;

static void assert_mentions(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("\"%s\" does not mention \"%s\"", text, part);
}

/* ---- command line ---- */

static int parse(dd_cli *cli, const char *command, const char *const *args) {
  int n = 0;
  while (args[n]) n++;
  *cli = (dd_cli){.command = dd_command_find(command), .settings = dd_settings_create()};
  assert_non_null(cli->command);
  return dd_args_parse(cli, n, (char *const *)args, &err);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_args(void **state) {
  (void)state;
  dd_cli cli;
  const char *const *many = ARGS("--n_layer=3", "--n-head", "4", "--n-embd=64", "--bias", "--no-decay-lr", "-t4", "-o",
                                 "dir", "-qv", "--json", "--color", "never", "--learning_rate=2", "--preset", "tiny",
                                 "--compile=False", "--resume");
  assert_int_equal(parse(&cli, "train", many), DD_OK);
  assert_true(cli.settings->n_layer == 3 && cli.settings->n_head == 4 && cli.settings->n_embd == 64);
  assert_true(cli.settings->block_size == 32); /* of the preset, though it stands last */
  assert_true(cli.settings->bias && !cli.settings->decay_lr && cli.settings->threads == 4 && cli.settings->lr == 2);
  assert_true(cli.settings->resume && cli.quiet && cli.verbose && cli.json && cli.color == DD_COLOR_NEVER);
  assert_string_equal(cli.settings->out, "dir");
  assert_string_equal(cli.settings->ignored, "compile");
  dd_settings_destroy(cli.settings);
  assert_int_equal(parse(&cli, "sample", ARGS("-t", "2", "--prompt=--x=y", "--", "-odd-")), DD_OK);
  assert_string_equal(cli.settings->run, "-odd-");
  assert_string_equal(cli.settings->prompt, "--x=y");
  dd_settings_destroy(cli.settings);
  assert_int_equal(parse(&cli, "train", ARGS("--bias", "False", "--decay-lr=no", "--dry-run")), DD_OK);
  assert_true(!cli.settings->bias && !cli.settings->decay_lr && cli.settings->dry_run);
  dd_settings_destroy(cli.settings);
  assert_int_equal(parse(&cli, "prepare", ARGS("book.txt", "-o", "x", "--help")), DD_OK);
  assert_string_equal(cli.settings->data, "book.txt");
  assert_true(cli.help);
  dd_settings_destroy(cli.settings);

  /* bench: lists where other commands take one value, any number of subjects, its own --json */
  const char *const *lists = ARGS("kernels", "--preset", "paper,small", "-t1,2", "--json", "x.json", "step");
  assert_int_equal(parse(&cli, "bench", lists), DD_OK);
  assert_string_equal(cli.settings->subjects, "kernels,step");
  assert_string_equal(cli.settings->presets, "paper,small");
  assert_string_equal(cli.settings->thread_counts, "1,2");
  assert_string_equal(cli.settings->json, "x.json");
  assert_true(!cli.json && cli.settings->preset == DD_PRESET_PAPER && cli.settings->threads == 0);
  dd_settings_destroy(cli.settings);

  char path[] = "/tmp/dd-args-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, "n_layer = 5\nn_head = 5\nlr = 5\n", 30) == 30);
  close(fd);
  assert_int_equal(parse(&cli, "train", ARGS("--n-layer", "4", "--config", path, "--n-head=4")), DD_OK);
  assert_true(cli.settings->n_layer == 5 && cli.settings->n_head == 4 && cli.settings->lr == 5); /* in order */
  dd_settings_destroy(cli.settings);
  unlink(path);
}

static void test_args_bad(void **state) {
  (void)state;
  static const struct { const char *command, *args[4], *mention; } bad[] = {
    {"train", {"--n-layr", "3"}, "did you mean '--n-layer'?"}, {"train", {"--jsn"}, "did you mean '--json'?"},
    {"train", {"--n-layer"}, "needs a value"}, {"train", {"-t"}, "needs a value"},
    {"train", {"-x"}, "unknown option '-x'"},
    {"train", {"--quiet=1"}, "takes no value"}, {"train", {"--no-bias=1"}, "takes no value"},
    {"train", {"--no-lr"}, "unknown option"}, {"train", {"--color", "blue"}, "--color must be"},
    {"train", {"stray"}, "unexpected argument 'stray'"}, {"train", {"config/a.py"}, "--config"},
    {"train", {"-"}, "'-'"},
    {"train", {"--bias=maybe"}, "bias must be true or false"}, {"train", {"--="}, "unknown option"},
    {"sample", {"--lr", "1"}, "'--lr' is no option of sample; it belongs to: train"},
    {"sample", {"--device=cpu"}, "unknown option"}, {"sample", {"a", "b"}, "'b' is one too many"},
    {"eval", {"-o", "x"}, "no option of eval"}, {"info", {"x"}, "unexpected"}, {"train", {"--config"}, "needs a value"},
    {"bench", {"--json"}, "needs a value"}, {"bench", {"--lr", "1"}, "'--lr' is no option of bench"},
    {"bench", {"--repeats", "102"}, "repeats must be"}, {"bench", {"--thread=1"}, "did you mean '--threads'?"},
    {"train", {"--compare", "x"}, "it belongs to: bench"},
  };
  for (int i = 0; i < COUNT(bad); i++) {
    dd_cli cli;
    int rc = parse(&cli, bad[i].command, bad[i].args);
    if (rc != DD_E_USAGE) fail_msg("%s %s: %d", bad[i].command, bad[i].args[0], rc);
    assert_mentions(err.message, bad[i].mention);
    dd_settings_destroy(cli.settings);
  }
}

/* ---- help and progress ---- */

static void test_help(void **state) {
  (void)state;
  const dd_command *k;
  const dd_setting *d;
  const dd_cli_option *o;
  for (int c = 0; (k = dd_command_at(c)); c++)
    for (int width = 40; width <= 200; width += 40) {
      char *text = NULL;
      size_t size = 0;
      FILE *f = open_memstream(&text, &size);
      dd_help_command(f, k, width);
      fclose(f);
      for (int i = 0; (d = dd_setting_at(i)); i++) {
        if (!(d->use & k->use)) continue;
        char name[80];
        bool both_ways = d->kind == DD_KIND_BOOL && !(d->use & DD_USE_ONCE);
        snprintf(name, sizeof name, "%s%s", both_ways ? "--[no-]" : "--", dd_setting_option_name(d));
        for (char *p = name; *p; p++)
          if (*p == '_') *p = '-';
        if ((d->use & DD_USE_ALONE) && (k->use & DD_USE_COMPARE)) {
          strcat(name, " ");
          assert_null(strstr(text, name));
          continue;
        }
        assert_mentions(text, name);
        if (d->choices && width == 200)
          for (int n = 0; d->choices[n]; n++) assert_mentions(text, d->choices[n]);
      }
      for (int i = 0; (o = dd_cli_option_at(i)); i++) assert_mentions(text, o->name);
      assert_mentions(text, "\n  75 ");
      assert_mentions(text, "OMP_NUM_THREADS");
      free(text);
    }
  for (int c = 0; (k = dd_command_at(c)); c++) {
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    dd_help_program(f, 80);
    dd_help_short(f);
    fclose(f);
    assert_mentions(text, k->help);
    free(text);
  }
}

static void test_progress_line(void **state) {
  (void)state;
  dd_progress p = {.has_step = true, .has_eval = true,
                   .step = {.iter = 1250, .max_iters = 5000, .loss = 1.5, .lr = 1e-3, .dropout = 0.15,
                            .ms_per_iter = 231, .tokens_per_s = 70900, .peak_fraction = 0.62, .elapsed_s = 287,
                            .eta_s = 862},
                   .eval = {.val_loss = 1.6}};
  char line[4096];
  for (int width = 1; width <= 300; width++) {
    dd_progress_line(&p, width, line, sizeof line);
    if ((int)strlen(line) > width - 1) fail_msg("%zu columns of %d: %s", strlen(line), width, line);
    for (const char *c = line; *c; c++) assert_true(*c >= 32 && *c < 127);
  }
  assert_string_equal(line, "1250/5000  [==========>                             ]   25%  loss 1.5000  val 1.6000  "
                            "p 0.1500  lr 1.00e-03  231 ms/it  70.9k tok/s  62% peak  4:47  ETA 14:22");
  dd_progress_line(&p, 40, line, sizeof line);
  assert_mentions(line, "ETA 14:22");
  dd_format_time(line, sizeof line, 3723.4);
  assert_string_equal(line, "1:02:03");
  dd_format_time(line, sizeof line, -1);
  assert_string_equal(line, "?");
}

/* Columns of UTF-8 text, each character one. */
static int columns(const char *s, size_t n) {
  int c = 0;
  for (size_t i = 0; i < n; i++) c += (s[i] & 0xc0) != 0x80;
  return c;
}

static void test_board(void **state) {
  (void)state;
  dd_study_job jobs[9] = {{.name = ""}};
  for (int i = 1; i < 9; i++) {
    jobs[i] = (dd_study_job){.iter = 100 * i, .max_iters = 1000, .loss = 1.5, .val_loss = NAN, .best_val_loss = NAN,
                             .dropout = 0.125, .eta_s = i == 2 ? NAN : 61};
    snprintf(jobs[i].name, sizeof jobs[i].name, "linear-dropout_final=0.%0*d-s1337", 4 * i, i);
  }
  const dd_study_status s = {.cells = 40, .finished = 12, .failed = 1, .jobs = 9, .job = jobs, .elapsed_s = 100,
                             .eta_s = 3661};
  char text[65536];
  for (int unicode = 0; unicode < 2; unicode++)
    for (int rows = 3; rows < 20; rows += 4)
      for (int width = 20; width <= 250; width++) {
        const dd_progress p = {.unicode = unicode};
        const int lines = dd_board_text(&p, &s, width, rows, text, sizeof text);
        int n = 0;
        for (char *line = text, *end; line; line = end ? end + 1 : NULL, n++) {
          end = strchr(line, '\n');
          const int used = columns(line, end ? (size_t)(end - line) : strlen(line));
          if (used > width - 1) fail_msg("%d columns of %d: %s", used, width, line);
        }
        assert_int_equal(n, lines);
        assert_true(lines <= (rows > 4 ? rows - 1 : 3)); /* the table fits above the prompt */
      }
  dd_board_text(&(dd_progress){0}, &s, 120, 24, text, sizeof text);
  assert_mentions(text, "12/40 runs, 1 failed");
  assert_mentions(text, "ETA 1:01:01");
  assert_mentions(text, "400/1000");
  assert_mentions(text, "val      -");
  dd_board_text(&(dd_progress){0}, &s, 120, 8, text, sizeof text);
  assert_mentions(text, "and 3 more");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_args), cmocka_unit_test(test_args_bad), cmocka_unit_test(test_help),
    cmocka_unit_test(test_progress_line), cmocka_unit_test(test_board),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
