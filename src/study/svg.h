/* Plot primitives: text as SVG. All lengths are in units of the viewBox; coordinates have one decimal; numbers are
 * written the same in every locale. How things look is said by classes (plot.css), never here. */
#ifndef DD_STUDY_SVG_H
#define DD_STUDY_SVG_H
#include "study/text.h"
#include <stdbool.h>

/** Largest magnitude that plots accept; what is above is treated as missing. */
#define DD_PLOT_MAX 1e15

/** Text as character data or attribute value of HTML and XML: & < > " ' are escaped; control characters, what XML
 *  forbids and marks that change the direction of text become U+FFFD. NULL: nothing. */
void dd_escape(dd_str *out, const char *text);
/** The same, cut with an ellipsis to about `em` times the size of the font. */
void dd_escape_fit(dd_str *out, const char *text, double em);
/** Estimated width of text in em (wide for most proportional fonts). */
double dd_text_em(const char *text);
/** x with `digits` decimals (0..17) and a point; from 1e15 on in scientific notation. Returns buf. */
char *dd_number(char buf[48], double x, int digits);
/** The same with U+2212 as the sign, for print; plus: positive numbers get "+". */
char *dd_number_typeset(char buf[48], double x, int digits, bool plus);

typedef struct dd_axis {
  double lo, hi; /* range of the data, lo < hi */
  double step;   /* between ticks: 1, 2, 2.5 or 5 times a power of ten */
  int digits;    /* decimals of the tick labels */
} dd_axis;
/** Ranges and about `ticks` round ticks; lo == hi, or lo > hi (no data), get a range around them. */
void dd_axis_fit(dd_axis *a, double lo, double hi, int ticks);
/** As dd_axis_fit; the range is widened to whole steps. */
void dd_axis_fit_round(dd_axis *a, double lo, double hi, int ticks);
/** i-th tick inside the range; false after the last. */
bool dd_axis_tick(const dd_axis *a, int i, double *value);

typedef struct dd_plot {
  dd_str *out;
  double left, right, top, bottom; /* edges of the data area */
  dd_axis x, y;
  const char *clip; /* id of the clip path of the data area, or NULL: lines and bands are not clipped */
} dd_plot;

double dd_plot_x(const dd_plot *p, double x);
double dd_plot_y(const dd_plot *p, double y);
/** <svg>, title, description (both escaped here); id is unique in the page and becomes part of others. `attributes`
 *  are written as they are. The clip path of p (p->clip) is defined when set. Close with dd_str_puts("</svg>"). */
void dd_plot_open(const dd_plot *p, double width, double height, const char *id, const char *attributes,
                  const char *title, const char *desc);
void dd_plot_style(dd_str *out, const char *css); /* <style>, for files that stand alone */
/** Grid, tick labels, a label above the y axis and one below the x axis (escaped here). */
void dd_plot_axes(const dd_plot *p, const char *x_label, const char *y_label);
/** Grid and labels of the x axis only. */
void dd_plot_x_axis(const dd_plot *p, const char *x_label);

/** Points that are NAN interrupt line and band. A point between two gaps becomes a dot. */
void dd_plot_line(const dd_plot *p, const char *class, int n, const double *x, const double *y);
void dd_plot_band(const dd_plot *p, const char *class, int n, const double *x, const double *lo, const double *hi);
/** Dot of radius r at data coordinates; hover (escaped here, may be NULL) is what the pointer shows. */
void dd_plot_dot(const dd_plot *p, const char *class, double x, double y, double r, const char *hover);
/** Text (escaped here) at viewBox coordinates. */
void dd_plot_text(dd_str *out, const char *class, double x, double y, const char *text);

/** Move n wanted heights apart, so that neighbours are at least `gap` apart and all are in [lo, hi] if they fit. */
void dd_spread(double *y, int n, double gap, double lo, double hi);
#endif
