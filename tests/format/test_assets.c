#include "checkpoint_support.h"
#include "format/assets.h"
#include "format/gguf.h"

static void assert_asset(const fg_assets *assets, const char *name, const char *text) {
  const fg_asset *asset = fg_assets_find(assets, name);
  assert_non_null(asset);
  assert_int_equal(asset->bytes, strlen(text));
  assert_string_equal(asset->data, text); // the NUL behind it is there
}

static void test_folder_gives_the_files_that_exist(void **state) {
  char path[PATH_MAX];
  fg_assets assets;
  fg_error err = {0};
  support_mkdir(*state, "model");
  support_write(*state, "model/config.json", "{}", 2);
  support_write(*state, "model/merges.txt", "a b\n", 4);
  support_write(*state, "model/notes.txt", "x", 1);
  assert_int_equal(fg_assets_load(&assets, support_path(*state, "model", path), &err), FG_OK);
  assert_int_equal(assets.count, 2);
  assert_asset(&assets, "config.json", "{}");
  assert_asset(&assets, "merges.txt", "a b\n");
  assert_null(fg_assets_find(&assets, "tokenizer.json"));
  fg_assets_free(&assets);
}

static void test_lone_configuration(void **state) {
  char path[PATH_MAX];
  fg_assets assets;
  fg_error err = {0};
  support_write(*state, "opt.json", "{\"a\":1}", 7);
  assert_int_equal(fg_assets_load(&assets, support_path(*state, "opt.json", path), &err), FG_OK);
  assert_asset(&assets, "config.json", "{\"a\":1}");
  fg_assets_free(&assets);
}

static void test_gguf_gives_its_header_without_the_weights(void **state) {
  (void)state;
  fg_assets assets;
  fg_gguf *g;
  fg_error err = {0};
  assert_int_equal(fg_assets_load(&assets, FIXTURES "/all.gguf", &err), FG_OK);
  const fg_asset *header = fg_assets_find(&assets, FG_ASSET_GGUF_HEADER);
  assert_non_null(header);
  assert_int_equal(fg_gguf_parse(&g, header->data, header->bytes, &err), FG_OK);
  assert_int_equal(fg_gguf_data_start(g), header->bytes);
  fg_gguf_destroy(g);
  fg_assets_free(&assets);
}

static void test_paths_without_assets_are_refused(void **state) {
  char path[PATH_MAX];
  fg_assets assets;
  fg_error err = {0};
  support_mkdir(*state, "bare");
  support_write(*state, "model.onnx", "x", 1);
  support_write(*state, "broken.gguf", "x", 1);
  assert_int_equal(fg_assets_load(&assets, support_path(*state, "bare", path), &err), FG_NOT_FOUND);
  assert_int_equal(fg_assets_load(&assets, support_path(*state, "absent", path), &err), FG_NOT_FOUND);
  assert_int_equal(fg_assets_load(&assets, support_path(*state, "model.onnx", path), &err), FG_UNSUPPORTED);
  assert_int_equal(fg_assets_load(&assets, support_path(*state, "broken.gguf", path), &err), FG_CORRUPT);
  assert_int_equal(assets.count, 0);
}

static void test_fifo_in_the_place_of_a_file_does_not_hang(void **state) {
  char path[PATH_MAX];
  fg_assets assets;
  fg_error err = {0};
  support_mkdir(*state, "fifo");
  assert_int_equal(mkfifo(support_path(*state, "fifo/config.json", path), 0600), 0);
  assert_int_equal(fg_assets_load(&assets, support_path(*state, "fifo", path), &err), FG_INVALID);
  assert_message(&err, "not a regular file");
}

static void test_names_are_unique_and_bytes_are_copied(void **state) {
  (void)state;
  char text[] = "abc";
  fg_assets assets = {0};
  fg_error err = {0};
  assert_int_equal(fg_assets_add(&assets, "a", text, 3, &err), FG_OK);
  text[0] = 'x';
  assert_asset(&assets, "a", "abc");
  assert_int_equal(fg_assets_add(&assets, "a", text, 3, &err), FG_INVALID);
  assert_int_equal(fg_assets_add(&assets, "empty", NULL, 0, &err), FG_OK);
  assert_asset(&assets, "empty", "");
  fg_assets_free(&assets);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_folder_gives_the_files_that_exist),
      cmocka_unit_test(test_lone_configuration),
      cmocka_unit_test(test_gguf_gives_its_header_without_the_weights),
      cmocka_unit_test(test_paths_without_assets_are_refused),
      cmocka_unit_test(test_fifo_in_the_place_of_a_file_does_not_hang),
      cmocka_unit_test(test_names_are_unique_and_bytes_are_copied),
  };
  return cmocka_run_group_tests_name("assets", tests, support_setup, support_teardown);
}
