/* Records what a process does to one database: every write, truncation and removal of the file, its write-ahead log and
 * its journal, and the beginning and end of every sync. Loaded by LD_PRELOAD; read by power_cut.py.
 *
 * RECORDED_FILE is the database, RECORD the file that is written. A record is a head of five 64-bit numbers (what, which
 * file, thread, offset, length) and, of a write, its bytes; it goes out by one append, so that threads do not mix and
 * a killed process leaves whole records but for the last.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FILES 65536
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static char which_of[MOST_FILES]; /* by descriptor: 0 none of ours, 1 the database, 2 its log, 3 its journal */
static int record_fd = -1;

static int which(const char *path) {
    static const char *suffixes[] = {"", "-wal", "-journal"};
    const char *database = getenv("RECORDED_FILE");
    size_t length = database ? strlen(database) : 0;
    if (!length || strncmp(path, database, length)) return 0;
    for (int i = 0; i < 3; i++)
        if (!strcmp(path + length, suffixes[i])) return i + 1;
    return 0;
}

static void record(char what, int file, int64_t offset, int64_t length, const void *bytes) {
    if (record_fd < 0) {
        const char *path = getenv("RECORD");
        record_fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644) : -1;
        if (record_fd < 0) abort(); /* a record with a hole proves nothing */
    }
    int64_t head[5] = {what, file, (int64_t)syscall(SYS_gettid), offset, length};
    struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, bytes ? (size_t)length : 0}};
    ssize_t wanted = (ssize_t)(parts[0].iov_len + parts[1].iov_len);
    if (writev(record_fd, parts, bytes ? 2 : 1) != wanted) abort();
}

static int file_of(int fd) { return fd >= 0 && fd < MOST_FILES ? which_of[fd] : 0; }

static int opened(int fd, const char *path, int flags) {
    if (fd >= 0 && fd < MOST_FILES && (which_of[fd] = (char)which(path))) {
        record('O', which_of[fd], 0, 0, NULL);
        if (flags & O_TRUNC) record('T', which_of[fd], 0, 0, NULL);
    }
    return fd;
}

static mode_t mode_of(int flags, va_list more) { return flags & O_CREAT ? va_arg(more, mode_t) : 0; }

#define OPENING(name)                                   \
    int name(const char *path, int flags, ...) {        \
        va_list more;                                   \
        va_start(more, flags);                          \
        mode_t mode = mode_of(flags, more);             \
        va_end(more);                                   \
        return opened(REAL(name)(path, flags, mode), path, flags); \
    }
OPENING(open)
OPENING(open64)

int close(int fd) {
    if (file_of(fd)) which_of[fd] = 0;
    return REAL(close)(fd);
}

#define WRITING(name, number)                                                    \
    ssize_t name(int fd, const void *bytes, size_t count, number offset) {       \
        ssize_t done = REAL(name)(fd, bytes, count, offset);                     \
        if (done > 0 && file_of(fd)) record('W', file_of(fd), offset, done, bytes); \
        return done;                                                             \
    }
WRITING(pwrite, off_t)
WRITING(pwrite64, off64_t)

ssize_t write(int fd, const void *bytes, size_t count) {
    off_t offset = file_of(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = REAL(write)(fd, bytes, count);
    if (done > 0 && file_of(fd)) record('W', file_of(fd), offset, done, bytes);
    return done;
}

#define TRUNCATING(name, number)                                       \
    int name(int fd, number length) {                                  \
        int failed = REAL(name)(fd, length);                           \
        if (!failed && file_of(fd)) record('T', file_of(fd), length, 0, NULL); \
        return failed;                                                 \
    }
TRUNCATING(ftruncate, off_t)
TRUNCATING(ftruncate64, off64_t)

#define SYNCING(name)                                          \
    int name(int fd) {                                         \
        int file = file_of(fd);                                \
        if (file) record('B', file, 0, 0, NULL);               \
        int failed = REAL(name)(fd);                           \
        if (!failed && file) record('S', file, 0, 0, NULL);    \
        return failed;                                         \
    }
SYNCING(fsync)
SYNCING(fdatasync)

int unlink(const char *path) {
    int failed = REAL(unlink)(path), file = which(path);
    if (!failed && file) record('U', file, 0, 0, NULL);
    return failed;
}
