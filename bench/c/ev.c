/* libev. Its watchers are structs of the caller's, stopped and started again. */
#include "loop.h"
#include <ev.h>

static struct ev_loop *loop;
static uint64_t left;

static void nothing(EV_P_ ev_timer *w, int revents) { (void)loop, (void)w, (void)revents; }
static void silent(EV_P_ ev_io *w, int revents) { (void)loop, (void)w, (void)revents; }
static ev_io *watch(int fd, void (*cb)(EV_P_ ev_io *, int), void *data) {
    ev_io *io = zeroed(1, sizeof *io);
    ev_io_init(io, cb, fd, EV_READ);
    io->data = data;
    ev_io_start(loop, io);
    return io;
}
static void stop(void) { ev_break(loop, EVBREAK_ALL); }
static void run(void) { ev_run(loop, 0); }

static ev_timer *timers(uint64_t n) {
    ev_timer *all = zeroed(n, sizeof *all);
    for (uint64_t i = 0; i < n; i++) {
        ev_timer_init(&all[i], nothing, (double)far_ms() / 1e3, 0);
        ev_timer_start(loop, &all[i]);
    }
    return all;
}
static void cancel_insert(uint64_t n, uint64_t ops) {
    ev_timer *all = timers(n);
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        ev_timer *timer = &all[rng() % n];
        ev_timer_stop(loop, timer);
        ev_timer_set(timer, (double)far_ms() / 1e3, 0);
        ev_timer_start(loop, timer);
    }
    end(ops);
}
static void reset(uint64_t n, uint64_t ops) {
    ev_timer *all = timers(n);
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        ev_timer *timer = &all[rng() % n];
        timer->repeat = (double)far_ms() / 1e3;
        ev_timer_again(loop, timer);
    }
    end(ops);
}

static void count_down(EV_P_ ev_timer *w, int revents) { (void)loop, (void)w, (void)revents, left--; }
static void insert_fire(uint64_t n, uint64_t ops) {
    ev_timer *all = zeroed(n, sizeof *all);
    for (uint64_t i = 0; i < n; i++) ev_timer_init(&all[i], count_down, 0, 0);
    begin();
    for (uint64_t done = 0; done < ops; done += n) {
        left = n;
        for (uint64_t i = 0; i < n; i++) {
            ev_timer_set(&all[i], 0, 0);
            ev_timer_start(loop, &all[i]);
        }
        while (left) ev_run(loop, EVRUN_NOWAIT);
    }
    end(ops);
}
/* It makes none anew. */
static void rearm_fire(uint64_t n, uint64_t ops) { insert_fire(n, ops); }

/* Without ev_now_update the timer would count from the start of the turn, and be early. */
static void arm(ev_timer *timer) {
    ev_now_update(loop);
    timer_due = now_ns() + timer_ns;
    ev_timer_set(timer, timer_ns / 1e9, 0);
    ev_timer_start(loop, timer);
}
static void on_late(EV_P_ ev_timer *timer, int revents) {
    (void)loop, (void)revents;
    sample(&timer_samples, (int64_t)(now_ns() - timer_due));
    if (!--left) return;
    spin(work_ns);
    arm(timer);
}
static void lateness(uint64_t n, uint64_t ops) {
    ev_timer timer;
    (void)n, left = ops;
    ev_timer_init(&timer, on_late, 0, 0);
    begin();
    arm(&timer);
    run();
    end(ops);
    report_samples(&timer_samples, "");
}

static void on_hop(EV_P_ ev_io *io, int revents) {
    (void)loop, (void)revents;
    if (hop(io->data)) stop();
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

static void on_active(EV_P_ ev_io *io, int revents) {
    (void)loop, (void)revents;
    drain(io->fd);
    if (!--left) stop();
    kick(io->fd);
}
static void one_of_many(uint64_t n, uint64_t ops) {
    left = ops + 1;
    for (uint64_t i = 0; i < n; i++) watch(new_eventfd(i == n / 2), on_active, NULL);
    /* The kernel is told of them at the next turn: that is not to be measured. */
    ev_run(loop, EVRUN_NOWAIT);
    begin();
    run();
    end(ops);
}

static void interest(ev_io *io, int events) {
    ev_io_stop(loop, io);
    ev_io_modify(io, events);
    ev_io_start(loop, io);
}
static void on_write(EV_P_ ev_io *io, int revents) {
    (void)loop;
    if (revents & EV_WRITE) left--, interest(io, EV_READ);
}
static void flip(uint64_t n, uint64_t ops) {
    (void)n, left = ops;
    make_ends(1);
    ev_io *io = watch(ends[0].from, on_write, NULL);
    begin();
    while (left) {
        interest(io, EV_READ | EV_WRITE);
        ev_run(loop, EVRUN_NOWAIT);
    }
    end(ops);
}
static void toggle(uint64_t n, uint64_t ops) {
    (void)n;
    make_ends(1);
    ev_io *io = watch(ends[0].from, silent, NULL);
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        interest(io, EV_READ | EV_WRITE);
        interest(io, EV_READ);
        ev_run(loop, EVRUN_NOWAIT);
    }
    end(ops);
}

static ev_async async;
static void wake_ev(void) { ev_async_send(loop, &async); }
static void on_posts(EV_P_ ev_async *w, int revents) {
    (void)loop, (void)w, (void)revents;
    if (run_posts()) stop();
}
static void start_async(void) {
    ev_async_init(&async, on_posts);
    ev_async_start(loop, &async);
    wake = wake_ev;
}
static void wake_flood(uint64_t n, uint64_t ops) { start_async(), flood(n, ops, run); }
static void wake_idle(uint64_t n, uint64_t ops) { (void)n, start_async(), wake_latency(ops, run); }
static void wake_step(uint64_t n, uint64_t ops) { (void)n, start_async(), wake_steps(ops, run); }

static void idle_turn(uint64_t n, uint64_t ops) {
    (void)n;
    timers(1);
    watch(new_eventfd(0), silent, NULL);
    begin();
    for (uint64_t i = 0; i < ops; i++) ev_run(loop, EVRUN_NOWAIT);
    end(ops);
}

/* libev has no posts on its own thread that let a poll through; an idle watcher is called once a
 * turn in which nothing else is pending. */
static int beside;
static uint64_t served;
static void on_beside(EV_P_ ev_io *io, int revents) {
    (void)loop, (void)io, (void)revents;
    drain(beside);
    served++;
}
static void on_idle(EV_P_ ev_idle *idle, int revents) {
    (void)revents;
    if (!--left) { ev_idle_stop(loop, idle), stop(); return; }
    if (left % PING_EVERY == 0) kick(beside);
}
static void chain(uint64_t n, uint64_t ops) {
    ev_idle idle;
    (void)n, left = ops;
    beside = new_eventfd(0);
    watch(beside, on_beside, NULL);
    ev_idle_init(&idle, on_idle);
    ev_idle_start(loop, &idle);
    begin();
    run();
    end(ops);
    extra("served", (double)served);
}

static void busy(void) {
    left++;
    if (now_ns() >= busy_until) stop();
}
static void on_busy(EV_P_ ev_io *io, int revents) { (void)loop, (void)io, (void)revents, busy(); }
static void on_busy_idle(EV_P_ ev_idle *w, int revents) { (void)loop, (void)w, (void)revents, busy(); }
static void on_tick(EV_P_ ev_io *io, int revents) { (void)loop, (void)revents, ticked(io->fd); }
static void on_timer(EV_P_ ev_timer *timer, int revents) {
    (void)loop, (void)revents;
    sample(&timer_samples, (int64_t)(now_ns() - timer_due));
    arm(timer);
}
static void starve(int by_fd, uint64_t ms) {
    ev_timer timer;
    ev_idle idle;
    watch(new_ticker(), on_tick, NULL);
    busy_until = now_ns() + ms * 1000000;
    ev_timer_init(&timer, on_timer, 0, 0);
    ev_idle_init(&idle, on_busy_idle);
    if (by_fd) watch(new_eventfd(1), on_busy, NULL);
    else ev_idle_start(loop, &idle);
    begin();
    arm(&timer);
    run();
    report_starvation(left);
}

static const struct bench benches[] = {BENCHES};
int main(int argc, char **argv) {
    loop = ev_default_loop(EVBACKEND_EPOLL);
    CHECK(loop);
    return bench_main(argc, argv, benches);
}
