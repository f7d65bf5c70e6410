#include "checkpoint_support.h"

static void copy(const support *s, const char *fixture, const char *to) {
  size_t bytes;
  char *data = support_read_fixture(fixture, &bytes);
  support_write(s, to, data, bytes);
  free(data);
}

static void write_text(const support *s, const char *name, const char *text) {
  support_write(s, name, text, strlen(text));
}

static void test_folder_prefers_safetensors(void **state) {
  char path[PATH_MAX];
  support_mkdir(*state, "both");
  copy(*state, "plain.bin", "both/pytorch_model.bin");
  assert_checkpoint_at(*state, support_path(*state, "both", path), "plain.bin");
  copy(*state, "mixed.safetensors", "both/model.safetensors");
  assert_checkpoint_at(*state, path, "mixed.safetensors");
}

static void test_what_is_no_checkpoint_is_named(void **state) {
  char path[PATH_MAX];
  support_mkdir(*state, "empty");
  write_text(*state, "weights.pt", "");
  assert_refused(*state, support_path(*state, "empty", path), FG_NOT_FOUND, "holds no weights");
  assert_refused(*state, support_path(*state, "absent", path), FG_NOT_FOUND, "absent");
  assert_refused(*state, support_path(*state, "weights.pt", path), FG_UNSUPPORTED, "neither a folder nor");
}

// A folder with the two shards of fixtures/sharded and this index.
static void assert_index_refused(const support *s, const char *index, fg_status status, const char *message) {
  char path[PATH_MAX];
  write_text(s, "indexed/model.safetensors.index.json", index);
  assert_refused(s, support_path(s, "indexed", path), status, message);
}

#define SHARD1 "\"model-00001-of-00002.safetensors\""
#define SHARD2 "\"model-00002-of-00002.safetensors\""

static void test_index_that_breaks_a_rule_is_refused(void **state) {
  static const struct {
    const char *index;
    fg_status status;
    const char *message;
  } cases[] = {
      {"", FG_CORRUPT, "invalid JSON"},
      {"[]", FG_CORRUPT, "expected '{'"},
      {"{}", FG_CORRUPT, "lists no tensors"},
      {"{\"weight_map\":{}}", FG_CORRUPT, "lists no tensors"},
      {"{\"weight_map\":{\"a\":1}}", FG_CORRUPT, "expected '\"'"},
      {"{\"weight_map\":{\"a\":\"x\"},\"weight_map\":{}}", FG_CORRUPT, "\"weight_map\" twice"},
      {"{\"weight_map\":{\"a\":\"x\"}} 1", FG_CORRUPT, "text after the end"},
      {"{\"metadata\":{\"x\":tru},\"weight_map\":{\"a\":\"x\"}}", FG_CORRUPT, "expected a value"},
      {"{\"weight_map\":{\"a\":\"../model-00001-of-00002.safetensors\"}}", FG_CORRUPT, "no plain file name"},
      {"{\"weight_map\":{\"a\":\"sub/x\"}}", FG_CORRUPT, "no plain file name"},
      {"{\"weight_map\":{\"a\":\"..\"}}", FG_CORRUPT, "no plain file name"},
      {"{\"weight_map\":{\"a\":\"\"}}", FG_CORRUPT, "no plain file name"},
      {"{\"weight_map\":{\"a\":\"absent.safetensors\"}}", FG_NOT_FOUND, "absent.safetensors"},
      {"{\"weight_map\":{\"a\":" SHARD1 ",\"a\":" SHARD2 "}}", FG_CORRUPT, "lists tensor \"a\" twice"},
      {"{\"weight_map\":{\"a\":" SHARD1 "}}", FG_CORRUPT, "tensor \"a\" is not in model-00001-of-00002"},
      {"{\"weight_map\":{\"lm_head.weight\":" SHARD1 ",\"model.norm.weight\":" SHARD2 "}}", FG_CORRUPT,
       "\"lm_head.weight\" is not in model-00001-of-00002"},
  };
  support_mkdir(*state, "indexed");
  copy(*state, "sharded/model-00001-of-00002.safetensors", "indexed/model-00001-of-00002.safetensors");
  copy(*state, "sharded/model-00002-of-00002.safetensors", "indexed/model-00002-of-00002.safetensors");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_index_refused(*state, cases[i].index, cases[i].status, cases[i].message);
  }
  copy(*state, "sharded/model-00001-of-00002.safetensors", "indexed/copy.safetensors");
  assert_index_refused(*state,
                       "{\"weight_map\":{\"model.norm.weight\":" SHARD1
                       ",\"model.embed.weight\":\"copy.safetensors\"}}",
                       FG_CORRUPT, "stands twice");
}

static void test_rows_beyond_the_last_are_refused(void **state) {
  support *s = *state;
  fg_checkpoint *c;
  fg_error err = {0};
  char out[256];
  assert_int_equal(fg_checkpoint_open(&c, FIXTURES "/mixed.safetensors", s->rig.io, &err), FG_OK);
  const fg_checkpoint_tensor *t = fg_checkpoint_find(c, "f32");
  assert_non_null(t);
  assert_int_equal(fg_checkpoint_read_rows(c, t, 3, 1, out, &err), FG_INVALID);
  assert_message(&err, "has 3 rows");
  assert_int_equal(fg_checkpoint_read_rows(c, t, UINT64_MAX, 2, out, &err), FG_INVALID);
  assert_int_equal(fg_checkpoint_read_rows(c, t, 3, 0, out, &err), FG_OK);
  fg_checkpoint_destroy(c);
}

static void test_names_not_in_the_file_are_not_found(void **state) {
  support *s = *state;
  fg_checkpoint *c;
  fg_error err = {0};
  assert_int_equal(fg_checkpoint_open(&c, FIXTURES "/mixed.safetensors", s->rig.io, &err), FG_OK);
  static const char *const absent[] = {"", "a", "f3", "f321", "zzz"};
  for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) assert_null(fg_checkpoint_find(c, absent[i]));
  fg_checkpoint_destroy(c);
}

static void test_failed_read_names_tensor_and_rows(void **state) {
  support *s = *state;
  char path[PATH_MAX], out[256];
  fg_checkpoint *c;
  fg_error err = {0};
  copy(s, "mixed.safetensors", "cut.safetensors");
  assert_int_equal(fg_checkpoint_open(&c, support_path(s, "cut.safetensors", path), s->rig.io, &err), FG_OK);
  assert_int_equal(truncate(path, 16), 0); // somebody cuts the file after it was checked
  assert_int_not_equal(fg_checkpoint_read_rows(c, fg_checkpoint_find(c, "f32"), 1, 2, out, &err), FG_OK);
  assert_message(&err, "tensor \"f32\", rows 1 to 3");
  fg_checkpoint_destroy(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_folder_prefers_safetensors),
      cmocka_unit_test(test_what_is_no_checkpoint_is_named),
      cmocka_unit_test(test_index_that_breaks_a_rule_is_refused),
      cmocka_unit_test(test_rows_beyond_the_last_are_refused),
      cmocka_unit_test(test_names_not_in_the_file_are_not_found),
      cmocka_unit_test(test_failed_read_names_tensor_and_rows),
  };
  return cmocka_run_group_tests_name("checkpoint", tests, support_setup, support_teardown);
}
