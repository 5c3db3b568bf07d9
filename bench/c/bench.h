/* What all C programs share: clocks and results. A program prints one line of `key=value`, and ends
 * with UNSUPPORTED if it cannot do what it was asked for. */
#ifndef BENCH_H
#define BENCH_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UNSUPPORTED 3

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
#endif
