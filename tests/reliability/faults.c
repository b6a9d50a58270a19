/* A file layer for tests: records, fails or kills at the writes below one folder, whoever makes them.

   Loaded with LD_PRELOAD it stands between a process and libc, so it sees Python's own calls and those of SQLite,
   deltalake and Arrow alike. Memory-mapped writes (SQLite's -shm file only) are not seen and not needed.

     FAULT_ROOT   the folder whose files are watched (absolute)
     FAULT_STATE  a file shared with the test: what to fail, and how often it was asked (tests/reliability/faults_layer.py)
     FAULT_LOG    where every call is recorded, in the order in which they took effect

   A call takes effect and is recorded under one lock that all processes share, so the log is a true order. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
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

enum { K_OPEN = 1, K_WRITE = 2, K_SYNC = 4, K_RENAME = 8, K_LINK = 16, K_UNLINK = 32, K_MKDIR = 64, K_TRUNCATE = 128 };
enum { PASS = 0, FAIL = 1, KILL = 2, SHORT = 3 };
enum { WHOLE = 1, COUNTED = 2 }; /* recording: every call with what it writes, or kind and path of those that are counted */

typedef struct {
    uint64_t ready, counter, from, upto, kinds, error, action, n_failed, next_open, total, recording, pid;
    uint64_t reserved[4];
    char match[128];
    char first[512]; /* the path of the first call that failed */
    uint64_t first_kind;
    char padding[256];
    pthread_mutex_t lock;
} State;

typedef struct {
    uint32_t magic, kind;
    uint64_t open_id;
    int64_t offset;
    int32_t error;
    uint32_t flags, pid, a, b, zero;
} Record;

typedef struct {
    uint64_t open_id;
    char *path;
} Open;

#define MAX_FD 65536
static Open opens[MAX_FD];
static State *state;
static char root[PATH_MAX];
static size_t root_length;
static int log_fd = -1;

void faults_make(const char *path) {
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || syscall(SYS_ftruncate, fd, (off_t)sizeof(State)) < 0) abort();
    State *made = mmap(NULL, sizeof(State), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (made == MAP_FAILED) abort();
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&made->lock, &attributes);
    made->ready = 1;
    munmap(made, sizeof(State));
    syscall(SYS_close, fd);
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("FAULT_ROOT"), *shared = getenv("FAULT_STATE"), *log = getenv("FAULT_LOG");
    if (!folder || !shared) return;
    int fd = syscall(SYS_openat, AT_FDCWD, shared, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    State *found = mmap(NULL, sizeof(State), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (found == MAP_FAILED || !found->ready) return;
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
    if (log && *log) {
        int low = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        log_fd = fcntl(low, F_DUPFD_CLOEXEC, 800);
        syscall(SYS_close, low);
    }
    state = found;
}

static void hold(void) {
    if (pthread_mutex_lock(&state->lock) == EOWNERDEAD) pthread_mutex_consistent(&state->lock);
}

static void let_go(void) { pthread_mutex_unlock(&state->lock); }

/* The absolute path of a name when it is watched, else NULL. */
static const char *watched(int folder, const char *name, char *buffer) {
    if (!state || !name) return NULL;
    if (name[0] == '/') {
        snprintf(buffer, PATH_MAX, "%s", name);
    } else if (folder == AT_FDCWD) {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return NULL;
        snprintf(buffer, PATH_MAX, "%.2000s/%.2000s", here, name);
    } else {
        char link[64], where[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, where, sizeof where - 1);
        if (n < 0) return NULL;
        where[n] = 0;
        snprintf(buffer, PATH_MAX, "%.2000s/%.2000s", where, name);
    }
    if (strncmp(buffer, root, root_length) || (buffer[root_length] != '/' && buffer[root_length])) return NULL;
    return buffer;
}

static Open *tracked(int fd) { return state && fd >= 0 && fd < MAX_FD && opens[fd].open_id ? &opens[fd] : NULL; }

static void list(uint32_t kind, const char *path) {
    Record record = {0x31544c46, kind, 0, 0, 0, 0, getpid(), strlen(path), 0, 0};
    struct iovec parts[2] = {{&record, sizeof record}, {(void *)path, record.a}};
    syscall(SYS_writev, log_fd, parts, 2);
}

/* What is to become of this call. KILL does not return, except before a write, half of which is made first. */
static int verdict(uint32_t kind, const char *path) {
    state->total++;
    if (!(state->kinds & kind) || (state->match[0] && !strstr(path, state->match))) return PASS;
    state->counter++;
    if (log_fd >= 0 && state->recording == COUNTED) list(kind, path);
    if (!state->from || state->counter < state->from || state->counter > state->upto) return PASS;
    if (!state->n_failed++) {
        state->first_kind = kind;
        snprintf(state->first, sizeof state->first, "%.500s", path);
    }
    if (state->action == KILL && kind != K_WRITE) {
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;) pause();
    }
    return state->action == SHORT && kind != K_WRITE ? FAIL : (int)state->action;
}

static void note(uint32_t kind, uint64_t id, int64_t offset, int error, uint32_t flags, const char *a,
                 const struct iovec *data, int n_data, size_t length) {
    if (log_fd < 0 || state->recording != WHOLE) return;
    Record record = {0x31544c46, kind, id, offset, error, flags, getpid(), a ? strlen(a) : 0, length, 0};
    struct iovec parts[1026] = {{&record, sizeof record}, {(void *)a, record.a}};
    int n = 2;
    for (int i = 0; i < n_data && length && n < 1026; i++) {
        size_t take = data[i].iov_len < length ? data[i].iov_len : length;
        parts[n++] = (struct iovec){data[i].iov_base, take};
        length -= take;
    }
    syscall(SYS_writev, log_fd, parts, n);
}

static long failed(void) {
    errno = state->error ? (int)state->error : EIO;
    return -1;
}

/* ---- files by name ---- */

static int open_any(int folder, const char *name, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *path = watched(folder, name, buffer);
    if (!path || (flags & O_PATH)) {
        int other = syscall(SYS_openat, folder, name, flags, mode);
        if (tracked(other)) opens[other].open_id = 0; /* its number was closed behind our back */
        return other;
    }
    int writes = (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0;
    hold();
    if (writes && verdict(K_OPEN, path) != PASS) {
        note(K_OPEN, 0, 0, state->error, flags, path, NULL, 0, 0);
        let_go();
        return failed();
    }
    int fd = syscall(SYS_openat, folder, name, flags, mode);
    int error = errno;
    if (fd >= 0 && fd < MAX_FD) {
        free(opens[fd].path);
        opens[fd] = (Open){++state->next_open, strdup(path)};
        note(K_OPEN, opens[fd].open_id, 0, 0, flags, path, NULL, 0, 0);
    }
    let_go();
    errno = error;
    return fd;
}

#define MODE(flags)                          \
    mode_t mode = 0;                         \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest;                        \
        va_start(rest, flags);               \
        mode = va_arg(rest, int);            \
        va_end(rest);                        \
    }

int open(const char *name, int flags, ...) { MODE(flags) return open_any(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return open_any(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags) return open_any(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return open_any(folder, name, flags, mode); }

int close(int fd) {
    if (tracked(fd)) {
        free(opens[fd].path);
        opens[fd] = (Open){0, NULL};
    }
    return syscall(SYS_close, fd);
}

static int two(uint32_t kind, int from, const char *a, int to, const char *b, int flags) {
    char first[PATH_MAX], second[PATH_MAX];
    const char *path = watched(from, a, first), *other = watched(to, b, second);
    long call = kind == K_RENAME ? SYS_renameat2 : SYS_linkat;
    if (!path || !other) return syscall(call, from, a, to, b, flags);
    hold();
    long result = verdict(kind, other) == PASS ? syscall(call, from, a, to, b, flags) : failed();
    int error = errno;
    struct iovec name = {(void *)other, strlen(other)};
    note(kind, 0, 0, result < 0 ? error : 0, flags, path, &name, 1, name.iov_len);
    let_go();
    errno = error;
    return result;
}

int rename(const char *a, const char *b) { return two(K_RENAME, AT_FDCWD, a, AT_FDCWD, b, 0); }
int renameat(int from, const char *a, int to, const char *b) { return two(K_RENAME, from, a, to, b, 0); }
int renameat2(int from, const char *a, int to, const char *b, unsigned flags) {
    return two(K_RENAME, from, a, to, b, flags);
}
int link(const char *a, const char *b) { return two(K_LINK, AT_FDCWD, a, AT_FDCWD, b, 0); }
int linkat(int from, const char *a, int to, const char *b, int flags) { return two(K_LINK, from, a, to, b, flags); }

static int one(uint32_t kind, int folder, const char *name, int argument) {
    char buffer[PATH_MAX];
    const char *path = watched(folder, name, buffer);
    long call = kind == K_UNLINK ? SYS_unlinkat : SYS_mkdirat;
    if (!path) return syscall(call, folder, name, argument);
    hold();
    long result = verdict(kind, path) == PASS ? syscall(call, folder, name, argument) : failed();
    int error = errno;
    note(kind, 0, 0, result < 0 ? error : 0, argument, path, NULL, 0, 0);
    let_go();
    errno = error;
    return result;
}

int unlink(const char *name) { return one(K_UNLINK, AT_FDCWD, name, 0); }
int rmdir(const char *name) { return one(K_UNLINK, AT_FDCWD, name, AT_REMOVEDIR); }
int unlinkat(int folder, const char *name, int flags) { return one(K_UNLINK, folder, name, flags); }
int mkdir(const char *name, mode_t mode) { return one(K_MKDIR, AT_FDCWD, name, mode); }
int mkdirat(int folder, const char *name, mode_t mode) { return one(K_MKDIR, folder, name, mode); }
int remove(const char *name) {
    int result = unlink(name);
    return result < 0 && errno == EISDIR ? rmdir(name) : result;
}

/* ---- open files ---- */

static ssize_t write_any(int fd, const struct iovec *parts, int n, off_t offset, int placed) {
    Open *file = tracked(fd);
    if (!file) return placed ? syscall(SYS_pwritev, fd, parts, n, offset, 0) : syscall(SYS_writev, fd, parts, n);
    hold();
    int wanted = verdict(K_WRITE, file->path);
    ssize_t result;
    if (wanted == FAIL) {
        result = failed();
    } else if (wanted == PASS) {
        result = placed ? syscall(SYS_pwritev, fd, parts, n, offset, 0) : syscall(SYS_writev, fd, parts, n);
    } else { /* half of the first part */
        size_t half = parts[0].iov_len / 2;
        result = placed ? syscall(SYS_pwrite64, fd, parts[0].iov_base, half, offset)
                        : syscall(SYS_write, fd, parts[0].iov_base, half);
        if (wanted == KILL) {
            syscall(SYS_kill, getpid(), SIGKILL);
            for (;;) pause();
        }
        if (!half) result = failed();
    }
    int error = errno;
    off_t at = placed ? offset : result > 0 ? syscall(SYS_lseek, fd, 0, SEEK_CUR) - result : 0;
    note(K_WRITE, file->open_id, at, result < 0 ? error : 0, 0, NULL, parts, n, result < 0 ? 0 : result);
    let_go();
    errno = error;
    return result;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    if (!tracked(fd)) return syscall(SYS_write, fd, bytes, n);
    struct iovec part = {(void *)bytes, n};
    return write_any(fd, &part, 1, 0, 0);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    if (!tracked(fd)) return syscall(SYS_pwrite64, fd, bytes, n, at);
    struct iovec part = {(void *)bytes, n};
    return write_any(fd, &part, 1, at, 1);
}
ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) { return pwrite(fd, bytes, n, at); }
ssize_t writev(int fd, const struct iovec *parts, int n) { return write_any(fd, parts, n, 0, 0); }
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) { return write_any(fd, parts, n, at, 1); }
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) { return write_any(fd, parts, n, at, 1); }

static int sync_any(int fd, long call) {
    Open *file = tracked(fd);
    if (!file) return syscall(call, fd);
    hold();
    long result = verdict(K_SYNC, file->path) == PASS ? syscall(call, fd) : failed();
    int error = errno;
    note(K_SYNC, file->open_id, 0, result < 0 ? error : 0, 0, NULL, NULL, 0, 0);
    let_go();
    errno = error;
    return result;
}

int fsync(int fd) { return sync_any(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_any(fd, SYS_fdatasync); }

int ftruncate(int fd, off_t size) {
    Open *file = tracked(fd);
    if (!file) return syscall(SYS_ftruncate, fd, size);
    hold();
    long result = verdict(K_TRUNCATE, file->path) == PASS ? syscall(SYS_ftruncate, fd, size) : failed();
    int error = errno;
    note(K_TRUNCATE, file->open_id, size, result < 0 ? error : 0, 0, NULL, NULL, 0, 0);
    let_go();
    errno = error;
    return result;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }
