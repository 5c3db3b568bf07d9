/* What the C programs share: clock, random numbers, result lines, descriptors, sender threads.
 *
 * A program is run as `PROGRAM BENCH N OPS` and prints one line of `key=value`. What it cannot do
 * ends with UNSUPPORTED. The same workloads are in bench/src/loops/, where their comments are. */
#ifndef BENCH_H
#define BENCH_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define UNSUPPORTED 3
#define LATE_NS 5000000ull     /* the timer of the lateness benches */
#define WORK_NS 700000ull      /* the callback's work before it arms that timer */
#define SHORT_NS 1000000ull    /* the timer that is set over and over */
#define TICK_NS 2000000ull     /* the other descriptor of the starvation benches */
#define IDLE_NS 100000         /* the pause before each wake of an idle loop */
#define PING_EVERY 1000        /* callbacks of a chain per write to the descriptor beside it */

#define CHECK(what) do { if (!(what)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); exit(1); } } while (0)

static inline void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count, size);
    CHECK(memory);
    return memory;
}

static uint64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
static inline uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static inline void spin(uint64_t ns) {
    uint64_t end = now_ns() + ns;
    while (now_ns() < end) {}
}

static uint64_t rng_state = 88172645463325252ull;
static inline uint64_t rng(void) {
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}
/* A deadline that never comes, in milliseconds. */
static inline uint64_t far_ms(void) { return 1000000 + rng() % 1000000; }

/* --- results --- */

static uint64_t began_wall, began_cpu;
static inline void begin(void) {
    began_cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    began_wall = now_ns();
}
static inline void end(uint64_t ops) {
    uint64_t wall = now_ns() - began_wall, cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - began_cpu;
    printf("ops=%llu wall=%llu cpu=%llu ", (unsigned long long)ops, (unsigned long long)wall,
           (unsigned long long)cpu);
}
static inline void extra(const char *key, double value) { printf("%s=%.0f ", key, value); }

struct samples { int64_t *at; size_t count, room, early; };
static inline void sample(struct samples *s, int64_t ns) {
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 1024;
        CHECK(s->at = realloc(s->at, s->room * sizeof *s->at));
    }
    s->early += ns < 0;
    s->at[s->count++] = ns;
}
static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}
static inline void report_samples(struct samples *s, const char *prefix) {
    char key[64];
    snprintf(key, sizeof key, "%scount", prefix), extra(key, (double)s->count);
    if (!s->count) return;
    qsort(s->at, s->count, sizeof *s->at, by_value);
    snprintf(key, sizeof key, "%sp50", prefix), extra(key, (double)s->at[s->count / 2]);
    snprintf(key, sizeof key, "%sp99", prefix), extra(key, (double)s->at[s->count * 99 / 100]);
    snprintf(key, sizeof key, "%smax", prefix), extra(key, (double)s->at[s->count - 1]);
    snprintf(key, sizeof key, "%searly", prefix), extra(key, (double)s->early);
}

/* Writes of this process so far: in a flood, these are the wakes. */
static inline uint64_t writes_so_far(void) {
    char line[64];
    unsigned long long writes = 0;
    FILE *file = fopen("/proc/self/io", "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) sscanf(line, "syscw: %llu", &writes);
    fclose(file);
    return writes;
}

/* --- the one timer of a bench --- */

static struct samples timer_samples;
static uint64_t timer_due, timer_ns = LATE_NS, work_ns = WORK_NS;

/* --- descriptors --- */

static inline int new_eventfd(unsigned value) {
    int fd = eventfd(value, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}
static inline void drain(int fd) {
    uint64_t value;
    CHECK(read(fd, &value, sizeof value) == sizeof value);
}
static inline void kick(int fd) {
    uint64_t one = 1;
    CHECK(write(fd, &one, sizeof one) == sizeof one);
}

/* Two ends that hand a message to each other. */
struct end { int from, to; size_t size; };
static struct end ends[2];
static uint64_t hops, hops_wanted;
static inline void make_ends(int socket) {
    int fds[2];
    if (socket) {
        CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
        for (int i = 0; i < 2; i++) ends[i] = (struct end){fds[i], fds[i], 1};
    } else {
        fds[0] = new_eventfd(0), fds[1] = new_eventfd(0);
        for (int i = 0; i < 2; i++) ends[i] = (struct end){fds[i], fds[1 - i], 8};
    }
}
static inline void serve(void) {
    uint64_t one = 1;
    CHECK(write(ends[1].to, &one, ends[1].size) == (ssize_t)ends[1].size);
}
/* True once the last hop is done. */
static inline int hop(struct end *end) {
    uint64_t value;
    CHECK(read(end->from, &value, end->size) == (ssize_t)end->size);
    CHECK(write(end->to, &value, end->size) == (ssize_t)end->size);
    return ++hops == hops_wanted;
}

/* --- what is watched in the starvation benches: a timer and a timerfd beside something busy --- */

static struct samples tick_samples;
static uint64_t tick_due, busy_until;
static inline int new_ticker(void) {
    struct itimerspec spec = {{0, TICK_NS}, {0, TICK_NS}};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    CHECK(fd >= 0);
    tick_due = now_ns();
    CHECK(!timerfd_settime(fd, 0, &spec, NULL));
    return fd;
}
static inline void ticked(int fd) {
    uint64_t count;
    if (read(fd, &count, sizeof count) != sizeof count) return;
    tick_due += count * TICK_NS;
    sample(&tick_samples, (int64_t)(now_ns() - tick_due));
}
static inline void report_starvation(uint64_t turns) {
    end(turns);
    report_samples(&timer_samples, "timer_");
    report_samples(&tick_samples, "fd_");
}

/* --- posts from other threads: what libraries without closures give their users to write --- */

struct post { struct post *next; void (*run)(uint64_t); uint64_t argument; };
static pthread_mutex_t posts_lock = PTHREAD_MUTEX_INITIALIZER;
static struct post *posts, **posts_end = &posts;
static void (*wake)(void);
static uint64_t posts_run, posts_wanted;
static struct samples wake_samples;

static inline void post(void (*run)(uint64_t), uint64_t argument) {
    struct post *post = malloc(sizeof *post);
    CHECK(post);
    *post = (struct post){NULL, run, argument};
    pthread_mutex_lock(&posts_lock);
    *posts_end = post;
    posts_end = &post->next;
    pthread_mutex_unlock(&posts_lock);
    wake();
}
/* True once the last one has run. */
static inline int run_posts(void) {
    pthread_mutex_lock(&posts_lock);
    struct post *list = posts;
    posts = NULL, posts_end = &posts;
    pthread_mutex_unlock(&posts_lock);
    while (list) {
        struct post *next = list->next;
        list->run(list->argument);
        free(list);
        list = next;
    }
    return posts_run == posts_wanted;
}
static void (*send_post)(void (*run)(uint64_t), uint64_t argument) = post;
static void count_post(uint64_t argument) { (void)argument, posts_run++; }
static void time_post(uint64_t sent) {
    sample(&wake_samples, (int64_t)(now_ns() - sent));
    posts_run++;
}
static void *flood_thread(void *count) {
    for (uint64_t left = (uint64_t)count; left; left--) send_post(count_post, left);
    return NULL;
}
static void *pause_thread(void *count) {
    struct timespec pause = {0, IDLE_NS};
    for (uint64_t left = (uint64_t)count; left; left--) {
        nanosleep(&pause, NULL);
        send_post(time_post, now_ns());
    }
    return NULL;
}
static int step_fd;
static void end_step(uint64_t argument) { (void)argument, posts_run++, kick(step_fd); }
/* It gives way to the loop, which so sleeps each time that it posts. */
static void *step_thread(void *count) {
    struct sched_param none = {0};
    CHECK(!pthread_setschedparam(pthread_self(), SCHED_IDLE, &none));
    for (uint64_t left = (uint64_t)count; left; left--) send_post(end_step, left), drain(step_fd);
    return NULL;
}
/* `run` runs the loop until run_posts has said that all are done. */
static inline void flood(uint64_t senders, uint64_t ops, void (*run)(void)) {
    pthread_t threads[64];
    posts_wanted = ops / senders * senders;
    uint64_t writes = writes_so_far();
    begin();
    for (uint64_t i = 0; i < senders; i++)
        CHECK(!pthread_create(&threads[i], NULL, flood_thread, (void *)(ops / senders)));
    run();
    end(posts_wanted);
    for (uint64_t i = 0; i < senders; i++) pthread_join(threads[i], NULL);
    extra("callbacks", (double)posts_run);
    extra("wakes", (double)(writes_so_far() - writes));
}
static inline void wake_latency(uint64_t ops, void (*run)(void)) {
    pthread_t thread;
    posts_wanted = ops;
    begin();
    CHECK(!pthread_create(&thread, NULL, pause_thread, (void *)ops));
    run();
    end(ops);
    pthread_join(thread, NULL);
    report_samples(&wake_samples, "");
}
static inline void wake_steps(uint64_t ops, void (*run)(void)) {
    pthread_t thread;
    posts_wanted = ops;
    CHECK((step_fd = eventfd(0, EFD_CLOEXEC)) >= 0);
    begin();
    CHECK(!pthread_create(&thread, NULL, step_thread, (void *)ops));
    run();
    end(ops);
    pthread_join(thread, NULL);
}

/* --- the program --- */

struct bench { const char *name; void (*run)(uint64_t n, uint64_t ops); };
static int bench_main(int argc, char **argv, const struct bench *benches) {
    if (argc != 4) return 2;
    for (; benches->name; benches++) {
        if (strcmp(benches->name, argv[1])) continue;
        benches->run(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
        putchar('\n');
        return 0;
    }
    return UNSUPPORTED;
}
#endif
