/* How a failure is told. */
#include "cli/cli.h"
#include <string.h>

/* In one piece: other processes may write to the same place. */
void dd_report_error(dd_cli *cli, const char *program, int rc, const dd_error *err) {
  char text[4 * sizeof err->message + 512], *end = text + sizeof text;
  FILE *out = cli->progress.stream;
  if (cli->silent) return;
  dd_progress_clear(&cli->progress);
  char *p = text;
  p += snprintf(p, 256, cli->progress.color && rc != DD_E_STOPPED ? "%.100s: \033[1;31m%s:\033[0m " : "%.100s: %s: ",
                program, rc == DD_E_STOPPED ? "stopped" : "error");
  for (const unsigned char *c = (const unsigned char *)err->message; *c; c++)
    if (*c < 32 || *c == 127) p += snprintf(p, (size_t)(end - p), "\\x%02x", *c);
    else *p++ = (char)*c;
  *p++ = '\n';
  if (rc == DD_E_USAGE)
    p += snprintf(p, (size_t)(end - p), "Try `%.100s %.60s --help`.\n", program, cli->command->name);
  fwrite(text, 1, (size_t)(p - text), out);
  fflush(out);
}
