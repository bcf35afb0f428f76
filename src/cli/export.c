/* `dd-cpu export`: what was written, in a line. */
#include "cli/cli.h"
#include <stdlib.h>

int dd_cli_export(dd_cli *cli, const dd_callbacks *cb, dd_error *err) {
  dd_export_result r = {0};
  const int rc = dd_export(cli->settings, cb, &r, err);
  dd_progress_clear(&cli->progress);
  if (rc) return rc;
  const char *format = dd_settings_choice(cli->settings, DD_SETTING_export_format);
  char line[4300];
  if (cli->json) {
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I}", "command", "export", "format", format, "out", r.path, "files",
                          (json_int_t)r.files, "bytes", (json_int_t)r.bytes);
    char *text = json_dumps(o, JSON_COMPACT);
    if (text) dd_cli_write(cli, text);
    dd_cli_write(cli, "\n");
    free(text);
    json_decref(o);
    return DD_OK;
  }
  snprintf(line, sizeof line, "%s: %lld file%s, %lld bytes in %s\n", format, (long long)r.files,
           r.files == 1 ? "" : "s", (long long)r.bytes, r.path);
  dd_cli_write(cli, line);
  return DD_OK;
}
