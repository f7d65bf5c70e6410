// Which route answers which request.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// after the three above
#include <cmocka.h>

#include <stdio.h>

#include "serve/route.h"

static const fg_api_route routes[] = {
    {"GET", "/", FG_ACCESS_OPEN, FG_BODY_NONE, NULL, NULL},
    {"GET", "/v1/files", FG_ACCESS_KEY, FG_BODY_NONE, NULL, NULL},
    {"POST", "/v1/files", FG_ACCESS_KEY, FG_BODY_PIECES, NULL, NULL},
    {"GET", "/v1/files/{id}", FG_ACCESS_KEY, FG_BODY_NONE, NULL, NULL},
    {"GET", "/v1/files/{id}/content", FG_ACCESS_KEY, FG_BODY_NONE, NULL, NULL},
    {"GET", "/v1/{kind}/by/{id}", FG_ACCESS_KEY, FG_BODY_NONE, NULL, NULL},
    {"GET", "/v1/models/{+model}", FG_ACCESS_KEY, FG_BODY_NONE, NULL, NULL},
};

typedef struct found {
  int row; // -1: none
  char part[2][32], allow[FG_ROUTE_ALLOW];
} found;

static found find(const char *method, const char *path) {
  fg_api_route_match match;
  fg_api_route_find(&match, routes, sizeof routes / sizeof *routes, method, path);
  found f = {.row = match.route ? (int)(match.route - routes) : -1};
  for (int i = 0; i < 2; i++)
    snprintf(f.part[i], sizeof f.part[i], "%s", match.parts[i] ? match.parts[i] : "");
  snprintf(f.allow, sizeof f.allow, "%s", match.allow);
  fg_api_route_free(&match);
  return f;
}

static void test_paths_are_matched_whole(void **state) {
  (void)state;
  assert_int_equal(find("GET", "/").row, 0);
  assert_int_equal(find("GET", "/v1/files").row, 1);
  assert_int_equal(find("GET", "/v1/files/").row, -1);
  assert_int_equal(find("GET", "/v1/file").row, -1);
  assert_int_equal(find("GET", "/v1/filesX").row, -1);
  assert_int_equal(find("GET", "").row, -1);
  assert_int_equal(find("GET", "//v1/files").row, -1);
}

static void test_segments_in_braces_are_one_segment(void **state) {
  (void)state;
  found f = find("GET", "/v1/files/file-1/content");
  assert_int_equal(f.row, 4);
  assert_string_equal(f.part[0], "file-1");
  f = find("GET", "/v1/files/file-1");
  assert_int_equal(f.row, 3);
  assert_string_equal(f.part[0], "file-1");
  assert_int_equal(find("GET", "/v1/files/a/b").row, -1);
  f = find("GET", "/v1/x/by/y");
  assert_int_equal(f.row, 5);
  assert_string_equal(f.part[0], "x");
  assert_string_equal(f.part[1], "y");
}

static void test_the_rest_of_a_path_holds_slashes(void **state) {
  (void)state;
  const found f = find("GET", "/v1/models/org/name");
  assert_int_equal(f.row, 6);
  assert_string_equal(f.part[0], "org/name");
  assert_int_equal(find("GET", "/v1/models/").row, -1);
}

static void test_head_is_answered_as_get(void **state) {
  (void)state;
  assert_int_equal(find("HEAD", "/v1/files").row, 1);
}

static void test_other_methods_hear_which_are_allowed(void **state) {
  (void)state;
  const found f = find("DELETE", "/v1/files");
  assert_int_equal(f.row, -1);
  assert_string_equal(f.allow, "GET, HEAD, POST");
  assert_string_equal(find("DELETE", "/nowhere").allow, "");
  assert_int_equal(find("get", "/v1/files").row, -1); // methods are case-sensitive
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_paths_are_matched_whole),
      cmocka_unit_test(test_segments_in_braces_are_one_segment),
      cmocka_unit_test(test_the_rest_of_a_path_holds_slashes),
      cmocka_unit_test(test_head_is_answered_as_get),
      cmocka_unit_test(test_other_methods_hear_which_are_allowed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
