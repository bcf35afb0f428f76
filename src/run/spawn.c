#include "run/spawn.h"
#include "core/file.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { POLL_MS = 200 };

typedef struct stream { /* what came out of one pipe */
  int fd;
  char *data;
  size_t size, room;
} stream;

static int stop_asked(const dd_callbacks *cb) {
  return cb && cb->should_stop && cb->should_stop(cb->user) == 1;
}

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void close_fd(int *fd) {
  if (*fd >= 0) dd_fs()->close(*fd);
  *fd = -1;
}

/* Start the program with its output in two pipes: 0, or the system's error number. */
static int start(const char *const *argv, int out_fd, int err_fd, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  int e = posix_spawn_file_actions_init(&actions);
  if (e) return e;
  if ((e = posix_spawnattr_init(&attr)) != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return e;
  }
  sigset_t none, pipe_only; /* the caller's masks and ignored signals are no business of the helper */
  sigemptyset(&none);
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  if ((e = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)) == 0 &&
      (e = posix_spawn_file_actions_adddup2(&actions, out_fd, 1)) == 0 &&
      (e = posix_spawn_file_actions_adddup2(&actions, err_fd, 2)) == 0 &&
      /* `bible` would read a file of the current directory in place of its own data */
      (e = posix_spawn_file_actions_addchdir_np(&actions, "/")) == 0 &&
      (e = posix_spawnattr_setsigmask(&attr, &none)) == 0 &&
      (e = posix_spawnattr_setsigdefault(&attr, &pipe_only)) == 0 &&
      (e = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)) == 0) {
    /* posix_spawnp promises not to change the words; its type only predates const */
    union {
      const char *const *in;
      char *const *out;
    } words = {.in = argv};
    e = posix_spawnp(pid, argv[0], &actions, &attr, words.out, environ);
  }
  posix_spawnattr_destroy(&attr);
  posix_spawn_file_actions_destroy(&actions);
  return e;
}

/* Append what is there: 1 more may come, 0 end of file, -1 error (errno). */
static int pull(stream *s, size_t max_bytes, int keep_last) {
  if (s->room - s->size < 65536) {
    const size_t room = s->room ? s->room * 2 : 131072;
    char *grown = realloc(s->data, room + 1);
    if (!grown) return -1;
    s->data = grown;
    s->room = room;
  }
  const ssize_t n = dd_fs()->read(s->fd, s->data + s->size, s->room - s->size);
  if (n < 0) return errno == EINTR || errno == EAGAIN ? 1 : -1;
  if (n == 0) return 0;
  s->size += (size_t)n;
  if (keep_last && s->size > 4096) { /* only the end of the error text matters */
    memmove(s->data, s->data + s->size - 4096, 4096);
    s->size = 4096;
  }
  if (s->size > max_bytes) {
    errno = EFBIG;
    return -1;
  }
  return 1;
}

/* The last line of the error text, in printable form. */
static void last_line(const stream *s, char *out, size_t size) {
  size_t end = s->size, from;
  while (end > 0 && (unsigned char)s->data[end - 1] <= ' ') end--;
  for (from = end; from > 0 && s->data[from - 1] != '\n' && s->data[from - 1] != '\r';) from--;
  size_t n = 0;
  for (; from < end && n + 1 < size; from++) out[n++] = (unsigned char)s->data[from] < ' ' ? ' ' : s->data[from];
  out[n] = 0;
}

/* Read both pipes to their ends. */
static dd_spawn_result collect(stream *out, stream *err, const char *program, size_t max_bytes, int idle_seconds,
                               const char *phase, int64_t total, const dd_callbacks *cb, char *reason, size_t size) {
  int64_t last = now_ms();
  while (out->fd >= 0 || err->fd >= 0) {
    struct pollfd p[2] = {{.fd = out->fd, .events = POLLIN}, {.fd = err->fd, .events = POLLIN}};
    const int ready = poll(p, 2, POLL_MS); /* negative descriptors are left out by poll */
    if (stop_asked(cb)) return DD_SPAWN_STOPPED;
    if (ready < 0 && errno != EINTR) {
      snprintf(reason, size, "%s: %s", program, strerror(errno));
      return DD_SPAWN_FAILED;
    }
    for (int i = 0; ready > 0 && i < 2; i++) {
      stream *s = i ? err : out;
      if (s->fd < 0 || !p[i].revents) continue;
      const int more = pull(s, i ? SIZE_MAX : max_bytes, i);
      if (more < 0) {
        if (errno == EFBIG) snprintf(reason, size, "%s: more than the expected %zu bytes", program, max_bytes);
        else snprintf(reason, size, "%s: %s", program, strerror(errno));
        return DD_SPAWN_FAILED;
      }
      if (more == 0) close_fd(&s->fd);
      last = now_ms();
    }
    if (ready > 0 && phase && cb && cb->phase) cb->phase(cb->user, phase, (int64_t)out->size, total);
    if (now_ms() - last > (int64_t)idle_seconds * 1000) {
      snprintf(reason, size, "%s: nothing came for %d seconds", program, idle_seconds);
      return DD_SPAWN_FAILED;
    }
  }
  return DD_SPAWN_DONE;
}

dd_spawn_result dd_spawn_capture(const char *const *argv, size_t max_bytes, int idle_seconds, const char *phase,
                                 int64_t total, const dd_callbacks *cb, dd_output *output) {
  *output = (dd_output){0};
  int out_pipe[2] = {-1, -1}, err_pipe[2] = {-1, -1};
  pid_t pid = -1;
  int e = pipe2(out_pipe, O_CLOEXEC) || pipe2(err_pipe, O_CLOEXEC) ? errno : 0;
  if (!e) e = start(argv, out_pipe[1], err_pipe[1], &pid);
  close_fd(&out_pipe[1]);
  close_fd(&err_pipe[1]);
  if (e) {
    close_fd(&out_pipe[0]);
    close_fd(&err_pipe[0]);
    snprintf(output->reason, sizeof output->reason, e == ENOENT ? "%s is not installed" : "%s cannot be run", argv[0]);
    return e == ENOENT ? DD_SPAWN_MISSING : DD_SPAWN_FAILED;
  }
  stream out = {.fd = out_pipe[0]}, err = {.fd = err_pipe[0]};
  dd_spawn_result result =
      collect(&out, &err, argv[0], max_bytes, idle_seconds, phase, total, cb, output->reason, sizeof output->reason);
  close_fd(&out.fd);
  close_fd(&err.fd);
  if (result != DD_SPAWN_DONE) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno == EINTR) continue;
    status = 0; /* a host that ignores SIGCHLD took the status away; contents are verified anyway */
    break;
  }
  if (result == DD_SPAWN_DONE && status != 0) {
    char line[256] = "";
    int missing = 0;
    last_line(&err, line, sizeof line);
    if (WIFSIGNALED(status))
      snprintf(output->reason, sizeof output->reason, "%s: ended by signal %d", argv[0], WTERMSIG(status));
    else if (!line[0] && WEXITSTATUS(status) == 127) /* POSIX lets the child report it so; under qemu it does */
      missing = 1;
    else if (!line[0])
      snprintf(output->reason, sizeof output->reason, "%s: exit status %d", argv[0], WEXITSTATUS(status));
    else if (strncmp(line, argv[0], strlen(argv[0])) == 0) snprintf(output->reason, sizeof output->reason, "%s", line);
    else snprintf(output->reason, sizeof output->reason, "%s: %s", argv[0], line);
    /* Ctrl-C reaches the program as well, and it may be gone before we look */
    result = stop_asked(cb) ? DD_SPAWN_STOPPED : missing ? DD_SPAWN_MISSING : DD_SPAWN_FAILED;
  }
  if (result == DD_SPAWN_MISSING) snprintf(output->reason, sizeof output->reason, "%s is not installed", argv[0]);
  if (result == DD_SPAWN_STOPPED) snprintf(output->reason, sizeof output->reason, "stopped");
  free(err.data);
  if (result == DD_SPAWN_DONE && !out.data && !(out.data = malloc(1))) {
    snprintf(output->reason, sizeof output->reason, "out of memory");
    result = DD_SPAWN_FAILED;
  }
  if (result != DD_SPAWN_DONE) {
    free(out.data);
    return result;
  }
  out.data[out.size] = 0;
  output->data = out.data;
  output->size = out.size;
  return result;
}
