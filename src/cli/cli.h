/* The program around the library: options, help, commands, progress. */
#ifndef DD_CLI_CLI_H
#define DD_CLI_CLI_H
#include "run/settings.h"
#include <stdio.h>

typedef struct dd_cli dd_cli;

/** A command; the rows are in commands.c. */
typedef struct dd_command {
  const char *name, *help;
  unsigned use;                      /* DD_USE_x: which settings are its options */
  const char *positional;            /* name of its argument in help, or NULL */
  enum dd_setting_id positional_id;  /* setting that takes the argument */
  int (*run)(dd_cli *cli, dd_error *err);
  const char *const *examples;       /* NULL-terminated, without "dd-cpu " */
  char many;                         /* takes any number of the positional argument: what separates them there */
} dd_command;

typedef enum dd_color_mode { DD_COLOR_AUTO, DD_COLOR_ALWAYS, DD_COLOR_NEVER } dd_color_mode;

/** Progress on stderr: a live line on a terminal, plain lines elsewhere. */
typedef struct dd_progress {
  FILE *stream;
  bool live, color, unicode, quiet, verbose;
  bool drawn;            /* a live line is on the screen */
  double drawn_at;       /* monotonic seconds of the last redraw */
  double step_at, since_step; /* when the last step record came; seconds from there to the redraw */
  bool has_step, has_eval;
  dd_step_record step;   /* last ones, for the live line */
  dd_eval_record eval;
  char phase[64];        /* "" outside long phases */
  int64_t phase_done, phase_total;
  int board_lines;       /* lines of the table of runs on the screen; 0: the live line is one line, or none */
  double board_at;       /* monotonic seconds of the last plain status line of a study */
} dd_progress;

struct dd_cli {
  dd_settings *settings;
  const dd_command *command;
  bool help, quiet, verbose, json;
  dd_color_mode color;
  dd_progress progress;
  int out_errno;         /* first failure to write stdout, 0 when none */
  bool silent;           /* another rank than 0: that one speaks */
  bool stop_announced;
  bool escape_text;      /* stdout is a terminal: generated control bytes are not for it */
  bool after_c2;         /* see write_text */
  bool mid_line;         /* generated text did not end with a line feed */
  char *text;            /* with --json: the generated text so far */
  size_t text_size;
  json_t *lines;         /* with --json: messages of `info`, checks of `verify`, files of `inspect` so far */
};

/* ---- commands.c ---- */
const dd_command *dd_command_at(int i); /* NULL after the last */
const dd_command *dd_command_find(const char *name);
/** Run the parsed command and report its result; returns the exit code. */
int dd_command_execute(dd_cli *cli, const char *program);
/** "PROGRAM: error: MESSAGE" on stderr. */
void dd_report_error(dd_cli *cli, const char *program, int rc, const dd_error *err);

/** Text to standard output; a failure is kept and reported at the end. */
void dd_cli_write(dd_cli *cli, const char *text);

/* ---- signals.c ---- */
/** SIGINT, SIGTERM, SIGHUP, SIGXCPU ask to stop, SIGUSR1 to save; a second SIGINT ends the program. */
void dd_signals_catch(void);
bool dd_signal_stop(void);
bool dd_signal_save(void);      /* once for each time it was asked */
bool dd_signal_continued(void); /* stopped and continued since the last call */

/* ---- schedules.c ---- */
/** `dd-cpu schedules`: list, explain and draw. */
int dd_cli_schedules(dd_cli *cli, dd_error *err);

/* ---- verify.c ---- */
/** One check of `dd-cpu verify` as a line; and the command itself. */
void dd_cli_check(dd_cli *cli, const dd_check_record *r);
int dd_cli_verify(dd_cli *cli, const dd_callbacks *cb, dd_error *err);

/* ---- inspect.c ---- */
/** `dd-cpu inspect`: a heading and lines per file, or with --json one object of all. */
int dd_cli_inspect(dd_cli *cli, dd_callbacks *cb, dd_error *err);

/* ---- export.c ---- */
int dd_cli_export(dd_cli *cli, const dd_callbacks *cb, dd_error *err);

/* ---- draw.c ---- */
/** A curve y[n] of values from 0 to top as rows lines of cols characters (Braille or ASCII), each ended by a line feed;
 *  out holds rows * (3 * cols + 1) + 1 bytes. */
void dd_draw_curve(char *out, const double *y, int n, double top, int cols, int rows, bool unicode);

/* ---- args.c ---- */
/** Options that are no settings. */
typedef struct dd_cli_option {
  const char *name;
  char letter;          /* 0: none */
  const char *metavar;  /* NULL: takes no value */
  const char *help;
} dd_cli_option;
const dd_cli_option *dd_cli_option_at(int i); /* NULL after the last */
/** Letter of a setting ('t' for threads), or 0. */
char dd_setting_letter(int id);
/** Parse what stands after the command name into cli. */
int dd_args_parse(dd_cli *cli, int argc, char *const *argv, dd_error *err);

/* ---- help.c ---- */
void dd_help_short(FILE *out);
void dd_help_program(FILE *out, int width);
void dd_help_command(FILE *out, const dd_command *command, int width);
/** Columns of the terminal behind fd, else $COLUMNS, else 80. */
int dd_terminal_width(int fd);

/* ---- launch.c ---- */
/** DD_E_USAGE when this process is one of several ranks and its command cannot be. */
int dd_cli_check_launch(const dd_cli *cli, dd_error *err);
/** Before the ranks know of each other: all were given what is refused, and rank 0 says so. */
void dd_cli_refused(dd_cli *cli);

/* ---- progress.c ---- */
void dd_progress_init(dd_progress *p, FILE *stream, dd_color_mode color, bool quiet, bool verbose);
void dd_progress_message(dd_progress *p, dd_level level, const char *text);
void dd_progress_phase(dd_progress *p, const char *what, int64_t done, int64_t total);
void dd_progress_step(dd_progress *p, const dd_step_record *r);
void dd_progress_eval(dd_progress *p, const dd_eval_record *r);
/** Colour on a stream that is a live terminal or not; does the locale say UTF-8? */
bool dd_wants_color(dd_color_mode mode, bool live);
bool dd_speaks_utf8(void);
/** Is fd a terminal that understands more than text (TERM is set, and not dumb)? */
bool dd_is_terminal(int fd);
/** Call often: lets the clocks of the live line go on between records. */
void dd_progress_tick(dd_progress *p);
/** Take the live line off the screen; what is written next starts at the left. */
void dd_progress_clear(dd_progress *p);
/** Leave what is drawn where it is and draw below it: after the shell wrote there. */
void dd_progress_forget(dd_progress *p);
/** "1:02:03" or "2:03" into out. */
void dd_format_time(char *out, size_t size, double seconds);
/** Append a bar of `cells` columns, brackets not counted, that is filled to `fraction`. */
void dd_progress_bar(const dd_progress *p, char *out, size_t size, int cells, double fraction);
/** The live line for a width, without control characters (color apart): also what tests look at. */
void dd_progress_line(const dd_progress *p, int width, char *out, size_t size);

/* ---- board.c ---- */
/** How far a study is: a table of its runs on a terminal, a plain line every few minutes elsewhere. */
void dd_progress_study(dd_progress *p, const dd_study_status *s);
/** The table for a terminal of that size, lines without control characters (colour apart); returns their number. */
int dd_board_text(const dd_progress *p, const dd_study_status *s, int width, int rows, char *out, size_t size);
/** Lines of the terminal behind fd, 24 when it tells none. */
int dd_terminal_rows(int fd);
#endif
