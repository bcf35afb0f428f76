/* Settings: one struct whose fields, parser, help and JSON all come from the table in settings.def.
 * Read fields directly (s->n_layer, s->schedule == DD_SCHEDULE_COSINE); write them through dd_settings_set, which
 * checks the range and notes that the setting was given. */
#ifndef DD_RUN_SETTINGS_H
#define DD_RUN_SETTINGS_H
#include "core/error.h"
#include "model/schedule.def"
#include "ops/weights.def"
#include "run/settings.def"
#include <jansson.h>
#include <stdbool.h>

/* DD_TOKENIZER_CHAR, DD_COMPARE_PREV, DD_CHECKPOINT_LATEST, DD_OVERFLOW_EXACT, DD_PRESET_TINY ... */
#define DD_ENUM_ROW(list, id, name) DD_##list##_##id,
enum dd_tokenizer_id { DD_TOKENIZERS(DD_ENUM_ROW) DD_TOKENIZER_COUNT };
enum dd_compare_id { DD_COMPARES(DD_ENUM_ROW) DD_COMPARE_COUNT };
enum dd_on_nan_id { DD_ON_NANS(DD_ENUM_ROW) DD_ON_NAN_COUNT };
enum dd_depth_id { DD_DEPTHS(DD_ENUM_ROW) DD_DEPTH_COUNT };
enum dd_checkpoint_id { DD_CHECKPOINTS(DD_ENUM_ROW) DD_CHECKPOINT_COUNT };
enum dd_overflow_id { DD_OVERFLOWS(DD_ENUM_ROW) DD_OVERFLOW_COUNT };
enum dd_format_id { DD_FORMATS(DD_ENUM_ROW) DD_FORMAT_COUNT };
enum dd_export_id { DD_EXPORTS(DD_ENUM_ROW) DD_EXPORT_COUNT };
enum dd_preset_id { DD_PRESETS(DD_ENUM_ROW) DD_PRESET_COUNT };
#undef DD_ENUM_ROW

#define DD_ENUM_ROW(id, ...) DD_DROPOUT_SITE_##id,
enum dd_dropout_site_id { DD_DROPOUT_SITES(DD_ENUM_ROW) DD_DROPOUT_SITE_COUNT };
#undef DD_ENUM_ROW
#define DD_ENUM_ROW(id, ...) DD_GROUP_##id,
enum dd_setting_group { DD_SETTING_GROUPS(DD_ENUM_ROW) DD_GROUP_COUNT };
#undef DD_ENUM_ROW

typedef enum dd_setting_kind {
  DD_KIND_INT, DD_KIND_REAL, DD_KIND_BOOL, DD_KIND_CHOICE, DD_KIND_TEXT, DD_KIND_PATH, DD_KIND_SEED
} dd_setting_kind;

/* Commands a setting is an option of, and DD_USE_ONCE (see settings.def). */
enum { DD_USE_TRAIN = 1, DD_USE_EVAL = 2, DD_USE_SAMPLE = 4, DD_USE_PREPARE = 8, DD_USE_INFO = 16, DD_USE_ONCE = 32,
       DD_USE_BENCH = 64, DD_USE_COMPARE = 128, DD_USE_REPORT = 256,
       DD_USE_SCHEDULES = 512, DD_USE_ALONE = 1024, DD_USE_VERIFY = 2048, DD_USE_INSPECT = 4096,
       DD_USE_EXPORT = 8192 };
/** What a run can have: settings of other commands alone are no part of its configuration. */
#define DD_USE_RUN (DD_USE_TRAIN | DD_USE_EVAL | DD_USE_SAMPLE | DD_USE_PREPARE | DD_USE_INFO)

/* DD_SETTING_n_layer, DD_SETTING_n_head ...: index of a setting in the table and in dd_settings.set. */
#define DD_ENUM_ROW(kind, name, ...) DD_SETTING_##name,
enum dd_setting_id { DD_SETTINGS(DD_ENUM_ROW) DD_SETTING_COUNT };
#undef DD_ENUM_ROW

#define DD_FIELD_INT(name) int64_t name;
#define DD_FIELD_REAL(name) double name;
#define DD_FIELD_BOOL(name) bool name;
#define DD_FIELD_CHOICE(name) int name;
#define DD_FIELD_TEXT(name) char name[1024];
#define DD_FIELD_PATH(name) char name[4096];
#define DD_FIELD_SEED(name) uint64_t name;
#define DD_FIELD_ROW(kind, name, ...) DD_FIELD_##kind(name)
struct dd_settings {
  DD_SETTINGS(DD_FIELD_ROW)
  bool set[DD_SETTING_COUNT]; /* given explicitly: not the default, not by a preset */
  char ignored[512];          /* nanoGPT keys accepted without effect, ", " between them */
};
#undef DD_FIELD_ROW

/** One row of the table. */
typedef struct dd_setting {
  const char *name;
  dd_setting_kind kind;
  int id, group;
  unsigned use;
  size_t offset, size; /* of the field in dd_settings */
  const char *default_text;
  double min, max;
  const char *const *choices; /* NULL-terminated, or NULL */
  const char *metavar, *help;
} dd_setting;

/** Row of a setting (0 <= id < DD_SETTING_COUNT), else NULL: `for (int i = 0; (d = dd_setting_at(i)); i++)`. */
const dd_setting *dd_setting_at(int id);
/** Row of a key, aliases included ('-' and '_' equal, `no_x` for booleans not understood here), or NULL. */
const dd_setting *dd_setting_find(const char *key);
/** Row that an option means in the commands of `use` ("preset" is the list `presets` in bench), or NULL; and the option
 *  that sets a row. */
const dd_setting *dd_setting_option(const char *option, unsigned use);
const char *dd_setting_option_name(const dd_setting *d);
/** True for keys of nanoGPT that are accepted without effect. */
bool dd_setting_is_ignored(const char *key);
/** Closest known key to a misspelt one among those of the commands in `use` (0: all), or NULL when none is close. */
const char *dd_setting_suggest(const char *key, unsigned use);
/** Closest of a NULL-terminated list of names, or NULL. */
const char *dd_suggest(const char *word, const char *const *names);
/** Index of a name among the choices of a CHOICE setting ('-' and '_' are equal), or -1. */
int dd_setting_choice_index(const dd_setting *d, const char *name);
/** Title of a group of the help text. */
const char *dd_setting_group_title(int group);
/** Key and value of row i of a preset; false after the last. */
bool dd_preset_value(int preset, int i, const char **key, const char **value);

/** True for settings that change no bit of a run's result: threads, tier, where it is written ... */
bool dd_setting_is_harmless(int id);
/** Is a setting a parameter of dropout schedules, and does a schedule chosen in s, of all sites or of one, use it?
 *  Settings of the evaluations count as parameters only for schedules that react to them. */
typedef enum dd_param { DD_PARAM_NONE, DD_PARAM_UNUSED, DD_PARAM_USED } dd_param;
dd_param dd_settings_schedule_param(const dd_settings *s, int id);
/** Bits DD_USES_x of all schedules that are chosen in s together; of an expression those of its variables. */
unsigned dd_settings_uses(const dd_settings *s);
/** Is a setting read by schedules with these bits (what every schedule reads left out)? */
bool dd_setting_is_used(int id, unsigned uses);

/** A schedule as it is chosen in the settings: for all sites, or for one that has its own. */
typedef struct dd_chosen {
  enum dd_schedule_id id;
  double p0;
  const char *arg; /* list, file or formula inside s; NULL for schedules that take none */
} dd_chosen;
/** site: DD_DROPOUT_SITE_x, or -1 for the schedule of all that have no own. False when the site has none. */
bool dd_settings_chosen(const dd_settings *s, int site, dd_chosen *out);
/** Is there a schedule `callback` among them, of all sites or of one? */
bool dd_settings_ask_callback(const dd_settings *s);
/** "linear", "expr:p0*(1-t/T)", "table:rates.csv": the schedule as one would type it. */
void dd_settings_schedule_label(const dd_settings *s, char *out, size_t size);
/** The setting that takes a schedule's argument, or -1; *example (may be NULL): such an argument. */
int dd_schedule_argument(enum dd_schedule_id id, const char **example);

/** Back to the default, not given. */
void dd_settings_reset(dd_settings *s, enum dd_setting_id id);
/** True when the setting was given explicitly. */
static inline bool dd_settings_is_set(const dd_settings *s, enum dd_setting_id id) { return s->set[id]; }
/** Copy what was given explicitly in `given` into s (for --resume: s is the run's own configuration). Presets are not
 *  applied again. */
void dd_settings_overlay(dd_settings *s, const dd_settings *given);
/** Name of the chosen value of a CHOICE setting: dd_settings_choice(s, DD_SETTING_schedule) is "cosine". */
const char *dd_settings_choice(const dd_settings *s, enum dd_setting_id id);
/** Sites that follow the schedule: bit DD_DROPOUT_SITE_x. */
unsigned dd_settings_site_mask(const dd_settings *s);
/** Do the settings fit together? DD_E_USAGE with a sentence that says what to change. */
int dd_settings_check(const dd_settings *s, dd_error *err);

/** Object with every setting that a run can have (DD_USE_RUN): numbers as numbers, reals that read back to the same
 *  bits (dump with JSON_REAL_PRECISION(17)), the seed as a string because JSON numbers are doubles elsewhere. NULL: out
 *  of memory. */
json_t *dd_settings_to_json(const dd_settings *s);
/** Set all keys of an object (they count as given); a preset first whatever the order. Unknown keys are errors. */
int dd_settings_from_json(dd_settings *s, const json_t *object, dd_error *err);

#endif
