/* Options as help, manual pages and completion show them: one view of the tables of settings and commands. */
#ifndef DD_CLI_OPTIONS_H
#define DD_CLI_OPTIONS_H
#include "cli/cli.h"

typedef struct dd_pair {
  const char *left, *right;
} dd_pair;

/* Ended by a row without left. */
extern const dd_pair dd_exit_codes[], dd_environment[];

/** Is a setting an option of this command? */
bool dd_command_takes(const dd_command *k, const dd_setting *d);
/** An option that no command has as a setting of its own (its row in args.c), seen from one command or, k NULL, from
 *  the program: false where the command has its own of that name. */
bool dd_command_shares(const dd_command *k, const dd_cli_option *o);

/** "n-layer" into name[64]. */
void dd_option_name(const dd_setting *d, char name[64]);
/** Given without a value; and then: does --no-NAME exist too? */
bool dd_option_is_flag(const dd_setting *d);
bool dd_option_has_no(const dd_setting *d);
/** Help, choices and default in one sentence. */
void dd_option_text(const dd_setting *d, char *out, size_t size);
/** The first clause of a help text, for a list beside the cursor: at most 72 bytes, cut after a word. */
void dd_option_brief(const char *help, char out[80]);

/** Append to a string in buf[size]; what does not fit is cut. */
void dd_text_append(char *buf, size_t size, const char *text);

/** What can stand as the value of an option. */
typedef struct dd_values {
  char words[2048];  /* known values, spaces between; one that ends in ':' or '=' is only the beginning of a value */
  bool files, dirs;  /* also any file, any directory (files: those on the way) */
  bool list;         /* several with commas between */
} dd_values;
/** Of a setting in the commands of `use`. */
void dd_option_values(const dd_setting *d, dd_values *out);

/** An option of a command, a setting or not. */
typedef struct dd_option {
  const dd_setting *setting; /* NULL: it is none */
  char name[72];             /* "n-layer"; "no-bias" */
  bool no;                   /* the --no-NAME of the option before */
  char letter;               /* 0: none */
  const char *help, *metavar; /* metavar: "" when it takes no value */
  bool takes_value;
  dd_values values;
  int next, next_shared; /* where dd_option_next goes on */
} dd_option;
/** The next option of a command: its settings in the order of their table, then those of every command. The first of
 *  an object that is all zero. False: there are no more. */
bool dd_option_next(const dd_command *k, dd_option *o);

/* ---- completion.c, manual.c, version.c: what the program prints about itself ---- */
/** Completion for a shell. False: not a shell that is known (dd_completion_shells names them, NULL at the end). */
bool dd_completion(FILE *out, const char *shell);
extern const char *const dd_completion_shells[];
void dd_completion_bash(FILE *out);
void dd_completion_zsh(FILE *out);
void dd_completion_fish(FILE *out);

/** A manual page in the language of man(7): of a command, or (NULL) of the program. */
void dd_manual(FILE *out, const dd_command *k);
/** All pages as DIR/dd-cpu.1, DIR/dd-cpu-COMMAND.1 ...; the directory is made. */
int dd_manual_write(const char *dir, dd_error *err);

/** Long text of a manual page, by command ("" is the program); NULL: there is none. Paragraphs are ended by NULL. */
typedef struct dd_manual_text {
  const char *command;
  const char *const *description;
  const dd_pair *files; /* ended by a row without left; may be NULL */
} dd_manual_text;
const dd_manual_text *dd_manual_text_of(const char *command);

/** `dd-cpu --version`: the first line is "dd-cpu VERSION (numerics N)", facts of the build follow; or one line of JSON.
 *  Returns a dd_status. */
int dd_print_version(FILE *out, bool json);
#endif
