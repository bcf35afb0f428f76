/* `dd-cpu verify`: a line per file and a verdict. */
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const words[] = {[DD_CHECK_GOOD] = "good", [DD_CHECK_NOTE] = "note", [DD_CHECK_BAD] = "BAD"};
static const char *const colors[] = {
    [DD_CHECK_GOOD] = "\033[32m", [DD_CHECK_NOTE] = "\033[33m", [DD_CHECK_BAD] = "\033[1;31m"};

void dd_cli_check(dd_cli *cli, const dd_check_record *r) {
  char line[1400];
  if (cli->json) {
    json_array_append_new(cli->lines, json_pack("{s:s, s:s, s:s}", "file", r->file, "state", words[r->state], "text",
                                                r->text));
    return;
  }
  const int color = dd_wants_color(cli->color, dd_is_terminal(STDOUT_FILENO));
  snprintf(line, sizeof line, "%-4s  %s  %s\n", words[r->state], r->file, r->text);
  for (char *c = line; *c && c[1]; c++) /* names of files and what they hold are foreign */
    if ((unsigned char)*c < 32 || *c == 127) *c = '?';
  dd_progress_clear(&cli->progress);
  if (color) dd_cli_write(cli, colors[r->state]);
  dd_cli_write(cli, line);
  if (color) dd_cli_write(cli, "\033[0m");
}

int dd_cli_verify(dd_cli *cli, const dd_callbacks *cb, dd_error *err) {
  dd_verify_result r = {0};
  char line[4300], time[32];
  cli->lines = json_array();
  const int rc = dd_verify(cli->settings, cb, &r, err);
  dd_progress_clear(&cli->progress);
  if (cli->json && (!rc || rc == DD_E_CORRUPT)) {
    json_t *o = json_pack("{s:s, s:i, s:s, s:I, s:I, s:f, s:O}", "command", "verify", "status", rc, "run", r.path,
                          "checks", (json_int_t)r.files, "failed", (json_int_t)r.bad, "seconds", r.seconds, "files",
                          cli->lines);
    if (o && r.to >= 0)
      json_object_set_new(o, "replay", json_pack("[I,I]", (json_int_t)r.from, (json_int_t)r.to));
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (text) dd_cli_write(cli, text);
    dd_cli_write(cli, "\n");
    free(text);
    json_decref(o);
  } else if (!rc) {
    dd_format_time(time, sizeof time, r.seconds);
    snprintf(line, sizeof line, "verified: %lld checks of %s in %s, nothing is wrong\n", (long long)r.files, r.path,
             time);
    dd_cli_write(cli, line);
  }
  json_decref(cli->lines);
  cli->lines = NULL;
  return rc;
}
