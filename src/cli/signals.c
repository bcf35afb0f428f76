/* Signals: what they ask for is noted here and done where the library asks. */
#include "cli/cli.h"
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* The one mutable state outside objects: a signal handler can reach nothing else. */
static volatile sig_atomic_t stop_requested, save_requested, continued, interrupts;

/* Wrappers send one Ctrl-C twice, to the process and to its group: only one that comes later is a second one. */
static int is_another(const struct timespec *now) {
  static struct timespec first;
  if (!interrupts++) {
    first = *now;
    return 0;
  }
  return (now->tv_sec - first.tv_sec) * 1000 + (now->tv_nsec - first.tv_nsec) / 1000000 >= 300;
}

static void on_signal(int number) {
  int saved = errno;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (number == SIGUSR1) save_requested = 1;
  else if (number == SIGCONT) continued = 1;
  else stop_requested = 1;
  if (number == SIGINT && is_another(&now)) { /* the user has no patience for the save */
    ssize_t ignored = write(STDERR_FILENO, "\n", 1);
    (void)ignored;
    _exit(130);
  }
  errno = saved;
}

void dd_signals_catch(void) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU, SIGUSR1, SIGCONT};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct sigaction old, action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (!sigaction(numbers[i], NULL, &old) && old.sa_handler == SIG_IGN) continue; /* nohup, background jobs */
    sigaction(numbers[i], &action, NULL);
  }
}

bool dd_signal_stop(void) { return stop_requested; }

static bool take(volatile sig_atomic_t *flag) {
  const bool was = *flag;
  *flag = 0;
  return was;
}

bool dd_signal_save(void) { return take(&save_requested); }
bool dd_signal_continued(void) { return take(&continued); }
