/* What a curve tells by its shape: signs of training that goes wrong, each from one run alone. */
#ifndef DD_STUDY_SIGNS_H
#define DD_STUDY_SIGNS_H
#include "study/runs.h"

/* Constants of the rules, in nats/token unless said otherwise. Runs of one configuration differ by a few thousandths
 * between seeds, so what is to count must be several times that. */
#define DD_SIGN_RISE 0.02       /* final above best validation loss: overfitting */
#define DD_SIGN_FLAT 0.01       /* less than this change of both losses: no progress */
#define DD_SIGN_CLOSE 0.05      /* gap below it: nothing is learnt by heart */
#define DD_SIGN_WAVE 0.01       /* a change of the validation loss that counts as a swing */
#define DD_SIGN_FLIPS 4         /* least changes of direction of an oscillation */
#define DD_SIGN_FLIP_PART 0.5   /* and at least this part of those possible */
#define DD_SIGN_RATE_STEP 1e-9  /* a change of the rate that counts */
#define DD_SIGN_ABOVE_START 0.1 /* loss above that of the start: divergence */
#define DD_SIGN_LAST_PART 0.25  /* part of the run in which no progress is a plateau */

/* X(id, name, rule): the rule as notes of reports tell it, with the constants above. */
#define DD_SIGNS(X)                                                                                                  \
  X(OVERFITTING, "overfitting",                                                                                      \
    "the final validation loss is more than 0.02 above its best, while the training loss (dropout off) went on "      \
    "falling")                                                                                                       \
  X(UNDERFITTING, "plateau",                                                                                         \
    "in the last quarter of the run neither loss changed by 0.01, with a gap below 0.05: the model learns no more, " \
    "and nothing by heart")                                                                                            \
  X(WAVES, "oscillating loss",                                                                                       \
    "in the second half of the run the validation loss changes direction at least 4 times and at half of the "       \
    "evaluations, by more than 0.01 each")                                                                           \
  X(RATE_WAVES, "oscillating rate",                                                                                  \
    "the dropout rate changes direction at least 4 times and at half of the evaluations")                            \
  X(DIVERGENCE, "divergence",                                                                                        \
    "a loss became NaN or infinite, or ends more than 0.1 above where it began")
enum dd_sign_id {
#define DD_ENUM_ROW(id, ...) DD_SIGN_##id,
  DD_SIGNS(DD_ENUM_ROW) DD_SIGN_COUNT
#undef DD_ENUM_ROW
};

typedef struct dd_sign {
  bool there;
  int64_t since;  /* iteration */
  char text[400]; /* one sentence */
} dd_sign;

/** Signs of a run of any state; without curves none but those of its state. */
void dd_signs_find(const dd_study_run *run, dd_sign out[DD_SIGN_COUNT]);
#endif
