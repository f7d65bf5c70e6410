#include "checkpoint_support.h"

// A file of a JSON header and so many data bytes.
static size_t make_file(char *out, const char *header, size_t data_bytes) {
  uint64_t length = strlen(header);
  memcpy(out, &length, 8);
  memcpy(out + 8, header, length);
  memset(out + 8 + length, 0, data_bytes);
  return 8 + (size_t)length + data_bytes;
}

static void test_every_dtype_and_shape_as_the_library_reads_it(void **state) {
  assert_fixture(*state, "mixed.safetensors");
}

static void test_data_at_odd_offset_and_escaped_names(void **state) {
  assert_fixture(*state, "unaligned.safetensors");
}

static void test_shards_make_one_checkpoint(void **state) {
  assert_fixture(*state, "sharded");
}

#define A4 "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"

static void test_header_that_breaks_a_rule_is_refused(void **state) {
  static const struct {
    const char *header;
    size_t data;
    fg_status status;
    const char *message;
  } cases[] = {
      {" {}", 0, FG_CORRUPT, "does not begin with '{'"},
      {"{}x", 0, FG_CORRUPT, "text after the end"},
      {"{" A4, 4, FG_CORRUPT, "expected ','"},
      {"{" A4 ",}", 4, FG_CORRUPT, "invalid JSON"},
      {"{" A4 "," A4 "}", 4, FG_CORRUPT, "overlap"},
      {"{" A4 ",\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4]}}", 4, FG_CORRUPT,
       "stands twice"},
      {"{\"__metadata__\":{\"a\":1}}", 0, FG_CORRUPT, "expected '\"'"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, FG_CORRUPT, "__metadata__\" twice"},
      {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, FG_CORRUPT,
       "\"dtype\" twice"},
      {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, FG_CORRUPT, "lacks \"dtype\""},
      {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, FG_CORRUPT, "lacks \"shape\""},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, FG_CORRUPT, "lacks \"data_offsets\""},
      {"{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, FG_UNSUPPORTED,
       "tensor \"a\" has type F6_E2M3"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, FG_CORRUPT,
       "its shape and type need 8"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, FG_CORRUPT,
       "non-negative integer"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, FG_CORRUPT, "fraction"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, FG_CORRUPT,
       "overflows"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
       FG_CORRUPT, "overflows"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,0],\"data_offsets\":[0,0]}}", 0,
       FG_CORRUPT, "overflows"},
      {"{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0, FG_CORRUPT,
       "overflows"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[18446744073709551616],\"data_offsets\":[0,4]}}", 4, FG_CORRUPT,
       "beyond 64 bits"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, FG_UNSUPPORTED,
       "more than 8 dimensions"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, FG_CORRUPT, "outside"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, FG_CORRUPT,
       "outside of the 3 bytes"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[18446744073709551612,18446744073709551615]}"
       "}",
       4, FG_CORRUPT, "outside"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, FG_CORRUPT, "expected ']'"},
      {"{" A4 "}", 5, FG_CORRUPT, "tensors end at data byte 4, the file has 5"},
      {"{" A4 ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[5,9]}}", 9, FG_CORRUPT, "a hole"},
      {"{" A4 ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[3,7]}}", 7, FG_CORRUPT, "overlap"},
      {"{" A4 ",\"b\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[2,2]}}", 4, FG_CORRUPT, "overlap"},
      {"{\"a\\u0000\":{}}", 0, FG_CORRUPT, "invalid escape"},
      {"{\"a\xff\":{}}", 0, FG_CORRUPT, "not UTF-8"},
      {"{\"a\":[]}", 0, FG_CORRUPT, "expected '{'"},
  };
  char file[1024];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t bytes = make_file(file, cases[i].header, cases[i].data);
    assert_bytes_refused(*state, "x.safetensors", file, bytes, cases[i].status, cases[i].message);
  }
}

static void test_lengths_that_cannot_be_are_refused(void **state) {
  char file[64] = {0};
  static const uint64_t lengths[] = {0, 1, 57, 100000001, UINT64_MAX, UINT64_MAX - 7};
  assert_bytes_refused(*state, "x.safetensors", file, 7, FG_CORRUPT, "too short");
  assert_bytes_refused(*state, "x.safetensors", file, 0, FG_CORRUPT, "too short");
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    memcpy(file, &lengths[i], 8);
    assert_bytes_refused(*state, "x.safetensors", file, sizeof file, FG_CORRUPT, "a header of");
  }
}

static void test_every_cut_of_a_file_is_refused(void **state) {
  size_t bytes;
  char *data = support_read_fixture("mixed.safetensors", &bytes);
  for (size_t cut = 0; cut < bytes; cut++)
    assert_bytes_refused(*state, "x.safetensors", data, cut, FG_CORRUPT, "x.safetensors");
  free(data);
}

static void test_deep_nesting_does_not_exhaust_the_stack(void **state) {
  enum { DEPTH = 500000 };
  char *header = malloc(DEPTH + 64), *file = malloc(DEPTH + 128);
  assert_true(header && file);
  strcpy(header, "{\"a\":{\"x\":");
  memset(header + strlen(header), '[', DEPTH);
  header[10 + DEPTH] = 0;
  size_t bytes = make_file(file, header, 0);
  assert_bytes_refused(*state, "x.safetensors", file, bytes, FG_CORRUPT, "64 levels");
  free(header);
  free(file);
}

static void test_too_many_tensors_are_refused(void **state) {
  enum { COUNT = 65537 };
  char *header = malloc(COUNT * 64 + 8), *file = malloc(COUNT * 64 + 64), *to = header;
  assert_true(header && file);
  for (int i = 0; i < COUNT; i++) {
    to += sprintf(to, "%c\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? ',' : '{', i);
  }
  strcpy(to, "}");
  size_t bytes = make_file(file, header, 0);
  assert_bytes_refused(*state, "x.safetensors", file, bytes, FG_UNSUPPORTED, "more than 65536 tensors");
  free(header);
  free(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_dtype_and_shape_as_the_library_reads_it),
      cmocka_unit_test(test_data_at_odd_offset_and_escaped_names),
      cmocka_unit_test(test_shards_make_one_checkpoint),
      cmocka_unit_test(test_header_that_breaks_a_rule_is_refused),
      cmocka_unit_test(test_lengths_that_cannot_be_are_refused),
      cmocka_unit_test(test_every_cut_of_a_file_is_refused),
      cmocka_unit_test(test_deep_nesting_does_not_exhaust_the_stack),
      cmocka_unit_test(test_too_many_tensors_are_refused),
  };
  return cmocka_run_group_tests_name("safetensors", tests, support_setup, support_teardown);
}
