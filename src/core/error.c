#include "core/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int dd_fail(dd_error *err, dd_status code, const char *fmt, ...) {
  if (err) {
    err->code = code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
  }
  return code;
}

int dd_fail_prefix(dd_error *err, const char *fmt, ...) {
  if (!err) return DD_E_RUNTIME;
  char old[sizeof err->message];
  memcpy(old, err->message, sizeof old);
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(err->message, sizeof err->message, fmt, ap);
  va_end(ap);
  if (n >= 0 && (size_t)n < sizeof err->message)
    snprintf(err->message + n, sizeof err->message - (size_t)n, "%.*s", (int)(sizeof old - 1 - (size_t)n), old);
  return err->code;
}

void dd_say(const dd_callbacks *cb, dd_level level, const char *fmt, ...) {
  if (!cb || !cb->message) return;
  char line[1400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  cb->message(cb->user, level, line);
}

int dd_should_stop(const dd_callbacks *cb) { return cb && cb->should_stop ? cb->should_stop(cb->user) : 0; }

int dd_check_stop(const dd_callbacks *cb, const char *doing, const char *name, dd_error *err) {
  if (dd_should_stop(cb) != 1) return DD_OK;
  return dd_fail(err, DD_E_STOPPED, "stopped on request while %s %.300s", doing, name);
}
