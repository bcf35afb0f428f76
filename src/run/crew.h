/* A training job over ranks: rank 0 has the run directory, the checkpoints and the voice; the others are given settings
 * and state by it, open the data themselves, and hold the same weights at any time. */
#ifndef DD_RUN_CREW_H
#define DD_RUN_CREW_H
#include "run/train.h"

/** Rank 0, when it can train and before it touches a run directory: have the others open what they need. Returns when
 *  all are ready, with the failure of any. Nothing to do when alone. */
int dd_crew_enlist(dd_job *j, dd_error *err);
/** Another rank: the settings of rank 0, those of this machine (threads, tier, data when given) as given here, data,
 *  buffers. j->ranks is set. */
int dd_crew_open(dd_job *j, const dd_settings *given, dd_error *err);
/** State and, when rank 0 loaded them (loaded), weights and moments from rank 0 to all. */
int dd_crew_hand_out(dd_job *j, int loaded, dd_error *err);
/** The request of any rank's user, *ask, agreed on by all; only at the times that are due, which is where a step or an
 *  evaluation begins (start), and every round of long ones. DD_OK and *ask = 0 in between. */
int dd_crew_ask(dd_job *j, int start, int *ask, int64_t at, dd_error *err);
/** Do all ranks have these weights? */
int dd_crew_compare(dd_job *j, const char fingerprint[33], dd_error *err);
#endif
