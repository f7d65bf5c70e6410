// The Hub's list of files, and what of it is wanted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "hub/choose.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define SHA1   "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
#define SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static fg_status read_text(fg_hub_listing *out, const char *text, fg_error *err) {
  return fg_hub_listing_read(out, strdup(text), strlen(text), "list", err);
}

static fg_hub_listing good(const char *text) {
  fg_hub_listing listing;
  fg_error err;
  if (read_text(&listing, text, &err)) fail_msg("%s", err.message);
  return listing;
}

static void test_hash_is_the_blobs_name(void **state) {
  (void)state;
  fg_hub_listing l = good("{\"id\":\"a/b\",\"siblings\":["
                          "{\"rfilename\":\"w\",\"blobId\":\"" SHA1 "\",\"size\":5,"
                          "\"lfs\":{\"sha256\":\"" SHA256 "\",\"size\":70000000000,\"pointerSize\":3}},"
                          "{\"size\":7,\"rfilename\":\"c\",\"blobId\":\"" SHA1 "\",\"lfs\":null}"
                          "],\"sha\":\"" COMMIT "\",\"tags\":[1,[{}]]}");
  assert_string_equal(l.commit, COMMIT);
  assert_int_equal(l.count, 2);
  assert_string_equal(l.files[0].path, "c"); // in order
  assert_string_equal(l.files[0].etag, SHA1);
  assert_int_equal(l.files[0].bytes, 7);
  assert_string_equal(l.files[1].etag, SHA256);
  assert_int_equal(l.files[1].bytes, 70000000000);
  fg_hub_listing_free(&l);
}

static void test_what_is_not_said_or_no_hash_is_unknown(void **state) {
  (void)state;
  fg_hub_listing l =
      good("{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"a\"},"
           "{\"rfilename\":\"b\",\"size\":null,\"blobId\":null},"
           "{\"rfilename\":\"c\",\"size\":1,\"blobId\":\"../../etc\"},"
           "{\"rfilename\":\"d\",\"size\":1,\"blobId\":\"" SHA1 "\",\"lfs\":{\"sha256\":\"x\"}}]}");
  assert_int_equal(l.count, 4);
  for (size_t i = 0; i < 4; i++) assert_null(l.files[i].etag);
  for (size_t i = 0; i < 2; i++) assert_int_equal(l.files[i].bytes, FG_HUB_UNKNOWN_SIZE);
  fg_hub_listing_free(&l);
}

static void test_hostile_names_are_passed_over_and_counted(void **state) {
  (void)state;
  fg_hub_listing l =
      good("{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"ok\"},{\"rfilename\":\"../up\"},"
           "{\"rfilename\":\"/etc/passwd\"},{\"rfilename\":\"a\\nb\"}]}");
  assert_int_equal(l.count, 1);
  assert_int_equal(l.refused, 3);
  assert_string_equal(l.refused_name, "../up");
  fg_hub_listing_free(&l);
}

static void test_what_is_no_list_is_refused(void **state) {
  (void)state;
  static const char *const rows[] = {
      "",
      "[]",
      "{}",
      "<html>",
      "{\"sha\":\"" COMMIT "\"}",
      "{\"siblings\":[]}",
      "{\"sha\":\"main\",\"siblings\":[]}",
      "{\"sha\":\"" COMMIT "\",\"siblings\":{}}",
      "{\"sha\":\"" COMMIT "\",\"siblings\":[[]]}",
      "{\"sha\":\"" COMMIT "\",\"siblings\":[{}]}",
      "{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":7}]}",
      "{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"a\"},{\"rfilename\":\"a\"}]}",
      "{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"a\"}],\"siblings\":[{\"rfilename\":\"b\"}]}",
      "{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"a\",\"size\":18446744073709551616}]}",
      "{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"a\",\"size\":1.5}]}",
      "{\"sha\":\"" COMMIT "\",\"siblings\":[]} more",
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fg_hub_listing l;
    fg_error err;
    if (read_text(&l, rows[i], &err) != FG_CORRUPT) fail_msg("taken: %s", rows[i]);
    assert_null(l.files);
  }
}

// ---- choosing -------------------------------------------------------------------------------------------

// Files of `names` (blanks between them), 1 KiB each.
static fg_hub_listing list_of(const char *names) {
  char text[4096] = "{\"sha\":\"" COMMIT "\",\"siblings\":[", copy[1024];
  const char *comma = "";
  snprintf(copy, sizeof copy, "%s", names);
  for (char *rest = copy, *name; (name = strsep(&rest, " ")); comma = ",")
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s{\"rfilename\":\"%s\",\"size\":1024}", comma,
             name);
  strcat(text, "]}");
  return good(text);
}

static fg_hub_wish wish_of(char **patterns, size_t count, char **exclude, size_t exclude_count) {
  return (fg_hub_wish){.include = {{patterns, count}, {NULL, 0}}, .exclude = {exclude, exclude_count}};
}

static void assert_chosen(const char *names, const fg_hub_wish *wish, const char *expected) {
  fg_hub_listing l = list_of(names);
  fg_error err;
  char got[1024] = "";
  if (fg_hub_choose(&l, wish, "a/b", &err)) fail_msg("%s", err.message);
  for (size_t i = 0; i < l.count; i++) {
    if (!l.files[i].chosen) continue;
    if (got[0]) strcat(got, " ");
    strcat(got, l.files[i].path);
  }
  assert_string_equal(got, expected);
  fg_hub_listing_free(&l);
}

static void test_best_complete_form_of_weights_is_taken(void **state) {
  (void)state;
  static const fg_hub_wish any = {.exclude = {NULL, 0}};
  assert_chosen(
      "README.md config.json model.safetensors model-1-of-1.safetensors model.safetensors.index.json", &any,
      "config.json model.safetensors");
  assert_chosen("config.json model-1-of-2.safetensors model-2-of-2.safetensors model.safetensors.index.json "
                "pytorch_model.bin",
                &any,
                "config.json model-1-of-2.safetensors model-2-of-2.safetensors model.safetensors.index.json");
  assert_chosen("model.safetensors.index.json pytorch_model.bin", &any,
                "pytorch_model.bin"); // shards are missing
  assert_chosen("pytorch_model-1-of-1.bin pytorch_model.bin.index.json tf_model.h5 tokenizer.model", &any,
                "pytorch_model-1-of-1.bin pytorch_model.bin.index.json tokenizer.model");
  assert_chosen("adapter_config.json adapter_model.bin adapter_model.safetensors", &any,
                "adapter_config.json adapter_model.safetensors");
  assert_chosen("adapter_config.json adapter_model.bin pytorch_model.bin", &any, "pytorch_model.bin");
  assert_chosen("original/model.safetensors model.safetensors onnx/config.json", &any, "model.safetensors");
}

static void test_patterns_match_whole_paths(void **state) {
  (void)state;
  const char *names = "a.gguf b/a.gguf b/c.txt config.json model.safetensors";
  char *all_gguf[] = {"*.gguf"}, *folder[] = {"b/"}, *mixed[] = {"b/c*", "?.gguf"},
       *bracket[] = {"[ab].gguf"};
  fg_hub_wish wish = wish_of(all_gguf, 1, NULL, 0);
  assert_chosen(names, &wish, "a.gguf b/a.gguf");
  wish = wish_of(folder, 1, NULL, 0);
  assert_chosen(names, &wish, "b/a.gguf b/c.txt");
  wish = wish_of(mixed, 2, NULL, 0);
  assert_chosen(names, &wish, "a.gguf b/c.txt");
  wish = wish_of(bracket, 1, NULL, 0);
  assert_chosen(names, &wish, "a.gguf");
  wish = wish_of(NULL, 0, all_gguf, 1);
  assert_chosen(names, &wish, "config.json model.safetensors");
  wish = wish_of(all_gguf, 1, folder, 1);
  assert_chosen(names, &wish, "a.gguf");
}

static void refused(const char *names, const fg_hub_wish *wish, const char *part) {
  fg_hub_listing l = list_of(names);
  fg_error err;
  assert_int_equal(fg_hub_choose(&l, wish, "a/b", &err), FG_NOT_FOUND);
  if (!strstr(err.message, part)) fail_msg("%s", err.message);
  fg_hub_listing_free(&l);
}

static void test_what_cannot_be_chosen_names_what_there_is(void **state) {
  (void)state;
  static const fg_hub_wish any = {.exclude = {NULL, 0}};
  char *none[] = {"*.q5"}, *all[] = {"*"};
  fg_hub_wish mistyped = wish_of(none, 1, NULL, 0), nothing = wish_of(NULL, 0, all, 1);
  refused("x-q4.gguf x-q8.gguf config.json", &any, "with one of x-q4.gguf (1 KiB), x-q8.gguf (1 KiB)");
  refused("README.md tf_model.h5", &any, "only README.md (1 KiB), tf_model.h5 (1 KiB)");
  refused("a.gguf", &mistyped, "has no file '*.q5'; it has a.gguf (1 KiB)");
  refused("model.safetensors", &nothing, "--exclude takes all");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hash_is_the_blobs_name),
      cmocka_unit_test(test_what_is_not_said_or_no_hash_is_unknown),
      cmocka_unit_test(test_hostile_names_are_passed_over_and_counted),
      cmocka_unit_test(test_what_is_no_list_is_refused),
      cmocka_unit_test(test_best_complete_form_of_weights_is_taken),
      cmocka_unit_test(test_patterns_match_whole_paths),
      cmocka_unit_test(test_what_cannot_be_chosen_names_what_there_is),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
