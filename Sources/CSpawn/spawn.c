/* SPDX-License-Identifier: LGPL-3.0-only */

#define _GNU_SOURCE
#include "CSpawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_SIZE = 64 * 1024 };

typedef struct {
  const cspawn_request *request;
  volatile int error;
} child_state;

/* Moves a descriptor out of the way of 0, 1, 2 and 3. */
static int above_standard(int fd) {
  return fd > 3 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 4);
}

/* What cannot be set is left as it is. */
static void set_limits(const cspawn_request *request) {
  for (int i = 0; i < request->limit_count; i++) {
    struct rlimit limit;
    if (getrlimit(request->limits[i].resource, &limit) < 0) continue;
    limit.rlim_cur = request->limits[i].value;
    setrlimit(request->limits[i].resource, &limit);
  }
}

/* Runs in the child, which shares the parent's memory while the parent waits: only system calls, nothing that allocates. */
static int child(void *argument) {
  child_state *state = argument;
  const cspawn_request *request = state->request;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < 32; signal++) {
    if (signal != SIGKILL && signal != SIGSTOP) sigaction(signal, &action, NULL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (request->own_session ? setsid() < 0 : setpgid(0, 0) < 0) goto failed;
  int in = above_standard(request->fd_in);
  int out = above_standard(request->fd_out);
  int err = above_standard(request->fd_err);
  int has_extra = request->fd_extra >= 0;
  int extra = has_extra ? above_standard(request->fd_extra) : 0;
  if (in < 0 || out < 0 || err < 0 || extra < 0) goto failed;
  if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 || (has_extra && dup2(extra, 3) < 0)) goto failed;
  if (request->controlling_terminal && ioctl(0, TIOCSCTTY, 0) < 0) goto failed;
  /* Nothing else of ours is the child's: a socket that it keeps open would outlive us. */
  close_range(has_extra ? 4 : 3, ~0U, CLOSE_RANGE_CLOEXEC);
  /* An instance that is killed takes its processes with it. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (request->cwd && chdir(request->cwd) < 0) {
    if (!request->fallback_cwd || chdir(request->fallback_cwd) < 0) goto failed;
  }
  if (request->hostname && unshare(CLONE_NEWUTS) == 0) {
    if (sethostname(request->hostname, strlen(request->hostname)) < 0) goto failed;
  }
  set_limits(request);
  execve(request->path, request->argv, request->envp);
failed:
  state->error = errno;
  _exit(127);
}

pid_t cspawn(const cspawn_request *request, int *error) {
  char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) {
    *error = errno;
    return -1;
  }
  child_state state = {.request = request, .error = 0};
  /* A signal handler of this process must not run in the child, which shares its memory. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t pid = clone(child, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, &state);
  int clone_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  munmap(stack, STACK_SIZE);
  if (pid < 0) {
    *error = clone_error;
    return -1;
  }
  if (state.error != 0) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    *error = state.error;
    return -1;
  }
  return pid;
}

static int try_unshare(void *unused) {
  (void)unused;
  _exit(unshare(CLONE_NEWUTS) == 0 && sethostname("x", 1) == 0 ? 0 : 1);
}

int cspawn_can_set_hostname(void) {
  char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return 0;
  pid_t pid = clone(try_unshare, stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
  int status = 1;
  if (pid > 0) {
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
  }
  munmap(stack, STACK_SIZE);
  return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int cspawn_pidfd_open(pid_t pid) {
  return (int)syscall(SYS_pidfd_open, pid, 0);
}

const char *cspawn_signal_name(int signal) { return sigabbrev_np(signal); }

int cspawn_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int control(int set, int operation, int fd, uint32_t events) {
  struct epoll_event event;
  memset(&event, 0, sizeof event);
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(set, operation, fd, &event);
}

int cspawn_epoll_add(int set, int fd, int once) {
  return control(set, EPOLL_CTL_ADD, fd, once ? EPOLLIN | EPOLLONESHOT : EPOLLIN);
}

int cspawn_epoll_rearm(int set, int fd) { return control(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT); }

int cspawn_epoll_remove(int set, int fd) { return control(set, EPOLL_CTL_DEL, fd, 0); }

int cspawn_epoll_wait(int set, int *fds, int capacity) {
  struct epoll_event events[256];
  if (capacity > 256) capacity = 256;
  int count;
  do {
    count = epoll_wait(set, events, capacity, -1);
  } while (count < 0 && errno == EINTR);
  for (int i = 0; i < count; i++) fds[i] = events[i].data.fd;
  return count;
}

int cspawn_eventfd(void) { return eventfd(0, EFD_CLOEXEC); }

int cspawn_wake(int fd) { return eventfd_write(fd, 1); }

int cspawn_open_terminal(int *follower) {
  int leader = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (leader < 0) return -1;
  char name[64];
  struct winsize size = {.ws_row = 25, .ws_col = 80};
  if (grantpt(leader) < 0 || unlockpt(leader) < 0 || ptsname_r(leader, name, sizeof name) != 0 ||
      ioctl(leader, TIOCSWINSZ, &size) < 0 || (*follower = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
    int error = errno;
    close(leader);
    errno = error;
    return -1;
  }
  return leader;
}

void cspawn_resize_terminal(int leader, unsigned short rows, unsigned short columns) {
  struct winsize size = {.ws_row = rows, .ws_col = columns};
  ioctl(leader, TIOCSWINSZ, &size);
  ioctl(leader, TIOCSIG, SIGWINCH);
}

int cspawn_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
