/* Lets one system call of a program fail, for scripts/faults/syscalls.py: cc -shared -fPIC -o shim.so shim.c -ldl, then LD_PRELOAD=shim.so.
 *
 *   FAULTS_FOLDER   only calls on files below this folder count
 *   FAULTS_CALL     write, fsync, rename, open, mkdir, unlink, mmap or symlink
 *   FAULTS_NUMBER   which of these calls fails, from 1; 0: none
 *   FAULTS_KIND     an errno (28), "short" (a write of half the bytes), or "full" (ENOSPC, as all calls after it)
 *   FAULTS_COUNTER  a file of 64 zero bytes: in it the calls of this process and its children are counted, each kind in 8 bytes, in the order above
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char const* folder;
static char const* call;
static uint64_t number;
static int error_number; /* -1: short, -2: full */
static uint64_t* counters;

static char const* const names[] = {"write", "fsync", "rename", "open", "mkdir", "unlink", "mmap", "symlink"};
enum { kinds = sizeof names / sizeof *names };

__attribute__((constructor)) static void begin(void) {
  char const* const kind = getenv("FAULTS_KIND");
  char const* const path = getenv("FAULTS_COUNTER");
  folder = getenv("FAULTS_FOLDER");
  call = getenv("FAULTS_CALL");
  if (!folder || !call || !kind || !path) return;
  number = strtoull(getenv("FAULTS_NUMBER"), NULL, 10);
  error_number = strcmp(kind, "short") == 0 ? -1 : strcmp(kind, "full") == 0 ? -2 : atoi(kind);
  int const fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  void* const mapped = (void*)syscall(SYS_mmap, NULL, kinds * sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (mapped != MAP_FAILED) counters = mapped;
}

static int is_below(char const* path) {
  size_t const length = strlen(folder);
  return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* 0: go on; else what happens instead: an errno, or -1 for a short write. */
static int fault(char const* name, char const* path, int at, int fd) {
  if (!counters) return 0;
  char found[PATH_MAX + 1] = "";
  int const descriptor = path && path[0] == '/' ? -1 : path ? at : fd;
  if (descriptor == AT_FDCWD) {
    if (!getcwd(found, sizeof found)) return 0;
  } else if (descriptor >= 0) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t const length = readlink(link, found, PATH_MAX);
    if (length < 0) return 0;
    found[length] = '\0';
  } else if (path) {
    strncpy(found, path, PATH_MAX);
  } else {
    return 0;
  }
  if (!is_below(found)) return 0;
  int kind = 0;
  while (strcmp(names[kind], name) != 0) ++kind;
  uint64_t const count = __atomic_add_fetch(&counters[kind], 1, __ATOMIC_SEQ_CST);
  if (strcmp(name, call) != 0 || number == 0 || count < number) return 0;
  if (error_number == -2) return ENOSPC;
  return count == number ? error_number : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_OR(name, path, at, fd, failed, real)       \
  do {                                                  \
    int const problem = fault(name, path, at, fd);      \
    if (problem > 0) return errno = problem, (failed);  \
    return (real);                                      \
  } while (0)

/* The C++ library opens folders itself, and no file system interrupts that. */
static int open_fault(char const* path, int at, int flags) {
  int const problem = fault("open", path, at, -1);
  return problem == EINTR && (flags & O_DIRECTORY) ? 0 : problem;
}
#define OPEN_OR(path, at, flags, real)                     \
  do {                                                     \
    int const problem = open_fault(path, at, flags);       \
    if (problem > 0) return errno = problem, -1;           \
    return (real);                                         \
  } while (0)

#define MODE                                     \
  mode_t mode = 0;                               \
  if (flags & (O_CREAT | __O_TMPFILE)) {         \
    va_list rest;                                \
    va_start(rest, flags);                       \
    mode = va_arg(rest, mode_t);                 \
    va_end(rest);                                \
  }

int open(char const* path, int flags, ...) { MODE OPEN_OR(path, AT_FDCWD, flags, REAL(open)(path, flags, mode)); }
int open64(char const* path, int flags, ...) { MODE OPEN_OR(path, AT_FDCWD, flags, REAL(open64)(path, flags, mode)); }
int openat(int at, char const* path, int flags, ...) { MODE OPEN_OR(path, at, flags, REAL(openat)(at, path, flags, mode)); }
int openat64(int at, char const* path, int flags, ...) { MODE OPEN_OR(path, at, flags, REAL(openat64)(at, path, flags, mode)); }
FILE* fopen(char const* path, char const* mode) { FAIL_OR("open", path, AT_FDCWD, -1, NULL, REAL(fopen)(path, mode)); }
FILE* fopen64(char const* path, char const* mode) { FAIL_OR("open", path, AT_FDCWD, -1, NULL, REAL(fopen64)(path, mode)); }

/* The bytes to write, or -1 for a failure. */
static ssize_t writable(int fd, size_t size) {
  int const problem = fault("write", NULL, -1, fd);
  if (problem > 0) return errno = problem, -1;
  return problem == -1 && size > 1 ? (ssize_t)(size / 2) : (ssize_t)size;
}
ssize_t write(int fd, void const* bytes, size_t size) {
  ssize_t const part = writable(fd, size);
  return part < 0 ? -1 : REAL(write)(fd, bytes, (size_t)part);
}
ssize_t pwrite(int fd, void const* bytes, size_t size, off_t offset) {
  ssize_t const part = writable(fd, size);
  return part < 0 ? -1 : REAL(pwrite)(fd, bytes, (size_t)part, offset);
}
ssize_t pwrite64(int fd, void const* bytes, size_t size, off64_t offset) {
  ssize_t const part = writable(fd, size);
  return part < 0 ? -1 : REAL(pwrite64)(fd, bytes, (size_t)part, offset);
}
ssize_t writev(int fd, struct iovec const* parts, int count) {
  ssize_t const part = writable(fd, 2);
  if (part == 1 && count > 0) return REAL(write)(fd, parts[0].iov_base, parts[0].iov_len);
  return part < 0 ? -1 : REAL(writev)(fd, parts, count);
}
int ftruncate(int fd, off_t size) { FAIL_OR("write", NULL, -1, fd, -1, REAL(ftruncate)(fd, size)); }
int truncate(char const* path, off_t size) { FAIL_OR("write", path, AT_FDCWD, -1, -1, REAL(truncate)(path, size)); }
int fsync(int fd) { FAIL_OR("fsync", NULL, -1, fd, -1, REAL(fsync)(fd)); }
int fdatasync(int fd) { FAIL_OR("fsync", NULL, -1, fd, -1, REAL(fdatasync)(fd)); }
int rename(char const* from, char const* to) { FAIL_OR("rename", to, AT_FDCWD, -1, -1, REAL(rename)(from, to)); }
int mkdir(char const* path, mode_t mode) { FAIL_OR("mkdir", path, AT_FDCWD, -1, -1, REAL(mkdir)(path, mode)); }
int unlink(char const* path) { FAIL_OR("unlink", path, AT_FDCWD, -1, -1, REAL(unlink)(path)); }
int unlinkat(int at, char const* path, int flags) { FAIL_OR("unlink", path, at, -1, -1, REAL(unlinkat)(at, path, flags)); }
int remove(char const* path) { FAIL_OR("unlink", path, AT_FDCWD, -1, -1, REAL(remove)(path)); }
int rmdir(char const* path) { FAIL_OR("unlink", path, AT_FDCWD, -1, -1, REAL(rmdir)(path)); }
int symlink(char const* target, char const* path) { FAIL_OR("symlink", path, AT_FDCWD, -1, -1, REAL(symlink)(target, path)); }
void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  FAIL_OR("mmap", NULL, -1, fd, MAP_FAILED, REAL(mmap)(address, size, protection, flags, fd, offset));
}
void* mmap64(void* address, size_t size, int protection, int flags, int fd, off64_t offset) {
  FAIL_OR("mmap", NULL, -1, fd, MAP_FAILED, REAL(mmap64)(address, size, protection, flags, fd, offset));
}
