/* What the files of the settings share. */
#ifndef DD_RUN_SETTINGS_INTERNAL_H
#define DD_RUN_SETTINGS_INTERNAL_H
#include "run/settings.h"

/* ---- settings.c ---- */
/** Text without the spaces around it, in buf; false when it is empty or does not fit. */
bool dd_setting_trim(const char *text, char *buf, size_t size);
/** "NAME must be WHAT, not 'VALUE'" with a long value cut; returns DD_E_USAGE. */
int dd_setting_bad_value(const char *name, const char *what, const char *value, dd_error *err);
/** "; did you mean 'CLOSE'?" behind the message; nothing when close is NULL. */
void dd_setting_add_suggestion(const char *close, dd_error *err);
/** Index of the choice a value means, in *out. */
int dd_setting_parse_choice(const dd_setting *d, int *out, const char *value, dd_error *err);

/* ---- settings_dropout.c ---- */
/** Is the text a good value of this TEXT setting, as far as one can tell without the others? */
int dd_settings_check_text(const dd_setting *d, const char *value, dd_error *err);
/** Defaults that depend on the schedule, where nothing was given. */
void dd_settings_derive(dd_settings *s);
/** Settings of dropout against each other. */
int dd_settings_check_dropout(const dd_settings *s, dd_error *err);
#endif
