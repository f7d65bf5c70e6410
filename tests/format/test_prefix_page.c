#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/prefix_page.h"

enum { T = 4, BLOCKS = 3, HEAD = 4096 };

static const fg_prefix_shape shape = {
    .page_tokens = T, .layers = 5, .layer_bytes = 200 * 1024}; // pieces of 2, 2, 1
static const int32_t tokens[BLOCKS * T] = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const fg_prefix_text text = {"model a; cache f32", 77, tokens, BLOCKS *T};
static const uint64_t checksums[] = {11, 22, 33};
static const fg_prefix_note noted[] = {{17, -1.5f, 1, 2, {{18, -0.5f}, {19, -2.0f}}},
                                       {18, -0.25f, 0, 0, {{0}}}};
static const fg_prefix_notes notes = {noted, 2, 2};

_Alignas(8) static char head[HEAD];

static uint64_t file_bytes(void) {
  return fg_prefix_page_file_bytes(&shape, strlen(text.identity), text.count);
}

static void write_head(void) {
  assert_int_equal(fg_prefix_page_head_bytes(&shape, strlen(text.identity), text.count), HEAD);
  fg_prefix_page_write_head(head, &shape, &text, &notes, checksums);
}

static fg_status read_head(fg_prefix_page *page) {
  fg_error err;
  return fg_prefix_page_read_head(page, head, HEAD, file_bytes(), &err);
}

static void test_what_is_written_is_read(void **state) {
  (void)state;
  fg_prefix_page page;
  write_head();
  assert_int_equal(read_head(&page), FG_OK);
  assert_true(fg_prefix_page_is(&page, &shape, &text));
  assert_memory_equal(page.checksums, checksums, sizeof checksums);
  assert_int_equal(page.notes.count, 2);
  assert_int_equal(page.notes.top, 2);
  assert_memory_equal(page.notes.notes, noted, sizeof noted);
}

// The form does not change by accident: what an old version has written, a new one reads.
static void test_form_is_what_the_header_says(void **state) {
  (void)state;
  uint32_t numbers[12];
  write_head();
  memcpy(numbers, head + 24, sizeof numbers);
  assert_memory_equal(head, "FGPREFIX\1\0\0\0\0\x10\0\0", 16);
  assert_int_equal(numbers[0], 77);
  assert_int_equal(numbers[2], 200 * 1024);
  const uint32_t rest[] = {5, 2, T, BLOCKS * T, (uint32_t)strlen(text.identity), 2, 2, 0};
  assert_memory_equal(numbers + 4, rest, sizeof rest);
  assert_memory_equal(head + 72, text.identity, strlen(text.identity));
  assert_memory_equal(head + 72 + 24, tokens, sizeof tokens);
  assert_memory_equal(head + 72 + 24 + sizeof tokens, noted, sizeof noted);
  assert_memory_equal(head + 72 + 24 + sizeof tokens + T * 56, checksums, sizeof checksums);
}

static void test_pieces_are_whole_layers_and_end_with_the_file(void **state) {
  (void)state;
  const uint32_t layers[] = {2, 2, 1};
  assert_int_equal(fg_prefix_page_pieces(&shape), 3);
  uint64_t at = 0;
  for (uint32_t i = 0; i < 3; i++) {
    assert_int_equal(fg_prefix_page_layers_of(&shape, i), layers[i]);
    assert_int_equal(fg_prefix_page_piece_at(&shape, i), at);
    assert_int_equal(fg_prefix_page_piece_bytes(&shape, i) % FG_PREFIX_ALIGN, 0);
    at += fg_prefix_page_piece_bytes(&shape, i);
  }
  assert_int_equal(HEAD + at, file_bytes());
  const fg_prefix_shape large = {.page_tokens = T, .layers = 3, .layer_bytes = 1 << 20};
  assert_int_equal(fg_prefix_page_pieces(&large), 3);
  const fg_prefix_shape small = {.page_tokens = T, .layers = 3, .layer_bytes = 100};
  assert_int_equal(fg_prefix_page_pieces(&small), 1);
}

static void test_no_changed_bit_is_accepted(void **state) {
  (void)state;
  fg_prefix_page page;
  for (uint32_t bit = 0; bit < 8 * HEAD; bit++) {
    write_head();
    head[bit / 8] ^= (char)(1 << bit % 8);
    assert_int_not_equal(read_head(&page), FG_OK);
  }
}

static void test_file_of_another_size_is_refused(void **state) {
  (void)state;
  fg_prefix_page page;
  fg_error err;
  write_head();
  const uint64_t right = file_bytes();
  for (uint64_t bytes = 0; bytes < HEAD; bytes += 7)
    assert_int_equal(fg_prefix_page_read_head(&page, head, bytes, right, &err), FG_CORRUPT);
  assert_int_equal(fg_prefix_page_read_head(&page, head, HEAD, right - 1, &err), FG_CORRUPT);
  assert_int_equal(fg_prefix_page_read_head(&page, head, HEAD, right + 4096, &err), FG_CORRUPT);
}

static void test_another_text_is_told(void **state) {
  (void)state;
  fg_prefix_page page;
  write_head();
  assert_int_equal(read_head(&page), FG_OK);
  int32_t others[BLOCKS * T];
  for (uint32_t i = 0; i < BLOCKS * T; i++) {
    memcpy(others, tokens, sizeof others);
    others[i]++;
    assert_false(
        fg_prefix_page_is(&page, &shape, &(fg_prefix_text){text.identity, text.kind, others, text.count}));
  }
  assert_false(fg_prefix_page_is(&page, &shape,
                                 &(fg_prefix_text){"model b; cache f32", text.kind, tokens, text.count}));
  assert_false(fg_prefix_page_is(&page, &shape,
                                 &(fg_prefix_text){"model a; cache f3", text.kind, tokens, text.count}));
  assert_false(fg_prefix_page_is(&page, &shape, &(fg_prefix_text){text.identity, 78, tokens, text.count}));
  assert_false(
      fg_prefix_page_is(&page, &shape, &(fg_prefix_text){text.identity, text.kind, tokens, text.count - T}));
  fg_prefix_shape other = shape;
  other.layer_bytes++;
  assert_false(fg_prefix_page_is(&page, &other, &text));
}

static void test_hashes_tell_identities_kinds_and_orders_apart(void **state) {
  (void)state;
  const uint64_t root = fg_prefix_page_root("a", 0);
  assert_true(root != fg_prefix_page_root("b", 0));
  assert_true(root != fg_prefix_page_root("a", 1));
  const uint64_t one = fg_prefix_page_chain(root, tokens, T), two = fg_prefix_page_chain(one, tokens + T, T);
  assert_true(two != fg_prefix_page_chain(fg_prefix_page_chain(root, tokens + T, T), tokens, T));
}

static void test_names_have_one_spelling(void **state) {
  (void)state;
  char name[FG_PREFIX_NAME_BYTES];
  uint64_t hash;
  uint32_t block;
  fg_prefix_page_name(name, 0xfedcba9876543210, UINT32_MAX);
  assert_string_equal(name, "fedcba9876543210-4294967295.page");
  assert_true(fg_prefix_page_parse_name(name, &hash, &block));
  assert_true(hash == 0xfedcba9876543210 && block == UINT32_MAX);
  static const char *const wrong[] = {"",
                                      ".",
                                      "lock",
                                      "fedcba9876543210",
                                      "fedcba9876543210-",
                                      "fedcba9876543210-1",
                                      "fedcba9876543210-.page",
                                      "fedcba9876543210-01.page",
                                      "fedcba9876543210-1.page.tmp",
                                      "fedcba9876543210-4294967296.page",
                                      "fedcba9876543210-99999999999999999999.page",
                                      "FEDCBA9876543210-1.page",
                                      "fedcba987654321-1.page",
                                      "../../../etc/passwd-1.page"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    assert_false(fg_prefix_page_parse_name(wrong[i], &hash, &block));
  assert_true(fg_prefix_page_parse_folder("0123456789abcdef", &hash));
  assert_false(fg_prefix_page_parse_folder("0123456789abcdef0", &hash));
  assert_false(fg_prefix_page_parse_folder("..", &hash));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_written_is_read),
      cmocka_unit_test(test_form_is_what_the_header_says),
      cmocka_unit_test(test_pieces_are_whole_layers_and_end_with_the_file),
      cmocka_unit_test(test_no_changed_bit_is_accepted),
      cmocka_unit_test(test_file_of_another_size_is_refused),
      cmocka_unit_test(test_another_text_is_told),
      cmocka_unit_test(test_hashes_tell_identities_kinds_and_orders_apart),
      cmocka_unit_test(test_names_have_one_spelling),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
