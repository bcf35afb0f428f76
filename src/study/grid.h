/* The grid of `dd-cpu compare`: schedules x seeds x other options, and the directory that holds it.
 *
 *   compare.json      the plan: settings of all, schedules, seeds, grid, cells. Grows when a call adds to it
 *   compare.lock      held (flock) while the plan is read and replaced. Never deleted
 *   runs/CELL/        one run directory per cell
 *   measured.json     what was measured once for all (cost.h)
 *   report.*          written at the end of every call
 *
 * A cell is named by what sets it apart: "linear-s1337", "val-loss-n_layer=12-s1338". */
#ifndef DD_STUDY_GRID_H
#define DD_STUDY_GRID_H
#include "run/settings.h"

typedef struct dd_cell {
  char name[200];
  json_t *overrides; /* of the grid's settings: object of strings, "schedule" and "seed" among them */
} dd_cell;

typedef struct dd_grid {
  dd_settings *base; /* settings of all cells */
  dd_cell *cells;    /* in the order of running: a seed of every schedule before the next seed */
  size_t n;
  char data_hash[33];  /* of the text of all, for the plan; "" not known */
  json_t *schedules, *seeds, *dims; /* of this call, for the plan: arrays of strings; [[key, [value...]]...] */
} dd_grid;

/** Cells that the settings ask for. Combinations that differ only in what their schedule does not read are one cell.
 *  DD_E_USAGE: the same value twice, an unknown option, one that may not vary, settings that do not fit together. */
int dd_grid_create(dd_grid *g, const dd_settings *s, dd_error *err);
void dd_grid_destroy(dd_grid *g);
/** Settings of a cell, to be destroyed by the caller; its `out` is DIR/runs/CELL. */
int dd_grid_settings(const dd_grid *g, size_t cell, const char *dir, dd_settings **out, dd_error *err);
/** Keep the cells of part i of n (1 <= i <= n): every n-th. */
void dd_grid_shard(dd_grid *g, int i, int n);

/** Add the grid to the plan in DIR, which is made when missing. command: how the user called it. DD_E_CORRUPT: the plan
 *  there was made with other settings (names the first one) or is damaged. */
int dd_grid_plan(const dd_grid *g, const char *dir, const char *command, dd_error *err);
/** The same errors, and nothing written. */
int dd_grid_check(const dd_grid *g, const char *dir, dd_error *err);
#endif
