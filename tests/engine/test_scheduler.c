// The scheduler as a table of situations and steps, and against a model of its promises on random ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/scheduler.h"

// ---- situations: a script of additions, steps and removals, and the steps that must come out ---------

static void describe(const fg_step *step, char *out, size_t size) {
  size_t used = 0;
  out[0] = 0;
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    used += (size_t)snprintf(out + used, size - used, "%s%u:%u+%u%s", i ? " " : "", c->seq, c->begin,
                             c->count, c->last ? "!" : "");
  }
  if (step->preempted) snprintf(out + used, size - used, " preempted %u", step->preempted);
}

// "a7" adds a sequence of 7 tokens, "r0" removes sequence 0, "s" makes a step and appends a token to
// every sequence that asked for its next one; each step is compared with the next of `steps`, which
// writes a chunk as seq:begin+count, with ! when it reaches the last known token.
typedef struct situation {
  const char *name;
  fg_scheduler_limits limits; // tokens, seqs, pages, page tokens, longest
  const char *script;
  const char *steps[8];
} situation;

static const situation situations[] = {
    {"one prompt, then its tokens", {8, 4, 8, 4, 32}, "a3 s s s", {"0:0+3!", "0:3+1!", "0:4+1!"}},
    {"a long prompt comes in chunks",
     {4, 4, 8, 4, 32},
     "a10 s s s s",
     {"0:0+4", "0:4+4", "0:8+2!", "0:10+1!"}},
    {"decodes come before chunks before new ones",
     {8, 4, 16, 4, 32},
     "a4 s a12 a3 s s s",
     {"0:0+4!", "0:4+1! 1:0+7", "0:5+1! 1:7+5! 2:0+2", "0:6+1! 1:12+1! 2:2+1!"}},
    {"rows bound what runs", {8, 1, 16, 4, 32}, "a2 a2 s s r0 s", {"0:0+2!", "0:2+1!", "1:0+2!"}},
    {"tokens of a step bound what runs",
     {2, 4, 16, 4, 32},
     "a1 a1 a1 s s",
     {"0:0+1! 1:0+1!", "0:1+1! 1:1+1!"}},
    {"a new sequence waits until its prompt and room to grow are free",
     {16, 4, 4, 4, 16},
     "a4 a8 s r0 s",
     {"0:0+4!", "1:0+8!"}},
    {"the youngest gives way and comes back with all its tokens",
     {16, 4, 5, 4, 20},
     "a4 a4 s s s s s s r0 s",
     {"0:0+4! 1:0+4!", "0:4+1! 1:4+1!", "0:5+1! 1:5+1!", "0:6+1! 1:6+1!", "0:7+1! 1:7+1!",
      "0:8+1! preempted 1", "1:0+9!"}},
    {"nothing left", {8, 4, 8, 4, 32}, "a3 s r0 s", {"0:0+3!", ""}},
};

static void play(const situation *t) {
  fg_scheduler *s;
  fg_error err;
  assert_int_equal(fg_scheduler_create(&s, &t->limits, &err), FG_OK);
  size_t next = 0;
  char *script = strdup(t->script), *save = NULL;
  for (char *word = strtok_r(script, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
    uint32_t number = (uint32_t)strtoul(word + 1, NULL, 10);
    if (word[0] == 'a') {
      fg_seq seq;
      assert_int_equal(fg_scheduler_add(s, number, &seq, &err), FG_OK);
    } else if (word[0] == 'r') {
      fg_scheduler_remove(s, number);
    } else {
      fg_step step;
      char text[512];
      fg_scheduler_plan(s, &step);
      fg_scheduler_done(s, &step);
      describe(&step, text, sizeof text);
      if (strcmp(text, t->steps[next]) != 0) print_error("situation '%s', step %zu\n", t->name, next);
      assert_string_equal(text, t->steps[next++]);
      for (uint32_t i = 0; i < step.chunk_count; i++)
        if (step.chunks[i].last) fg_scheduler_append(s, step.chunks[i].seq);
    }
  }
  free(script);
  fg_scheduler_destroy(s);
}

static void test_situations_give_their_steps(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof situations / sizeof *situations; i++) play(&situations[i]);
}

static void test_add_refuses_what_can_never_run(void **state) {
  (void)state;
  fg_scheduler *s;
  fg_error err;
  fg_seq seq;
  assert_int_equal(fg_scheduler_create(&s, &(fg_scheduler_limits){8, 4, 4, 4, 64}, &err), FG_OK);
  assert_true(fg_scheduler_fits(s, 16));
  assert_false(fg_scheduler_fits(s, 17));
  assert_false(fg_scheduler_fits(s, 0));
  assert_int_equal(fg_scheduler_add(s, 17, &seq, &err), FG_INVALID);
  fg_scheduler_destroy(s);
  assert_int_equal(fg_scheduler_create(&s, &(fg_scheduler_limits){8, 0, 4, 4, 64}, &err), FG_INVALID);
  assert_null(s);
}

// ---- random situations against the promises --------------------------------------------------------

enum { MOST = 64 };

typedef struct model_sequence {
  bool live;
  uint32_t known, wanted, ticket, idle; // idle: steps in a row without a chunk while first in line
} model_sequence;

typedef struct world {
  fg_scheduler *s;
  fg_scheduler_limits limits;
  model_sequence of[4 * MOST];
  uint32_t live, added, to_add, finished;
  uint64_t random, seed;
} world;

static uint32_t pick(world *w, uint32_t below) {
  w->random = w->random * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)((w->random >> 33) % below);
}

static void check(const world *w, bool truth, const char *promise) {
  if (!truth) {
    print_error("seed %llu: %s\n", (unsigned long long)w->seed, promise);
    fail();
  }
}

// Pages of different sequences never overlap, each is in range, and none is lost.
static void check_pages(const world *w) {
  uint8_t *owner = calloc(w->limits.pages, 1);
  uint32_t held = 0, running = 0;
  for (fg_seq seq = 0; seq < 4 * MOST; seq++) {
    if (!w->of[seq].live) continue;
    uint32_t count;
    const uint32_t *pages = fg_scheduler_pages(w->s, seq, &count);
    running += pages != NULL;
    for (uint32_t i = 0; i < count; i++) {
      check(w, pages[i] < w->limits.pages && !owner[pages[i]], "a page belongs to two sequences");
      owner[pages[i]] = 1;
      held++;
    }
    check(w, fg_scheduler_computed(w->s, seq) <= count * w->limits.page_tokens,
          "computed tokens without a page");
    check(w, fg_scheduler_known(w->s, seq) == w->of[seq].known, "known tokens changed");
  }
  check(w, held + fg_scheduler_free_pages(w->s) == w->limits.pages, "a page is lost");
  check(w, running == fg_scheduler_running(w->s), "running count");
  check(w, running + fg_scheduler_waiting(w->s) == w->live, "waiting count");
  check(w, running <= w->limits.max_seqs, "more running than rows");
  free(owner);
}

static void check_step(const world *w, const fg_step *step) {
  uint32_t tokens = 0;
  bool decodes_over = false;
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    const model_sequence *m = &w->of[c->seq];
    uint32_t pages;
    fg_scheduler_pages(w->s, c->seq, &pages);
    for (uint32_t j = 0; j < i; j++) check(w, step->chunks[j].seq != c->seq, "two chunks of one sequence");
    check(w, m->live && c->count > 0, "an empty chunk or a stranger");
    check(w, c->begin == fg_scheduler_computed(w->s, c->seq), "a chunk leaves a gap");
    check(w, c->begin + c->count <= m->known, "a chunk beyond what is known");
    check(w, c->last == (c->begin + c->count == m->known), "the mark of the last chunk");
    check(w, pages * w->limits.page_tokens >= c->begin + c->count, "a token of the step has no page");
    bool decode = c->begin && c->begin + 1 == m->known;
    check(w, !(decode && decodes_over), "a decode after a chunk");
    decodes_over |= !decode;
    tokens += c->count;
  }
  check(w, tokens == step->tokens && tokens <= w->limits.max_tokens, "the token budget");
}

// The oldest sequence gets a chunk in every step: with that, each one becomes the oldest and finishes.
static void check_oldest_advances(const world *w, const fg_step *step) {
  fg_seq oldest = MOST * 4;
  for (fg_seq seq = 0; seq < 4 * MOST; seq++)
    if (w->of[seq].live && (oldest == MOST * 4 || w->of[seq].ticket < w->of[oldest].ticket)) oldest = seq;
  if (oldest == MOST * 4) return;
  bool found = false;
  for (uint32_t i = 0; i < step->chunk_count; i++) found |= step->chunks[i].seq == oldest;
  check(w, found, "the oldest sequence does not advance");
}

static void finish(world *w, fg_seq seq) {
  fg_scheduler_remove(w->s, seq);
  w->of[seq].live = false;
  w->live--;
  w->finished++;
}

static void add_some(world *w) {
  while (w->added < w->to_add && w->live < 2 * MOST && pick(w, 3)) {
    uint32_t room = w->limits.max_len;
    if ((uint64_t)w->limits.pages * w->limits.page_tokens < room)
      room = w->limits.pages * w->limits.page_tokens;
    uint32_t wanted = 1 + pick(w, room), known = 1 + pick(w, wanted);
    fg_seq seq;
    fg_error err;
    check(w, fg_scheduler_add(w->s, known, &seq, &err) == FG_OK, "a sequence that fits was refused");
    check(w, seq < 4 * MOST && !w->of[seq].live, "a slot in use was given out");
    w->of[seq] = (model_sequence){true, known, wanted, w->added++, 0};
    w->live++;
  }
}

static uint32_t run_world(uint64_t seed) {
  world w = {.seed = seed, .random = seed * 0x9E3779B97F4A7C15u + 1};
  w.limits = (fg_scheduler_limits){1 + pick(&w, 40), 1 + pick(&w, 12), 1 + pick(&w, 40), 1 + pick(&w, 9),
                                   1 + pick(&w, 120)};
  w.to_add = 1 + pick(&w, MOST);
  fg_error err;
  assert_int_equal(fg_scheduler_create(&w.s, &w.limits, &err), FG_OK);
  uint32_t steps = 0, preempted = 0;
  while (w.finished < w.to_add) {
    add_some(&w);
    fg_step step;
    fg_scheduler_plan(w.s, &step);
    check_step(&w, &step);
    check_oldest_advances(&w, &step);
    check_pages(&w);
    preempted += step.preempted;
    fg_scheduler_done(w.s, &step);
    for (uint32_t i = 0; i < step.chunk_count; i++) {
      model_sequence *m = &w.of[step.chunks[i].seq];
      if (!step.chunks[i].last) continue;
      if (m->known < m->wanted) {
        fg_scheduler_append(w.s, step.chunks[i].seq);
        m->known++;
      } else {
        finish(&w, step.chunks[i].seq);
      }
    }
    if (pick(&w, 20) == 0) { // a caller gives up on one, running or waiting
      fg_seq seq = pick(&w, 4 * MOST);
      if (w.of[seq].live) finish(&w, seq);
    }
    check_pages(&w);
    check(&w, ++steps < 200000, "the job does not end");
  }
  fg_step step;
  fg_scheduler_plan(w.s, &step);
  check(&w, step.chunk_count == 0 && fg_scheduler_free_pages(w.s) == w.limits.pages, "something is left");
  fg_scheduler_destroy(w.s);
  return preempted;
}

static void test_random_jobs_keep_every_promise(void **state) {
  (void)state;
  const char *fixed = getenv("FG_TEST_SEED");
  uint64_t first = fixed ? strtoull(fixed, NULL, 10) : 1, count = fixed ? 1 : 1500;
  uint64_t preempted = 0;
  print_message("seeds %llu to %llu (FG_TEST_SEED=N for one)\n", (unsigned long long)first,
                (unsigned long long)(first + count - 1));
  for (uint64_t seed = first; seed < first + count; seed++) preempted += run_world(seed);
  if (!fixed) assert_true(preempted > 1000); // the situations must be tight enough to matter
}

// A tight cache must not make the same work be done again and again.
static void test_preemption_wastes_little(void **state) {
  (void)state;
  fg_scheduler *s;
  fg_error err;
  // 64 sequences, 100 prompt tokens and 100 answers each; the cache holds ten of the longest.
  assert_int_equal(fg_scheduler_create(&s, &(fg_scheduler_limits){256, 64, 130, 16, 256}, &err), FG_OK);
  fg_seq seq;
  for (int i = 0; i < 64; i++) assert_int_equal(fg_scheduler_add(s, 100, &seq, &err), FG_OK);
  uint64_t computed = 0;
  fg_step step;
  for (fg_scheduler_plan(s, &step); step.chunk_count; fg_scheduler_plan(s, &step)) {
    fg_scheduler_done(s, &step);
    computed += step.tokens;
    for (uint32_t i = 0; i < step.chunk_count; i++) {
      if (!step.chunks[i].last) continue;
      if (fg_scheduler_known(s, step.chunks[i].seq) < 200)
        fg_scheduler_append(s, step.chunks[i].seq);
      else
        fg_scheduler_remove(s, step.chunks[i].seq);
    }
  }
  print_message("tokens computed: %llu of 12800 needed\n", (unsigned long long)computed);
  assert_true(computed < 12800 * 3 / 2);
  fg_scheduler_destroy(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_situations_give_their_steps),
      cmocka_unit_test(test_add_refuses_what_can_never_run),
      cmocka_unit_test(test_random_jobs_keep_every_promise),
      cmocka_unit_test(test_preemption_wastes_little),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
