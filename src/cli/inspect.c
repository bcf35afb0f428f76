/* `dd-cpu inspect`: facts about files, as lines or as one object. */
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

static void on_inspect(void *user, const dd_inspect_record *r) {
  dd_cli *cli = user;
  dd_progress_clear(&cli->progress);
  if (cli->json) {
    json_t *path = json_string(r->path); /* a path need not be UTF-8, JSON must be */
    if (json_array_append_new(cli->lines,
                              json_pack("{s:o, s:s, s:o}", "file", path ? path : json_null(), "kind", r->kind, "facts",
                                        json_loads(r->json, JSON_ALLOW_NUL, NULL)))) {
      json_decref(cli->lines); /* no list rather than one with a gap */
      cli->lines = NULL;
    }
    return;
  }
  if (cli->mid_line) dd_cli_write(cli, "\n"); /* between two files */
  cli->mid_line = true;
  const int color = dd_wants_color(cli->color, cli->escape_text);
  char heading[4200];
  snprintf(heading, sizeof heading, "%s", r->path);
  for (char *c = heading; *c; c++)
    if ((unsigned char)*c < 32 || *c == 127) *c = '?';
  if (color) dd_cli_write(cli, "\033[1m");
  dd_cli_write(cli, heading);
  if (color) dd_cli_write(cli, "\033[0m");
  dd_cli_write(cli, ": ");
  dd_cli_write(cli, r->what);
  dd_cli_write(cli, "\n");
  dd_cli_write(cli, r->lines);
}

int dd_cli_inspect(dd_cli *cli, dd_callbacks *cb, dd_error *err) {
  cb->inspect = on_inspect;
  cli->lines = json_array();
  int rc = dd_inspect(cli->settings, cb, err);
  dd_progress_clear(&cli->progress);
  if (cli->json && !cli->lines && !rc)
    rc = dd_fail(err, DD_E_RUNTIME, "out of memory while the result was put together");
  if (cli->json && json_array_size(cli->lines)) {
    json_t *o = json_pack("{s:s, s:i, s:O}", "command", "inspect", "status", rc, "files", cli->lines);
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (text) dd_cli_write(cli, text);
    dd_cli_write(cli, "\n");
    free(text);
    json_decref(o);
  }
  json_decref(cli->lines);
  cli->lines = NULL;
  return rc;
}
