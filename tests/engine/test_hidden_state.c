// The hidden state of a step's rows, in batches on three tiers: after any number of sweeps each row is what
// was done to it, on devices that the host can and cannot reach into.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/hidden_state.h"

enum { WIDTH = 48, BATCH_ROWS = 40, BATCHES = 12, ROWS = BATCH_ROWS * BATCHES };

typedef struct bench {
  fg_budget *host, *memory;
  fg_device *device;
  fg_hidden_state *hidden;
  fg_memory *ones;
  float made[ROWS * WIDTH], seen[ROWS * WIDTH], one[BATCH_ROWS * WIDTH];
  uint32_t rows[BATCHES], begin[BATCHES], count;
  fg_error err;
} bench;

#define must(call)                                                                                           \
  do {                                                                                                       \
    if ((call) != FG_OK) fail_msg("%s", b->err.message);                                                     \
  } while (0)

static bench *open_bench(const char *device, const fg_hidden_limits *limits) {
  bench *b = calloc(1, sizeof *b);
  must(fg_budget_create(&b->host, "host memory", "--host-memory", 0, &b->err));
  must(fg_budget_create(&b->memory, "device memory", "--device-memory", 0, &b->err));
  const fg_device_options options = {
      .max_rows = BATCH_ROWS, .max_width = WIDTH, .host = b->host, .memory = b->memory};
  must(fg_device_create(&b->device, device, &options, &b->err));
  const uint64_t host_before = fg_budget_used(b->host), device_before = fg_budget_used(b->memory);
  const fg_hidden_options hidden = {
      .limits = *limits, .device = b->device, .host = b->host, .folder = "/tmp"};
  must(fg_hidden_create(&b->hidden, &hidden, &b->err));
  uint64_t host, memory;
  fg_hidden_bytes(limits, false, &host, &memory);
  if (strcmp(device, "fake") == 0) assert_true(fg_budget_used(b->host) - host_before <= host + FG_IO_ALIGN);
  assert_true(fg_budget_used(b->memory) - device_before <= memory);
  for (uint32_t i = 0; i < BATCH_ROWS * WIDTH; i++) b->one[i] = 1;
  must(b->device->ops->memory_create(b->device, sizeof b->one, "ones", &b->ones, &b->err));
  must(b->device->ops->upload(b->device, FG_QUEUE_COMPUTE, b->ones, 0, b->one, sizeof b->one, &b->err));
  return b;
}

static void close_bench(bench *b) {
  b->device->ops->memory_destroy(b->device, b->ones);
  fg_hidden_destroy(b->hidden);
  fg_device_destroy(b->device);
  assert_int_equal(fg_budget_used(b->host), 0);
  assert_int_equal(fg_budget_used(b->memory), 0);
  fg_budget_destroy(b->host);
  fg_budget_destroy(b->memory);
  free(b);
}

static void make_rows(bench *b, uint32_t i, fg_view view) {
  float *values = b->made + (size_t)b->begin[i] * WIDTH;
  for (uint32_t v = 0; v < b->rows[i] * WIDTH; v++) values[v] = (float)(i * 4096 + v);
  must(b->device->ops->upload(b->device, FG_QUEUE_COMPUTE, view.memory, view.offset, values,
                              b->rows[i] * WIDTH * sizeof(float), &b->err));
}

static void add_one(bench *b, uint32_t i, fg_view view) {
  fg_call call = {.op = FG_OP_ADD, .rows = b->rows[i], .a = {b->ones, 0, WIDTH}, .out = view};
  call.params.copy.width = WIDTH;
  call.params.copy.scale = 1;
  must(b->device->ops->run(b->device, FG_QUEUE_COMPUTE, &call, &b->err));
}

static void look(bench *b, uint32_t i, fg_view view) {
  must(b->device->ops->download(b->device, FG_QUEUE_COMPUTE, view.memory, view.offset,
                                b->seen + (size_t)b->begin[i] * WIDTH, b->rows[i] * WIDTH * sizeof(float),
                                &b->err));
}

static void sweep(bench *b, fg_sweep what) {
  static void (*const work[])(bench *, uint32_t, fg_view) = {make_rows, add_one, look};
  must(fg_hidden_sweep(b->hidden, what, &b->err));
  for (uint32_t i = 0; i < b->count; i++) {
    fg_view view;
    must(fg_hidden_acquire(b->hidden, &view, &b->err));
    if (b->rows[i]) work[what](b, i, view);
    must(fg_hidden_release(b->hidden, b->rows[i], &b->err));
  }
}

static void add_batches(bench *b) {
  uint32_t row = 0;
  b->count = 1 + (uint32_t)rand() % BATCHES;
  fg_hidden_begin(b->hidden);
  for (uint32_t i = 0; i < b->count; i++) {
    b->rows[i] = 1 + (uint32_t)rand() % BATCH_ROWS;
    b->begin[i] = row;
    row += b->rows[i];
    must(fg_hidden_add(b->hidden, b->rows[i], &b->err));
  }
}

static void run_step(bench *b) {
  add_batches(b);
  sweep(b, FG_SWEEP_MAKE);
  const uint32_t changes = (uint32_t)rand() % 5;
  for (uint32_t i = 0; i < changes; i++) sweep(b, FG_SWEEP_CHANGE);
  for (uint32_t i = 0; i < b->count; i++) b->rows[i] -= (uint32_t)rand() % (b->rows[i] + 1); // some have none
  sweep(b, FG_SWEEP_CHANGE); // of those that go on, the first rows
  memset(b->seen, 0, sizeof b->seen);
  sweep(b, FG_SWEEP_READ);
  sweep(b, FG_SWEEP_READ);
  must(fg_hidden_finish(b->hidden, &b->err));
  must(b->device->ops->host_wait(b->device, b->device->ops->record(b->device, FG_QUEUE_COMPUTE), &b->err));
  for (uint32_t i = 0; i < b->count; i++)
    for (uint32_t v = 0; v < b->rows[i] * WIDTH; v++) {
      const size_t at = (size_t)b->begin[i] * WIDTH + v;
      if (b->seen[at] != b->made[at] + (float)(changes + 1))
        fail_msg("batch %u, value %u: %g after %u changes of %g", i, v, (double)b->seen[at], changes + 1,
                 (double)b->made[at]);
    }
}

static void test_rows_are_what_was_done_to_them_on_every_tier(void **state) {
  (void)state;
  static const char *const devices[] = {"cpu", "fake"};
  static const fg_hidden_limits places[] = {{.fast_rows = ROWS},
                                            {.disk_rows = ROWS},
                                            {.fast_rows = 100, .disk_rows = ROWS},
                                            {.host_rows = ROWS},
                                            {.fast_rows = 90, .host_rows = 90, .disk_rows = ROWS}};
  for (unsigned seed = 0; seed < 20; seed++)
    for (size_t p = 0; p < sizeof places / sizeof *places; p++)
      for (int d = 0; d < 2; d++) {
        if (d == 0 && places[p].host_rows) continue; // its memory is the host's
        fg_hidden_limits limits = places[p];
        limits.width = WIDTH;
        limits.batch_rows = BATCH_ROWS;
        limits.batches = BATCHES;
        srand(seed);
        bench *b = open_bench(devices[d], &limits);
        for (int step = 0; step < 3; step++) run_step(b);
        close_bench(b);
      }
}

static void test_rows_beyond_all_room_are_refused(void **state) {
  (void)state;
  const fg_hidden_limits limits = {
      .width = WIDTH, .fast_rows = 50, .batch_rows = BATCH_ROWS, .batches = BATCHES};
  bench *b = open_bench("cpu", &limits);
  fg_hidden_begin(b->hidden);
  must(fg_hidden_add(b->hidden, 40, &b->err));
  assert_int_equal(fg_hidden_add(b->hidden, 11, &b->err), FG_INTERNAL);
  must(fg_hidden_add(b->hidden, 10, &b->err));
  assert_int_equal(fg_hidden_add(b->hidden, BATCH_ROWS + 1, &b->err), FG_INTERNAL);
  close_bench(b);
}

static void test_disk_sees_only_what_has_no_room_elsewhere(void **state) {
  (void)state;
  const fg_hidden_limits limits = {.width = 1024, // whole blocks
                                   .fast_rows = 2 * BATCH_ROWS,
                                   .disk_rows = ROWS,
                                   .batch_rows = BATCH_ROWS,
                                   .batches = BATCHES};
  bench *b = calloc(1, sizeof *b);
  must(fg_budget_create(&b->host, "host memory", "--host-memory", 0, &b->err));
  const fg_device_options options = {
      .max_rows = BATCH_ROWS, .max_width = 1024, .host = b->host, .memory = b->host};
  must(fg_device_create(&b->device, "cpu", &options, &b->err));
  const fg_hidden_options hidden = {.limits = limits, .device = b->device, .host = b->host, .folder = "/tmp"};
  must(fg_hidden_create(&b->hidden, &hidden, &b->err));
  fg_hidden_begin(b->hidden);
  for (uint32_t i = 0; i < 5; i++) must(fg_hidden_add(b->hidden, BATCH_ROWS, &b->err));
  static const fg_sweep sweeps[] = {FG_SWEEP_MAKE, FG_SWEEP_CHANGE, FG_SWEEP_READ};
  for (int s = 0; s < 3; s++) {
    must(fg_hidden_sweep(b->hidden, sweeps[s], &b->err));
    for (uint32_t i = 0; i < 5; i++) {
      fg_view view;
      must(fg_hidden_acquire(b->hidden, &view, &b->err));
      must(fg_hidden_release(b->hidden, BATCH_ROWS, &b->err));
    }
  }
  must(fg_hidden_finish(b->hidden, &b->err));
  const uint64_t three = 3ull * BATCH_ROWS * 1024 * sizeof(float);
  assert_int_equal(fg_hidden_bytes_written(b->hidden), 2 * three);
  assert_int_equal(fg_hidden_bytes_read(b->hidden), 2 * three);
  fg_hidden_destroy(b->hidden);
  fg_device_destroy(b->device);
  fg_budget_destroy(b->host);
  free(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows_are_what_was_done_to_them_on_every_tier),
      cmocka_unit_test(test_rows_beyond_all_room_are_refused),
      cmocka_unit_test(test_disk_sees_only_what_has_no_room_elsewhere),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
