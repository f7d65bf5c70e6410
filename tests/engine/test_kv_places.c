#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/kv_places.h"
#include "engine/scheduler.h"

enum { T = 4 }; // tokens of a page

static fg_kv_places *make(uint32_t device, uint32_t host, uint32_t disk, uint32_t open) {
  fg_kv_places *p;
  fg_error err;
  const fg_kv_places_limits limits = {device, host, disk, open, T, false};
  if (fg_kv_places_create(&p, &limits, &err) != FG_OK) fail_msg("%s", err.message);
  return p;
}

static void add(fg_kv_places *p, const uint32_t *pages, uint32_t begin, uint32_t end, uint32_t longest) {
  fg_error err;
  const fg_kv_tokens tokens = {pages, (end - 1) / T + 1, begin, end, longest};
  if (fg_kv_places_add(p, &tokens, &err) != FG_OK) fail_msg("%s", err.message);
}

static void test_full_pages_fill_fast_memory_then_the_hosts_then_the_disk(void **state) {
  (void)state;
  static const fg_kv_home homes[] = {FG_KV_FAST, FG_KV_FAST, FG_KV_HOST, FG_KV_DISK, FG_KV_DISK, FG_KV_FAST};
  const uint32_t pages[] = {5, 4, 3, 2, 1, 0};
  fg_kv_places *p = make(2, 1, 3, 3);
  add(p, pages, 0, 5 * T + 1, 0);
  for (uint32_t i = 0; i < 6; i++) assert_int_equal(fg_kv_places_of(p, pages[i]).home, homes[i]);
  fg_kv_places_destroy(p);
}

static void test_page_that_fills_up_is_in_both_until_the_step_is_over(void **state) {
  (void)state;
  const uint32_t pages[] = {0, 1};
  fg_kv_places *p = make(0, 0, 2, 2);
  add(p, pages, 0, 3, 0);
  fg_kv_places_settle(p);
  const uint32_t slot = fg_kv_places_of(p, 0).slot;
  assert_int_equal(fg_kv_places_of(p, 0).home, FG_KV_FAST);
  add(p, pages, 3, 5, 0);
  assert_int_equal(fg_kv_places_of(p, 0).home, FG_KV_DISK);
  assert_int_equal(fg_kv_places_of(p, 0).slot, slot);
  assert_int_not_equal(fg_kv_places_of(p, 1).slot, slot);
  fg_kv_places_settle(p);
  assert_int_equal(fg_kv_places_of(p, 0).slot, FG_KV_NO_SLOT);
  fg_kv_places_destroy(p);
}

static void test_serial_tells_a_page_from_what_had_its_number_before(void **state) {
  (void)state;
  const uint32_t pages[] = {0, 1};
  fg_kv_places *p = make(0, 0, 2, 2);
  add(p, pages, 0, T + 1, 0);
  const fg_kv_place before = fg_kv_places_of(p, 0);
  fg_kv_places_settle(p);
  assert_int_equal(fg_kv_places_of(p, 0).serial, before.serial);
  fg_kv_places_drop(p, 0);
  add(p, pages, 0, T, 0);
  assert_int_equal(fg_kv_places_of(p, 0).home, FG_KV_DISK);
  assert_int_not_equal(fg_kv_places_of(p, 0).serial, before.serial);
  fg_kv_places_destroy(p);
}

static void test_oldest_pages_go_elsewhere_where_the_cpu_attends_to_them(void **state) {
  (void)state;
  enum { N = 8 };
  const fg_kv_places_limits limits = {N, N, 2 * N, 3, T, true}; // three quarters are not fast
  const uint32_t a[N] = {0, 1, 2, 3, 4, 5, 6, 7}, b[N] = {8, 9, 10, 11, 12, 13, 14, 15};
  fg_kv_places *p;
  assert_int_equal(fg_kv_places_create(&p, &limits, NULL), FG_OK);
  add(p, a, 0, N * T, N * T);
  for (uint32_t i = 0; i < N; i++) assert_int_equal(fg_kv_places_of(p, a[i]).home == FG_KV_FAST, i >= 6);
  add(p, b, 0, 2 * T + 1, N * T); // page by page, as it grows
  fg_kv_places_settle(p);
  for (uint32_t end = 2 * T + 2; end <= N * T; end++) {
    add(p, b, end - 1, end, N * T);
    fg_kv_places_settle(p);
  }
  for (uint32_t i = 0; i < N; i++) assert_int_equal(fg_kv_places_of(p, b[i]).home == FG_KV_FAST, i >= 6);
  fg_kv_places_destroy(p);
}

// Two sequences whose pages come by turns.
static void test_pages_of_a_sequence_are_neighbours_on_disk(void **state) {
  (void)state;
  const uint32_t a[] = {0, 9, 3, 7}, b[] = {1, 2, 4, 5};
  fg_kv_places *p = make(0, 0, 10, 4);
  for (uint32_t i = 0; i < 4; i++) {
    add(p, a, i * T, (i + 1) * T, 4 * T);
    add(p, b, i * T, (i + 1) * T, 4 * T);
  }
  for (uint32_t i = 1; i < 4; i++) {
    assert_int_equal(fg_kv_places_of(p, a[i]).index, fg_kv_places_of(p, a[0]).index + i);
    assert_int_equal(fg_kv_places_of(p, b[i]).index, fg_kv_places_of(p, b[0]).index + i);
  }
  fg_kv_places_destroy(p);
}

static void test_every_place_on_disk_is_found(void **state) {
  (void)state;
  enum { N = 200 };
  fg_kv_places *p = make(0, 0, N, 2);
  uint32_t pages[N];
  for (uint32_t i = 0; i < N; i++) pages[i] = i;
  for (uint32_t i = 0; i < N; i++) add(p, pages + i, 0, T, T);
  for (uint32_t i = 0; i < N; i += 2) fg_kv_places_drop(p, i); // no two free places are neighbours
  for (uint32_t i = 0; i < N; i += 2) add(p, pages + i, 0, T, 3 * T);
  assert_int_equal(fg_kv_places_left(p).disk_pages, 0);
  fg_error err;
  uint32_t spare = 0;
  fg_kv_places_drop(p, 7);
  add(p, pages + 7, 0, T, T);
  const fg_kv_tokens more = {&spare, 1, 0, T, T};
  assert_int_equal(fg_kv_places_add(p, &more, &err), FG_OK); // begun again: its own place is free
  fg_kv_places_destroy(p);
}

static void test_sequence_that_begins_again_leaves_nothing_behind(void **state) {
  (void)state;
  const uint32_t pages[] = {0, 1, 2};
  fg_kv_places *p = make(0, 0, 3, 3);
  add(p, pages, 0, 2 * T + 2, 0);
  fg_kv_places_settle(p);
  fg_error err;
  const fg_kv_tokens again = {pages, 3, 0, 2, 3 * T};
  assert_int_equal(fg_kv_places_add(p, &again, &err), FG_OK);
  assert_int_equal(fg_kv_places_left(p).disk_pages, 3);
  assert_int_equal(fg_kv_places_left(p).open_slots, 2);
  fg_kv_places_destroy(p);
}

static void test_running_out_is_an_error(void **state) {
  (void)state;
  const uint32_t pages[] = {0, 1, 2};
  fg_kv_places *p = make(0, 0, 3, 1);
  fg_error err;
  add(p, pages, 0, 1, 0);
  const fg_kv_tokens second = {pages + 1, 1, 0, 1, 1};
  assert_int_equal(fg_kv_places_add(p, &second, &err), FG_INTERNAL);
  fg_kv_places_destroy(p);
}

// ---- random jobs, with the scheduler that will give out the pages ---------------------------------------

enum { MOST = 24, PAGES = 64 };

typedef struct world {
  uint64_t seed, random;
  fg_scheduler *s;
  fg_kv_places *p;
  fg_kv_places_limits limits;
  fg_kv_place full[PAGES]; // of pages that were full after the step before; NOWHERE: they were not
  bool live[4 * MOST];
  uint32_t wanted[4 * MOST];
  int32_t tokens[4 * MOST][100]; // of sequences that share pages
} world;

static uint32_t pick(world *w, uint32_t below) { // Marsaglia's xorshift
  w->random ^= w->random << 13;
  w->random ^= w->random >> 7;
  w->random ^= w->random << 17;
  return (uint32_t)(w->random % below);
}

static void check(const world *w, bool holds, const char *what) {
  if (!holds) fail_msg("seed %llu: %s", (unsigned long long)w->seed, what);
}

// No two pages are in one place, of any kind.
static void check_apart(const world *w, uint32_t pages) {
  bool taken[3][2 * PAGES] = {0};
  for (uint32_t i = 0; i < pages; i++) {
    const fg_kv_place place = fg_kv_places_of(w->p, i);
    if (place.slot != FG_KV_NO_SLOT) {
      check(w, place.slot < w->limits.device_pages + w->limits.open_slots, "a slot that is none");
      check(w, !taken[0][place.slot], "two pages in a slot");
      taken[0][place.slot] = true;
    }
    if (place.home == FG_KV_NOWHERE || place.home == FG_KV_FAST) continue;
    const uint32_t room = place.home == FG_KV_HOST ? w->limits.host_pages : w->limits.disk_pages;
    bool *of = taken[place.home == FG_KV_HOST ? 1 : 2];
    check(w, place.index < room && !of[place.index], "two pages in a place");
    of[place.index] = true;
  }
}

static void check_chunk(world *w, const fg_chunk *c) {
  uint32_t count;
  const uint32_t *pages = fg_scheduler_pages(w->s, c->seq, &count);
  for (uint32_t i = 0; i <= (c->begin + c->count - 1) / T; i++) {
    const fg_kv_place place = fg_kv_places_of(w->p, pages[i]);
    check(w, place.home != FG_KV_NOWHERE, "a page in use is nowhere");
    const bool full = (i + 1) * T <= c->begin + c->count;
    if (!full) check(w, place.slot != FG_KV_NO_SLOT, "a page that is not full is not in fast memory");
    if (i * T >= c->begin || (i + 1) * T > c->begin) continue;
    check(w, w->full[pages[i]].home == place.home && w->full[pages[i]].index == place.index,
          "a full page has moved");
  }
}

static void remember_full(world *w, const fg_step *step) {
  for (uint32_t k = 0; k < step->chunk_count; k++) {
    const fg_chunk *c = &step->chunks[k];
    uint32_t count;
    const uint32_t *pages = fg_scheduler_pages(w->s, c->seq, &count);
    for (uint32_t i = 0; i < (c->begin + c->count) / T; i++)
      w->full[pages[i]] = fg_kv_places_of(w->p, pages[i]);
  }
}

static void finish(world *w, fg_seq seq) {
  fg_scheduler_remove(w->s, seq);
  w->live[seq] = false;
}

static void step_world(world *w, const fg_step *step) {
  for (uint32_t i = 0; i < step->dropped_count; i++) fg_kv_places_drop(w->p, step->dropped[i]);
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    uint32_t count;
    const uint32_t *pages = fg_scheduler_pages(w->s, c->seq, &count);
    const fg_kv_tokens tokens = {pages, count, c->begin, c->begin + c->count, w->wanted[c->seq]};
    fg_error err;
    if (fg_kv_places_add(w->p, &tokens, &err) != FG_OK) check(w, false, err.message);
  }
  for (uint32_t i = 0; i < step->chunk_count; i++) check_chunk(w, &step->chunks[i]);
  check_apart(w, w->limits.device_pages + w->limits.host_pages + w->limits.disk_pages);
  fg_kv_places_settle(w->p);
  remember_full(w, step);
}

static void after_step(world *w, const fg_step *step, bool restarts) {
  fg_scheduler_done(w->s, step);
  fg_scheduler_settle(w->s, step);
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_seq seq = step->chunks[i].seq;
    if (!step->chunks[i].last) continue;
    if (fg_scheduler_known(w->s, seq) >= w->wanted[seq]) {
      finish(w, seq);
      continue;
    }
    fg_scheduler_append(w->s, seq);
    if (restarts && pick(w, 16) == 0) fg_scheduler_restart(w->s, seq);
  }
  const fg_seq seq = pick(w, 4 * MOST);
  if (w->live[seq] && pick(w, 10) == 0) finish(w, seq); // cancelled in the middle
}

// One of two texts, with an end of its own now and then.
static void share_text(world *w, fg_seq seq) {
  const int32_t kind = (int32_t)pick(w, 2);
  const uint32_t own = pick(w, 100);
  for (uint32_t i = 0; i < 100; i++) w->tokens[seq][i] = i < own ? kind : (int32_t)(2 + seq);
  const fg_seq_text text = {.tokens = w->tokens[seq], .most = UINT32_MAX};
  fg_scheduler_share(w->s, seq, &text);
}

static uint32_t run_world(uint64_t seed) {
  world w = {.seed = seed, .random = seed * 0x9E3779B97F4A7C15u + 1};
  const bool restarts = pick(&w, 4) == 0;
  const uint32_t seqs = 1 + pick(&w, 10), tokens = 1 + pick(&w, 40);
  w.limits = (fg_kv_places_limits){pick(&w, 12), pick(&w, 12), 1 + pick(&w, 40), 0, T, pick(&w, 2)};
  w.limits.open_slots = (restarts ? 2 : 1) * (seqs < tokens ? seqs : tokens) + 2;
  const uint32_t pages = w.limits.device_pages + w.limits.host_pages + w.limits.disk_pages;
  const fg_scheduler_limits limits = {.max_tokens = tokens,
                                      .max_seqs = seqs,
                                      .pages = pages,
                                      .page_tokens = T,
                                      .max_len = 1 + pick(&w, 100),
                                      .share = restarts ? FG_SHARING_OFF : (fg_sharing)pick(&w, 2),
                                      .cached_pages = pick(&w, pages + 1)};
  fg_error err;
  assert_int_equal(fg_scheduler_create(&w.s, &limits, &err), FG_OK);
  assert_int_equal(fg_kv_places_create(&w.p, &w.limits, &err), FG_OK);
  const uint32_t longest = limits.max_len < pages * T ? limits.max_len : pages * T;
  uint32_t to_add = MOST, preempted = 0;
  fg_step step;
  do {
    for (; to_add && pick(&w, 3); to_add--) {
      fg_seq seq;
      const uint32_t wanted = 1 + pick(&w, longest);
      assert_int_equal(fg_scheduler_add(w.s, 1 + pick(&w, wanted), &seq, &err), FG_OK);
      w.live[seq] = true;
      w.wanted[seq] = wanted;
      share_text(&w, seq);
    }
    fg_scheduler_plan(w.s, &step);
    step_world(&w, &step);
    preempted += step.preempted;
    after_step(&w, &step, restarts);
  } while (to_add || step.chunk_count);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < pages; i++) kept += fg_kv_places_of(w.p, i).home != FG_KV_NOWHERE;
  check(&w, kept <= (limits.share ? limits.cached_pages : 0), "pages are kept that nobody needs");
  for (uint32_t i = 0; i < pages; i++) fg_kv_places_drop(w.p, i);
  const fg_kv_places_limits left = fg_kv_places_left(w.p);
  check(&w,
        left.device_pages == w.limits.device_pages && left.host_pages == w.limits.host_pages &&
            left.disk_pages == w.limits.disk_pages && left.open_slots == w.limits.open_slots,
        "places are lost");
  fg_scheduler_destroy(w.s);
  fg_kv_places_destroy(w.p);
  return preempted;
}

static void test_random_jobs_lose_no_place_and_move_no_page(void **state) {
  (void)state;
  const char *fixed = getenv("FG_TEST_SEED");
  uint64_t first = fixed ? strtoull(fixed, NULL, 10) : 1, count = fixed ? 1 : 1500, preempted = 0;
  print_message("seeds %llu to %llu (FG_TEST_SEED=N for one)\n", (unsigned long long)first,
                (unsigned long long)(first + count - 1));
  for (uint64_t seed = first; seed < first + count; seed++) preempted += run_world(seed);
  if (!fixed) assert_true(preempted > 1000); // pages must change hands within a step, too
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_full_pages_fill_fast_memory_then_the_hosts_then_the_disk),
      cmocka_unit_test(test_page_that_fills_up_is_in_both_until_the_step_is_over),
      cmocka_unit_test(test_oldest_pages_go_elsewhere_where_the_cpu_attends_to_them),
      cmocka_unit_test(test_serial_tells_a_page_from_what_had_its_number_before),
      cmocka_unit_test(test_pages_of_a_sequence_are_neighbours_on_disk),
      cmocka_unit_test(test_every_place_on_disk_is_found),
      cmocka_unit_test(test_sequence_that_begins_again_leaves_nothing_behind),
      cmocka_unit_test(test_running_out_is_an_error),
      cmocka_unit_test(test_random_jobs_lose_no_place_and_move_no_page),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
