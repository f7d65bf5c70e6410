// Who may come in, and how long they may take.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// after the three above
#include <cmocka.h>

#include "serve/access.h"
#include "serve/patience.h"

static const char *const keys[] = {"first key", "second"};

static void test_one_of_the_keys_opens(void **state) {
  (void)state;
  assert_true(fg_access_key("Bearer first key", keys, 2));
  assert_true(fg_access_key("bearer  second", keys, 2));
  assert_true(fg_access_key(NULL, keys, 0));
}

static void test_nothing_else_does(void **state) {
  (void)state;
  static const char *const wrong[] = {"",
                                      "Bearer",
                                      "Bearer ",
                                      "Bearer secon",
                                      "Bearer second ",
                                      "second",
                                      "Basic second",
                                      "Bearersecond",
                                      "Bearer Second",
                                      "Bearer secondsecond",
                                      "Bearer third"};
  assert_false(fg_access_key(NULL, keys, 2));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(fg_access_key(wrong[i], keys, 2));
  assert_false(fg_access_key("Bearer x", (const char *const[]){""}, 1));
}

static void test_pages_of_other_sites_stay_out(void **state) {
  (void)state;
  assert_true(fg_access_origin(NULL, "127.0.0.1:8000"));
  assert_true(fg_access_origin("http://127.0.0.1:8000", "127.0.0.1:8000"));
  assert_true(fg_access_origin("https://models.example", "models.example"));
  assert_false(fg_access_origin("http://example.com", "127.0.0.1:8000"));
  assert_false(fg_access_origin("http://127.0.0.1:9000", "127.0.0.1:8000"));
  assert_false(fg_access_origin("null", "127.0.0.1:8000"));
  assert_false(fg_access_origin("http://example.com", NULL));
}

static void test_names_that_were_pointed_at_loopback_stay_out(void **state) {
  (void)state;
  static const char *const right[] = {"127.0.0.1:8000", "localhost",         "LOCALHOST:1",
                                      "[::1]:8000",     "me.localhost:8000", "10.0.0.7"};
  static const char *const wrong[] = {"evil.example:8000", "localhost.evil.example", "", ":8000", "[",
                                      "127.0.0.1.evil"};
  for (size_t i = 0; i < sizeof right / sizeof *right; i++) assert_true(fg_access_loopback_host(right[i]));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(fg_access_loopback_host(wrong[i]));
  assert_true(fg_access_loopback_host(NULL));
}

static void test_loopback_addresses_are_known(void **state) {
  (void)state;
  assert_true(fg_access_is_loopback("127.0.0.1"));
  assert_true(fg_access_is_loopback("127.8.9.1"));
  assert_true(fg_access_is_loopback("::1"));
  assert_true(fg_access_is_loopback("localhost"));
  assert_false(fg_access_is_loopback("0.0.0.0"));
  assert_false(fg_access_is_loopback("::"));
  assert_false(fg_access_is_loopback("192.168.1.1"));
}

static void test_a_body_may_take_as_long_as_it_comes(void **state) {
  (void)state;
  const fg_patience p = {.header_seconds = 10, .idle_seconds = 60};
  const uint64_t s = 1000000000;
  assert_true(fg_patience_end_ns(&p, FG_PHASE_HEADER, 5, 0) == 5 + 10 * s);
  assert_true(fg_patience_end_ns(&p, FG_PHASE_HEADER, 5, 1 << 20) == 5 + 10 * s);
  assert_true(fg_patience_end_ns(&p, FG_PHASE_BODY, 5, 0) == 5 + 10 * s);
  assert_true(fg_patience_end_ns(&p, FG_PHASE_BODY, 5, 8 * FG_LEAST_BODY_RATE) == 5 + 18 * s);
  assert_true(fg_patience_end_ns(&p, FG_PHASE_IDLE, 5, 0) == 5 + 70 * s);
  assert_true(fg_patience_end_ns(&p, FG_PHASE_ANSWER, 5, 0) == UINT64_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_of_the_keys_opens),
      cmocka_unit_test(test_nothing_else_does),
      cmocka_unit_test(test_pages_of_other_sites_stay_out),
      cmocka_unit_test(test_names_that_were_pointed_at_loopback_stay_out),
      cmocka_unit_test(test_loopback_addresses_are_known),
      cmocka_unit_test(test_a_body_may_take_as_long_as_it_comes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
