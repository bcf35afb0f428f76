/* Which runs may be compared: a group is the runs that differ in seed and dropout schedule only; a treatment is those
 * of a group that differ in the seed only. */
#ifndef DD_STUDY_GROUPS_H
#define DD_STUDY_GROUPS_H
#include "study/load.h"

typedef struct dd_treatment {
  char name[512];              /* the schedule; with parameters where a group has several of one schedule */
  const dd_study_run **run;    /* seeds rise, each once */
  size_t n, room;
} dd_treatment;

typedef struct dd_group {
  char label[1024];            /* what tells it from the other groups; "" when it is alone */
  const dd_study_run *example; /* a run that was read, where there is one */
  dd_treatment *t;
  size_t n, room;
  int baseline;                /* treatment, -1: none */
} dd_group;

typedef struct dd_groups {
  dd_group *g;
  size_t n, room;
} dd_groups;

/** Groups and treatments in the order of the runs. Runs whose settings are not known are in none. The same seed twice
 *  in a treatment counts once, and is warned about unless both are finished with equal fingerprints.
 *  baseline: name of a schedule or treatment; "": the study's, else fixed, else the first. DD_E_USAGE: no group has the
 *  one asked for. The study must outlive the groups. Free in any case. */
int dd_groups_make(dd_study *st, const char *baseline, dd_groups *out, dd_error *err);
void dd_groups_free(dd_groups *gs);
/** Is a setting common to the runs of a group (and not the business of a treatment, or of no run at all)? */
bool dd_group_setting(int id);
#endif
