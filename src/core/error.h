/* Errors of the library: a code and one sentence; and messages, through callbacks. Nothing prints, nothing exits. */
#ifndef DD_CORE_ERROR_H
#define DD_CORE_ERROR_H
#include "dd_cpu.h"

/** Fill *err (may be NULL) and return code, so that `return dd_fail(err, DD_E_IO, "...")` is the idiom. */
int dd_fail(dd_error *err, dd_status code, const char *fmt, ...) DD_PRINTF(3, 4);
/** Prefix the message of an error that already happened ("cannot resume RUN: " + message); returns its code. */
int dd_fail_prefix(dd_error *err, const char *fmt, ...) DD_PRINTF(2, 3);
/** One line of text to the caller's message callback, if there is one. */
void dd_say(const dd_callbacks *cb, dd_level level, const char *fmt, ...) DD_PRINTF(3, 4);
/** 1 when the caller of the library asks to stop (and 2: to save and go on). */
int dd_should_stop(const dd_callbacks *cb);
/** The same for long loops outside training: DD_E_STOPPED with "stopped on request while DOING NAME", or DD_OK. */
int dd_check_stop(const dd_callbacks *cb, const char *doing, const char *name, dd_error *err);
#endif
