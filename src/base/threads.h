// threads.h: a fixed team of threads that run one job at a time together (fork and join).
//
// The caller is thread 0 of every job; workers spin a short while for the next job and then sleep.
// A job hands out item numbers; which thread gets which item varies, so an item's result must not
// depend on it.
//
// NULL is a team too: the caller alone.
//
// Threads: one owner starts jobs; a job must not start another.
#ifndef FG_BASE_THREADS_H
#define FG_BASE_THREADS_H

#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_threads fg_threads;
typedef void fg_thread_fn(void *arg, uint32_t item, uint32_t thread);

// count 0 = one per core that the process may use (affinity mask and cgroup quota).
fg_status fg_threads_create(fg_threads **out, uint32_t count, fg_error *err);
void fg_threads_destroy(fg_threads *threads);
uint32_t fg_threads_count(const fg_threads *threads);

// Calls fn(arg, i, thread) for each i < items and returns when all are done.
void fg_threads_run(fg_threads *threads, uint32_t items, fg_thread_fn *fn, void *arg);

// Cores that this process may use: affinity mask (hardware threads of one core count once) and cgroup CPU
// quota, at least 1.
uint32_t fg_machine_cores(void);

#endif
