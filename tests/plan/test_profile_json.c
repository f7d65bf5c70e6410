// A profile's text: what is written is what is read, and nothing damaged is believed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "device/device.h"
#include "plan/profile_json.h"

static void fill(fg_profile *p) {
  memset(p, 0, sizeof *p); // so that two can be compared as bytes
  strcpy(p->machine, "Some CPU, 2 threads");
  strcpy(p->kernels, "cpu-avx512-1");
  strcpy(p->version, "0.1.0");
  strcpy(p->date, "2026-01-02T03:04:05Z");
  strcpy(p->offload, "/offload (ext4)");
  strcpy(p->disk, "254:0 ext4");
  p->threads = 2, p->memory_bytes = (uint64_t)24 << 30;
  p->quick = true, p->disk_direct = true;
  p->memory_read = 2e10, p->memory_copy = 1e10;
  p->disk_read = 1.5e9, p->disk_write = 1.25e9, p->disk_burst = 2e9;
  p->row_value = 1e-10, p->store_value = 2e-10, p->logit = 3e-10, p->launch = 1e-6;
  p->input_value[0] = 1e-9, p->input_value[1] = 0, p->input_value[2] = 3e-9;
  p->in_step[1][0] = 1.5, p->in_step[1][1] = 1.25;
  p->load = 0.5, p->read_cost = 0.125, p->read_slowdown = 0.25;
  p->product_count = 2, p->attention_count = 1, p->disk_count = 1;
  for (uint32_t i = 0; i < 2; i++) {
    p->products[i].dtype = i ? FG_I4G64M : FG_F32;
    p->products[i].compute = i ? FG_COMPUTE_INT8 : FG_COMPUTE_F32;
    p->products[i].k = 2048;
    for (uint32_t r = 0; r < FG_PROFILE_ROW_POINTS; r++) p->products[i].seconds[r] = 1e-10 * (r + 1.0);
  }
  p->attentions[0].cache = FG_BF16;
  p->attentions[0].k_dim = 64, p->attentions[0].group = 4;
  p->attentions[0].decode = 1e-8, p->attentions[0].prefill = 2e-9;
  p->disks[0].bytes = 1 << 20, p->disks[0].depth = 128;
  p->disks[0].read = 1.5e9, p->disks[0].write = 0;
}

static json_t *base(void) {
  fg_profile p;
  fill(&p);
  json_t *json = fg_profile_to_json(&p);
  assert_non_null(json);
  return json;
}

static void assert_refused(json_t *json, const char *word) {
  fg_profile p;
  fg_error err = {FG_OK, ""};
  assert_int_equal(fg_profile_from_json(&p, json, "kept.json", &err), FG_CORRUPT);
  if (!strstr(err.message, word)) fail_msg("%s is not named: %s", word, err.message);
  assert_non_null(strstr(err.message, "flexgen profile"));
  json_decref(json);
}

static void test_what_is_written_is_read(void **state) {
  (void)state;
  fg_profile p, q;
  fill(&p);
  json_t *json = base();
  // As a file goes: through text.
  char *text = json_dumps(json, 0);
  json_t *again = json_loads(text, 0, NULL);
  memset(&q, 0, sizeof q);
  fg_error err = {FG_OK, ""};
  assert_int_equal(fg_profile_from_json(&q, again, "kept.json", &err), FG_OK);
  assert_memory_equal(p.products, q.products, sizeof p.products);
  assert_memory_equal(p.input_value, q.input_value, sizeof p.input_value);
  assert_memory_equal(p.in_step, q.in_step, sizeof p.in_step);
  assert_memory_equal(p.attentions, q.attentions, sizeof p.attentions);
  assert_memory_equal(p.disks, q.disks, sizeof p.disks);
  json_t *third = fg_profile_to_json(&q);
  assert_true(json_equal(json, third));
  json_decref(json), json_decref(again), json_decref(third);
  free(text);
}

static void test_every_field_must_be_there(void **state) {
  (void)state;
  json_t *all = base();
  const char *key;
  json_t *value;
  size_t fields = 0;
  json_object_foreach(all, key, value) {
    json_t *less = json_deep_copy(all);
    json_object_del(less, key);
    assert_refused(less, key);
    fields++;
  }
  assert_int_equal(fields, json_object_size(all));
  json_decref(all);
}

static void test_no_number_below_zero_is_believed(void **state) {
  (void)state;
  json_t *all = base();
  const char *key;
  json_t *value;
  json_object_foreach(all, key, value) {
    if (!json_is_number(value)) continue;
    json_t *bad = json_deep_copy(all);
    json_object_set_new(bad, key, json_is_real(value) ? json_real(-1) : json_integer(-1));
    assert_refused(bad, key);
  }
  json_decref(all);
  json_t *bad = base();
  json_object_set_new(bad, "read_cost", json_real(1.5));
  assert_refused(bad, "read_cost");
}

static void test_damaged_entries_are_refused(void **state) {
  (void)state;
  json_t *bad = base();
  json_array_set_new(json_object_get(json_array_get(json_object_get(bad, "products"), 1), "seconds"), 3,
                     json_real(0));
  assert_refused(bad, "seconds");
  bad = base();
  json_array_append_new(json_object_get(json_array_get(json_object_get(bad, "products"), 0), "seconds"),
                        json_real(1));
  assert_refused(bad, "seconds");
  bad = base();
  json_object_set_new(json_array_get(json_object_get(bad, "products"), 0), "weights", json_string("i3"));
  assert_refused(bad, "weights");
  bad = base();
  json_object_set_new(json_array_get(json_object_get(bad, "attentions"), 0), "group", json_integer(0));
  assert_refused(bad, "group");
  bad = base();
  json_object_set_new(json_array_get(json_object_get(bad, "disks"), 0), "read", json_string("fast"));
  assert_refused(bad, "read");
}

static void test_more_entries_than_there_is_room_for_are_refused(void **state) {
  (void)state;
  static const char *const lists[] = {"products", "attentions", "disks"};
  for (size_t i = 0; i < 3; i++) {
    json_t *bad = base(), *list = json_object_get(bad, lists[i]);
    while (json_array_size(list) <= FG_PROFILE_MAX_PRODUCTS)
      json_array_append_new(list, json_deep_copy(json_array_get(list, 0)));
    assert_refused(bad, lists[i]);
  }
}

static void test_texts_longer_than_their_place_are_refused(void **state) {
  (void)state;
  char text[256];
  memset(text, 'a', sizeof text - 1);
  text[sizeof text - 1] = 0;
  json_t *bad = base();
  json_object_set_new(bad, "machine", json_string(text));
  assert_refused(bad, "machine");
  bad = base();
  json_object_set_new(bad, "machine", json_stringn("a\0b", 3));
  assert_refused(bad, "machine");
}

static void test_another_format_is_refused(void **state) {
  (void)state;
  json_t *bad = base();
  json_object_set_new(bad, "profile_format", json_integer(1));
  assert_refused(bad, "profile_format");
  assert_refused(json_array(), "profile_format");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_written_is_read),
      cmocka_unit_test(test_every_field_must_be_there),
      cmocka_unit_test(test_no_number_below_zero_is_believed),
      cmocka_unit_test(test_damaged_entries_are_refused),
      cmocka_unit_test(test_more_entries_than_there_is_room_for_are_refused),
      cmocka_unit_test(test_texts_longer_than_their_place_are_refused),
      cmocka_unit_test(test_another_format_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
