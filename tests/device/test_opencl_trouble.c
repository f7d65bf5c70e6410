// Every call of the driver that can fail does so once: the device says what went wrong and gives all back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "counting_opencl.h"
#include "rig.h"

static void assert_all_given_back(int call) {
  for (int kind = 0; kind < COUNTED_KINDS; kind++)
    if (live[kind] != 0) fail_msg("call %d: %d of kind %d are left", call, (int)live[kind], kind);
}

typedef struct life {
  fg_device *device;
  fg_memory *a, *b;
  void *pinned;
} life;

// A bit of everything: memory, pinned memory, both ways of copying, a kernel, three queues, a poll.
static fg_status live_through(life *l, const fg_device_options *options, fg_error *err) {
  fg_status status = fg_device_create(&l->device, "opencl", options, err);
  if (status) return status;
  fg_device *d = l->device;
  float *x;
  status = fg_device_host_create(d, 5000, "numbers", &l->pinned, err);
  if (!status) status = d->ops->memory_create(d, 400, "rows", &l->a, err);
  if (!status) status = d->ops->memory_create(d, 400, "more rows", &l->b, err);
  if (status) return status;
  x = l->pinned;
  for (int i = 0; i < 100; i++) x[i] = (float)i;
  fg_call call = {.op = FG_OP_ADD, .rows = 10, .a = {l->a, 0, 10}, .out = {l->b, 0, 10}};
  call.params.copy.width = 10;
  call.params.copy.scale = 2;
  status = d->ops->upload(d, FG_QUEUE_LOAD, l->a, 0, x, 400, err);
  if (!status) status = d->ops->upload(d, FG_QUEUE_LOAD, l->b, 0, x, 400, err);
  if (!status) status = d->ops->queue_wait(d, FG_QUEUE_COMPUTE, d->ops->record(d, FG_QUEUE_LOAD), err);
  if (!status) status = d->ops->run(d, FG_QUEUE_COMPUTE, &call, err);
  if (!status) status = d->ops->queue_wait(d, FG_QUEUE_STORE, d->ops->record(d, FG_QUEUE_COMPUTE), err);
  if (!status) status = d->ops->download(d, FG_QUEUE_STORE, l->b, 0, x + 200, 400, err);
  (void)d->ops->reached(d, d->ops->record(d, FG_QUEUE_STORE));
  if (!status) status = d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_STORE), err);
  for (int i = 0; !status && i < 100; i++) assert_true(x[200 + i] == 3 * (float)i);
  return status;
}

static void end_life(life *l) {
  fg_device *d = l->device;
  if (!d) return;
  // Whoever holds memory waits before it goes.
  for (int q = 0; q < FG_QUEUE_COUNT; q++) (void)d->ops->host_wait(d, d->ops->record(d, (fg_queue)q), NULL);
  if (l->a) d->ops->memory_destroy(d, l->a);
  if (l->b) d->ops->memory_destroy(d, l->b);
  fg_device_host_destroy(d, l->pinned);
  fg_device_destroy(d);
}

static void test_every_failure_is_told_and_leaves_nothing(void **state) {
  (void)state;
  if (!opencl_is_there()) {
    print_message("no OpenCL device here (Debian: apt install pocl-opencl-icd)\n");
    skip();
  }
  int call = 0, told = 0;
  do {
    rig r = make_rig("cpu", 1, FG_COMPUTE_F32);
    fg_device_options options = rig_options(&r, FG_COMPUTE_F32);
    options.sparse_heads = 0;
    const uint64_t host = fg_budget_used(r.host);
    life l = {0};
    fg_error err = {0};
    fail_at(++call);
    fg_status status = live_through(&l, &options, &err);
    end_life(&l);
    if (status) told++;
    if (status && strlen(err.message) < 10) fail_msg("call %d failed without a word", call);
    if (status && !broken) fail_msg("call %d: %s", call, err.message);
    assert_int_equal(fg_budget_used(r.host), host);
    assert_int_equal(fg_budget_used(r.memory), 0);
    assert_all_given_back(call);
    drop_rig(&r);
  } while (broken);
  assert_in_range(call, 30, 200); // what this life takes
  assert_true(told > call / 2);
  fail_at(0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_failure_is_told_and_leaves_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
