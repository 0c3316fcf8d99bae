/* SPDX-License-Identifier: LGPL-3.0-only */

/* Starting a task's process: what posix_spawn cannot do is the host name of a virtual node, which needs a UTS namespace. */

#ifndef CSPAWN_H
#define CSPAWN_H

#include <sys/types.h>

/* A soft limit (setrlimit). */
typedef struct {
  int resource;
  unsigned long long value;
} cspawn_limit;

typedef struct {
  const char *path;         /* the executable, already found */
  char *const *argv;        /* NULL terminated */
  char *const *envp;        /* NULL terminated */
  const char *cwd;          /* NULL: stay */
  const char *fallback_cwd; /* where to go when cwd cannot be entered */
  const char *hostname;     /* NULL: the machine's own */
  int fd_in, fd_out, fd_err;
  int fd_extra;             /* becomes descriptor 3; -1: none */
  const cspawn_limit *limits;
  int limit_count;
  int own_session;          /* setsid, else a process group of its own */
  int controlling_terminal; /* whether fd_in becomes the session's terminal */
} cspawn_request;

/* Starts a process. Returns its pid, or -1 with *error set to the errno of what failed, exec included. */
pid_t cspawn(const cspawn_request *request, int *error);

/* Whether this process may give a child its own host name. */
int cspawn_can_set_hostname(void);

/* pidfd_open(2), for which glibc 2.36 has no Swift-visible prototype everywhere. Returns -1 and sets errno on failure. */
int cspawn_pidfd_open(pid_t pid);

/* A signal's name without SIG, or NULL. */
const char *cspawn_signal_name(int signal);

/* What Swift's Glibc module leaves out. Each returns -1 and sets errno on failure. */

/* epoll: a descriptor set; `once` watches for one event at a time, until it is armed again. */
int cspawn_epoll_create(void);
int cspawn_epoll_add(int set, int fd, int once);
int cspawn_epoll_rearm(int set, int fd);
int cspawn_epoll_remove(int set, int fd);
/* Waits without end for readable descriptors; returns how many were put into fds. */
int cspawn_epoll_wait(int set, int *fds, int capacity);

/* An eventfd, and the write that makes it readable. */
int cspawn_eventfd(void);
int cspawn_wake(int eventfd);

/* A pipe whose ends are closed on exec. */
int cspawn_pipe(int ends[2]);

/* Opens a pseudo-terminal of 25 lines of 80 columns, both sides closed on exec. Returns its leader. */
int cspawn_open_terminal(int *follower);

/* Sets a terminal's size and tells its foreground processes, whether it is new to them or not. */
void cspawn_resize_terminal(int leader, unsigned short rows, unsigned short columns);

/* What SO_PEERCRED yields: struct ucred. */
typedef struct {
  pid_t pid;
  uid_t uid;
  gid_t gid;
} cspawn_credentials;

#endif
