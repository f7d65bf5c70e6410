// The weight stream over a small store, on devices that the host can and cannot reach into: every step gets
// every panel's own bytes, whatever the ring, the tiers and the order of events.
#include "store_bench.h"

#include <errno.h>
#include <fcntl.h>

#include "engine/weight_stream.h"

enum { MATRICES = 6, PANELS = 5, K = 64, LARGEST_ROWS = 96, TAIL = 4 };

typedef struct bench {
  store_bench base;
  fg_weight_stream *stream;
  uint8_t tier[MATRICES * PANELS];
} bench;

// Panels of different sizes, each filled with its own number.
static uint32_t rows_of(uint32_t panel) {
  return LARGEST_ROWS - 16 * (panel % PANELS);
}

static void write_store(bench *b) {
  fg_store_writer *writer;
  must(fg_store_writer_create(&writer, b->base.path, "key", "plain-1", "test", 0, b->base.io, &b->base.err));
  void *data;
  must(fg_budget_alloc(b->base.host, LARGEST_ROWS * K * 4, "test data", &data, &b->base.err));
  for (uint32_t m = 0; m < MATRICES; m++) {
    fg_weight w = {.kind = FG_WEIGHT_MATRIX, .dtype = FG_F32, .k = K, .layer = (int32_t)m};
    snprintf(w.name, sizeof w.name, "layers.%u.w", m);
    snprintf(w.layout, sizeof w.layout, "plain");
    for (uint32_t p = 0; p < PANELS; p++) w.n += rows_of(p);
    must(fg_store_writer_weight(writer, &w, &b->base.err));
    for (uint32_t p = 0, row = 0; p < PANELS; row += rows_of(p++)) {
      float *values = data;
      for (uint32_t i = 0; i < rows_of(p) * K; i++) values[i] = (float)(m * PANELS + p) + (float)i / 65536;
      must(fg_store_writer_panel(writer, row, rows_of(p), data, rows_of(p) * K * 4, &b->base.err));
    }
  }
  fg_budget_free(b->base.host, data);
  fg_assets none = {0};
  must(fg_store_writer_finish(writer, &none, &b->base.err));
}

static void open_bench(bench *b, const char *device) {
  must(store_bench_make(&b->base));
  write_store(b);
  must(store_bench_open(&b->base, device, K));
}

static fg_status create_stream(bench *b, uint64_t ring) {
  fg_weight_stream_options options = {.store = b->base.store,
                                      .device = b->base.device,
                                      .io = b->base.io,
                                      .host = b->base.host,
                                      .tier = b->tier,
                                      .ring_bytes = ring,
                                      .tail_weight = TAIL};
  return fg_weight_stream_create(&b->stream, &options, &b->base.err);
}

static void close_bench(bench *b) {
  fg_weight_stream_destroy(b->stream);
  store_bench_close(&b->base);
}

// Uses a panel as a kernel would: brings its bytes out in the compute queue's order. `out` is looked at after
// the step, so a ring that is reused too early shows.
static fg_status use_panel(bench *b, uint32_t panel, float *out) {
  fg_view view;
  fg_status status = fg_weight_stream_acquire(b->stream, panel, &view, &b->base.err);
  if (status == FG_OK)
    status = b->base.device->ops->download(b->base.device, FG_QUEUE_COMPUTE, view.memory, view.offset, out,
                                           rows_of(panel) * K * 4, &b->base.err);
  if (status == FG_OK) status = fg_weight_stream_release(b->stream, panel, &b->base.err);
  return status;
}

static fg_status run_step(bench *b, bool tail) {
  uint32_t count = (tail ? MATRICES : TAIL) * PANELS;
  float *out = calloc((size_t)MATRICES * PANELS, LARGEST_ROWS * K * 4);
  fg_status status = fg_weight_stream_begin(b->stream, tail, &b->base.err);
  for (uint32_t p = 0; status == FG_OK && p < count; p++)
    status = use_panel(b, p, out + (size_t)p * LARGEST_ROWS * K);
  fg_status waited = b->base.device->ops->host_wait(
      b->base.device, b->base.device->ops->record(b->base.device, FG_QUEUE_COMPUTE), &b->base.err);
  if (status == FG_OK) status = waited;
  for (uint32_t p = 0; status == FG_OK && p < count; p++)
    for (uint32_t i = 0; i < rows_of(p) * K; i++)
      if (out[(size_t)p * LARGEST_ROWS * K + i] != (float)p + (float)i / 65536)
        fail_msg("panel %u is not its own", p);
  free(out);
  return status;
}

static const uint64_t LARGEST = LARGEST_ROWS * K * 4; // a multiple of 4096

// A matrix at a time, gone over several times while its panels are held.
static fg_status run_step_held(bench *b, uint32_t times) {
  float *out = calloc(PANELS, LARGEST_ROWS * K * 4);
  fg_status status = fg_weight_stream_begin(b->stream, true, &b->base.err);
  for (uint32_t m = 0; status == FG_OK && m < MATRICES; m++) {
    for (uint32_t i = 0; status == FG_OK && i < times * PANELS; i++) {
      const uint32_t p = i % PANELS, panel = m * PANELS + p;
      fg_view view;
      status = fg_weight_stream_acquire(b->stream, panel, &view, &b->base.err);
      if (status == FG_OK)
        status = b->base.device->ops->download(b->base.device, FG_QUEUE_COMPUTE, view.memory, view.offset,
                                               out + (size_t)p * LARGEST_ROWS * K, rows_of(panel) * K * 4,
                                               &b->base.err);
      if (status == FG_OK && i / PANELS + 1 == times)
        status = fg_weight_stream_release(b->stream, panel, &b->base.err);
    }
    fg_status waited = b->base.device->ops->host_wait(
        b->base.device, b->base.device->ops->record(b->base.device, FG_QUEUE_COMPUTE), &b->base.err);
    if (status == FG_OK) status = waited;
    for (uint32_t p = 0; status == FG_OK && p < PANELS; p++)
      for (uint32_t i = 0; i < rows_of(p) * K; i++)
        if (out[(size_t)p * LARGEST_ROWS * K + i] != (float)(m * PANELS + p) + (float)i / 65536)
          fail_msg("panel %u of matrix %u is not its own", p, m);
  }
  free(out);
  return status;
}

static void stream_all(const char *device, uint64_t ring, unsigned seed) {
  bench on = {0}, *b = &on;
  open_bench(b, device);
  srand(seed);
  for (uint32_t p = 0; p < MATRICES * PANELS; p++) b->tier[p] = (uint8_t)(seed ? rand() % 3 : FG_TIER_DISK);
  must(create_stream(b, ring));
  for (int step = 0; step < 12; step++) must(run_step(b, rand() % 2));
  close_bench(b);
}

static void test_every_panel_arrives_whatever_ring_and_tiers(void **state) {
  (void)state;
  static const char *const devices[] = {"cpu", "fake"};
  for (int d = 0; d < 2; d++)
    for (uint64_t ring = 1; ring <= 40; ring += ring < 4 ? 1 : 9)
      for (unsigned seed = 0; seed < 4; seed++) stream_all(devices[d], ring * LARGEST, seed);
}

static void test_bytes_read_are_the_streamed_panels_and_what_is_ahead(void **state) {
  (void)state;
  bench on = {0}, *b = &on;
  open_bench(b, "cpu");
  uint64_t due = 0;
  for (uint32_t p = 0; p < MATRICES * PANELS; p++) {
    b->tier[p] = p % 3 ? FG_TIER_DISK : FG_TIER_DEVICE;
    if (p % 3) due += rows_of(p) * K * 4;
  }
  must(create_stream(b, 3 * LARGEST));
  for (int step = 0; step < 5; step++) must(run_step(b, true));
  uint64_t read = fg_weight_stream_bytes_read(b->stream);
  assert_true(read >= 5 * due && read <= 5 * due + 3 * LARGEST);
  close_bench(b);
}

static void test_held_panels_stay_and_are_read_once(void **state) {
  (void)state;
  static const char *const devices[] = {"cpu", "fake"};
  for (int d = 0; d < 2; d++)
    for (uint64_t ring = PANELS + 1; ring <= 2 * PANELS + 2; ring++) {
      bench on = {0}, *b = &on;
      open_bench(b, devices[d]);
      memset(b->tier, FG_TIER_DISK, sizeof b->tier);
      must(create_stream(b, ring * LARGEST));
      for (uint32_t step = 0; step < 3; step++) must(run_step_held(b, 1 + step));
      uint64_t due = 0;
      for (uint32_t p = 0; p < MATRICES * PANELS; p++) due += 3 * rows_of(p) * K * 4;
      assert_true(fg_weight_stream_bytes_read(b->stream) <= due + ring * LARGEST);
      close_bench(b);
    }
}

static void test_matrix_larger_than_the_ring_cannot_be_held(void **state) {
  (void)state;
  bench on = {0}, *b = &on;
  open_bench(b, "cpu");
  memset(b->tier, FG_TIER_DISK, sizeof b->tier);
  must(create_stream(b, 2 * LARGEST));
  assert_int_equal(run_step_held(b, 2), FG_INTERNAL);
  assert_non_null(strstr(b->base.err.message, "too small"));
  close_bench(b);
}

static void flip_byte(const char *path, uint64_t offset) {
  int fd = open(path, O_RDWR);
  unsigned char byte;
  assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
  byte ^= 0x40;
  assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
  assert_int_equal(fsync(fd), 0);
  close(fd);
}

static void test_damaged_panel_is_named_before_it_is_used(void **state) {
  (void)state;
  bench on = {0}, *b = &on;
  open_bench(b, "cpu");
  flip_byte(b->base.path, b->base.store->panels[7].offset + 100);
  memset(b->tier, FG_TIER_DISK, sizeof b->tier);
  must(create_stream(b, 2 * LARGEST));
  assert_int_equal(run_step(b, true), FG_CORRUPT);
  assert_non_null(strstr(b->base.err.message, "layers.1.w"));
  close_bench(b);
}

// Several are checked at once; which of them are there by then differs from run to run, what is said does
// not.
static void test_first_of_several_damaged_panels_is_named(void **state) {
  (void)state;
  static const char *const devices[] = {"cpu", "fake"};
  for (uint32_t first = 0; first < MATRICES * PANELS - 2; first += 3)
    for (int d = 0; d < 2; d++) {
      bench on = {0}, *b = &on;
      char name[16];
      open_bench(b, devices[d]);
      for (uint32_t p = first; p < MATRICES * PANELS; p += 2)
        flip_byte(b->base.path, b->base.store->panels[p].offset);
      memset(b->tier, FG_TIER_DISK, sizeof b->tier);
      fg_status status = create_stream(b, MATRICES * PANELS * LARGEST); // all are on their way at once
      if (first % 2) usleep(5000);                                      // most are there
      if (status == FG_OK) status = run_step(b, true);
      assert_int_equal(status, FG_CORRUPT);
      snprintf(name, sizeof name, "layers.%u.w ", first / PANELS);
      assert_non_null(strstr(b->base.err.message, name));
      uint32_t row = 0;
      for (uint32_t p = first / PANELS * PANELS; p < first; p++) row += rows_of(p);
      snprintf(name, sizeof name, "(rows %u to", row);
      assert_non_null(strstr(b->base.err.message, name));
      close_bench(b);
    }
}

// Whichever it is: the first of a batch, the last, one that is checked when all are there.
static void test_damaged_resident_panel_fails_the_load(void **state) {
  (void)state;
  static const char *const devices[] = {"cpu", "fake"};
  for (uint32_t panel = 0; panel < MATRICES * PANELS; panel += 3)
    for (int d = 0; d < 2; d++) {
      bench on = {0}, *b = &on;
      char name[16];
      open_bench(b, devices[d]);
      flip_byte(b->base.path, b->base.store->panels[panel].offset);
      memset(b->tier, FG_TIER_DEVICE, sizeof b->tier);
      assert_int_equal(create_stream(b, 2 * LARGEST), FG_CORRUPT);
      snprintf(name, sizeof name, "layers.%u.w", panel / PANELS);
      assert_non_null(strstr(b->base.err.message, name));
      close_bench(b);
    }
}

static void test_read_error_ends_the_load_with_the_file_named(void **state) {
  (void)state;
  for (uint32_t after = 0; after < MATRICES * PANELS; after += 4) {
    bench on = {0}, *b = &on;
    open_bench(b, "cpu");
    fg_io_destroy(b->base.io);
    fg_io_fault fault = {.after = after, .every = 1, .os_error = EIO};
    fg_io_options options = {.budget = b->base.host, .fault = &fault};
    must(fg_io_create(&b->base.io, &options, &b->base.err));
    memset(b->tier, FG_TIER_DEVICE, sizeof b->tier);
    assert_int_equal(create_stream(b, 2 * LARGEST), FG_IO);
    assert_non_null(strstr(b->base.err.message, b->base.path));
    close_bench(b);
  }
}

static void test_read_error_ends_the_step_with_the_file_named(void **state) {
  (void)state;
  bench on = {0}, *b = &on;
  open_bench(b, "cpu");
  fg_io_destroy(b->base.io);
  fg_io_fault fault = {.after = 20, .every = 1, .os_error = EIO};
  fg_io_options options = {.budget = b->base.host, .fault = &fault};
  must(fg_io_create(&b->base.io, &options, &b->base.err));
  memset(b->tier, FG_TIER_DISK, sizeof b->tier);
  must(create_stream(b, 4 * LARGEST));
  assert_int_equal(run_step(b, true), FG_IO);
  assert_non_null(strstr(b->base.err.message, b->base.path));
  close_bench(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_panel_arrives_whatever_ring_and_tiers),
      cmocka_unit_test(test_bytes_read_are_the_streamed_panels_and_what_is_ahead),
      cmocka_unit_test(test_held_panels_stay_and_are_read_once),
      cmocka_unit_test(test_matrix_larger_than_the_ring_cannot_be_held),
      cmocka_unit_test(test_damaged_panel_is_named_before_it_is_used),
      cmocka_unit_test(test_first_of_several_damaged_panels_is_named),
      cmocka_unit_test(test_damaged_resident_panel_fails_the_load),
      cmocka_unit_test(test_read_error_ends_the_load_with_the_file_named),
      cmocka_unit_test(test_read_error_ends_the_step_with_the_file_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
