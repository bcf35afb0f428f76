/* Formulas of users as dropout schedules (`expr:p0*(1-t/T)`): compiled once, evaluated in every iteration to the same
 * bits everywhere (core/mathd.h). Input from strangers: bounded length, depth and time.
 *
 *   c ? a : b     ||  &&     <  <=  >  >=  ==  !=     + -     * /     - ! (unary)     ^ (right to left)     ( )
 *
 * Comparisons give 0 or 1; what is not 0 is true. x^n with a whole |n| <= 64 is repeated multiplication. 1/0 is inf and
 * log(-1) NaN, as in C; an operand that ?: or && does not choose does no harm. */
#ifndef DD_MODEL_EXPR_H
#define DD_MODEL_EXPR_H
#include "core/error.h"
#include <stdbool.h>

/* Variables: X(name, help). */
#define DD_EXPR_VARS(X)                                                                                              \
  X(t, "iteration, from 0 to T") X(T, "max_iters") X(p0, "dropout") X(pf, "dropout_final")                           \
  X(val, "validation loss of the last evaluation") X(train, "training loss of the last evaluation")                  \
  X(best, "lowest validation loss so far") X(gap, "val - train")
/* Functions: X(name, arguments (-1: two or more), help). */
#define DD_EXPR_FUNCTIONS(X)                                                                                         \
  X(min, -1, "smallest") X(max, -1, "largest") X(clamp, 3, "clamp(x, lo, hi)") X(abs, 1, "") X(floor, 1, "")         \
  X(sqrt, 1, "") X(exp, 1, "") X(log, 1, "natural") X(sin, 1, "of radians") X(cos, 1, "of radians")

#define DD_EXPR_VAR(name, help) DD_EXPR_##name,
enum dd_expr_var { DD_EXPR_VARS(DD_EXPR_VAR) DD_EXPR_VAR_COUNT };
#undef DD_EXPR_VAR
/** Variables that come from evaluations. */
enum { DD_EXPR_EVALS = 1 << DD_EXPR_val | 1 << DD_EXPR_train | 1 << DD_EXPR_best | 1 << DD_EXPR_gap };

typedef struct dd_expr dd_expr;
/** Compile. DD_E_USAGE names the column of what is wrong. */
int dd_expr_compile(dd_expr **out, const char *text, dd_error *err);
void dd_expr_destroy(dd_expr *e); /* accepts NULL */
/** Variables that occur: bits 1 << DD_EXPR_x. */
unsigned dd_expr_vars(const dd_expr *e);
/** Any double, NaN and infinities included. */
double dd_expr_eval(const dd_expr *e, const double var[DD_EXPR_VAR_COUNT]);
#endif
