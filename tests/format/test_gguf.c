#include "checkpoint_support.h"
#include "format/gguf.h"

static void test_all_types_as_gguf_py_reads_them(void **state) {
  assert_fixture(*state, "all.gguf");
}

static void test_alignment_of_128(void **state) {
  assert_fixture(*state, "aligned.gguf");
}

static void test_parts_make_one_checkpoint(void **state) {
  assert_fixture(*state, "split/parts-00001-of-00003.gguf");
}

static void test_types_that_cannot_be_weights_have_names_and_sizes(void **state) {
  assert_fixture(*state, "sized.gguf");
}

static void test_types_that_we_cannot_read_are_refused_by_name(void **state) {
  assert_refused(*state, FIXTURES "/refused/q8_k.gguf", FG_UNSUPPORTED,
                 "tensor blk.0.ffn_up.weight has type Q8_K, which this version cannot read");
  assert_refused(*state, FIXTURES "/refused/big_endian.gguf", FG_UNSUPPORTED, "big-endian");
}

static void test_later_part_points_to_the_first(void **state) {
  assert_refused(*state, FIXTURES "/split/parts-00002-of-00003.gguf", FG_INVALID,
                 "is part 2 of 3; give part 1");
}

static void copy_part(const support *s, const char *from, const char *to) {
  size_t bytes;
  char *data = support_read_fixture(from, &bytes);
  support_write(s, to, data, bytes);
  free(data);
}

static void test_missing_or_misplaced_part_is_refused(void **state) {
  char path[PATH_MAX];
  copy_part(*state, "split/parts-00001-of-00003.gguf", "renamed.gguf");
  assert_refused(*state, support_path(*state, "renamed.gguf", path), FG_INVALID,
                 "must end in -00001-of-00003.gguf");
  copy_part(*state, "split/parts-00001-of-00003.gguf", "p-00001-of-00003.gguf");
  copy_part(*state, "split/parts-00002-of-00003.gguf", "p-00002-of-00003.gguf");
  support_path(*state, "p-00001-of-00003.gguf", path);
  assert_refused(*state, path, FG_NOT_FOUND, "part 3 of 3");
  copy_part(*state, "split/parts-00002-of-00003.gguf", "p-00003-of-00003.gguf");
  assert_refused(*state, path, FG_CORRUPT, "says that it is part 2 of 3, expected part 3 of 3");
}

// ---- metadata ----------------------------------------------------------------------------------------

static fg_gguf *open_all(void **header) {
  size_t bytes;
  fg_gguf *g;
  fg_error err = {0};
  if (fg_gguf_read_header(FIXTURES "/all.gguf", 1 << 20, header, &bytes, &err)) fail_msg("%s", err.message);
  if (fg_gguf_parse(&g, *header, bytes, &err)) fail_msg("%s", err.message);
  return g;
}

static const json_t *value_of(const support *s, const char *key) {
  const json_t *values = json_object_get(json_object_get(s->expected, "all.gguf"), "values");
  const json_t *value = json_object_get(json_object_get(values, key), "value");
  assert_non_null(value);
  return value;
}

static void test_integers_of_all_types_that_fit(void **state) {
  static const char *const fit[] = {"uint8", "uint16", "uint32"}, *const refused[] = {
                                                                      "int8",  "int16",   "int32", "uint64",
                                                                      "int64", "float32", "bool"};
  char key[64];
  void *header;
  uint32_t value;
  fg_error err = {0};
  fg_gguf *g = open_all(&header);
  for (size_t i = 0; i < sizeof fit / sizeof *fit; i++) {
    snprintf(key, sizeof key, "test.%s", fit[i]);
    assert_int_equal(fg_gguf_u32(g, key, 0, &value, &err), FG_OK);
    assert_int_equal(value, json_integer_value(value_of(*state, key)));
  }
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    snprintf(key, sizeof key, "test.%s", refused[i]);
    assert_int_equal(fg_gguf_u32(g, key, 0, &value, &err), FG_CORRUPT);
    assert_message(&err, key);
  }
  assert_int_equal(fg_gguf_u32(g, "test.absent", 77, &value, &err), FG_OK);
  assert_int_equal(value, 77);
  assert_true(fg_gguf_has(g, "test.uint8"));
  assert_false(fg_gguf_has(g, "test.uint"));
  fg_gguf_destroy(g);
  free(header);
}

static void test_arrays_of_all_types(void **state) {
  static const char *const fit[] = {"uint8", "int8", "uint16", "int16", "int32"}, *const refused[] = {
                                                                                      "uint32", "uint64",
                                                                                      "int64",  "float64",
                                                                                      "bool",   "string"};
  char key[64];
  void *header;
  uint64_t count;
  int32_t values[3];
  fg_error err = {0};
  fg_gguf *g = open_all(&header);
  for (size_t i = 0; i < sizeof fit / sizeof *fit; i++) {
    snprintf(key, sizeof key, "test.array.%s", fit[i]);
    assert_int_equal(fg_gguf_array_count(g, key, &count, &err), FG_OK);
    assert_int_equal(count, 2);
    if (fg_gguf_array_i32(g, key, values, 2, &err)) fail_msg("%s", err.message);
    for (size_t n = 0; n < 2; n++)
      assert_int_equal(values[n], json_integer_value(json_array_get(value_of(*state, key), n)));
  }
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    snprintf(key, sizeof key, "test.array.%s", refused[i]);
    assert_int_equal(fg_gguf_array_count(g, key, &count, &err), FG_OK);
    assert_int_equal(fg_gguf_array_i32(g, key, values, count, &err), FG_CORRUPT);
    assert_message(&err, "fit 32 bits");
  }
  bool flags[2];
  assert_int_equal(fg_gguf_array_bool(g, "test.array.bool", flags, 2, &err), FG_OK);
  for (size_t n = 0; n < 2; n++)
    assert_int_equal(flags[n], json_is_true(json_array_get(value_of(*state, "test.array.bool"), n)));
  assert_int_equal(fg_gguf_array_bool(g, "test.array.uint8", flags, 2, &err), FG_CORRUPT);
  assert_message(&err, "bools");
  assert_int_equal(fg_gguf_array_count(g, "test.uint8", &count, &err), FG_CORRUPT);
  assert_int_equal(fg_gguf_array_count(g, "test.absent", &count, &err), FG_OK);
  assert_int_equal(count, 0);
  assert_int_equal(fg_gguf_array_i32(g, "test.array.int8", values, 3, &err), FG_CORRUPT);
  assert_message(&err, "has 2 elements, expected 3");
  fg_gguf_destroy(g);
  free(header);
}

static void test_floats_and_bools(void **state) {
  void *header;
  float value, values[2];
  bool yes, no;
  fg_error err = {0};
  fg_gguf *g = open_all(&header);
  assert_int_equal(fg_gguf_f32(g, "test.float32", 0, &value, &err), FG_OK);
  assert_true(value == (float)json_real_value(value_of(*state, "test.float32")));
  assert_int_equal(fg_gguf_f32(g, "test.float64", 0, &value, &err), FG_OK);
  assert_true(value == (float)json_real_value(value_of(*state, "test.float64")));
  assert_int_equal(fg_gguf_f32(g, "test.uint8", 0, &value, &err), FG_CORRUPT);
  assert_int_equal(fg_gguf_array_f32(g, "test.array.float32", values, 2, &err), FG_OK);
  assert_true(values[1] == 1.0f);
  assert_int_equal(fg_gguf_bool(g, "test.bool", false, &yes, &err), FG_OK);
  assert_int_equal(fg_gguf_bool(g, "test.false", true, &no, &err), FG_OK);
  assert_true(yes && !no);
  assert_int_equal(fg_gguf_bool(g, "test.uint8", true, &no, &err), FG_CORRUPT);
  fg_gguf_destroy(g);
  free(header);
}

static void assert_text(fg_gguf_string got, const json_t *expected) {
  assert_int_equal(got.length, json_string_length(expected));
  assert_memory_equal(got.data, json_string_value(expected), got.length);
}

static void test_strings(void **state) {
  void *header;
  fg_gguf_string text, texts[3];
  fg_error err = {0};
  fg_gguf *g = open_all(&header);
  assert_int_equal(fg_gguf_text(g, "test.string", &text, &err), FG_OK);
  assert_text(text, value_of(*state, "test.string"));
  assert_int_equal(fg_gguf_text(g, "test.empty_string", &text, &err), FG_OK);
  assert_int_equal(text.length, 0);
  assert_int_equal(fg_gguf_text(g, "test.absent", &text, &err), FG_OK);
  assert_null(text.data);
  assert_int_equal(fg_gguf_text(g, "test.bool", &text, &err), FG_CORRUPT);
  assert_int_equal(fg_gguf_array_strings(g, "test.array.string", texts, 3, &err), FG_OK);
  for (size_t i = 0; i < 3; i++)
    assert_text(texts[i], json_array_get(value_of(*state, "test.array.string"), i));
  fg_gguf_destroy(g);
  free(header);
}

static void test_header_is_all_before_the_data_and_enough_to_parse(void **state) {
  (void)state;
  void *header;
  size_t bytes;
  fg_gguf *g;
  fg_error err = {0};
  assert_int_equal(fg_gguf_read_header(FIXTURES "/all.gguf", 1 << 20, &header, &bytes, &err), FG_OK);
  assert_int_equal(fg_gguf_parse(&g, header, bytes, &err), FG_OK);
  assert_int_equal(fg_gguf_data_start(g), bytes);
  assert_int_equal(bytes % 32, 0);
  fg_gguf_destroy(g);
  free(header);
  assert_int_equal(fg_gguf_read_header(FIXTURES "/all.gguf", 100, &header, &bytes, &err), FG_UNSUPPORTED);
  assert_message(&err, "larger than 100 bytes");
  assert_int_equal(fg_gguf_read_header(FIXTURES "/absent.gguf", 100, &header, &bytes, &err), FG_NOT_FOUND);
}

// A header longer than the first piece that is read.
static void test_header_of_several_megabytes(void **state) {
  enum { TEXT = 3 << 20 };
  const uint64_t counts[] = {0, 1}, key_length = 1, text_length = TEXT;
  char *file = calloc(1, TEXT + 128), path[PATH_MAX];
  assert_non_null(file);
  char *to = file;
  to = mempcpy(to, "GGUF\3\0\0\0", 8);
  to = mempcpy(to, counts, 16);
  to = mempcpy(to, &key_length, 8);
  to = mempcpy(to, "k\10\0\0\0", 5);
  to = mempcpy(to, &text_length, 8);
  support_write(*state, "long.gguf", file, (size_t)(to - file) + TEXT);
  void *header;
  size_t bytes;
  fg_error err = {0};
  if (fg_gguf_read_header(support_path(*state, "long.gguf", path), 16 << 20, &header, &bytes, &err))
    fail_msg("%s", err.message);
  assert_int_equal(bytes, (size_t)(to - file) + TEXT);
  free(header);
  assert_int_equal(fg_gguf_read_header(path, 2 << 20, &header, &bytes, &err), FG_UNSUPPORTED);
  free(file);
}

static void test_every_cut_of_a_file_is_refused(void **state) {
  size_t bytes;
  char *data = support_read_fixture("aligned.gguf", &bytes);
  // The last tensor's padding may be missing: nothing is read from there.
  for (size_t cut = 0; cut < bytes - 88; cut++)
    assert_bytes_refused(*state, "x.gguf", data, cut, FG_CORRUPT, "x.gguf");
  free(data);
}

// ---- files by hand -------------------------------------------------------------------------------------

#define U32(a)                          a "\0\0\0"
#define U64(a)                          a "\0\0\0\0\0\0\0"
#define HEAD(tensors, keys)             "GGUF" U32("\3") U64(tensors) U64(keys)
#define TENSOR(name, dim, type, offset) U64("\1") name U32("\1") U64(dim) U32(type) U64(offset)
#define DATA128                                                                                              \
  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234567" \
  "89abcdef0123456789abcdef"
#define DATA DATA128 DATA128 // any padding takes from it
#define FF7  "\xff\xff\xff\xff\xff\xff\xff"

static void test_file_that_breaks_a_rule_is_refused(void **state) {
#define CASE(text, status, message)                                                                          \
  { text, sizeof text - 1, status, message }
  static const struct {
    const char *file;
    size_t bytes;
    fg_status status;
    const char *message;
  } cases[] = {
      CASE("GGML" U32("\3") U64("\0") U64("\0"), FG_CORRUPT, "not a GGUF file"),
      CASE("GGUF" U32("\1") U64("\0") U64("\0"), FG_UNSUPPORTED, "version 1"),
      CASE("GGUF" U32("\4") U64("\0") U64("\0"), FG_UNSUPPORTED, "version 4"),
      CASE("GGUF\0\0\0\3" U64("\0") U64("\0"), FG_UNSUPPORTED, "big-endian"),
      CASE("GGUF" U32("\3") "\xff" FF7 U64("\0") DATA, FG_CORRUPT, "within the list of tensors"),
      CASE("GGUF" U32("\3") U64("\0") "\xff" FF7 DATA, FG_CORRUPT, "within its keys"),
      CASE(HEAD("\0", "\1") "\xff" FF7 DATA, FG_CORRUPT, "within a key"),
      CASE(HEAD("\0", "\1") U64("\0") U32("\4") U32("\1"), FG_CORRUPT, "key of 0 bytes"),
      CASE(HEAD("\0", "\1") U64("\1") "k" U32("\15") DATA, FG_UNSUPPORTED, "type 13"),
      CASE(HEAD("\0", "\1") U64("\1") "k" U32("\7") "\2", FG_CORRUPT, "a bool that is 2"),
      CASE(HEAD("\0", "\1") U64("\1") "k" U32("\10") "\xff" FF7 DATA, FG_CORRUPT, "array of strings"),
      CASE(HEAD("\0", "\1") U64("\1") "k" U32("\11") U32("\4") "\xff" FF7 DATA, FG_CORRUPT, "within a value"),
      CASE(HEAD("\0", "\1") U64("\1") "k" U32("\11") U32("\4") "\1\0\0\0\0\0\0\x40" DATA, FG_CORRUPT,
           "within a value"),
      CASE(HEAD("\0", "\1") U64("\1") "k" U32("\11") U32("\10") "\xff" FF7 DATA, FG_CORRUPT,
           "array of strings"),
      CASE(HEAD("\0", "\1") U64("\1") "k" U32("\11") U32("\11") U64("\1") DATA, FG_UNSUPPORTED, "type 9"),
      CASE(HEAD("\0", "\2") U64("\1") "k" U32("\0") "a" U64("\1") "k" U32("\0") "b", FG_CORRUPT,
           "\"k\" stands twice"),
      CASE(HEAD("\0", "\1") U64("\21") "general.alignment" U32("\4") U32("\60"), FG_CORRUPT,
           "no power of two"),
      CASE(HEAD("\0", "\1") U64("\21") "general.alignment" U32("\4") U32("\0"), FG_CORRUPT,
           "no power of two"),
      CASE(HEAD("\0", "\1") U64("\21") "general.alignment" U32("\6") U32("\0"), FG_CORRUPT,
           "is f32, expected an integer"),
      CASE(HEAD("\1", "\0") U64("\1") "t" U32("\5") DATA DATA, FG_CORRUPT, "5 dimensions"),
      CASE(HEAD("\1", "\0") U64("\0") U32("\1") U64("\1") U32("\0") U64("\0") DATA, FG_CORRUPT,
           "name of 0 bytes"),
      CASE(HEAD("\1", "\0") TENSOR("\0", "\1", "\0", "\0") DATA, FG_CORRUPT, "has a NUL"),
      CASE(HEAD("\1", "\0") TENSOR("t", "\1", "\143", "\0") DATA, FG_UNSUPPORTED, "has type 99"),
      CASE(HEAD("\1", "\0") TENSOR("t", "\1", "\4", "\0") DATA, FG_UNSUPPORTED, "has type 4"),
      CASE(HEAD("\1", "\0") TENSOR("t", "\41", "\10", "\0") DATA, FG_CORRUPT, "no whole blocks of q8_0"),
      CASE(HEAD("\1", "\0") TENSOR("t", "\1", "\0", "\40") DATA, FG_CORRUPT, "offset 32, expected 0"),
      CASE(HEAD("\2", "\0") TENSOR("t", "\1", "\0", "\0") TENSOR("u", "\1", "\0", "\4") DATA, FG_CORRUPT,
           "offset 4, expected 32"),
      CASE(HEAD("\2", "\0") TENSOR("t", "\1", "\0", "\0") TENSOR("t", "\1", "\0", "\40") DATA, FG_CORRUPT,
           "\"t\" stands twice"),
      CASE(HEAD("\1", "\0") U64("\1") "t" U32("\1") "\xff" FF7 U32("\0") U64("\0") DATA, FG_CORRUPT,
           "overflows"),
      CASE(HEAD("\1", "\0") U64("\1") "t" U32("\1") U64("\0") "\0\0\0\0\0\0\0\xff" DATA, FG_CORRUPT,
           "offset"),
      CASE(HEAD("\1", "\0") U64("\1") "t" U32("\1") "\0\0\0\1\0\0\0\0" U32("\0") U64("\0") DATA, FG_CORRUPT,
           "beyond the end of the file"),
  };
#undef CASE
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_bytes_refused(*state, "x.gguf", cases[i].file, cases[i].bytes, cases[i].status, cases[i].message);
  }
}

static void test_integers_beyond_63_bits_do_not_wrap(void **state) {
  (void)state;
  static const char file[] = HEAD("\0", "\1") U64("\1") "k" U32("\11") U32("\12") U64("\1") "\xff" FF7;
  fg_gguf *g;
  fg_error err = {0};
  int32_t value;
  assert_int_equal(fg_gguf_parse(&g, file, sizeof file - 1, &err), FG_OK);
  assert_int_equal(fg_gguf_array_i32(g, "k", &value, 1, &err), FG_CORRUPT);
  fg_gguf_destroy(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_types_as_gguf_py_reads_them),
      cmocka_unit_test(test_alignment_of_128),
      cmocka_unit_test(test_parts_make_one_checkpoint),
      cmocka_unit_test(test_types_that_cannot_be_weights_have_names_and_sizes),
      cmocka_unit_test(test_types_that_we_cannot_read_are_refused_by_name),
      cmocka_unit_test(test_later_part_points_to_the_first),
      cmocka_unit_test(test_missing_or_misplaced_part_is_refused),
      cmocka_unit_test(test_integers_of_all_types_that_fit),
      cmocka_unit_test(test_arrays_of_all_types),
      cmocka_unit_test(test_floats_and_bools),
      cmocka_unit_test(test_strings),
      cmocka_unit_test(test_header_is_all_before_the_data_and_enough_to_parse),
      cmocka_unit_test(test_header_of_several_megabytes),
      cmocka_unit_test(test_every_cut_of_a_file_is_refused),
      cmocka_unit_test(test_file_that_breaks_a_rule_is_refused),
      cmocka_unit_test(test_integers_beyond_63_bits_do_not_wrap),
  };
  return cmocka_run_group_tests_name("gguf", tests, support_setup, support_teardown);
}
