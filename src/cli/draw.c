/* Curves in a terminal: Braille patterns, 2 x 4 dots in a character, where it speaks UTF-8; else ASCII, 1 x 3. */
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_COLS = 400, MAX_ROWS = 40 };

/* Dots of a Braille cell: bit of (column, row from the top). */
static const unsigned char braille[2][4] = {{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}};

static const char *ascii(unsigned dots) {
  static const char *const shapes[8] = {" ", "'", "-", "|", "_", "|", "|", "|"};
  return shapes[dots & 7];
}

void dd_draw_curve(char *out, const double *y, int n, double top, int cols, int rows, bool unicode) {
  static const int per_cell[2][2] = {{1, 3}, {2, 4}}; /* dots across and down */
  const int across = per_cell[unicode][0], down = per_cell[unicode][1];
  unsigned char cell[MAX_ROWS][MAX_COLS];
  if (cols > MAX_COLS) cols = MAX_COLS;
  if (rows > MAX_ROWS) rows = MAX_ROWS;
  memset(cell, 0, sizeof cell);
  const int wide = cols * across, high = rows * down;
  int before = -1;
  for (int x = 0; x < wide; x++) {
    const int i = wide > 1 ? (int)((double)x * (n - 1) / (wide - 1) + 0.5) : 0;
    const double v = top > 0 ? y[i] / top : 0;
    int at = (int)((1 - (v < 0 ? 0 : v > 1 ? 1 : v)) * (high - 1) + 0.5);
    /* a steep piece is a vertical line from where the curve was */
    int from = before < 0 ? at : before + (at > before) - (at < before), to = at;
    if (from > to) from = at, to = before - 1;
    for (int d = from; d <= to; d++)
      cell[d / down][x / across] |= unicode ? braille[x % 2][d % 4] : (unsigned char)(1u << d % 3);
    before = at;
  }
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < cols; c++)
      if (unicode && cell[r][c]) {
        const unsigned u = 0x2800u + cell[r][c];
        *out++ = (char)(0xe0 | u >> 12);
        *out++ = (char)(0x80 | (u >> 6 & 0x3f));
        *out++ = (char)(0x80 | (u & 0x3f));
      } else *out++ = *ascii(cell[r][c]); /* nothing is a space */
    *out++ = '\n';
  }
  *out = '\0';
}
