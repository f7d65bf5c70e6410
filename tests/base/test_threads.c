#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/threads.h"

enum { MOST_ITEMS = 1000, MOST_TEAM = 4 };

typedef struct tally {
  uint32_t hits[MOST_ITEMS]; // plain: an item handed out twice is a race that a sanitizer sees, too
  uint32_t team;
  int bad_thread;
} tally;

static void count_item(void *arg, uint32_t item, uint32_t thread) {
  tally *t = arg;
  t->hits[item]++;
  if (thread >= t->team) t->bad_thread = 1;
}

static void test_every_item_is_done_once(void **state) {
  (void)state;
  static tally t;
  for (uint32_t team = 1; team <= MOST_TEAM; team++) {
    fg_threads *threads;
    assert_int_equal(fg_threads_create(&threads, team, NULL), FG_OK);
    assert_int_equal(fg_threads_count(threads), team);
    memset(&t, 0, sizeof t);
    t.team = team;
    static const uint32_t sizes[] = {0, 1, 2, 3, 5, 64, MOST_ITEMS};
    uint32_t want[MOST_ITEMS] = {0};
    for (int round = 0; round < 700; round++) {
      uint32_t items = sizes[round % 7];
      fg_threads_run(threads, items, count_item, &t);
      for (uint32_t i = 0; i < items; i++) want[i]++;
      if (round % 50 == 0) usleep(2000); // long enough for the workers to fall asleep
      assert_memory_equal(t.hits, want, sizeof want);
    }
    assert_false(t.bad_thread);
    fg_threads_destroy(threads);
  }
}

static void slow_for_workers(void *arg, uint32_t item, uint32_t thread) {
  (void)item;
  uint32_t *done = arg;
  usleep(thread ? 5000 : 300); // workers get some; then the caller runs out of items first and must sleep
  done[item] = 1;
}

static void note_thread(void *arg, uint32_t item, uint32_t thread) {
  ((uint32_t *)arg)[item] += thread + 1;
}

static void test_no_team_is_the_caller_alone(void **state) {
  (void)state;
  uint32_t done[3] = {0};
  assert_int_equal(fg_threads_count(NULL), 1);
  fg_threads_run(NULL, 3, note_thread, done);
  for (int i = 0; i < 3; i++) assert_int_equal(done[i], 1);
}

static void test_the_caller_waits_for_slow_workers(void **state) {
  (void)state;
  fg_threads *threads;
  assert_int_equal(fg_threads_create(&threads, 3, NULL), FG_OK);
  for (int round = 0; round < 50; round++) {
    uint32_t done[6] = {0};
    fg_threads_run(threads, 6, slow_for_workers, done);
    for (int i = 0; i < 6; i++) assert_int_equal(done[i], 1);
  }
  fg_threads_destroy(threads);
}

typedef struct chain {
  uint64_t *from, *to;
} chain;

static void add_neighbours(void *arg, uint32_t item, uint32_t thread) {
  (void)thread;
  const chain *c = arg;
  c->to[item] = c->from[(item + 1) % 16] * 3 + c->from[item] + 1;
}

// Each job reads what the one before it wrote, in other threads.
static void test_a_job_sees_all_that_the_job_before_wrote(void **state) {
  (void)state;
  uint64_t buffers[2][16] = {{0}}, alone[2][16] = {{0}};
  fg_threads *threads;
  assert_int_equal(fg_threads_create(&threads, MOST_TEAM, NULL), FG_OK);
  for (int round = 0; round < 20000; round++) {
    chain c = {buffers[round & 1], buffers[!(round & 1)]};
    fg_threads_run(threads, 16, add_neighbours, &c);
    chain d = {alone[round & 1], alone[!(round & 1)]};
    for (uint32_t i = 0; i < 16; i++) add_neighbours(&d, i, 0);
  }
  assert_memory_equal(buffers, alone, sizeof buffers);
  fg_threads_destroy(threads);
}

static void test_a_team_that_never_worked_ends(void **state) {
  (void)state;
  for (int round = 0; round < 50; round++) {
    fg_threads *threads;
    assert_int_equal(fg_threads_create(&threads, MOST_TEAM, NULL), FG_OK);
    if (round % 2) usleep(1000);
    fg_threads_destroy(threads);
  }
  fg_threads_destroy(NULL);
}

static void use_stack(void *arg, uint32_t item, uint32_t thread) {
  (void)arg, (void)thread;
  volatile char room[256 << 10];
  for (size_t i = 0; i < sizeof room; i += 4096) room[i] = (char)item;
}

static void test_workers_have_stack_for_a_kernel(void **state) {
  (void)state;
  fg_threads *threads;
  assert_int_equal(fg_threads_create(&threads, 2, NULL), FG_OK);
  for (int round = 0; round < 20; round++) fg_threads_run(threads, 8, use_stack, NULL);
  fg_threads_destroy(threads);
}

static void note_signal_mask(void *arg, uint32_t item, uint32_t thread) {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  ((int *)arg)[item] = thread == 0 || sigismember(&mask, SIGINT);
  if (thread == 0) usleep(1000); // leave items for the worker
}

static void test_signals_go_to_the_caller_only(void **state) {
  (void)state;
  fg_threads *threads;
  int blocked[8];
  assert_int_equal(fg_threads_create(&threads, 2, NULL), FG_OK);
  fg_threads_run(threads, 8, note_signal_mask, blocked);
  for (int i = 0; i < 8; i++) assert_true(blocked[i]);
  sigset_t mine;
  pthread_sigmask(SIG_SETMASK, NULL, &mine);
  assert_false(sigismember(&mine, SIGINT));
  fg_threads_destroy(threads);
}

static void test_default_team_fits_the_machine(void **state) {
  (void)state;
  fg_threads *threads;
  assert_true(fg_machine_cores() >= 1 && fg_machine_cores() <= (uint32_t)sysconf(_SC_NPROCESSORS_CONF));
  assert_int_equal(fg_threads_create(&threads, 0, NULL), FG_OK);
  assert_int_equal(fg_threads_count(threads), fg_machine_cores());
  fg_threads_destroy(threads);
  assert_int_equal(fg_threads_create(&threads, 100000, NULL), FG_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_item_is_done_once),
      cmocka_unit_test(test_no_team_is_the_caller_alone),
      cmocka_unit_test(test_the_caller_waits_for_slow_workers),
      cmocka_unit_test(test_a_job_sees_all_that_the_job_before_wrote),
      cmocka_unit_test(test_a_team_that_never_worked_ends),
      cmocka_unit_test(test_workers_have_stack_for_a_kernel),
      cmocka_unit_test(test_signals_go_to_the_caller_only),
      cmocka_unit_test(test_default_team_fits_the_machine),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
