/* Sentences for people, made from what the report says already. */
#ifndef DD_STUDY_CONCLUDE_H
#define DD_STUDY_CONCLUDE_H
#include <jansson.h>

/** What follows for one group of a report; cost: object of the report, or NULL. NULL: out of memory. */
json_t *dd_conclusions_json(const json_t *group, const json_t *cost);
/** How columns, intervals and tests are to be read. */
json_t *dd_notes_json(void);
#endif
