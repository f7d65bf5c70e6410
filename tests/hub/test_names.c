// What names a model, a file and a blob, and what the environment says about the Hub.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hub/repo.h"
#include "hub/settings.h"

// ---- names ----------------------------------------------------------------------------------------------

static void test_a_model_is_named_with_or_without_a_revision(void **state) {
  (void)state;
  static const struct {
    const char *text, *id, *revision;
  } rows[] = {
      {"facebook/opt-125m", "facebook/opt-125m", "main"},
      {"gpt2", "gpt2", "main"},
      {"a/b@v1.0", "a/b", "v1.0"},
      {"a/b@refs/pr/7", "a/b", "refs/pr/7"},
      {"_a/B_c.d-e", "_a/B_c.d-e", "main"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fg_hub_repo repo;
    fg_error err;
    if (fg_hub_repo_parse(&repo, rows[i].text, &err)) fail_msg("%s", err.message);
    assert_string_equal(repo.id, rows[i].id);
    assert_string_equal(repo.revision, rows[i].revision);
  }
}

static void test_what_names_no_model_is_refused(void **state) {
  (void)state;
  char lengthy[300], revision[400] = "a/b@";
  memset(lengthy, 'a', sizeof lengthy - 1);
  lengthy[sizeof lengthy - 1] = 0;
  strcat(revision, lengthy);
  const char *const rows[] = {"",       "/",       "a/",       "/b",    "a/b/c",  "a//b", "../b", "a/..",
                              "a b",    "a--b",    "a..b",     "-a",    "a.",     "a/b@", "@v1",  "a/b@../",
                              "a/b@/x", "a/b@x\n", "\xc3\xa4", lengthy, revision, "a\\b", "a:b",  "~/b"};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    fg_hub_repo repo;
    if (fg_hub_repo_parse(&repo, rows[i], NULL) != FG_INVALID) fail_msg("taken: %s", rows[i]);
  }
}

static void test_only_plain_relative_names_become_paths(void **state) {
  (void)state;
  static const char *const safe[] = {"a",     "a/b.c", ".gitattributes", "...",
                                     "a/..b", "x y",   "\xe4\xb8\xad",   "\xc2\xa0"};
  static const char *const hostile[] = {"",     ".",      "..",   "/a",   "a/",    "a//b",     "./a",
                                        "a/..", "a/../b", "a\\b", "a\nb", "a\x7f", "\xc2\x85", "a\x1b[2J"};
  for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
    if (!fg_hub_path_is_safe(safe[i])) fail_msg("refused: %s", safe[i]);
  for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
    if (fg_hub_path_is_safe(hostile[i])) fail_msg("taken: %s", hostile[i]);
}

static void test_names_have_a_longest_length(void **state) {
  (void)state;
  char part[202], path[1100];
  memset(part, 'a', sizeof part);
  part[200] = 0;
  assert_true(fg_hub_path_is_safe(part));
  part[200] = 'a', part[201] = 0;
  assert_false(fg_hub_path_is_safe(part));
  for (size_t i = 0; i < sizeof path; i++) path[i] = i % 2 ? '/' : 'a';
  path[1023] = 0;
  assert_true(fg_hub_path_is_safe(path));
  path[1023] = '/', path[1025] = 0;
  assert_false(fg_hub_path_is_safe(path));
}

static void test_only_plain_tags_become_blobs(void **state) {
  (void)state;
  static const char *const hostile[] = {"", ".x", "..", "a/b", "a b", "a\"", "a\n", "\xc3\xa4"};
  char lengthy[FG_HUB_ETAG_BYTES + 1];
  memset(lengthy, 'a', sizeof lengthy);
  lengthy[FG_HUB_ETAG_BYTES] = 0;
  for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) assert_false(fg_hub_etag_is_safe(hostile[i]));
  assert_false(fg_hub_etag_is_safe(lengthy));
  assert_true(fg_hub_etag_is_safe(lengthy + 1));
  assert_true(fg_hub_etag_is_safe("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
  assert_true(fg_hub_etag_is_safe("v7-a.b_c"));
}

static void test_commits_are_forty_digits_in_lower_case(void **state) {
  (void)state;
  assert_true(fg_hub_is_commit("0123456789abcdef0123456789abcdef01234567"));
  assert_false(fg_hub_is_commit("0123456789ABCDEF0123456789abcdef01234567"));
  assert_false(fg_hub_is_commit("0123456789abcdef0123456789abcdef0123456"));
  assert_false(fg_hub_is_commit("0123456789abcdef0123456789abcdef012345678"));
  assert_false(fg_hub_is_commit("main"));
}

static void test_what_a_url_cannot_hold_is_escaped(void **state) {
  (void)state;
  fg_text url = {0};
  fg_hub_quote(&url, "a b/c?d#e%\xc3\xa4~", "/");
  fg_hub_quote(&url, "refs/pr/1", "");
  assert_string_equal(url.data, "a%20b/c%3Fd%23e%25%C3%A4~refs%2Fpr%2F1");
  fg_text_free(&url);
}

// ---- the environment ------------------------------------------------------------------------------------

static const char *const *variables; // name, value, name, value, ..., NULL

static char *get(const char *name) {
  for (const char *const *v = variables; *v; v += 2)
    if (strcmp(v[0], name) == 0) return (char *)v[1];
  return NULL;
}

static fg_status read_settings(fg_hub_settings *out, const char *const *set, fg_error *err) {
  variables = set;
  return fg_hub_settings_read(out, get, err);
}

static void test_defaults_are_those_of_huggingface_hub(void **state) {
  (void)state;
  static const char *const set[] = {"HOME", "/nowhere/me", NULL};
  fg_hub_settings s;
  assert_int_equal(read_settings(&s, set, NULL), FG_OK);
  assert_string_equal(s.endpoint, "https://huggingface.co");
  assert_string_equal(s.cache, "/nowhere/me/.cache/huggingface/hub");
  assert_string_equal(s.token, "");
  assert_int_equal(s.stall_s, 10);
  assert_false(s.offline);
}

static void test_the_cache_is_where_the_nearest_variable_says(void **state) {
  (void)state;
  static const struct {
    const char *set[11], *cache;
  } rows[] = {
      {{"HOME", "/me", "XDG_CACHE_HOME", "/x"}, "/x/huggingface/hub"},
      {{"HOME", "/me", "XDG_CACHE_HOME", "/x", "HF_HOME", "~/hf"}, "/me/hf/hub"},
      {{"HOME", "/me", "HF_HOME", "/hf", "HUGGINGFACE_HUB_CACHE", "/old"}, "/old"},
      {{"HOME", "/me", "HF_HOME", "/hf", "HUGGINGFACE_HUB_CACHE", "/old", "HF_HUB_CACHE", "/new"}, "/new"},
      {{"HOME", "/me", "HF_HUB_CACHE", ""}, "/me/.cache/huggingface/hub"},
      {{"HOME", "/me", "HF_HUB_CACHE", "~user"}, "~user"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char cache[PATH_MAX];
    variables = rows[i].set;
    assert_int_equal(fg_hub_cache_folder(cache, get, NULL), FG_OK);
    assert_string_equal(cache, rows[i].cache);
  }
  static const char *const homeless[] = {NULL};
  char cache[PATH_MAX];
  variables = homeless;
  assert_int_equal(fg_hub_cache_folder(cache, get, NULL), FG_INVALID);
}

static void test_tokens_lose_white_space_and_keep_no_line_break(void **state) {
  (void)state;
  static const char *const good[] = {"HF_HUB_CACHE", "/c",        "HF_HOME", "/nowhere",
                                     "HF_TOKEN",     " hf_a\r\n", NULL};
  static const char *const old[] = {"HF_HOME", "/nowhere", "HUGGING_FACE_HUB_TOKEN", "hf_b", NULL};
  static const char *const off[] = {"HF_HOME", "/nowhere", "HF_TOKEN", "x", "HF_HUB_DISABLE_IMPLICIT_TOKEN",
                                    "yes",     NULL};
  static const char *const bad[] = {"HF_HOME", "/nowhere", "HF_TOKEN", "hf_secret\nX: y", NULL};
  fg_hub_settings s;
  fg_error err;
  assert_int_equal(read_settings(&s, good, NULL), FG_OK);
  assert_string_equal(s.token, "hf_a");
  assert_int_equal(read_settings(&s, old, NULL), FG_OK);
  assert_string_equal(s.token, "hf_b");
  assert_int_equal(read_settings(&s, off, NULL), FG_OK);
  assert_string_equal(s.token, "");
  assert_int_equal(read_settings(&s, bad, &err), FG_INVALID);
  assert_null(strstr(err.message, "secret"));
}

static void test_a_token_file_is_read_where_it_is_said(void **state) {
  (void)state;
  char path[] = "/tmp/flexgen-token-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, "hf_file\n", 8) == 8 && close(fd) == 0);
  const char *const set[] = {"HF_HOME", "/nowhere", "HF_TOKEN_PATH", path, NULL};
  fg_hub_settings s;
  fg_status status = read_settings(&s, set, NULL);
  unlink(path);
  assert_int_equal(status, FG_OK);
  assert_string_equal(s.token, "hf_file");
}

static void test_endpoints_and_times_that_make_no_sense_are_refused(void **state) {
  (void)state;
  static const char *const bad[][3] = {
      {"HF_ENDPOINT", "huggingface.co"}, {"HF_ENDPOINT", "file:///etc"},
      {"HF_ENDPOINT", "https://a b"},    {"HF_ENDPOINT", "https://a?b"},
      {"HF_HUB_DOWNLOAD_TIMEOUT", "0"},  {"HF_HUB_DOWNLOAD_TIMEOUT", "-1"},
      {"HF_HUB_DOWNLOAD_TIMEOUT", "5s"}, {"HF_HUB_DOWNLOAD_TIMEOUT", "99999999999999999999"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const char *const set[] = {"HF_HOME", "/nowhere", bad[i][0], bad[i][1], NULL};
    fg_hub_settings s;
    fg_error err;
    assert_int_equal(read_settings(&s, set, &err), FG_INVALID);
    assert_non_null(strstr(err.message, bad[i][0]));
  }
  static const char *const good[] = {"HF_HOME",
                                     "/nowhere",
                                     "HF_ENDPOINT",
                                     "http://mirror:80/hub//",
                                     "HF_HUB_DOWNLOAD_TIMEOUT",
                                     "60",
                                     "TRANSFORMERS_OFFLINE",
                                     "TRUE",
                                     NULL};
  fg_hub_settings s;
  assert_int_equal(read_settings(&s, good, NULL), FG_OK);
  assert_string_equal(s.endpoint, "http://mirror:80/hub");
  assert_int_equal(s.stall_s, 60);
  assert_true(s.offline);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_model_is_named_with_or_without_a_revision),
      cmocka_unit_test(test_what_names_no_model_is_refused),
      cmocka_unit_test(test_only_plain_relative_names_become_paths),
      cmocka_unit_test(test_names_have_a_longest_length),
      cmocka_unit_test(test_only_plain_tags_become_blobs),
      cmocka_unit_test(test_commits_are_forty_digits_in_lower_case),
      cmocka_unit_test(test_what_a_url_cannot_hold_is_escaped),
      cmocka_unit_test(test_defaults_are_those_of_huggingface_hub),
      cmocka_unit_test(test_the_cache_is_where_the_nearest_variable_says),
      cmocka_unit_test(test_tokens_lose_white_space_and_keep_no_line_break),
      cmocka_unit_test(test_a_token_file_is_read_where_it_is_said),
      cmocka_unit_test(test_endpoints_and_times_that_make_no_sense_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
