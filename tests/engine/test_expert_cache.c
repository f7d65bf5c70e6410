// The expert cache over a small store, on devices that the host can and cannot reach into: a unit's panels
// are its own, only what is wanted is read, and what is wanted most stays.
#include "store_bench.h"

#include <fcntl.h>

#include "engine/expert_cache.h"

enum { LAYERS = 3, EXPERTS = 5, UNITS = LAYERS * EXPERTS, PANELS = 3, K = 64, ROWS = 32 };
enum { PANEL_BYTES = ROWS * K * 4, UNIT_BYTES = PANELS * PANEL_BYTES }; // multiples of 4096

typedef struct bench {
  store_bench base;
  fg_expert_cache *cache;
  fg_expert_unit units[UNITS];
} bench;

// Each unit is a matrix of two panels and one of one; every panel is filled with its own number.
static void write_store(bench *b) {
  fg_store_writer *writer;
  void *data;
  must(fg_store_writer_create(&writer, b->base.path, "key", "plain-1", "test", 0, b->base.io, &b->base.err));
  must(fg_budget_alloc(b->base.host, PANEL_BYTES, "test data", &data, &b->base.err));
  for (uint32_t u = 0, panel = 0; u < UNITS; u++) {
    b->units[u] = (fg_expert_unit){.panel = panel, .panels = PANELS, .layer = (int32_t)(u / EXPERTS)};
    for (uint32_t m = 0; m < 2; m++) {
      fg_weight w = {.kind = FG_WEIGHT_MATRIX, .dtype = FG_F32, .k = K, .layer = (int32_t)(u / EXPERTS)};
      snprintf(w.name, sizeof w.name, "layers.%u.e%u.%s", u / EXPERTS, u % EXPERTS, m ? "down" : "gate_up");
      snprintf(w.layout, sizeof w.layout, "plain");
      w.n = m ? ROWS : 2 * ROWS;
      must(fg_store_writer_weight(writer, &w, &b->base.err));
      for (uint32_t row = 0; row < w.n; row += ROWS, panel++) {
        float *values = data;
        for (uint32_t i = 0; i < ROWS * K; i++) values[i] = (float)panel + (float)i / 65536;
        must(fg_store_writer_panel(writer, row, ROWS, data, PANEL_BYTES, &b->base.err));
      }
    }
  }
  fg_budget_free(b->base.host, data);
  must(fg_store_writer_finish(writer, &(fg_assets){0}, &b->base.err));
}

static void open_bench(bench *b, const char *device) {
  must(store_bench_make(&b->base));
  write_store(b);
  must(store_bench_open(&b->base, device, K));
}

static fg_status create_cache(bench *b, uint32_t slots) {
  fg_expert_cache_options options = {.store = b->base.store,
                                     .device = b->base.device,
                                     .io = b->base.io,
                                     .host = b->base.host,
                                     .units = b->units,
                                     .unit_count = UNITS,
                                     .bytes = (uint64_t)slots * UNIT_BYTES};
  return fg_expert_cache_create(&b->cache, &options, &b->base.err);
}

static void close_bench(bench *b) {
  fg_expert_cache_destroy(b->cache);
  store_bench_close(&b->base);
}

// Brings all panels of the unit out in the compute queue's order, as a kernel would read them.
static fg_status use_unit(bench *b, uint32_t unit, float *out) {
  fg_status status = fg_expert_cache_acquire(b->cache, unit, &b->base.err);
  for (uint32_t p = 0; status == FG_OK && p < PANELS; p++) {
    fg_view view = fg_expert_cache_panel(b->cache, b->units[unit].panel + p);
    status = b->base.device->ops->download(b->base.device, FG_QUEUE_COMPUTE, view.memory, view.offset,
                                           out + p * ROWS * K, PANEL_BYTES, &b->base.err);
  }
  return status == FG_OK ? fg_expert_cache_release(b->cache, &b->base.err) : status;
}

// A layer of a step; what was brought out is looked at when the step has passed.
static fg_status run_layer(bench *b, const uint32_t *units, uint32_t count) {
  float *out = calloc(count + 1, UNIT_BYTES);
  fg_status status = fg_expert_cache_want(b->cache, units, count, &b->base.err);
  for (uint32_t i = 0; status == FG_OK && i < count; i++)
    status = use_unit(b, units[i], out + (size_t)i * PANELS * ROWS * K);
  fg_status waited = b->base.device->ops->host_wait(
      b->base.device, b->base.device->ops->record(b->base.device, FG_QUEUE_COMPUTE), &b->base.err);
  if (status == FG_OK) status = waited;
  for (uint32_t i = 0; status == FG_OK && i < count * PANELS * ROWS * K; i++) {
    uint32_t panel = units[i / (PANELS * ROWS * K)] * PANELS + i / (ROWS * K) % PANELS;
    if (out[i] != (float)panel + (float)(i % (ROWS * K)) / 65536) fail_msg("panel %u is not its own", panel);
  }
  free(out);
  return status;
}

static void use_at_random(const char *device, uint32_t slots, unsigned seed) {
  bench on = {0}, *b = &on;
  open_bench(b, device);
  must(create_cache(b, slots));
  srand(seed);
  uint64_t used = 0;
  for (int step = 0; step < 150; step++) {
    fg_expert_cache_begin(b->cache);
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
      uint32_t units[EXPERTS], count = 0;
      for (uint32_t e = 0; e < EXPERTS; e++)
        if (rand() % 3 == 0) units[count++] = layer * EXPERTS + e;
      must(run_layer(b, units, count));
      used += count;
    }
  }
  const fg_expert_counts counts = fg_expert_cache_counts(b->cache);
  assert_int_equal(counts.used, used);
  assert_int_equal(counts.absent_bytes, (used - counts.hits) * UNIT_BYTES);
  assert_int_equal(counts.read_bytes, counts.absent_bytes + counts.wrong_bytes + counts.open_bytes);
  assert_true(10 * counts.wrong_bytes <= counts.absent_bytes);
  close_bench(b);
}

static void test_units_are_their_own_whatever_the_slots(void **state) {
  (void)state;
  for (uint32_t slots = FG_EXPERT_SLOTS; slots <= UNITS + 2; slots += slots < 5 ? 1 : 4) {
    use_at_random("cpu", slots, slots);
    use_at_random("fake", slots, slots);
  }
}

static void test_only_what_is_wanted_is_read(void **state) {
  (void)state;
  static const char *const devices[] = {"cpu", "fake"};
  for (int d = 0; d < 2; d++) {
    bench on = {0}, *b = &on;
    const uint32_t units[] = {1, 4};
    open_bench(b, devices[d]);
    must(create_cache(b, 3));
    must(run_layer(b, units, 2));
    assert_int_equal(fg_expert_cache_counts(b->cache).read_bytes, 2 * UNIT_BYTES);
    must(run_layer(b, units, 2)); // they are there
    must(run_layer(b, (uint32_t[]){4}, 1));
    assert_int_equal(fg_expert_cache_counts(b->cache).read_bytes, 2 * UNIT_BYTES);
    close_bench(b);
  }
}

// One unit a layer is wanted by every step, the others in turn: the former must not be read again.
static void test_units_with_hits_stay(void **state) {
  (void)state;
  enum { STEPS = 40, WARM = 10 };
  bench on = {0}, *b = &on;
  open_bench(b, "cpu");
  must(create_cache(b, LAYERS + 1));
  uint64_t before = 0;
  for (uint32_t step = 0; step < STEPS; step++) {
    if (step == WARM) before = fg_expert_cache_counts(b->cache).read_bytes;
    fg_expert_cache_begin(b->cache);
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
      const uint32_t units[] = {layer * EXPERTS, layer * EXPERTS + 1 + step % (EXPERTS - 1)};
      must(run_layer(b, units, 2));
    }
  }
  // And a tenth more at most, guessed wrong: the second unit is never that of the step before.
  const uint64_t needed = (STEPS - WARM) * LAYERS * UNIT_BYTES, all = STEPS * LAYERS * 2 * UNIT_BYTES;
  assert_in_range(fg_expert_cache_counts(b->cache).read_bytes - before, needed, needed + all / 10);
  assert_true(fg_expert_cache_counts(b->cache).wrong_bytes > 0);
  close_bench(b);
}

// Every layer wants the same unit in each step, and there is no room for all: the next is on its way before
// it is wanted, and nothing is read in vain.
static void test_what_the_next_layer_used_before_is_read_ahead(void **state) {
  (void)state;
  enum { STEPS = 30 };
  static const char *const devices[] = {"cpu", "fake"};
  for (int d = 0; d < 2; d++) {
    bench on = {0}, *b = &on;
    uint64_t ahead = 0;
    open_bench(b, devices[d]);
    must(create_cache(b, 2));
    for (uint32_t step = 0; step < STEPS; step++) {
      fg_expert_cache_begin(b->cache);
      for (uint32_t layer = 0; layer < LAYERS; layer++) {
        must(run_layer(b, (uint32_t[]){layer * EXPERTS + 2}, 1));
        if (fg_expert_cache_guesses(b->cache)) ahead++;
      }
    }
    assert_true(ahead > STEPS);
    assert_int_equal(fg_expert_cache_counts(b->cache).wrong_bytes, 0);
    assert_in_range(fg_expert_cache_counts(b->cache).read_bytes, (STEPS * LAYERS - 1) * UNIT_BYTES,
                    STEPS * LAYERS * UNIT_BYTES);
    close_bench(b);
  }
}

static void test_damaged_panel_is_named_before_it_is_used(void **state) {
  (void)state;
  bench on = {0}, *b = &on;
  open_bench(b, "cpu");
  int fd = open(b->base.path, O_RDWR);
  assert_int_equal(pwrite(fd, "x", 1, (off_t)b->base.store->panels[7 * PANELS + 2].offset + 100), 1);
  assert_int_equal(fsync(fd), 0);
  close(fd);
  must(create_cache(b, 3));
  must(run_layer(b, (uint32_t[]){6}, 1));
  assert_int_equal(run_layer(b, (uint32_t[]){7}, 1), FG_CORRUPT);
  assert_non_null(strstr(b->base.err.message, "layers.1.e2.down"));
  close_bench(b);
}

static void test_room_for_one_unit_is_refused(void **state) {
  (void)state;
  bench on = {0}, *b = &on;
  open_bench(b, "cpu");
  assert_int_equal(create_cache(b, FG_EXPERT_SLOTS - 1), FG_INTERNAL);
  assert_null(b->cache);
  close_bench(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_units_are_their_own_whatever_the_slots),
      cmocka_unit_test(test_only_what_is_wanted_is_read),
      cmocka_unit_test(test_units_with_hits_stay),
      cmocka_unit_test(test_what_the_next_layer_used_before_is_read_ahead),
      cmocka_unit_test(test_damaged_panel_is_named_before_it_is_used),
      cmocka_unit_test(test_room_for_one_unit_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
