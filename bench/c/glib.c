/* GLib. Descriptors are sources of our own that may recurse: otherwise each dispatch takes the
 * descriptor out and puts it back, at twice the system calls. */
#include "loop.h"
#include <glib.h>

static GMainContext *context;
static GMainLoop *loop;
static uint64_t left;

struct watch {
    GSource source;
    gpointer tag;
    int fd;
    void (*call)(struct watch *, GIOCondition);
    void *data;
};
static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data) {
    struct watch *watch = (struct watch *)source;
    (void)callback, (void)data;
    watch->call(watch, g_source_query_unix_fd(source, watch->tag));
    return G_SOURCE_CONTINUE;
}
static GSourceFuncs functions = {NULL, NULL, dispatch, NULL, NULL, NULL};
static void silent(struct watch *watch, GIOCondition ready) { (void)watch, (void)ready; }
static struct watch *watch_fd(int fd, void (*call)(struct watch *, GIOCondition), void *data) {
    struct watch *watch = (struct watch *)g_source_new(&functions, sizeof *watch);
    watch->fd = fd, watch->call = call, watch->data = data;
    watch->tag = g_source_add_unix_fd(&watch->source, fd, G_IO_IN);
    g_source_set_can_recurse(&watch->source, TRUE);
    g_source_attach(&watch->source, context);
    return watch;
}
static GSource *timeout(uint64_t ms, GSourceFunc call, void *data) {
    GSource *source = g_timeout_source_new((guint)ms);
    g_source_set_callback(source, call, data, NULL);
    g_source_attach(source, context);
    return source;
}
static void stop(void) { g_main_loop_quit(loop); }
static void run(void) { g_main_loop_run(loop); }
static void turn(void) { g_main_context_iteration(context, FALSE); }

static gboolean nothing(gpointer data) { (void)data; return G_SOURCE_CONTINUE; }
static GSource **timers(uint64_t n) {
    GSource **all = zeroed(n, sizeof *all);
    for (uint64_t i = 0; i < n; i++) all[i] = timeout(far_ms(), nothing, NULL);
    return all;
}
static void cancel_insert(uint64_t n, uint64_t ops) {
    GSource **all = timers(n);
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        GSource **timer = &all[rng() % n];
        g_source_destroy(*timer);
        g_source_unref(*timer);
        *timer = timeout(far_ms(), nothing, NULL);
    }
    end(ops);
}
static void reset(uint64_t n, uint64_t ops) {
    GSource **all = timers(n);
    begin();
    for (uint64_t i = 0; i < ops; i++)
        g_source_set_ready_time(all[rng() % n], g_get_monotonic_time() + (gint64)far_ms() * 1000);
    end(ops);
}

static gboolean count_down(gpointer data) { (void)data, left--; return G_SOURCE_REMOVE; }
static void insert_fire(uint64_t n, uint64_t ops) {
    begin();
    for (uint64_t done = 0; done < ops; done += n) {
        left = n;
        for (uint64_t i = 0; i < n; i++) g_source_unref(timeout(0, count_down, NULL));
        while (left) turn();
    }
    end(ops);
}

static gboolean count_and_stay(gpointer data) {
    g_source_set_ready_time(*(GSource **)data, -1);
    left--;
    return G_SOURCE_CONTINUE;
}
static void rearm_fire(uint64_t n, uint64_t ops) {
    GSource **all = zeroed(n, sizeof *all);
    for (uint64_t i = 0; i < n; i++) all[i] = timeout(far_ms(), count_and_stay, &all[i]);
    begin();
    for (uint64_t done = 0; done < ops; done += n) {
        left = n;
        for (uint64_t i = 0; i < n; i++) g_source_set_ready_time(all[i], 0);
        while (left) turn();
    }
    end(ops);
}

static void arm(GSourceFunc call) {
    timer_due = now_ns() + timer_ns;
    g_source_unref(timeout(timer_ns / 1000000, call, NULL));
}
static gboolean on_late(gpointer data) {
    (void)data;
    sample(&timer_samples, (int64_t)(now_ns() - timer_due));
    if (!--left) { stop(); return G_SOURCE_REMOVE; }
    spin(work_ns);
    arm(on_late);
    return G_SOURCE_REMOVE;
}
static void lateness(uint64_t n, uint64_t ops) {
    (void)n, left = ops;
    begin();
    arm(on_late);
    run();
    end(ops);
    report_samples(&timer_samples, "");
}

static void on_hop(struct watch *watch, GIOCondition ready) {
    (void)ready;
    if (hop(watch->data)) stop();
}
static void ping_pong(int socket, uint64_t ops) {
    make_ends(socket);
    for (int i = 0; i < 2; i++) watch_fd(ends[i].from, on_hop, &ends[i]);
    hops_wanted = ops;
    serve();
    begin();
    run();
    end(ops);
}

static void on_active(struct watch *watch, GIOCondition ready) {
    (void)ready;
    drain(watch->fd);
    if (!--left) stop();
    kick(watch->fd);
}
static void one_of_many(uint64_t n, uint64_t ops) {
    left = ops;
    for (uint64_t i = 0; i < n; i++) watch_fd(new_eventfd(i == n / 2), on_active, NULL);
    begin();
    run();
    end(ops);
}

static void on_write(struct watch *watch, GIOCondition ready) {
    if (ready & G_IO_OUT) left--, g_source_modify_unix_fd(&watch->source, watch->tag, G_IO_IN);
}
static void flip(uint64_t n, uint64_t ops) {
    (void)n, left = ops;
    make_ends(1);
    struct watch *watch = watch_fd(ends[0].from, on_write, NULL);
    begin();
    while (left) {
        g_source_modify_unix_fd(&watch->source, watch->tag, G_IO_IN | G_IO_OUT);
        turn();
    }
    end(ops);
}
static void toggle(uint64_t n, uint64_t ops) {
    (void)n;
    make_ends(1);
    struct watch *watch = watch_fd(ends[0].from, silent, NULL);
    begin();
    for (uint64_t i = 0; i < ops; i++) {
        g_source_modify_unix_fd(&watch->source, watch->tag, G_IO_IN | G_IO_OUT);
        g_source_modify_unix_fd(&watch->source, watch->tag, G_IO_IN);
        turn();
    }
    end(ops);
}

/* GLib has a queue of its own for posts, the only one of the four: no list of ours. */
static gboolean on_post(gpointer data) {
    struct post *post = data;
    post->run(post->argument);
    if (posts_run == posts_wanted) stop();
    return G_SOURCE_REMOVE;
}
static void post_glib(void (*run)(uint64_t), uint64_t argument) {
    struct post *post = malloc(sizeof *post);
    CHECK(post);
    *post = (struct post){NULL, run, argument};
    g_main_context_invoke_full(context, G_PRIORITY_DEFAULT, on_post, post, free);
}
static void wake_flood(uint64_t n, uint64_t ops) { send_post = post_glib, flood(n, ops, run); }
static void wake_idle(uint64_t n, uint64_t ops) {
    (void)n, send_post = post_glib;
    wake_latency(ops, run);
}
static void wake_step(uint64_t n, uint64_t ops) {
    (void)n, send_post = post_glib;
    wake_steps(ops, run);
}

static void idle_turn(uint64_t n, uint64_t ops) {
    (void)n;
    timers(1);
    watch_fd(new_eventfd(0), silent, NULL);
    begin();
    for (uint64_t i = 0; i < ops; i++) turn();
    end(ops);
}

static int beside;
static uint64_t served;
static void idle(GSourceFunc call) {
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, call, NULL, NULL);
    g_source_attach(source, context);
    g_source_unref(source);
}
static void on_beside(struct watch *watch, GIOCondition ready) {
    (void)watch, (void)ready;
    drain(beside);
    served++;
}
static gboolean on_chain(gpointer data) {
    (void)data;
    if (!--left) { stop(); return G_SOURCE_REMOVE; }
    if (left % PING_EVERY == 0) kick(beside);
    idle(on_chain);
    return G_SOURCE_REMOVE;
}
static void chain(uint64_t n, uint64_t ops) {
    (void)n, left = ops;
    beside = new_eventfd(0);
    watch_fd(beside, on_beside, NULL);
    idle(on_chain);
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
static void on_busy(struct watch *watch, GIOCondition ready) { (void)watch, (void)ready, busy(); }
static gboolean on_repost(gpointer data) {
    (void)data;
    if (busy()) idle(on_repost);
    return G_SOURCE_REMOVE;
}
static void on_tick(struct watch *watch, GIOCondition ready) { (void)ready, ticked(watch->fd); }
static gboolean on_timer(gpointer data) {
    (void)data;
    sample(&timer_samples, (int64_t)(now_ns() - timer_due));
    arm(on_timer);
    return G_SOURCE_REMOVE;
}
static void starve(int by_fd, uint64_t ms) {
    watch_fd(new_ticker(), on_tick, NULL);
    busy_until = now_ns() + ms * 1000000;
    if (by_fd) watch_fd(new_eventfd(1), on_busy, NULL);
    else idle(on_repost);
    begin();
    arm(on_timer);
    run();
    report_starvation(left);
}

static const struct bench benches[] = {BENCHES};
int main(int argc, char **argv) {
    /* Not the default one, in whose stead a sender that is early would run its posts itself. */
    context = g_main_context_new();
    loop = g_main_loop_new(context, FALSE);
    return bench_main(argc, argv, benches);
}
