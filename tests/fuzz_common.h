/* What the fuzz targets share: files in memory, mutations of good input, and a main for builds without libFuzzer.
 *   libFuzzer:  tests/fuzz.sh TARGET SECONDS
 *   otherwise:  TARGET [FILE...]  replays files; without arguments $DD_FUZZ_ROUNDS mutations of good input, the same
 *               every time.
 * A target defines LLVMFuzzerTestOneInput, NAME, ROUNDS, seeds[] and words[], and counts what it accepts and refuses.
 *
 * One input may be several files: parts are separated by a line "%%". */
#ifndef DD_TESTS_FUZZ_COMMON_H
#define DD_TESTS_FUZZ_COMMON_H
#include "core/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static const char *fuzz_name; /* of the target */
static long accepted, refused;

static void demand(int ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "%s: %s\n", fuzz_name, what);
  abort();
}

/* ---- files in memory: those of the table, and a sink for everything that is written ---- */

enum { MEM_FILES = 8, MEM_OPEN = 16, MEM_SINK = -1, MEM_FD = 1 << 20 };
typedef struct mem_entry {
  const char *path; /* "/m/run/config.json" */
  const uint8_t *data;
  size_t size;
} mem_entry;
static mem_entry mem[MEM_FILES];
static int mem_n;
static struct {
  int used, file;
  size_t at;
} mem_fd[MEM_OPEN];
static struct {
  int used, at;
  const char *dir;
} mem_dir;

static int mem_find(const char *path) {
  for (int i = 0; i < mem_n; i++)
    if (!strcmp(mem[i].path, path)) return i;
  return -1;
}
static int mem_is_dir(const char *path) {
  const size_t n = strlen(path);
  for (int i = 0; i < mem_n; i++)
    if (!strncmp(mem[i].path, path, n) && mem[i].path[n] == '/') return 1;
  return 0;
}
static int mem_open(const char *path, int flags, mode_t mode) {
  (void)mode;
  const int writes = (flags & O_ACCMODE) != O_RDONLY, file = writes ? MEM_SINK : mem_find(path);
  if (!writes && file < 0 && !mem_is_dir(path)) return errno = ENOENT, -1;
  for (int fd = 0; fd < MEM_OPEN; fd++)
    if (!mem_fd[fd].used) {
      mem_fd[fd].used = 1, mem_fd[fd].file = file, mem_fd[fd].at = 0;
      return MEM_FD + fd;
    }
  return errno = EMFILE, -1;
}
static ssize_t mem_pread(int fd, void *buf, size_t n, off_t at) {
  const int file = mem_fd[fd - MEM_FD].file;
  if (file < 0 || (uint64_t)at >= mem[file].size) return 0;
  if (n > mem[file].size - (size_t)at) n = mem[file].size - (size_t)at;
  memcpy(buf, mem[file].data + at, n);
  return (ssize_t)n;
}
static ssize_t mem_read(int fd, void *buf, size_t n) {
  const ssize_t got = mem_pread(fd, buf, n, (off_t)mem_fd[fd - MEM_FD].at);
  mem_fd[fd - MEM_FD].at += (size_t)got;
  return got;
}
static ssize_t mem_write(int fd, const void *buf, size_t n) { return (void)fd, (void)buf, (ssize_t)n; }
static int mem_close(int fd) { return mem_fd[fd - MEM_FD].used = 0; }
static int mem_stat_of(int file, struct stat *st) {
  memset(st, 0, sizeof *st);
  st->st_mode = file >= 0 ? S_IFREG | 0644 : S_IFDIR | 0755;
  st->st_size = file >= 0 ? (off_t)mem[file].size : 0;
  return 0;
}
static int mem_fstat(int fd, struct stat *st) {
  mem_stat_of(mem_fd[fd - MEM_FD].file, st);
  if (mem_fd[fd - MEM_FD].file == MEM_SINK) st->st_mode = S_IFREG | 0644;
  return 0;
}
static int mem_stat(const char *path, struct stat *st) {
  const int file = mem_find(path);
  if (file < 0 && !mem_is_dir(path)) return errno = ENOENT, -1;
  return mem_stat_of(file, st);
}
static int mem_path(const char *path) { return (void)path, 0; }
static int mem_rename(const char *a, const char *b) { return (void)a, (void)b, 0; }
static int mem_mkdir(const char *path, mode_t mode) { return (void)path, (void)mode, 0; }
static int mem_truncate(int fd, off_t n) { return (void)fd, (void)n, 0; }
static int mem_allocate(int fd, off_t at, off_t n) { return (void)fd, (void)at, (void)n, 0; }
static int mem_sync(int fd) { return (void)fd, 0; }
static int mem_lock(int fd, int how) { return (void)fd, (void)how, 0; }
static int mem_space(const char *path, struct statvfs *v) { return (void)path, (void)v, errno = ENOSYS, -1; }
static void *mem_opendir(const char *path) {
  if (mem_dir.used || !mem_is_dir(path)) return errno = ENOENT, NULL;
  mem_dir.used = 1, mem_dir.at = 0, mem_dir.dir = path;
  return &mem_dir;
}
static const char *mem_readdir(void *d) { /* the names of files; of directories the first file's */
  static char name[256];
  (void)d;
  const size_t n = strlen(mem_dir.dir);
  errno = 0;
  while (mem_dir.at < mem_n) {
    const char *path = mem[mem_dir.at++].path;
    if (strncmp(path, mem_dir.dir, n) || path[n] != '/') continue;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(path + n + 1, "/"), path + n + 1);
    return name;
  }
  return NULL;
}
static int mem_closedir(void *d) { return (void)d, mem_dir.used = 0; }

static const dd_fs_ops mem_ops = {.open = mem_open,
                                  .read = mem_read,
                                  .pread = mem_pread,
                                  .write = mem_write,
                                  .fsync = mem_sync,
                                  .close = mem_close,
                                  .rename = mem_rename,
                                  .unlink = mem_path,
                                  .mkdir = mem_mkdir,
                                  .rmdir = mem_path,
                                  .ftruncate = mem_truncate,
                                  .fallocate = mem_allocate,
                                  .fstat = mem_fstat,
                                  .stat = mem_stat,
                                  .flock = mem_lock,
                                  .statvfs = mem_space,
                                  .opendir = mem_opendir,
                                  .readdir = mem_readdir,
                                  .closedir = mem_closedir};

/* The parts of an input as files of these names; a part that is not there makes no file. */
static inline void mem_use(const char *const *paths, const uint8_t *data, size_t size) {
  static const char mark[] = "\n%%\n";
  mem_n = 0;
  for (; *paths && mem_n < MEM_FILES; paths++) {
    const uint8_t *end = size ? memmem(data, size, mark, sizeof mark - 1) : NULL;
    const size_t part = end && paths[1] ? (size_t)(end - data) : size;
    mem[mem_n++] = (mem_entry){*paths, data, part};
    if (part == size) break;
    data += part + sizeof mark - 1;
    size -= part + sizeof mark - 1;
  }
  dd_fs_replace(&mem_ops);
}
static inline void mem_done(void) {
  for (int fd = 0; fd < MEM_OPEN; fd++) demand(!mem_fd[fd].used, "a file was left open");
  demand(!mem_dir.used, "a directory was left open");
}

/* ---- mutations ---- */

#ifndef DD_LIBFUZZER
typedef struct fuzz_seed {
  const char *data;
  size_t size; /* 0: a string */
} fuzz_seed;

static uint64_t random_state = 20261123;
static size_t below(size_t n) { /* xorshift64*: the same everywhere */
  random_state ^= random_state >> 12, random_state ^= random_state << 25, random_state ^= random_state >> 27;
  return n ? (size_t)((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % n : 0;
}

enum { CAP = 1 << 16 };
static size_t insert(uint8_t *buf, size_t size, size_t at, const void *what, size_t n) {
  if (size + n > CAP) return size;
  memmove(buf + at + n, buf + at, size - at);
  memcpy(buf + at, what, n);
  return size + n;
}

static size_t mutate(uint8_t *buf, size_t size, const char *const *words, size_t n_words) {
  const size_t at = below(size + 1);
  const char *w = words[below(n_words)];
  char piece[64];
  switch (below(9)) {
  case 0:
    if (at < size) buf[at] = (uint8_t)below(256);
    return size;
  case 1:
    if (at < size) buf[at] ^= (uint8_t)(1u << below(8));
    return size;
  case 2: { /* cut a piece out */
    const size_t n = below(size - at + 1) % 24;
    memmove(buf + at, buf + at + n, size - at - n);
    return size - n;
  }
  case 3:
    return insert(buf, size, at, w, strlen(w));
  case 4: { /* a word in place of what is there */
    const size_t n = strlen(w);
    if (at + n <= size) memcpy(buf + at, w, n);
    return size;
  }
  case 5: /* another digit for a digit, or a number for it */
    for (size_t i = at; i < size; i++)
      if (buf[i] >= '0' && buf[i] <= '9') {
        static const char *const numbers[] = {"-1",
                                              "65536",
                                              "2147483648",
                                              "4294967296",
                                              "9007199254740993",
                                              "9223372036854775807",
                                              "9223372036854775808",
                                              "1e999",
                                              "1.5",
                                              "null"};
        buf[i] = (uint8_t)('0' + below(10));
        const char *number = numbers[below(sizeof numbers / sizeof *numbers)];
        if (below(3) == 0) return insert(buf, size, i, number, strlen(number));
        break;
      }
    return size;
  case 6: { /* repeat a piece, sometimes often */
    const size_t n = below(size - at + 1) % sizeof piece;
    memcpy(piece, buf + at, n);
    for (size_t k = below(10) ? 1 : below(100); k; k--) size = insert(buf, size, at, piece, n);
    return size;
  }
  case 7: /* a word again and again: deep or long */
    for (size_t k = below(20) ? 1 : below(300); k; k--) size = insert(buf, size, at, w, strlen(w));
    return size;
  default:
    return below(4) ? size : at; /* cut the end off */
  }
}

static int fuzz_main(int argc, char **argv, const char *name, long rounds, const fuzz_seed *seeds, size_t n_seeds,
                     const char *const *words, size_t n_words) {
  static uint8_t buf[CAP];
  fuzz_name = name;
  for (int i = 1; i < argc; i++) {
    char *data;
    size_t size;
    dd_fs_replace(NULL);
    if (dd_file_read_all(argv[i], 1 << 26, &data, &size, NULL)) return 1;
    LLVMFuzzerTestOneInput((const uint8_t *)data, size);
    free(data);
  }
  if (argc > 1) return 0;
  const char *text = getenv("DD_FUZZ_ROUNDS"), *dir = getenv("DD_FUZZ_SEEDS");
  for (size_t i = 0; dir && i < n_seeds; i++) { /* for libFuzzer to begin with */
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%zu", dir, name, i);
    FILE *f = fopen(path, "wb");
    const size_t n = seeds[i].size ? seeds[i].size : strlen(seeds[i].data);
    const int fine = f && fwrite(seeds[i].data, 1, n, f) == n;
    if (!f || fclose(f) || !fine) return 1;
  }
  if (dir) return 0;
  if (text) rounds = strtol(text, NULL, 10);
  else if (getenv("DD_QUICK")) rounds /= 10;
  for (long r = 0; r < rounds + (long)n_seeds; r++) {
    const fuzz_seed *s = &seeds[r < (long)n_seeds ? (size_t)r : below(n_seeds)];
    size_t size = s->size ? s->size : strlen(s->data);
    if (size > CAP) return 1;
    memcpy(buf, s->data, size);
    for (size_t k = r < (long)n_seeds ? 0 : 1 + below(4); k; k--) size = mutate(buf, size, words, n_words);
    uint8_t *exact = malloc(size + !size); /* so that a read beyond it is found by ASan */
    demand(exact != NULL, "memory");
    memcpy(exact, buf, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
  }
  const int fine = accepted > 0 && refused > 0; /* else the mutations test nothing */
  printf("%s: %ld rounds, %ld accepted, %ld refused\n%d passed, %d failed\n", name, rounds, accepted, refused, fine,
         !fine);
  return !fine;
}
#define FUZZ_MAIN(name, rounds)                                                                                        \
  int main(int argc, char **argv) {                                                                                    \
    return fuzz_main(argc, argv, name, rounds, seeds, sizeof seeds / sizeof *seeds, words,                             \
                     sizeof words / sizeof *words);                                                                    \
  }
#endif
#endif
