// The words of --weight-dtype and what goes with it, and the types that matrices, head and tables get by
// them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "model/weight_type.h"

static void assert_wish(const char *dtype, const char *group, const char *symmetric, uint32_t k,
                        fg_dtype want) {
  fg_weight_wish wish;
  fg_dtype got = FG_DTYPE_COUNT;
  const fg_weight_words words = {.dtype = dtype, .group = group, .symmetric = symmetric};
  assert_int_equal(fg_weight_wish_read(&wish, &words, NULL), FG_OK);
  assert_true(fg_weight_form_type(&wish.parts[FG_PART_LAYERS], k, &got) == (want != FG_DTYPE_COUNT));
  assert_int_equal(got, want);
  assert_int_equal(wish.parts[FG_PART_LAYERS].per_row, group && strcmp(group, "channel") == 0);
}

static void assert_no_wish(const char *dtype, const char *group, const char *symmetric, const char *said) {
  fg_error err;
  fg_weight_wish wish;
  const fg_weight_words words = {.dtype = dtype, .group = group, .symmetric = symmetric};
  assert_int_equal(fg_weight_wish_read(&wish, &words, &err), FG_INVALID);
  assert_non_null(strstr(err.message, said));
}

static void test_words_become_types(void **state) {
  (void)state;
  fg_weight_wish wish;
  assert_wish("int8", NULL, NULL, 4096, FG_I8G128);
  assert_wish("int8", "auto", "false", 4096, FG_I8G128M);
  assert_wish("int4", "auto", "auto", 4096, FG_I4G64M);
  assert_wish("int4", "128", "true", 4096, FG_I4G128);
  assert_wish("int4", "32", "true", 4096, FG_Q4_0);
  assert_wish("int4", "channel", NULL, 4096, FG_I4G256M);
  assert_wish("int8", "channel", NULL, 576, FG_I8G64);
  assert_wish("int8", "128", NULL, 96, FG_Q8_0);
  assert_wish("int8", NULL, NULL, 80, FG_DTYPE_COUNT);
  assert_wish("bf16", NULL, NULL, 80, FG_BF16);
  assert_int_equal(fg_weight_wish_read(&wish, &(fg_weight_words){0}, NULL), FG_OK);
  for (int part = 0; part < FG_PART_COUNT; part++) assert_false(wish.parts[part].set);
  assert_no_wish("int2", NULL, NULL, "--weight-dtype int2");
  assert_no_wish("int4", "48", NULL, "--weight-group 48");
  assert_no_wish("int4", NULL, "maybe", "--weight-symmetric maybe");
  assert_no_wish("bf16", "64", NULL, "--weight-group");
  assert_no_wish(NULL, NULL, "true", "--weight-symmetric");
}

static void assert_parts(const char *dtype, const char *head, const char *table, const fg_dtype want[2]) {
  fg_weight_wish wish;
  const fg_weight_words words = {.dtype = dtype, .head = head, .table = table};
  assert_int_equal(fg_weight_wish_read(&wish, &words, NULL), FG_OK);
  for (int i = 0; i < 2; i++) {
    const fg_weight_form *form = &wish.parts[i ? FG_PART_TABLE : FG_PART_HEAD];
    assert_int_equal(form->set ? form->dtype : FG_DTYPE_COUNT, want[i]);
  }
}

static void test_head_and_tables_have_words_of_their_own(void **state) {
  (void)state;
  fg_error err;
  fg_weight_wish wish;
  assert_parts(NULL, NULL, NULL, (fg_dtype[]){FG_DTYPE_COUNT, FG_DTYPE_COUNT});
  assert_parts("bf16", NULL, NULL, (fg_dtype[]){FG_BF16, FG_BF16});
  assert_parts("int4", NULL, NULL, (fg_dtype[]){FG_I8G128, FG_I8G128});
  assert_parts("int4", "same", "same", (fg_dtype[]){FG_I4G64M, FG_I4G64M});
  assert_parts("int4", "bf16", "int8", (fg_dtype[]){FG_BF16, FG_I8G128});
  assert_parts("int8", NULL, NULL, (fg_dtype[]){FG_I8G128, FG_DTYPE_COUNT});
  assert_parts(NULL, "int8", NULL, (fg_dtype[]){FG_I8G128, FG_DTYPE_COUNT});
  assert_int_equal(fg_weight_wish_read(&wish, &(fg_weight_words){.head = "4"}, &err), FG_INVALID);
  assert_non_null(strstr(err.message, "--weight-head"));
  assert_int_equal(fg_weight_wish_read(&wish, &(fg_weight_words){.table = "4"}, &err), FG_INVALID);
  assert_non_null(strstr(err.message, "--weight-embedding"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_words_become_types),
      cmocka_unit_test(test_head_and_tables_have_words_of_their_own),
  };
  return cmocka_run_group_tests_name("weight_type", tests, NULL, NULL);
}
