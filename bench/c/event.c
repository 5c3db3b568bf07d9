/* libevent, as it comes: with locks for its threads, and its coarse clock. */
#include "loop.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/thread.h>

static struct event_base *base;
static uint64_t left;

static struct timeval milliseconds(uint64_t ms) {
    return (struct timeval){(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
}
static void nothing(evutil_socket_t fd, short what, void *data) { (void)fd, (void)what, (void)data; }
static struct event *watch(int fd, event_callback_fn cb, void *data) {
    struct event *event = event_new(base, fd, EV_READ | EV_PERSIST, cb, data);
    CHECK(event && !event_add(event, NULL));
    return event;
}
static void stop(void) { event_base_loopbreak(base); }
static void run(void) { event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY); }
static void turn(void) { event_base_loop(base, EVLOOP_NONBLOCK); }

static struct event *timers(uint64_t n) {
    struct event *all = zeroed(n, sizeof *all);
    for (uint64_t i = 0; i < n; i++) {
        struct timeval delay = milliseconds(far_ms());
        evtimer_assign(&all[i], base, nothing, NULL);
        evtimer_add(&all[i], &delay);
    }
    return all;
}
static void cancel_insert(uint64_t n, uint64_t ops) {
    struct event *all = timers(n);
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        struct event *timer = &all[rng() % n];
        struct timeval delay = milliseconds(far_ms());
        evtimer_del(timer);
        evtimer_add(timer, &delay);
    }
    end(ops);
}
/* To add one that is pending moves it. */
static void reset(uint64_t n, uint64_t ops) {
    struct event *all = timers(n);
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        struct event *timer = &all[rng() % n];
        struct timeval delay = milliseconds(far_ms());
        evtimer_add(timer, &delay);
    }
    end(ops);
}

static void count_down(evutil_socket_t fd, short what, void *data) {
    (void)fd, (void)what, (void)data, left--;
}
static void insert_fire(uint64_t n, uint64_t ops) {
    struct event *all = zeroed(n, sizeof *all);
    struct timeval none = {0, 0};
    for (uint64_t i = 0; i < n; i++) evtimer_assign(&all[i], base, count_down, NULL);
    begin();
    for (uint64_t done = 0; done < ops; done += n) {
        left = n;
        for (uint64_t i = 0; i < n; i++) evtimer_add(&all[i], &none);
        while (left) turn();
    }
    end(ops);
}
/* It makes none anew. */
static void rearm_fire(uint64_t n, uint64_t ops) { insert_fire(n, ops); }

static void arm(struct event *timer) {
    struct timeval delay = {0, timer_ns / 1000};
    timer_due = now_ns() + timer_ns;
    event_base_update_cache_time(base);
    evtimer_add(timer, &delay);
}
static void on_late(evutil_socket_t fd, short what, void *data) {
    (void)fd, (void)what;
    sample(&timer_samples, (int64_t)(now_ns() - timer_due));
    if (!--left) { stop(); return; }
    spin(work_ns);
    arm(*(struct event **)data);
}
static void lateness(uint64_t n, uint64_t ops) {
    struct event *timer;
    (void)n, left = ops;
    timer = evtimer_new(base, on_late, &timer);
    begin();
    arm(timer);
    run();
    end(ops);
    report_samples(&timer_samples, "");
}

static void on_hop(evutil_socket_t fd, short what, void *data) {
    (void)fd, (void)what;
    if (hop(data)) stop();
}
static void ping_pong(int socket, uint64_t ops) {
    make_ends(socket);
    for (int i = 0; i < 2; i++) watch(ends[i].from, on_hop, &ends[i]);
    hops_wanted = ops;
    serve();
    begin();
    run();
    end(ops);
}

static void on_active(evutil_socket_t fd, short what, void *data) {
    (void)what, (void)data;
    drain(fd);
    if (!--left) stop();
    kick(fd);
}
static void one_of_many(uint64_t n, uint64_t ops) {
    left = ops;
    for (uint64_t i = 0; i < n; i++) watch(new_eventfd(i == n / 2), on_active, NULL);
    begin();
    run();
    end(ops);
}

/* An event's mask cannot be changed: a second event is added and deleted. */
static void on_write(evutil_socket_t fd, short what, void *data) {
    (void)fd, (void)what;
    left--;
    event_del(*(struct event **)data);
}
static void flip(uint64_t n, uint64_t ops) {
    (void)n, left = ops;
    make_ends(1);
    watch(ends[0].from, nothing, NULL);
    struct event *write;
    write = event_new(base, ends[0].from, EV_WRITE | EV_PERSIST, on_write, &write);
    begin();
    while (left) event_add(write, NULL), turn();
    end(ops);
}
static void toggle(uint64_t n, uint64_t ops) {
    (void)n;
    make_ends(1);
    watch(ends[0].from, nothing, NULL);
    struct event *write = event_new(base, ends[0].from, EV_WRITE | EV_PERSIST, nothing, NULL);
    begin();
    for (uint64_t i = 0; i < ops; i++) event_add(write, NULL), event_del(write), turn();
    end(ops);
}

static struct event *async;
static void wake_event(void) { event_active(async, EV_READ, 0); }
static void on_posts(evutil_socket_t fd, short what, void *data) {
    (void)fd, (void)what, (void)data;
    if (run_posts()) stop();
}
static void start_async(void) {
    async = event_new(base, -1, EV_PERSIST, on_posts, NULL);
    wake = wake_event;
}
static void wake_flood(uint64_t n, uint64_t ops) { start_async(), flood(n, ops, run); }
static void wake_idle(uint64_t n, uint64_t ops) { (void)n, start_async(), wake_latency(ops, run); }
static void wake_step(uint64_t n, uint64_t ops) { (void)n, start_async(), wake_steps(ops, run); }

static void idle_turn(uint64_t n, uint64_t ops) {
    (void)n;
    timers(1);
    watch(new_eventfd(0), nothing, NULL);
    begin();
    for (uint64_t i = 0; i < ops; i++) turn();
    end(ops);
}

static int beside;
static uint64_t served;
static void on_beside(evutil_socket_t fd, short what, void *data) {
    (void)fd, (void)what, (void)data;
    drain(beside);
    served++;
}
static void on_chain(evutil_socket_t fd, short what, void *data) {
    (void)fd, (void)what;
    if (!--left) { stop(); return; }
    if (left % PING_EVERY == 0) kick(beside);
    event_active(*(struct event **)data, EV_READ, 0);
}
static void chain(uint64_t n, uint64_t ops) {
    struct event *event;
    (void)n, left = ops;
    beside = new_eventfd(0);
    watch(beside, on_beside, NULL);
    event = event_new(base, -1, EV_PERSIST, on_chain, &event);
    event_active(event, EV_READ, 0);
    begin();
    run();
    end(ops);
    extra("served", (double)served);
}

static int busy(void) {
    left++;
    if (now_ns() < busy_until) return 1;
    stop();
    return 0;
}
static void on_busy(evutil_socket_t fd, short what, void *data) {
    (void)fd, (void)what, (void)data;
    busy();
}
static void on_repost(evutil_socket_t fd, short what, void *data) {
    (void)fd, (void)what;
    if (busy()) event_active(*(struct event **)data, EV_READ, 0);
}
static void on_tick(evutil_socket_t fd, short what, void *data) {
    (void)what, (void)data;
    ticked(fd);
}
static void on_timer(evutil_socket_t fd, short what, void *data) {
    (void)fd, (void)what;
    sample(&timer_samples, (int64_t)(now_ns() - timer_due));
    arm(*(struct event **)data);
}
static void starve(int by_fd, uint64_t ms) {
    struct event *timer, *repost;
    watch(new_ticker(), on_tick, NULL);
    busy_until = now_ns() + ms * 1000000;
    timer = evtimer_new(base, on_timer, &timer);
    repost = event_new(base, -1, EV_PERSIST, on_repost, &repost);
    if (by_fd) watch(new_eventfd(1), on_busy, NULL);
    else event_active(repost, EV_READ, 0);
    begin();
    arm(timer);
    run();
    report_starvation(left);
}

static const struct bench benches[] = {BENCHES};
int main(int argc, char **argv) {
    CHECK(!evthread_use_pthreads());
    base = event_base_new();
    CHECK(base);
    return bench_main(argc, argv, benches);
}
