#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "hub/sha.h"

// The examples of the standard, FIPS 180-4.
static const struct {
  fg_sha_kind kind;
  const char *text, *sum;
} examples[] = {
    {FG_SHA_1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {FG_SHA_1, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    {FG_SHA_256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {FG_SHA_256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void check(fg_sha_kind kind, const char *text, size_t piece, const char *wanted) {
  unsigned char sum[FG_SHA_MOST_BYTES];
  char digits[2 * FG_SHA_MOST_BYTES + 1] = "";
  fg_sha *sha = fg_sha_create(kind);
  assert_non_null(sha);
  for (size_t at = 0, length = strlen(text); at < length; at += piece)
    assert_true(fg_sha_add(sha, text + at, length - at < piece ? length - at : piece));
  size_t count = fg_sha_end(sha, sum);
  for (size_t i = 0; i < count; i++) snprintf(digits + 2 * i, 3, "%02x", sum[i]);
  assert_string_equal(digits, wanted);
  fg_sha_destroy(sha);
}

static void test_sums_are_the_standards_however_text_comes(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
    for (size_t piece = 1; piece <= 64; piece += 9)
      check(examples[i].kind, examples[i].text, piece, examples[i].sum);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums_are_the_standards_however_text_comes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
