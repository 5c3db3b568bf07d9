/* What the programs of the event loops share: random numbers, descriptors, sender threads, and the
 * names of the benches.
 *
 * A program is run as `PROGRAM BENCH N OPS`. The same workloads are in bench/src/loops/, where their
 * comments are. */
#ifndef LOOP_H
#define LOOP_H
#include "bench.h" /* first: it says what the system's headers are to offer */

#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define LATE_NS 5000000ull     /* the timer of the lateness benches */
#define WORK_NS 700000ull      /* the callback's work before it arms that timer */
#define SHORT_NS 1000000ull    /* the timer that is set over and over */
#define TICK_NS 2000000ull     /* the other descriptor of the starvation benches */
#define IDLE_NS 100000         /* the pause before each wake of an idle loop */
#define PING_EVERY 1000        /* callbacks of a chain per write to the descriptor beside it */


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
    int first = !posts;
    *posts_end = post;
    posts_end = &post->next;
    pthread_mutex_unlock(&posts_lock);
    if (first) wake();
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

static void lateness(uint64_t n, uint64_t ops);
static void ping_pong(int socket, uint64_t ops);
static void starve(int by_fd, uint64_t ms);

static inline void set_fire(uint64_t n, uint64_t ops) {
    timer_ns = SHORT_NS, work_ns = 0;
    lateness(n, ops);
}
static inline void ping_socket(uint64_t n, uint64_t ops) { (void)n, ping_pong(1, ops); }
static inline void ping_eventfd(uint64_t n, uint64_t ops) { (void)n, ping_pong(0, ops); }
static inline void starve_fd(uint64_t n, uint64_t ops) { (void)n, starve(1, ops); }
static inline void starve_callback(uint64_t n, uint64_t ops) { (void)n, starve(0, ops); }

struct bench { const char *name; void (*run)(uint64_t n, uint64_t ops); };
/* Each under its name, as a program has defined them. */
#define BENCH(name) {#name, name}
#define BENCHES                                                                                      \
    BENCH(cancel_insert), BENCH(reset), BENCH(insert_fire), BENCH(rearm_fire), BENCH(lateness),      \
    BENCH(set_fire), BENCH(ping_socket), BENCH(ping_eventfd), BENCH(one_of_many), BENCH(flip),       \
    BENCH(toggle), BENCH(wake_flood), BENCH(wake_idle), BENCH(wake_step), BENCH(idle_turn),          \
    BENCH(chain), BENCH(starve_fd), BENCH(starve_callback), {NULL, NULL}

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
