// How a text may go on by itself.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/lookup.h"

// Texts of letters; `said` is what is guessed, at most `most` letters.
typedef struct situation {
  const char *text;
  uint32_t most;
  const char *said;
  uint32_t match;
} situation;

static const situation situations[] = {
    {"", 4, "", 0},
    {"a", 4, "", 0},
    {"abc", 4, "", 0},                          // the last token stands nowhere else
    {"abcab", 3, "cab", 2},                     // goes on with itself at the text's end
    {"abcab", 0, "", 0},                        //
    {"xabcdyabzab", 2, "za", 2},                // of equal matches the last one
    {"xabcdyabzxab", 3, "cdy", 3},              // of others the longest one
    {"aa", 5, "aaaaa", 1},                      //
    {"baaaa", 3, "aaa", 3},                     // overlaps itself
    {"0123456789x9123456789", 2, "x9", 8},      // eight tokens are looked at, where nine agree
    {"123456789y23456789x23456789", 1, "x", 8}, // and so the last one of both
};

static void test_texts_go_on_as_they_did(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof situations / sizeof *situations; i++) {
    const situation *s = &situations[i];
    const uint32_t count = (uint32_t)strlen(s->text);
    int32_t tokens[64];
    for (uint32_t t = 0; t < count; t++) tokens[t] = s->text[t];
    for (uint32_t t = count; t < 64; t++) tokens[t] = -1;
    const fg_guess guess = fg_lookup(tokens, count, s->most, tokens + count);
    char said[64] = "";
    for (uint32_t t = 0; t < guess.count; t++) said[t] = (char)tokens[count + t];
    print_message("\"%s\": \"%s\" by %u\n", s->text, said, guess.match);
    assert_string_equal(said, s->said);
    assert_int_equal(guess.match, s->match);
    assert_int_equal(tokens[count + guess.count], -1); // nothing is written behind
  }
}

static void test_reach_is_bounded(void **state) {
  (void)state;
  const uint32_t count = FG_LOOKUP_REACH + 10;
  int32_t *tokens = calloc(count, sizeof *tokens), out;
  assert_non_null(tokens);
  for (uint32_t i = 0; i < count; i++) tokens[i] = (int32_t)i;
  tokens[count - 1] = 9; // the first of those within reach
  assert_int_equal(fg_lookup(tokens, count, 1, &out).count, 1);
  assert_int_equal(out, 10);
  tokens[count - 1] = 8;
  assert_int_equal(fg_lookup(tokens, count, 1, &out).count, 0);
  free(tokens);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_texts_go_on_as_they_did),
      cmocka_unit_test(test_reach_is_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
