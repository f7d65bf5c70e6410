// A calibration's means against numpy's (make_calibration.py), and whether they depend on anything but the
// text.
#include "../scratch_folder.h"

#include <jansson.h>
#include <math.h>

#include "job/calibrate.h"

#define MODEL FG_TEST_DIR "/oracle/models/llama-adapter"

typedef struct fixture {
  scratch_folder folder;
  json_t *golden;
  int32_t *ids;
  size_t count;
  fg_engine_options options;
  fg_error err;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  *state = f;
  scratch_make(&f->folder);
  f->golden = json_load_file(FG_TEST_DIR "/job/golden_calibration.json", 0, NULL);
  assert_non_null(f->golden);
  const json_t *ids = json_object_get(f->golden, "ids");
  f->count = json_array_size(ids);
  f->ids = calloc(f->count, sizeof *f->ids);
  for (size_t i = 0; i < f->count; i++) f->ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
  f->options = (fg_engine_options){
      .model = MODEL, .offload_dir = f->folder.path, .host_memory = 256 << 20, .threads = 1, .user = f};
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  assert_int_equal(scratch_remove(&f->folder), 0);
  json_decref(f->golden);
  free(f->ids);
  free(f);
  return 0;
}

static fg_calibration calibrate(fixture *f, size_t count) {
  fg_calibration c;
  const fg_calibrate_text text = {f->ids, count};
  fg_status status = fg_calibrate(&c, &f->options, &text, NULL, &f->err);
  if (status != FG_OK) fail_msg("%s", f->err.message);
  return c;
}

static void test_means_are_numpys(void **state) {
  fixture *f = *state;
  fg_calibration c = calibrate(f, f->count);
  const char *name;
  json_t *means;
  size_t found = 0;
  json_object_foreach(json_object_get(f->golden, "means"), name, means) {
    const fg_calibration_item *item = fg_calibration_find(&c, name, 0);
    assert_non_null(item);
    assert_true(item->rows <= f->count && item->rows + 2 >= f->count); // the head passes over two last tokens
    assert_int_equal(item->k, json_array_size(means));
    double all = 0;
    for (uint32_t i = 0; i < item->k; i++) all += json_real_value(json_array_get(means, i));
    for (uint32_t i = 0; i < item->k; i++) {
      // Products of bfloat16, and means in its precision.
      const double want = json_real_value(json_array_get(means, i)), got = (double)item->means[i];
      if (fabs(got - want) > 0.02 * want + 0.002 * all / item->k)
        fail_msg("%s, %u: %g, not %g", name, i, got, want);
    }
    found++;
  }
  assert_int_equal(found, c.count);
  fg_calibration_free(&c);
}

// Steps of other sizes add the rows up in another order.
static void test_means_do_not_depend_on_the_steps(void **state) {
  fixture *f = *state;
  fg_calibration a = calibrate(f, f->count);
  f->options.max_num_batched_tokens = 48;
  f->options.max_num_seqs = 2;
  f->options.threads = 2;
  fg_calibration b = calibrate(f, f->count);
  assert_int_equal(a.count, b.count);
  for (uint32_t i = 0; i < a.count; i++)
    assert_memory_equal(a.items[i].means, b.items[i].means, a.items[i].k * sizeof(float));
  fg_calibration_free(&a);
  fg_calibration_free(&b);
}

static void test_key_is_that_of_the_text(void **state) {
  fixture *f = *state;
  const uint64_t key = fg_calibrate_key(&(fg_calibrate_text){f->ids, f->count});
  assert_true(key != 0);
  assert_true(key == fg_calibrate_key(&(fg_calibrate_text){f->ids, f->count}));
  assert_true(key != fg_calibrate_key(&(fg_calibrate_text){f->ids, f->count - 1}));
  f->ids[3]++;
  assert_true(key != fg_calibrate_key(&(fg_calibrate_text){f->ids, f->count}));
}

static bool stop_at_once(void *user, uint64_t done, uint64_t total) {
  (void)user;
  return done == total;
}

static void test_interruption_leaves_nothing(void **state) {
  fixture *f = *state;
  fg_calibration c;
  const fg_calibrate_text text = {f->ids, f->count};
  assert_int_equal(fg_calibrate(&c, &f->options, &text, stop_at_once, &f->err), FG_CANCELLED);
  assert_null(c.items);
}

static void test_no_text_is_refused(void **state) {
  fixture *f = *state;
  fg_calibration c;
  const fg_calibrate_text text = {f->ids, 1};
  assert_int_equal(fg_calibrate(&c, &f->options, &text, NULL, &f->err), FG_INVALID);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_means_are_numpys),        T(test_means_do_not_depend_on_the_steps),
      T(test_key_is_that_of_the_text), T(test_interruption_leaves_nothing),
      T(test_no_text_is_refused),
  };
  return cmocka_run_group_tests_name("calibrate", tests, NULL, NULL);
}
