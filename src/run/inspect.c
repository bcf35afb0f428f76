#include "run/inspect.h"
#include "core/file.h"
#include "formats/tokens.h"
#include "run/settings.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name, *what;
  int (*is)(const dd_probe *p);
  int (*tell)(const dd_probe *p, dd_facts *f, const dd_callbacks *cb, dd_error *err);
} kinds[] = {
#define KIND_ROW(id, name, what) {name, what, dd_is_##id, dd_tell_##id},
    DD_INSPECT_KINDS(KIND_ROW)
#undef KIND_ROW
};

enum { KINDS = sizeof kinds / sizeof *kinds };

bool dd_probe_ends(const dd_probe *p, const char *ending) {
  const size_t n = strlen(p->name), m = strlen(ending);
  return n >= m && !strcmp(p->name + n - m, ending);
}

bool dd_probe_holds(const dd_probe *p, const char *text) { return memmem(p->head, p->n_head, text, strlen(text)); }

static int fail_unknown(const char *path, dd_error *err) {
  char list[256] = "";
  for (int i = 0; i < KINDS; i++)
    snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", kinds[i].name);
  return dd_fail(err, DD_E_CORRUPT, "%.600s is of no kind that is known (%s)", path, list);
}

/* The first bytes into fresh memory, and the size. */
static int read_head(dd_probe *p, unsigned char **head, dd_error *err) {
  struct stat st;
  const int fd = dd_fs()->open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) return dd_fail(err, DD_E_IO, "cannot open %.700s: %s", p->path, strerror(errno));
  int rc = DD_OK;
  if (dd_fs()->fstat(fd, &st)) rc = dd_fail(err, DD_E_IO, "cannot inspect %.700s: %s", p->path, strerror(errno));
  else if (!S_ISREG(st.st_mode)) rc = dd_fail(err, DD_E_IO, "cannot read %.700s: it is not a regular file", p->path);
  else if (st.st_size == 0) rc = dd_fail(err, DD_E_CORRUPT, "%.700s is empty", p->path);
  if (!rc) {
    p->size = (uint64_t)st.st_size;
    p->n_head = p->size < DD_TOKENS_HEAD ? (size_t)p->size : DD_TOKENS_HEAD;
    *head = calloc(p->n_head + 1, 1);
    p->head = *head;
    rc = *head ? dd_file_pread_all(fd, p->path, *head, p->n_head, 0, err)
               : dd_fail(err, DD_E_RUNTIME, "out of memory while reading %.700s", p->path);
  }
  dd_fs()->close(fd);
  return rc;
}

static int report(const dd_probe *p, int kind, json_t *object, const dd_callbacks *cb, dd_error *err) {
  char *json = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17)), *lines = dd_facts_lines(object);
  const int rc = json && lines ? DD_OK : dd_fail(err, DD_E_RUNTIME, "out of memory while describing %.700s", p->path);
  if (!rc && cb && cb->inspect)
    cb->inspect(cb->user, &(dd_inspect_record){.path = p->path, .kind = kinds[kind].name, .what = kinds[kind].what,
                                               .lines = lines, .json = json});
  free(json);
  free(lines);
  return rc;
}

static int inspect_file(const char *path, const dd_callbacks *cb, dd_error *err) {
  const char *slash = strrchr(path, '/');
  dd_probe p = {.path = path, .name = slash && slash[1] ? slash + 1 : path, .is_directory = dd_is_dir(path)};
  unsigned char *head = NULL;
  int rc = p.is_directory ? DD_OK : read_head(&p, &head, err), kind = 0;
  if (!rc) {
    while (kind < KINDS && !kinds[kind].is(&p)) kind++;
    if (kind == KINDS) rc = fail_unknown(path, err);
  }
  if (!rc) {
    dd_facts f = {.object = json_object()};
    f.failed = !f.object;
    rc = f.failed ? DD_OK : kinds[kind].tell(&p, &f, cb, err);
    if (!rc && f.failed) rc = dd_fail(err, DD_E_RUNTIME, "out of memory while describing %.700s", path);
    if (!rc) rc = report(&p, kind, f.object, cb, err);
    json_decref(f.object);
  }
  free(head);
  return rc;
}

int dd_inspect(const dd_settings *s, const dd_callbacks *cb, dd_error *err) {
  char path[sizeof s->files];
  int files = 0, failed = 0, rc = DD_OK;
  dd_error first = {0}, why;
  if (!*s->files) return dd_fail(err, DD_E_USAGE, "no file to inspect is named");
  for (const char *p = s->files; *p && rc != DD_E_STOPPED;) {
    const size_t n = strcspn(p, "\n");
    memcpy(path, p, n);
    path[n] = '\0';
    p += n + (p[n] == '\n');
    if (!n) continue;
    why = (dd_error){0};
    const int one = inspect_file(path, cb, &why);
    files++;
    if (!one) continue;
    if (!failed++ || one == DD_E_STOPPED) rc = one, first = why;
    if (*p || failed > 1) dd_say(cb, DD_WARNING, "%s", why.message);
  }
  if (!rc) return DD_OK;
  if (rc == DD_E_STOPPED || files == 1) return dd_fail(err, (dd_status)rc, "%s", first.message);
  return dd_fail(err, (dd_status)rc, "%d of %d could not be inspected; the first: %.800s", failed, files,
                 first.message);
}
