#include "base/threads.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/topology.h"

enum {
  MAX_THREADS = 1024,
  // Only what is touched becomes resident; a thread sanitizer keeps nearly 1 MiB of its own there.
  STACK_BYTES = 2 << 20,
  // About 100 microseconds on a Zen 4, which is what a sleep costs in a virtual machine: 35 for whoever
  // wakes, and as much again until the sleeper runs. Gaps between the operations of a step are shorter.
  SPINS = 4000,
  ROUNDS_A_YIELD = 64,
};

typedef struct worker {
  struct fg_threads *team;
  pthread_t thread;
  uint32_t index;
} worker;

struct fg_threads {
  uint32_t count;
  worker *workers; // [count - 1]

  // The job. Whoever lowers `remaining` from r to r - 1 owns item (items - r) and may then read fn,
  // arg and items: they stand until `done` reaches items. A worker that comes late finds 0 and has
  // touched nothing, so no job waits for workers that it did not need.
  fg_thread_fn *fn;
  void *arg;
  uint32_t items;
  _Alignas(64) _Atomic uint32_t remaining;
  _Alignas(64) _Atomic uint32_t done;

  // Sleeping. A sleeper announces itself, then looks again; who changes the state looks for sleepers
  // after the change (both sequentially consistent), so one of the two sees the other.
  _Alignas(64) _Atomic uint32_t sleepers;
  atomic_bool owner_sleeps, stop;
  pthread_mutex_t mutex;
  pthread_cond_t wake, finished;
};

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// One round of waiting. Where threads outnumber the cores that are free, whoever is waited for may need this
// very core.
static void wait_a_little(int round) {
  if (round % ROUNDS_A_YIELD == ROUNDS_A_YIELD - 1)
    sched_yield();
  else
    relax();
}

static void take_items(fg_threads *t, uint32_t thread) {
  uint32_t left = atomic_load(&t->remaining);
  while (left > 0) {
    if (!atomic_compare_exchange_weak(&t->remaining, &left, left - 1)) continue;
    uint32_t items = t->items;
    t->fn(t->arg, items - left, thread);
    if (atomic_fetch_add(&t->done, 1) + 1 == items && atomic_load(&t->owner_sleeps)) {
      pthread_mutex_lock(&t->mutex);
      pthread_cond_signal(&t->finished);
      pthread_mutex_unlock(&t->mutex);
    }
    left = atomic_load(&t->remaining);
  }
}

static bool work_waits(fg_threads *t) {
  return atomic_load(&t->remaining) > 0 || atomic_load(&t->stop);
}

static void *worker_main(void *arg) {
  worker *w = arg;
  fg_threads *t = w->team;
  while (!atomic_load(&t->stop)) {
    for (int spin = 0; spin < SPINS && !work_waits(t); spin++) wait_a_little(spin);
    if (!work_waits(t)) {
      pthread_mutex_lock(&t->mutex);
      atomic_fetch_add(&t->sleepers, 1);
      while (!work_waits(t)) pthread_cond_wait(&t->wake, &t->mutex);
      atomic_fetch_sub(&t->sleepers, 1);
      pthread_mutex_unlock(&t->mutex);
    }
    take_items(t, w->index);
  }
  return NULL;
}

static void wake_sleepers(fg_threads *t) {
  if (atomic_load(&t->sleepers) == 0) return;
  pthread_mutex_lock(&t->mutex);
  pthread_cond_broadcast(&t->wake);
  pthread_mutex_unlock(&t->mutex);
}

static void wait_until_done(fg_threads *t, uint32_t items) {
  for (int spin = 0; spin < SPINS; spin++) {
    if (atomic_load(&t->done) == items) return;
    wait_a_little(spin);
  }
  pthread_mutex_lock(&t->mutex);
  atomic_store(&t->owner_sleeps, true);
  while (atomic_load(&t->done) != items) pthread_cond_wait(&t->finished, &t->mutex);
  atomic_store(&t->owner_sleeps, false);
  pthread_mutex_unlock(&t->mutex);
}

void fg_threads_run(fg_threads *threads, uint32_t items, fg_thread_fn *fn, void *arg) {
  if (!threads || threads->count == 1 || items <= 1) {
    for (uint32_t i = 0; i < items; i++) fn(arg, i, 0);
    return;
  }
  threads->fn = fn;
  threads->arg = arg;
  threads->items = items;
  atomic_store(&threads->done, 0);
  atomic_store(&threads->remaining, items);
  wake_sleepers(threads);
  take_items(threads, 0);
  wait_until_done(threads, items);
}

// Workers take no signals: those of the process go to the threads that the application knows of.
static int start_worker(worker *w) {
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error) return error;
  sigset_t all, before;
  sigfillset(&all);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(&w->thread, &attributes, worker_main, w);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return error;
}

fg_status fg_threads_create(fg_threads **out, uint32_t count, fg_error *err) {
  if (count == 0) count = fg_machine_cores();
  if (count > MAX_THREADS)
    return fg_fail(err, FG_INVALID, "%u threads are too many; at most %d", count, MAX_THREADS);
  fg_threads *t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);
  worker *workers = calloc(count, sizeof *workers);
  if (!t || !workers) {
    free(t);
    free(workers);
    return fg_fail(err, FG_NO_SPACE, "no memory for a team of %u threads", count);
  }
  memset(t, 0, sizeof *t);
  t->workers = workers;
  t->count = 1;
  pthread_mutex_init(&t->mutex, NULL);
  pthread_cond_init(&t->wake, NULL);
  pthread_cond_init(&t->finished, NULL);
  for (uint32_t i = 1; i < count; i++) {
    worker *w = &workers[i - 1];
    *w = (worker){.team = t, .index = i};
    int error = start_worker(w);
    if (error) {
      fg_threads_destroy(t);
      return fg_fail(err, FG_NO_SPACE, "cannot start thread %u of %u: %s", i + 1, count, strerror(error));
    }
    t->count = i + 1;
  }
  *out = t;
  return FG_OK;
}

void fg_threads_destroy(fg_threads *threads) {
  if (!threads) return;
  atomic_store(&threads->stop, true);
  wake_sleepers(threads);
  for (uint32_t i = 1; i < threads->count; i++) pthread_join(threads->workers[i - 1].thread, NULL);
  pthread_cond_destroy(&threads->finished);
  pthread_cond_destroy(&threads->wake);
  pthread_mutex_destroy(&threads->mutex);
  free(threads->workers);
  free(threads);
}

uint32_t fg_threads_count(const fg_threads *threads) {
  return threads ? threads->count : 1;
}

#if defined(__linux__)

static uint32_t threads_of_affinity(void) {
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    cpu_set_t *set = CPU_ALLOC(cpus);
    if (!set) break;
    size_t size = CPU_ALLOC_SIZE(cpus);
    int rc = sched_getaffinity(0, size, set), error = errno;
    uint32_t cores = rc == 0 ? (uint32_t)CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (rc == 0) return cores ? cores : 1;
    if (error != EINVAL) break; // EINVAL: the set is smaller than the kernel's
  }
  return 1;
}

#else

static uint32_t threads_of_affinity(void) {
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 && count < MAX_THREADS ? (uint32_t)count : 1;
}

#endif

// Cores worth of CPU time that one group may use, rounded up; UINT64_MAX without a quota.
static uint64_t group_cores(const fg_cgroup *group) {
  char text[64];
  int64_t quota, period;
  if (group->unified) {
    if (!fg_cgroup_read(group, "cpu.max", text, sizeof text) ||
        sscanf(text, "%" SCNd64 " %" SCNd64, &quota, &period) != 2)
      return UINT64_MAX;
  } else {
    if (!fg_cgroup_read(group, "cpu.cfs_quota_us", text, sizeof text) ||
        sscanf(text, "%" SCNd64, &quota) != 1)
      return UINT64_MAX;
    if (!fg_cgroup_read(group, "cpu.cfs_period_us", text, sizeof text) ||
        sscanf(text, "%" SCNd64, &period) != 1)
      return UINT64_MAX;
  }
  if (quota <= 0 || period <= 0) return UINT64_MAX;
  return (uint64_t)quota / (uint64_t)period + ((uint64_t)quota % (uint64_t)period != 0);
}

uint32_t fg_machine_cores(void) {
  uint32_t cores = fg_topology_cores(NULL, NULL);
  if (cores == 0) cores = threads_of_affinity();
  fg_cgroup group;
  if (fg_cgroup_find(&group, "cpu")) {
    do {
      uint64_t quota = group_cores(&group);
      if (quota < cores) cores = (uint32_t)quota;
    } while (fg_cgroup_parent(&group));
  }
  return cores;
}
