// UTF-8 as utf8proc has it, of every two bytes and of longer ones at all edges.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"

// Bytes at the edges of what may begin and what may go on.
static const unsigned char edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2,
                                      0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5};
enum { EDGES = sizeof edges };

static void assert_as_utf8proc(const char *bytes, size_t count) {
  fg_utf8_state state;
  utf8proc_int32_t character;
  const size_t length = fg_utf8_scan(bytes, count, &state);
  const utf8proc_ssize_t wanted =
      utf8proc_iterate((const utf8proc_uint8_t *)bytes, (utf8proc_ssize_t)count, &character);
  assert_in_range(length, 1, count);
  assert_int_equal(state == FG_UTF8_VALID, wanted > 0);
  if (wanted <= 0) return;
  assert_int_equal(length, wanted);
  const char *at = bytes;
  assert_int_equal(fg_utf8_take(&at), character);
  assert_ptr_equal(at, bytes + length);
  assert_int_equal(fg_utf8_take_back(&at), character);
  assert_ptr_equal(at, bytes);
}

static void test_every_two_bytes(void **state) {
  (void)state;
  for (int i = 0; i < 0x10000; i++) {
    const char bytes[4] = {(char)(i >> 8), (char)i};
    assert_as_utf8proc(bytes, 1);
    assert_as_utf8proc(bytes, 2);
  }
}

static void test_longer_ones_at_all_edges(void **state) {
  (void)state;
  for (int i = 0; i < EDGES * EDGES * EDGES * EDGES; i++) {
    const char bytes[] = {(char)edges[i % EDGES], (char)edges[i / EDGES % EDGES],
                          (char)edges[i / EDGES / EDGES % EDGES], (char)edges[i / EDGES / EDGES / EDGES]};
    assert_as_utf8proc(bytes, 3);
    assert_as_utf8proc(bytes, 4);
  }
}

static void test_every_character_is_written_as_it_is_read(void **state) {
  (void)state;
  for (int32_t c = 0; c < 0x110000; c++) {
    if (c >= 0xd800 && c < 0xe000) continue;
    char bytes[4];
    utf8proc_uint8_t wanted[4];
    const size_t count = fg_utf8_put((uint32_t)c, bytes);
    assert_int_equal(count, utf8proc_encode_char(c, wanted));
    assert_memory_equal(bytes, wanted, count);
    assert_int_equal(fg_utf8_length(bytes[0]), count);
    assert_true(fg_utf8_valid(bytes, count));
    assert_true(count == 1 || !fg_utf8_valid(bytes, count - 1));
  }
}

// A decoder shows one U+FFFD for each maximal part (Unicode, 3.9, table 3-8 and following).
static void test_what_is_invalid_is_cut_as_unicode_says(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t length;
    fg_utf8_state state;
  } cases[] = {
      {"\xf1\x80\x80\xe1", 3, FG_UTF8_INVALID}, {"\xe1\x80\xc2", 2, FG_UTF8_INVALID},
      {"\xc0\xaf", 1, FG_UTF8_INVALID},         {"\xed\xa0\x80", 1, FG_UTF8_INVALID},
      {"\xf4\x91\x92\x93", 1, FG_UTF8_INVALID}, {"\xff\x41", 1, FG_UTF8_INVALID},
      {"\xe2\x82", 2, FG_UTF8_INCOMPLETE},      {"\xf0\x9f\x98", 3, FG_UTF8_INCOMPLETE},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fg_utf8_state is;
    assert_int_equal(fg_utf8_scan(cases[i].bytes, strlen(cases[i].bytes), &is), cases[i].length);
    assert_int_equal(is, cases[i].state);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_two_bytes),
      cmocka_unit_test(test_longer_ones_at_all_edges),
      cmocka_unit_test(test_every_character_is_written_as_it_is_read),
      cmocka_unit_test(test_what_is_invalid_is_cut_as_unicode_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
