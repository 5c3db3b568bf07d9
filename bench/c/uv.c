/* libuv. Its watchers are made once and started again: that is how it is meant to be used. */
#include "loop.h"
#include <uv.h>

static uv_loop_t *loop;
static uint64_t left;

static void nothing(uv_timer_t *timer) { (void)timer; }
static void silent(uv_poll_t *poll, int status, int events) { (void)poll, (void)status, (void)events; }
static uv_poll_t *watch(int fd, int events, uv_poll_cb cb, void *data) {
    uv_poll_t *poll = zeroed(1, sizeof *poll);
    CHECK(!uv_poll_init(loop, poll, fd));
    poll->data = data;
    CHECK(!uv_poll_start(poll, events, cb));
    return poll;
}
static void run(void) { uv_run(loop, UV_RUN_DEFAULT); }

static uv_timer_t *timers(uint64_t n) {
    uv_timer_t *all = zeroed(n, sizeof *all);
    for (uint64_t i = 0; i < n; i++) {
        uv_timer_init(loop, &all[i]);
        uv_timer_start(&all[i], nothing, far_ms(), 0);
    }
    return all;
}
static void cancel_insert(uint64_t n, uint64_t ops) {
    uv_timer_t *all = timers(n);
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        uv_timer_t *timer = &all[rng() % n];
        uv_timer_stop(timer);
        uv_timer_start(timer, nothing, far_ms(), 0);
    }
    end(ops);
}
/* To start one that is active moves it. */
static void reset(uint64_t n, uint64_t ops) {
    uv_timer_t *all = timers(n);
    begin();
    for (uint64_t i = 0; i < ops; i++) uv_timer_start(&all[rng() % n], nothing, far_ms(), 0);
    end(ops);
}

static void count_down(uv_timer_t *timer) { (void)timer, left--; }
static void insert_fire(uint64_t n, uint64_t ops) {
    uv_timer_t *all = zeroed(n, sizeof *all);
    for (uint64_t i = 0; i < n; i++) uv_timer_init(loop, &all[i]);
    begin();
    for (uint64_t done = 0; done < ops; done += n) {
        left = n;
        for (uint64_t i = 0; i < n; i++) uv_timer_start(&all[i], count_down, 0, 0);
        while (left) uv_run(loop, UV_RUN_NOWAIT);
    }
    end(ops);
}
/* It makes none anew. */
static void rearm_fire(uint64_t n, uint64_t ops) { insert_fire(n, ops); }

/* Without uv_update_time the timer would count from the start of the turn, and be early. */
static void arm(uv_timer_t *timer, uv_timer_cb cb) {
    uv_update_time(loop);
    timer_due = now_ns() + timer_ns;
    uv_timer_start(timer, cb, timer_ns / 1000000, 0);
}
static void on_late(uv_timer_t *timer) {
    sample(&timer_samples, (int64_t)(now_ns() - timer_due));
    if (!--left) return;
    spin(work_ns);
    arm(timer, on_late);
}
static void lateness(uint64_t n, uint64_t ops) {
    uv_timer_t timer;
    (void)n, left = ops;
    uv_timer_init(loop, &timer);
    begin();
    arm(&timer, on_late);
    run();
    end(ops);
    report_samples(&timer_samples, "");
}

static void on_hop(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    if (hop(poll->data)) uv_stop(loop);
}
static void ping_pong(int socket, uint64_t ops) {
    make_ends(socket);
    for (int i = 0; i < 2; i++) watch(ends[i].from, UV_READABLE, on_hop, &ends[i]);
    hops_wanted = ops;
    serve();
    begin();
    run();
    end(ops);
}

static void on_active(uv_poll_t *poll, int status, int events) {
    int fd = (int)(intptr_t)poll->data;
    (void)status, (void)events;
    drain(fd);
    if (!--left) uv_stop(loop);
    kick(fd);
}
static void one_of_many(uint64_t n, uint64_t ops) {
    left = ops + 1;
    for (uint64_t i = 0; i < n; i++) {
        int fd = new_eventfd(i == n / 2);
        watch(fd, UV_READABLE, on_active, (void *)(intptr_t)fd);
    }
    /* The kernel is told of them at the next turn: that is not to be measured. */
    uv_run(loop, UV_RUN_NOWAIT);
    begin();
    run();
    end(ops);
}

static void on_write(uv_poll_t *poll, int status, int events) {
    (void)status;
    if (events & UV_WRITABLE) left--, uv_poll_start(poll, UV_READABLE, on_write);
}
static void flip(uint64_t n, uint64_t ops) {
    (void)n, left = ops;
    make_ends(1);
    uv_poll_t *poll = watch(ends[0].from, UV_READABLE, on_write, NULL);
    begin();
    while (left) {
        uv_poll_start(poll, UV_READABLE | UV_WRITABLE, on_write);
        uv_run(loop, UV_RUN_NOWAIT);
    }
    end(ops);
}
static void toggle(uint64_t n, uint64_t ops) {
    (void)n;
    make_ends(1);
    uv_poll_t *poll = watch(ends[0].from, UV_READABLE, silent, NULL);
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        uv_poll_start(poll, UV_READABLE | UV_WRITABLE, silent);
        uv_poll_start(poll, UV_READABLE, silent);
        uv_run(loop, UV_RUN_NOWAIT);
    }
    end(ops);
}

static uv_async_t async;
static void wake_uv(void) { uv_async_send(&async); }
static void on_posts(uv_async_t *handle) {
    (void)handle;
    if (run_posts()) uv_stop(loop);
}
static void start_async(void) {
    uv_async_init(loop, &async, on_posts);
    wake = wake_uv;
}
static void wake_flood(uint64_t n, uint64_t ops) { start_async(), flood(n, ops, run); }
static void wake_idle(uint64_t n, uint64_t ops) { (void)n, start_async(), wake_latency(ops, run); }
static void wake_step(uint64_t n, uint64_t ops) { (void)n, start_async(), wake_steps(ops, run); }

static void idle_turn(uint64_t n, uint64_t ops) {
    (void)n;
    timers(1);
    watch(new_eventfd(0), UV_READABLE, silent, NULL);
    begin();
    for (uint64_t i = 0; i < ops; i++) uv_run(loop, UV_RUN_NOWAIT);
    end(ops);
}

/* libuv has no posts on its own thread; an idle handle is called once a turn. */
static int beside;
static uint64_t served;
static void on_beside(uv_poll_t *poll, int status, int events) {
    (void)poll, (void)status, (void)events;
    drain(beside);
    served++;
}
static void on_idle(uv_idle_t *idle) {
    if (!--left) { uv_idle_stop(idle), uv_stop(loop); return; }
    if (left % PING_EVERY == 0) kick(beside);
}
static void chain(uint64_t n, uint64_t ops) {
    uv_idle_t idle;
    (void)n, left = ops;
    beside = new_eventfd(0);
    watch(beside, UV_READABLE, on_beside, NULL);
    uv_idle_init(loop, &idle);
    uv_idle_start(&idle, on_idle);
    begin();
    run();
    end(ops);
    extra("served", (double)served);
}

static void on_busy(uv_poll_t *poll, int status, int events) {
    (void)poll, (void)status, (void)events;
    left++;
    if (now_ns() >= busy_until) uv_stop(loop);
}
static void on_busy_idle(uv_idle_t *idle) {
    (void)idle;
    left++;
    if (now_ns() >= busy_until) uv_stop(loop);
}
static void on_tick(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    ticked((int)(intptr_t)poll->data);
}
static void on_timer(uv_timer_t *timer) {
    sample(&timer_samples, (int64_t)(now_ns() - timer_due));
    arm(timer, on_timer);
}
static void starve(int by_fd, uint64_t ms) {
    uv_timer_t timer;
    uv_idle_t idle;
    int ticker = new_ticker();
    busy_until = now_ns() + ms * 1000000;
    uv_timer_init(loop, &timer);
    uv_idle_init(loop, &idle);
    watch(ticker, UV_READABLE, on_tick, (void *)(intptr_t)ticker);
    if (by_fd) watch(new_eventfd(1), UV_READABLE, on_busy, NULL);
    else uv_idle_start(&idle, on_busy_idle);
    begin();
    arm(&timer, on_timer);
    run();
    report_starvation(left);
}

static const struct bench benches[] = {BENCHES};
int main(int argc, char **argv) {
    loop = uv_default_loop();
    return bench_main(argc, argv, benches);
}
