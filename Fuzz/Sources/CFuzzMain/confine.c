/* SPDX-License-Identifier: LGPL-3.0-only */

#define _GNU_SOURCE
#include "CFuzzMain.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_MACHINE AUDIT_ARCH_AARCH64
#else
#error "which machine is this?"
#endif

#define FIELD(name) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
#define DENY(errnum) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (errnum))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
/* Denies one system call, whose number was loaded. */
#define FORBID(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), DENY(EPERM)

/* No process is started, only threads, and none but this one gets a signal. */
static int confine_processes(void) {
  const unsigned self = (unsigned)getpid();
  struct sock_filter filter[] = {
    FIELD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_MACHINE, 1, 0),
    DENY(EPERM),
    FIELD(nr),
    FORBID(SYS_execve),
    FORBID(SYS_execveat),
#ifdef SYS_fork
    FORBID(SYS_fork),
    FORBID(SYS_vfork),
#endif
    FORBID(SYS_ptrace),
    FORBID(SYS_pidfd_send_signal),
    FORBID(SYS_connect),
    FORBID(SYS_bind),
    FORBID(SYS_mount),
    /* The C library then asks with clone, whose flags can be seen. */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
    DENY(ENOSYS),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
    FIELD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1),
    ALLOW,
    DENY(EPERM),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kill, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tkill, 0, 3),
    FIELD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, self, 1, 0),
    DENY(EPERM),
    ALLOW,
  };
  struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

static int allow(int ruleset, const char *path, __u64 access) {
  struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = open(path, O_PATH | O_CLOEXEC)};
  if (rule.parent_fd < 0) return 0;
  int result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  close(rule.parent_fd);
  return result;
}

/* Returns -1 when the kernel cannot. */
static int confine_files(const char *const *writable, int count) {
  const __u64 writes = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE
    | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG
    | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK
    | LANDLOCK_ACCESS_FS_MAKE_SYM;
  const __u64 file = LANDLOCK_ACCESS_FS_WRITE_FILE;
  struct landlock_ruleset_attr attributes = {.handled_access_fs = writes};
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
  if (ruleset < 0) return -1;
  int result = allow(ruleset, "/dev/null", file);
  for (int index = 0; index < count && result == 0; index++) result = allow(ruleset, writable[index], writes);
  if (result == 0) result = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (result == 0) result = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
  close(ruleset);
  return result;
}

int fuzz_confine(const char *const *writable, int count) {
  int files = confine_files(writable, count);
  if (confine_processes() != 0) {
    perror("the fuzzer cannot be kept from starting processes");
    exit(1);
  }
  return files == 0;
}
