/* A host whose clock is wrong, for one process: preload it (LD_PRELOAD).
 *
 * Everything the process asks its kernel about the clock is answered as a kernel would whose clock
 * is wrong: the wall clock, the receive timestamps of sockets, and adjtimex(2). A rate error is one of
 * the oscillator, so it moves CLOCK_MONOTONIC and CLOCK_BOOTTIME alike; a step moves the wall clock
 * alone. Timers keep the true rate. A timestamp is shifted by what the clock is off when it is read.
 *
 * The file named by WRONG_CLOCK holds the fault, four native 64-bit integers, and may change while
 * the process runs: offset (ns), rate error (parts per billion), the CLOCK_MONOTONIC nanosecond at
 * which the rate error began, and 1 for a clock that no daemon disciplines.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define TIMESTAMP_NS 35   /* SCM_TIMESTAMPNS */
#define STAMPING 37   /* SCM_TIMESTAMPING: software, unused, hardware */

struct fault {
    volatile int64_t offset_ns, rate_ppb, since_ns, undisciplined;
};

static const struct fault *fault;
static int (*true_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WRONG_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = file < 0 ? MAP_FAILED
                         : mmap(NULL, sizeof(struct fault), PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED)
        abort();
    close(file);
    true_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    fault = map;
}

static int64_t as_ns(const struct timespec *t) { return t->tv_sec * SECOND + t->tv_nsec; }

static void shift(struct timespec *t, int64_t by_ns) {
    int64_t ns = as_ns(t) + by_ns;
    t->tv_sec = ns / SECOND;
    t->tv_nsec = ns % SECOND;
}

static int64_t gained(void) {
    struct timespec now;
    true_gettime(CLOCK_MONOTONIC, &now);
    int64_t since = as_ns(&now) - fault->since_ns;
    return since > 0 ? (int64_t)((__int128)since * fault->rate_ppb / SECOND) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *t) {
    if (!fault) /* the loader is still at work */
        return (int)syscall(SYS_clock_gettime, clock, t);
    int result = true_gettime(clock, t);
    if (result)
        return result;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        shift(t, fault->offset_ns + gained());
        break;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        shift(t, gained());
        break;
    default: /* CPU time of a process or thread */
        break;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return -1;
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t)
        *t = now.tv_sec;
    return now.tv_sec;
}

static void shift_timestamps(struct msghdr *message) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || (c->cmsg_type != TIMESTAMP_NS && c->cmsg_type != STAMPING))
            continue;
        size_t timestamps = (c->cmsg_len - CMSG_LEN(0)) / sizeof(struct timespec);
        for (size_t i = 0; i < timestamps; i++) {
            struct timespec timestamp;
            unsigned char *at = CMSG_DATA(c) + i * sizeof timestamp;
            memcpy(&timestamp, at, sizeof timestamp);
            if (!as_ns(&timestamp)) /* not given */
                continue;
            shift(&timestamp, fault->offset_ns + gained());
            memcpy(at, &timestamp, sizeof timestamp);
        }
    }
}

ssize_t recvmsg(int socket, struct msghdr *message, int flags) {
    static ssize_t (*original)(int, struct msghdr *, int);
    if (!original)
        original = (ssize_t(*)(int, struct msghdr *, int))dlsym(RTLD_NEXT, "recvmsg");
    ssize_t size = original(socket, message, flags);
    if (size >= 0 && message->msg_control)
        shift_timestamps(message);
    return size;
}

int adjtimex(struct timex *state) {
    static int (*original)(struct timex *);
    if (!original)
        original = (int (*)(struct timex *))dlsym(RTLD_NEXT, "adjtimex");
    int result = original(state);
    if (result >= 0 && fault->undisciplined) {
        state->status |= STA_UNSYNC;
        state->maxerror = 16000000; /* microseconds: where the kernel stops counting */
        return TIME_ERROR;
    }
    return result;
}
