/* Power failures while checkpoints are written. A run directory is written by the real code, every call recorded; then
 * for every point in time, and every subset of what had not been made durable by then (with the last write whole, torn
 * inside a sector, or only its zeros there), the directory that the disk may hold is built, and a resume must find a
 * whole checkpoint there that is not older than the newest one that was reported as saved.
 *
 * The model of a disk: data of a file is durable once that file is synced, a change of a name (create, rename, unlink)
 * once the directory is; until then any subset may have reached the disk, in any order. */
#include "run_fixture.h"
#include "model/safetensors.h"
#include "run/rundir.h"

enum { OPS = 400, FILES = 120, MAX_OPEN = 64 };

typedef enum kind { CREATE, WRITE, RENAME, UNLINK, SYNC_FILE, SYNC_DIR, ACKNOWLEDGED } kind;
typedef struct op {
  kind kind;
  int inode;            /* of CREATE, WRITE, RENAME, SYNC_FILE; iteration of ACKNOWLEDGED */
  char from[80], to[80]; /* names in the run directory: CREATE and UNLINK use `from` */
  unsigned char *data;
  size_t n, at;
} op;

static op ops[OPS];
static int n_ops, n_inodes, fail_sync; /* fail_sync: this many syncs from now one fails */
static struct {
  char name[80];
  int inode;
} names[FILES];
static int n_names;
static int inode_of_fd[1024], is_dir[1024];
static size_t length[FILES];
static char run[300];
static long states;

static op *record(kind k) {
  assert_true(n_ops < OPS);
  ops[n_ops] = (op){.kind = k};
  return &ops[n_ops++];
}
static const char *base_of(const char *path) { return strrchr(path, '/') + 1; }
static int find(const char *name) {
  for (int i = 0; i < n_names; i++)
    if (strcmp(names[i].name, name) == 0) return i;
  return -1;
}

static int r_open(const char *path, int flags, mode_t mode) {
  const int fd = dd_fs_posix.open(path, flags, mode);
  if (fd < 0) return fd;
  assert_true(fd < 1024);
  is_dir[fd] = (flags & O_DIRECTORY) != 0;
  inode_of_fd[fd] = -1;
  if (is_dir[fd] || !(flags & (O_WRONLY | O_RDWR))) return fd;
  const char *name = base_of(path);
  int i = find(name);
  if (strcmp(name, "run.lock") == 0) return fd; /* nobody relies on what it says */
  if (i < 0) {
    assert_true(n_names < FILES && n_inodes < FILES);
    i = n_names++;
    snprintf(names[i].name, sizeof names->name, "%s", name);
    op *o = record(CREATE);
    o->inode = names[i].inode = n_inodes++;
    snprintf(o->from, sizeof o->from, "%s", name);
  }
  inode_of_fd[fd] = names[i].inode;
  return fd;
}
static ssize_t r_write(int fd, const void *buf, size_t n) {
  const ssize_t done = dd_fs_posix.write(fd, buf, n);
  if (inode_of_fd[fd] < 0) return done;
  op *o = record(WRITE);
  assert_true(done == (ssize_t)n);
  o->inode = inode_of_fd[fd];
  o->data = malloc(n);
  assert_non_null(o->data);
  memcpy(o->data, buf, n);
  o->n = n;
  o->at = length[o->inode];
  length[o->inode] += n;
  return done;
}
static int r_fsync(int fd) {
  if (fail_sync && --fail_sync == 0) { /* and what was written may be lost for good: never recorded as durable */
    errno = EIO;
    return -1;
  }
  record(is_dir[fd] ? SYNC_DIR : SYNC_FILE)->inode = inode_of_fd[fd];
  return 0;
}
static int r_rename(const char *from, const char *to) {
  op *o = record(RENAME);
  const int i = find(base_of(from)), old = find(base_of(to));
  snprintf(o->from, sizeof o->from, "%s", base_of(from));
  snprintf(o->to, sizeof o->to, "%s", base_of(to));
  assert_true(i >= 0);
  o->inode = names[i].inode;
  snprintf(names[i].name, sizeof names->name, "%s", o->to);
  if (old >= 0) names[old] = names[--n_names];
  return dd_fs_posix.rename(from, to);
}
static int r_unlink(const char *path) {
  const int i = find(base_of(path));
  if (i >= 0) {
    snprintf(record(UNLINK)->from, sizeof ops->from, "%s", base_of(path));
    names[i] = names[--n_names];
  }
  return dd_fs_posix.unlink(path);
}
static int r_ftruncate(int fd, off_t n) { /* only ever the lock file, whose content nobody reads */
  return dd_fs_posix.ftruncate(fd, n);
}

/* A checkpoint of several writes and sectors whose numbers say which it is. */
static int save(dd_rundir *rd, int64_t iter, int is_best, int keep, dd_error *err) {
  static float x[3][300];
  char path[4096];
  const dd_tensor_info t[3] = {{.name = "a", .dtype = DD_F32, .ndim = 1, .shape = {300}, .data = x[0]},
                               {.name = "b", .dtype = DD_F32, .ndim = 1, .shape = {40}, .data = x[1]},
                               {.name = "c", .dtype = DD_F32, .ndim = 1, .shape = {200}, .data = x[2]}};
  for (int i = 0; i < 900; i++) x[i / 300][i % 300] = (float)(iter * 1000 + i);
  unsigned how = is_best ? DD_PUBLISH_BEST : 0;
  int rc = dd_rundir_checkpoint_path(rd, iter, 0, path, sizeof path, err);
  if (!rc && dd_st_write(path, t, 3, NULL, err)) { /* as the saver does */
    how |= DD_PUBLISH_SPARE;
    rc = dd_rundir_checkpoint_path(rd, iter, 1, path, sizeof path, err);
    if (!rc) rc = dd_st_write(path, t, 3, NULL, err);
  }
  if (!rc) rc = dd_rundir_publish(rd, iter, how, keep, err);
  if (!rc) record(ACKNOWLEDGED)->inode = (int)iter;
  return rc;
}

/* Whether it is whole, and its iteration. */
static int is_whole(const char *path, int64_t *iter) {
  dd_st *st;
  float x[300];
  if (dd_st_open(path, &st, NULL)) return 0;
  const int ok = dd_st_verify(st, NULL) == DD_OK && dd_st_read(st, dd_st_find(st, "a"), x, sizeof x, NULL) == DD_OK;
  *iter = (int64_t)x[0] / 1000;
  dd_st_close(st);
  return ok;
}

/* ---- a disk after the failure ---- */

enum { WHOLE, TORN, ZEROS, WAYS };

static void apply_write(unsigned char **content, size_t *size, const op *o, int way) {
  const size_t end = o->at + o->n;
  if (end > size[o->inode]) {
    content[o->inode] = realloc(content[o->inode], end);
    assert_non_null(content[o->inode]);
    memset(content[o->inode] + size[o->inode], 0, end - size[o->inode]);
    size[o->inode] = end;
  }
  const size_t part = way == WHOLE ? o->n : way == ZEROS ? 0 : o->n / 2 | 1; /* not at a sector's end either */
  memcpy(content[o->inode] + o->at, o->data, part < o->n ? part : o->n);
}

/* The directory when `prefix` operations were done and, of those not durable, the ones in `subset` arrived. */
static void build(const char *dir, int prefix, const int *pending, int n_pending, unsigned subset, int way) {
  unsigned char *content[FILES] = {NULL};
  size_t size[FILES] = {0};
  struct {
    char name[80];
    int inode;
  } entry[FILES];
  int n = 0, torn = -1;
  for (int i = 0; i < n_pending; i++)
    if ((subset >> i & 1) && ops[pending[i]].kind == WRITE) torn = pending[i]; /* the last write that arrived */
  for (int k = 0; k < prefix; k++) {
    const op *o = &ops[k];
    int lost = 0, to = -1, from = -1;
    for (int i = 0; i < n_pending; i++) lost |= pending[i] == k && !(subset >> i & 1);
    if (lost) continue;
    if (o->kind == WRITE) apply_write(content, size, o, k == torn ? way : WHOLE);
    const char *name = o->kind == RENAME ? o->to : o->from;
    if (o->kind != CREATE && o->kind != RENAME && o->kind != UNLINK) continue;
    for (int i = 0; i < n; i++) {
      if (strcmp(entry[i].name, name) == 0) to = i;
      if (o->kind == RENAME && strcmp(entry[i].name, o->from) == 0) from = i;
    }
    if (o->kind == UNLINK) {
      if (to >= 0) entry[to] = entry[--n];
      continue;
    }
    if (to < 0) {
      snprintf(entry[to = n++].name, sizeof entry->name, "%s", name);
    }
    entry[to].inode = o->inode;
    if (from >= 0) entry[from] = entry[--n];
  }
  for (int i = 0; i < n; i++) {
    char path[700];
    snprintf(path, sizeof path, "%s/%.79s", dir, entry[i].name);
    put(path, content[entry[i].inode] ? content[entry[i].inode] : (unsigned char *)"", size[entry[i].inode]);
  }
  for (int i = 0; i < FILES; i++) free(content[i]);
}

/* What a resume does: clean up, take the newest that is whole. */
static void check(const char *dir, int64_t acknowledged, int prefix, unsigned subset, int way) {
  dd_rundir *rd;
  dd_run_file *file;
  size_t n;
  dd_error err;
  int64_t found = -1, iter;
  char path[4096], name[64];
  states++;
  if (dd_rundir_open(dir, DD_RUN_RESUME, &rd, &err)) fail_msg("%s", err.message);
  assert_int_equal(dd_run_checkpoints(dir, &file, &n, &err), DD_OK);
  for (size_t i = 0; i < n && found < 0; i++) {
    assert_int_equal(dd_path_join(path, sizeof path, dir, file[i].name, &err), DD_OK);
    if (is_whole(path, &found)) assert_int_equal(found, file[i].iter);
    else found = -1;
  }
  if (found < acknowledged)
    fail_msg("after %d operations, subset %x, way %d: checkpoint %lld was reported as saved, %lld is what is there",
             prefix, subset, way, (long long)acknowledged, (long long)found);
  for (int i = 0; i < 2; i++) { /* pointers name what is whole */
    const char *which = i ? "latest" : "best";
    if (dd_run_pointer(dir, which, name, &iter, &err)) fail_msg("after %d operations: %s", prefix, err.message);
    if (iter < 0) continue;
    assert_int_equal(dd_path_join(path, sizeof path, dir, name, &err), DD_OK);
    int64_t inside;
    if (!is_whole(path, &inside) || inside != iter)
      fail_msg("after %d operations, subset %x, way %d: %s names %s, which is not whole", prefix, subset, way, which,
               name);
  }
  free(file);
  dd_rundir_close(rd);
}

static void enumerate(void) {
  const int most = getenv("DD_LONG") ? 12 : getenv("DD_QUICK") ? 5 : 6, ways = getenv("DD_QUICK") ? 2 : WAYS;
  int64_t acknowledged = -1;
  char durable[OPS] = {0};
  for (int prefix = 0; prefix <= n_ops; prefix++) {
    if (prefix) {
      const op *last = &ops[prefix - 1];
      for (int k = 0; k < prefix; k++)
        durable[k] |= last->kind == SYNC_FILE ? ops[k].kind == WRITE && ops[k].inode == last->inode
                      : last->kind == SYNC_DIR ? ops[k].kind == CREATE || ops[k].kind == RENAME || ops[k].kind == UNLINK
                                               : 0;
      if (last->kind == ACKNOWLEDGED) acknowledged = last->inode;
      if (last->kind == SYNC_FILE || last->kind == SYNC_DIR) continue; /* the states after the next one include it */
    }
    int pending[64], n = 0;
    for (int k = 0; k < prefix; k++)
      if (!durable[k] && ops[k].kind <= UNLINK && n < 64) pending[n++] = k;
    /* All subsets of the youngest; older ones, which only the removal of files leaves behind, arrive or do not. */
    const int vary = n > most ? most : n;
    for (unsigned subset = 0; subset < 1u << vary; subset++)
      for (int old = 0; old < (n > vary ? 2 : 1); old++) {
        int has_write = 0;
        for (int i = 0; i < vary; i++) has_write |= (subset >> i & 1) && ops[pending[n - vary + i]].kind == WRITE;
        int list[64], m = 0;
        unsigned arrived = 0;
        for (int i = 0; i < n; i++) {
          if (i < n - vary && old) continue; /* arrived: as if durable */
          list[m] = pending[i];
          if (i >= n - vary && (subset >> (i - (n - vary)) & 1)) arrived |= 1u << m;
          m++;
        }
        for (int way = 0; way < (has_write ? ways : 1); way++) {
          remove_tree(at("disk"));
          assert_int_equal(mkdir(at("disk"), 0755), 0);
          build(at("disk"), prefix, list, m, arrived, way);
          check(at("disk"), acknowledged, prefix, subset, way);
        }
      }
  }
}

static void record_run(int failing) {
  static dd_fs_ops recording;
  dd_rundir *rd;
  dd_error err;
  recording = dd_fs_posix;
  recording.open = r_open, recording.write = r_write, recording.fsync = r_fsync, recording.rename = r_rename;
  recording.unlink = r_unlink, recording.ftruncate = r_ftruncate;
  remove_tree(run);
  for (int i = 0; i < n_ops; i++) free(ops[i].data);
  n_ops = n_inodes = n_names = 0;
  memset(length, 0, sizeof length);
  assert_int_equal(mkdir(run, 0755), 0);
  dd_fs_replace(&recording);
  assert_int_equal(dd_rundir_open(run, DD_RUN_CREATE, &rd, &err), DD_OK);
  json_t *config = json_pack("{s:i}", "v", 1);
  assert_int_equal(dd_rundir_config_write(rd, config, &err), DD_OK);
  json_decref(config);
  assert_int_equal(save(rd, 10, 1, 2, &err), DD_OK);
  assert_int_equal(save(rd, 20, 0, 2, &err), DD_OK);
  fail_sync = failing;
  assert_int_equal(save(rd, 30, 1, 2, &err), DD_OK); /* rotation takes 10 */
  fail_sync = 0;
  assert_int_equal(save(rd, 40, 0, 1, &err), DD_OK); /* and 20 */
  assert_int_equal(save(rd, 40, 0, 1, &err), DD_OK); /* the same again, over itself */
  dd_rundir_close(rd);
  dd_fs_replace(NULL);
}

static void test_protocol(void **state) {
  (void)state;
  record_run(0);
  enumerate();
  print_message("%d operations, %ld states\n", n_ops, states);
}

/* The first sync of the third checkpoint fails: what was written of it is lost, the second name holds it. */
static void test_failed_sync(void **state) {
  (void)state;
  const long before = states;
  record_run(1);
  enumerate();
  assert_int_equal(access(at("run/ckpt-0000030-2.safetensors"), F_OK), 0);
  print_message("%d operations, %ld states\n", n_ops, states - before);
  assert_true(states >= 2000);
}

int main(void) {
  if (!make_root()) return 1;
  snprintf(run, sizeof run, "%s/run", root);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_protocol), cmocka_unit_test(test_failed_sync)};
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  for (int i = 0; i < n_ops; i++) free(ops[i].data);
  remove_tree(root);
  return failed != 0;
}
