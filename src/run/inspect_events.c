/* `dd-cpu inspect` of TensorBoard's event files. */
#include "run/events.h"
#include "run/inspect.h"

int dd_is_tfevents(const dd_probe *p) { return !p->is_directory && dd_events_looks(p->head, p->n_head); }

int dd_tell_tfevents(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err) {
  (void)cb;
  json_t *found, *value;
  const char *key;
  const int rc = dd_events_describe(p->path, &found, err);
  if (rc) return rc;
  json_object_foreach(found, key, value) dd_fact(f, key, json_incref(value));
  json_decref(found);
  return DD_OK;
}
