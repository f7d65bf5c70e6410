// The simulated device: what commands cost, in which order they are done, and that its memory is not there.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device.h"
#include "device/simulated_cost.h"

enum { ROWS = 1024, N = 512, K = 2048 };

static fg_simulation simulation;
static fg_budget *host, *memory;
static fg_device *device;

static int set_up(void **state) {
  (void)state;
  simulation = (fg_simulation){.machine = {.name = "made up",
                                           .device_memory = 1e12,
                                           .host_memory = 1e11,
                                           .link = 1e9,
                                           .product = 1e12,
                                           .launch = 1e-5}};
  if (fg_budget_create(&host, "host", NULL, 0, NULL) != FG_OK ||
      fg_budget_create(&memory, "device", NULL, 1ull << 40, NULL) != FG_OK)
    return -1;
  fg_budget_make_hollow(memory);
  const fg_device_options options = {.host = host, .memory = memory, .simulation = &simulation};
  return fg_device_create(&device, "simulated", &options, NULL);
}

static int tear_down(void **state) {
  (void)state;
  fg_device_destroy(device);
  fg_budget_destroy(memory);
  fg_budget_destroy(host);
  return 0;
}

static fg_memory *new_memory(uint64_t bytes) {
  fg_memory *m;
  assert_int_equal(device->ops->memory_create(device, bytes, "a block", &m, NULL), FG_OK);
  return m;
}

static fg_call product(fg_memory *m) {
  fg_call call = {.op = FG_OP_MATMUL, .rows = ROWS, .a = {m, 0, K}, .b = {m, 0, 0}, .out = {m, 0, N}};
  call.params.matmul.n = N;
  call.params.matmul.k = K;
  call.params.matmul.dtype = FG_BF16;
  call.params.matmul.layout = fg_layout_find("plain");
  return call;
}

static uint64_t nanoseconds(double seconds) {
  return (uint64_t)llround(1e9 * seconds);
}

static void test_a_product_takes_its_operations(void **state) {
  (void)state;
  fg_memory *m = new_memory(4096);
  const fg_call call = product(m);
  device->ops->run(device, FG_QUEUE_COMPUTE, &call, NULL);
  assert_int_equal(device->ops->record(device, FG_QUEUE_COMPUTE).value,
                   nanoseconds(1e-5 + 2.0 * ROWS * N * K / 1e12));
  device->ops->memory_destroy(device, m);
}

static void test_compute_waits_for_the_copy_and_the_host_for_neither(void **state) {
  (void)state;
  fg_memory *m = new_memory(1 << 20);
  char bytes[4096] = {0};
  const fg_call call = product(m);
  device->ops->upload(device, FG_QUEUE_LOAD, m, 0, bytes, sizeof bytes, NULL);
  const fg_event there = device->ops->record(device, FG_QUEUE_LOAD);
  device->ops->queue_wait(device, FG_QUEUE_COMPUTE, there, NULL);
  device->ops->run(device, FG_QUEUE_COMPUTE, &call, NULL);
  const fg_event computed = device->ops->record(device, FG_QUEUE_COMPUTE);
  assert_int_equal(there.value, nanoseconds(4096e-9));
  assert_true(computed.value > there.value + nanoseconds(1e-5));
  assert_false(device->ops->reached(device, there));
  device->ops->host_wait(device, computed, NULL);
  assert_int_equal(simulation.time.now, computed.value);
  assert_true(device->ops->reached(device, there));
  device->ops->memory_destroy(device, m);
}

static double attention_seconds(int32_t count, int32_t begin) {
  fg_memory *m = new_memory(4096);
  const int32_t list[4] = {0, count, begin, 0};
  device->ops->upload(device, FG_QUEUE_LOAD, m, 0, list, sizeof list, NULL);
  fg_call call = {.op = FG_OP_ATTENTION, .rows = (uint32_t)count, .batch = {.chunks = 1}};
  call.batch.chunk_list = (fg_view){m, 0, 4};
  call.params.attention.kv = (fg_kv_geometry){.kv_heads = 8, .k_dim = 128, .v_dim = 128, .dtype = FG_BF16};
  call.params.attention.heads = 8;
  const uint64_t before = simulation.time.busy[FG_UNIT_DEVICE];
  device->ops->run(device, FG_QUEUE_COMPUTE, &call, NULL);
  device->ops->memory_destroy(device, m);
  return 1e-9 * (double)(simulation.time.busy[FG_UNIT_DEVICE] - before) - 1e-5;
}

static void test_a_decoded_token_reads_the_keys_before_it(void **state) {
  (void)state;
  const double keys = 100000, row = 2 * 8 * 128 * 2, queries = 8 * 256 * 4;
  assert_true(fabs(attention_seconds(1, 99999) - (keys * row + queries) / 1e12) < 2e-9);
}

static void test_a_prompt_takes_the_operations_of_what_it_sees(void **state) {
  (void)state;
  const double n = 4000, pairs = n * (n + 1) / 2, operations = 4 * pairs * 8 * 128;
  const double wanted = operations / 1e12 + pairs * 8 * FG_SCORE_BYTES / 1e12;
  assert_true(fabs(attention_seconds((int32_t)n, 0) / wanted - 1) < 1e-3);
}

static void test_memory_is_counted_and_not_there(void **state) {
  (void)state;
  const uint64_t before = fg_process_rss(), bytes = 500ull << 30;
  fg_memory *m = new_memory(bytes);
  assert_int_equal(fg_budget_used(memory), bytes);
  device->ops->upload(device, FG_QUEUE_LOAD, m, bytes - (1 << 30), (void *)m, 1 << 30, NULL); // not looked at
  assert_true(fg_process_rss() < before + (64 << 20));
  fg_memory *too_much;
  assert_int_equal(device->ops->memory_create(device, 600ull << 30, "more", &too_much, NULL), FG_NO_SPACE);
  device->ops->memory_destroy(device, m);
  assert_int_equal(fg_budget_used(memory), 0);
}

static void test_a_copy_beyond_its_block_is_refused(void **state) {
  (void)state;
  fg_memory *m = new_memory(4096);
  char bytes[16];
  assert_int_equal(device->ops->upload(device, FG_QUEUE_LOAD, m, 4090, bytes, 16, NULL), FG_INTERNAL);
  assert_int_equal(device->ops->download(device, FG_QUEUE_STORE, m, 4090, bytes, 16, NULL), FG_INTERNAL);
  device->ops->memory_destroy(device, m);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(test_a_product_takes_its_operations),
      EACH(test_compute_waits_for_the_copy_and_the_host_for_neither),
      EACH(test_a_decoded_token_reads_the_keys_before_it),
      EACH(test_a_prompt_takes_the_operations_of_what_it_sees),
      EACH(test_memory_is_counted_and_not_there),
      EACH(test_a_copy_beyond_its_block_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
