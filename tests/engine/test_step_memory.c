// A step allocates nothing, once each of its shapes has been seen: calls of the C library's allocator from
// this project's code are counted (the linker passes them through here), over steps of prompts and of
// decodes, with resident and with streamed weights, and with the KV cache on disk. oneDNN's own small blocks,
// inside its library, are not seen.
#include "../scratch_folder.h"

#include <stdatomic.h>
#include <unistd.h>

#include "flexgen/engine.h"

static _Atomic unsigned allocations;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes) {
  atomic_fetch_add(&allocations, 1);
  return __real_malloc(bytes);
}
void *__wrap_calloc(size_t count, size_t bytes) {
  atomic_fetch_add(&allocations, 1);
  return __real_calloc(count, bytes);
}
void *__wrap_realloc(void *block, size_t bytes) {
  atomic_fetch_add(&allocations, 1);
  return __real_realloc(block, bytes);
}
void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
  atomic_fetch_add(&allocations, 1);
  return __real_aligned_alloc(alignment, bytes);
}

enum { SEQUENCES = 4, PROMPT = 40, ANSWER = 24 };

typedef struct setting {
  const char *dtype;
  int resident;    // per cent of the weights
  int cache;       // per cent of the KV cache in memory
  uint32_t drafts; // tokens that a row tries ahead
} setting;

static void finished(void *user, fg_finish how, const fg_error *error) {
  (void)error;
  if (how != FG_FINISH_ERROR) ++*(unsigned *)user;
}

// Two sequences of each of two prompts, which are others each time.
static void submit(fg_engine *engine, unsigned *done, int32_t time) {
  int32_t prompt[PROMPT];
  fg_request request = {.prompt = prompt,
                        .prompt_count = PROMPT,
                        .max_tokens = ANSWER,
                        .sampling = fg_sampling_default(),
                        .logprobs = 3,
                        .prompt_logprobs = -1,
                        .user = done,
                        .on_done = finished};
  request.sampling.top_k = 20;
  request.sampling.ignore_eos = true;
  fg_request_id id;
  fg_error err;
  for (uint64_t i = 0; i < SEQUENCES; i++) {
    request.sampling.row = i;
    for (int32_t t = 0; t < PROMPT; t++) prompt[t] = 100 * time + 50 * (int32_t)(i / 2) + t;
    if (fg_engine_submit(engine, &request, &id, &err) != FG_OK) fail_msg("%s", err.message);
  }
}

static void run_all(fg_engine *engine, unsigned *done) {
  fg_error err;
  *done = 0;
  submit(engine, done, 1);
  while (fg_engine_pending(engine))
    if (fg_engine_step(engine, &err) != FG_OK) fail_msg("%s", err.message);
  assert_int_equal(*done, SEQUENCES);
}

static void test_steps_allocate_nothing_after_the_first(void **state) {
  const setting *s = *state;
  scratch_folder folder;
  scratch_make(&folder);
  int percent[6] = {s->resident, 0, s->cache, 0, 100, 0};
  fg_engine_options options = {.model = FG_TEST_DIR "/oracle/models/llama-gqa",
                               .offload_dir = folder.path,
                               .dtype = s->dtype,
                               .percent = percent,
                               .max_num_batched_tokens = 64, // a prompt and a half: chunks of all kinds
                               .no_speculation = s->drafts == 0,
                               .speculative_tokens = s->drafts,
                               .threads = 2};
  fg_engine *engine;
  fg_error err;
  if (fg_engine_open(&engine, &options, &err) != FG_OK) fail_msg("%s", err.message);
  unsigned done = 0;
  run_all(engine, &done);
  submit(engine, &done, 2);
  atomic_store(&allocations, 0);
  unsigned steps = 0;
  while (fg_engine_pending(engine)) {
    if (fg_engine_step(engine, &err) != FG_OK) fail_msg("%s", err.message);
    steps++;
  }
  unsigned counted = atomic_load(&allocations);
  assert_true(steps > ANSWER / (1 + s->drafts));
  fg_engine_close(engine);
  assert_int_equal(scratch_remove(&folder), 0);
  if (counted) fail_msg("%u allocations in %u steps", counted, steps);
}

int main(void) {
  static setting settings[] = {{"f32", 100, 100, 0}, {"f32", 0, 100, 0},  {"auto", 100, 100, 0},
                               {"auto", 50, 100, 0}, {"f32", 100, 30, 0}, {"auto", 100, 100, 3}};
  const struct CMUnitTest tests[] = {
      {"test_steps_allocate_nothing f32, resident", test_steps_allocate_nothing_after_the_first, NULL, NULL,
       &settings[0]},
      {"test_steps_allocate_nothing f32, streamed", test_steps_allocate_nothing_after_the_first, NULL, NULL,
       &settings[1]},
      {"test_steps_allocate_nothing auto, resident", test_steps_allocate_nothing_after_the_first, NULL, NULL,
       &settings[2]},
      {"test_steps_allocate_nothing auto, half streamed", test_steps_allocate_nothing_after_the_first, NULL,
       NULL, &settings[3]},
      {"test_steps_allocate_nothing f32, cache on disk", test_steps_allocate_nothing_after_the_first, NULL,
       NULL, &settings[4]},
      {"test_steps_allocate_nothing auto, tokens tried ahead", test_steps_allocate_nothing_after_the_first,
       NULL, NULL, &settings[5]},
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
