#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/page_pool.h"

enum { T = 1 }; // tokens of a page

static fg_page_pool *make(uint32_t pages, uint32_t cached) {
  fg_page_pool *p;
  fg_error err;
  const fg_page_pool_limits limits = {.pages = pages, .page_tokens = T, .shares = true, .cached = cached};
  assert_int_equal(fg_page_pool_create(&p, &limits, &err), FG_OK);
  return p;
}

static fg_prefix_block block(uint32_t before, const int32_t *token) {
  return (fg_prefix_block){.before = before, .tokens = token};
}

// Pages of the text 0, 1, 2, ..., published.
static void take_text(fg_page_pool *p, uint32_t *pages, const int32_t *text, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    const fg_prefix_block b = block(i ? pages[i - 1] : FG_NO_PAGE, text + i);
    pages[i] = fg_page_pool_take(p);
    assert_true(fg_page_pool_publish(p, pages[i], &b));
  }
}

static void leave_text(fg_page_pool *p, const uint32_t *pages, uint32_t count) {
  while (count) fg_page_pool_leave(p, pages[--count]);
}

static const int32_t text[] = {0, 1, 2, 3}, other[] = {9, 8, 7, 6};

static void test_free_pages_go_before_those_that_are_kept(void **state) {
  (void)state;
  uint32_t pages[2], dropped;
  fg_page_pool *p = make(4, 4);
  take_text(p, pages, text, 2);
  leave_text(p, pages, 2);
  assert_int_equal(fg_page_pool_available(p), 4);
  for (int i = 0; i < 2; i++) {
    const uint32_t page = fg_page_pool_take(p);
    assert_true(page != pages[0] && page != pages[1]);
  }
  fg_page_pool_dropped(p, &dropped);
  assert_int_equal(dropped, 0);
  assert_int_equal(fg_page_pool_take(p), pages[1]); // the end of the text first
  assert_int_equal(fg_page_pool_dropped(p, &dropped)[0], pages[1]);
  assert_int_equal(dropped, 1);
  assert_int_equal(fg_page_pool_take(p), pages[0]);
  assert_int_equal(fg_page_pool_take(p), FG_NO_PAGE);
  fg_page_pool_destroy(p);
}

static void test_text_left_first_is_forgotten_first(void **state) {
  (void)state;
  uint32_t a[2], b[2];
  fg_page_pool *p = make(4, 4);
  take_text(p, a, text, 2);
  take_text(p, b, other, 2);
  leave_text(p, a, 2);
  leave_text(p, b, 2);
  for (int i = 0; i < 2; i++) fg_page_pool_share(p, a[i]); // wanted again, and left again
  leave_text(p, a, 2);
  const uint32_t order[] = {b[1], b[0], a[1], a[0]};
  for (int i = 0; i < 4; i++) assert_int_equal(fg_page_pool_take(p), order[i]);
  fg_page_pool_destroy(p);
}

static void test_no_more_are_kept_than_allowed(void **state) {
  (void)state;
  uint32_t pages[4];
  fg_page_pool *p = make(4, 1);
  take_text(p, pages, text, 4);
  leave_text(p, pages, 4);
  fg_prefix_block b = block(FG_NO_PAGE, text);
  assert_int_equal(fg_page_pool_find(p, &b), pages[0]);
  b = block(pages[0], text + 1);
  assert_int_equal(fg_page_pool_find(p, &b), FG_NO_PAGE);
  fg_page_pool_destroy(p);
}

static void test_page_stays_until_its_last_owner_leaves(void **state) {
  (void)state;
  uint32_t page, dropped;
  fg_page_pool *p = make(2, 0);
  take_text(p, &page, text, 1);
  fg_page_pool_share(p, page);
  fg_page_pool_leave(p, page);
  assert_int_equal(fg_page_pool_available(p), 1);
  fg_page_pool_leave(p, page);
  assert_int_equal(fg_page_pool_available(p), 2);
  fg_page_pool_dropped(p, &dropped);
  assert_int_equal(dropped, 1);
  fg_page_pool_forget_dropped(p);
  fg_page_pool_dropped(p, &dropped);
  assert_int_equal(dropped, 0);
  fg_page_pool_destroy(p);
}

static void test_same_text_is_published_once(void **state) {
  (void)state;
  uint32_t page;
  fg_page_pool *p = make(2, 2);
  take_text(p, &page, text, 1);
  const fg_prefix_block b = block(FG_NO_PAGE, text);
  const uint32_t second = fg_page_pool_take(p);
  assert_false(fg_page_pool_publish(p, second, &b));
  assert_int_equal(fg_page_pool_find(p, &b), page);
  fg_page_pool_leave(p, second);
  uint32_t dropped;
  assert_int_equal(fg_page_pool_dropped(p, &dropped)[0], second); // nobody could find it
  fg_page_pool_destroy(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_free_pages_go_before_those_that_are_kept),
      cmocka_unit_test(test_text_left_first_is_forgotten_first),
      cmocka_unit_test(test_no_more_are_kept_than_allowed),
      cmocka_unit_test(test_page_stays_until_its_last_owner_leaves),
      cmocka_unit_test(test_same_text_is_published_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
