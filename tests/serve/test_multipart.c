// Forms of uploads: as clients send them, in pieces of every size, and as nobody should.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/text_buffer.h"
#include "serve/multipart.h"

#define TYPE             "multipart/form-data; boundary=----x9"
#define PART(head, data) "------x9\r\nContent-Disposition: form-data; " head "\r\n\r\n" data "\r\n"
#define FORM_END         "------x9--\r\n"

// What came out, as text: "[name|filename]data;".
static bool begin(void *user, const fg_multipart_part *part) {
  fg_text_printf(user, "[%s|%s]", part->name, part->filename ? part->filename : "-");
  return true;
}

static bool data(void *user, const char *bytes, size_t count) {
  assert_true(count > 0);
  fg_text_append(user, bytes, count);
  return true;
}

static bool end(void *user) {
  fg_text_append(user, ";", 1);
  return true;
}

static fg_status read_form(fg_text *out, const char *type, const char *form, size_t length, size_t piece) {
  const fg_multipart_sink sink = {begin, data, end, out};
  fg_multipart *m;
  fg_error err = {FG_OK, ""};
  fg_status status = fg_multipart_create(&m, type, &sink, &err);
  if (status != FG_OK) return status;
  for (size_t at = 0; at < length && status == FG_OK; at += piece)
    status = fg_multipart_feed(m, form + at, length - at < piece ? length - at : piece, &err);
  if (status == FG_OK) status = fg_multipart_finish(m, &err);
  if (status != FG_OK) assert_true(err.message[0] != 0);
  fg_multipart_destroy(m);
  return status;
}

static void expect_of(const char *type, const char *form, const char *wanted) {
  for (size_t piece = 1; piece <= strlen(form); piece++) {
    fg_text out = {0};
    assert_int_equal(read_form(&out, type, form, strlen(form), piece), FG_OK);
    assert_string_equal(out.data ? out.data : "", wanted);
    fg_text_free(&out);
  }
}

static void expect(const char *form, const char *wanted) {
  expect_of(TYPE, form, wanted);
}

static void refuse(const char *form) {
  for (size_t piece = 1; piece <= strlen(form) + 1; piece++) {
    fg_text out = {0};
    assert_int_equal(read_form(&out, TYPE, form, strlen(form), piece), FG_INVALID);
    fg_text_free(&out);
  }
}

static void test_fields_and_files(void **state) {
  (void)state;
  expect(PART("name=\"purpose\"", "batch")
             PART("name=\"file\"; filename=\"in.jsonl\"\r\nContent-Type: application/octet-stream", "{}\n")
                 FORM_END,
         "[purpose|-]batch;[file|in.jsonl]{}\n;");
}

static void test_data_may_look_like_a_delimiter(void **state) {
  (void)state;
  expect(PART("name=a", "\r\r\n\r\n--\r\n------x8\r\n------x\r") FORM_END,
         "[a|-]\r\r\n\r\n--\r\n------x8\r\n------x\r;");
  expect(PART("name=a", "\n------x9\n") FORM_END, "[a|-]\n------x9\n;");
}

static void test_empty_parts_and_forms(void **state) {
  (void)state;
  expect(PART("name=a", "") PART("name=b; filename=\"\"", "") FORM_END, "[a|-];[b|];");
  expect(FORM_END, "");
}

static void test_what_stands_around_the_form_is_ignored(void **state) {
  (void)state;
  expect("hello\r\n" PART("name=a", "1") FORM_END "and ------x9 more", "[a|-]1;");
}

static void test_lines_may_end_without_carriage_return_and_names_go_by_any_case(void **state) {
  (void)state;
  expect(
      "------x9  \r\nX-Other: 1\ncontent-disposition:form-data ;NAME=\"a b\"; FileName=c\n\nd\r\n" FORM_END,
      "[a b|c]d;");
}

static void test_quotes_in_names(void **state) {
  (void)state;
  expect(PART("name=\"a\\\"b\\\\c\\d\"; filename=\"x;y=z.jsonl\"", "") FORM_END, "[a\"b\\c\\d|x;y=z.jsonl];");
}

static void test_zero_bytes_are_data(void **state) {
  (void)state;
  static const char form[] = PART("name=a", "1\0002") FORM_END;
  fg_text out = {0};
  assert_int_equal(read_form(&out, TYPE, form, sizeof form - 1, 3), FG_OK);
  assert_int_equal(out.length, strlen("[a|-];") + 3);
  fg_text_free(&out);
}

static void test_boundaries(void **state) {
  (void)state;
  expect_of("Multipart/Form-Data ; charset=utf-8; boundary=\"a b:c\"",
            "--a b:c\r\nContent-Disposition: form-data; name=q\r\n\r\n1\r\n--a b:c--", "[q|-]1;");
  static const char *const bad[] = {
      NULL,
      "",
      "application/json",
      "multipart/form-data",
      "multipart/form-data; boundary=",
      "multipart/form-data; boundary=\"",
      "multipart/form-data; boundary=\"a ",
      "multipart/form-data; boundary=\"a \"",
      "multipart/form-data; boundary=a<b",
      "multipart/form-databoundary=a",
      "multipart/mixed; boundary=a",
      "multipart/form-data; "
      "boundary=0123456789012345678901234567890123456789012345678901234567890123456789+"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    fg_text out = {0};
    assert_int_equal(read_form(&out, bad[i], FORM_END, 1, 1), FG_INVALID);
    fg_text_free(&out);
  }
}

static void test_torn_forms_are_refused(void **state) {
  (void)state;
  static const char whole[] = PART("name=a; filename=b", "data") "------x9--";
  for (size_t length = 0; length < sizeof whole - 1; length++) {
    fg_text out = {0};
    assert_int_equal(read_form(&out, TYPE, whole, length, 7), FG_INVALID);
    fg_text_free(&out);
  }
}

static void test_what_is_no_form_is_refused(void **state) {
  (void)state;
  refuse("");
  refuse("------x9x\r\n");
  refuse("------x9-x\r\n");
  refuse("------x9\r\n\r\nno name\r\n" FORM_END);
  refuse("------x9\r\nContent-Disposition: attachment; name=a\r\n\r\n\r\n" FORM_END);
  refuse(PART("filename=b", "") FORM_END);
  refuse(PART("name=\"a", "") FORM_END);
  refuse(PART("name=\"a\x01\"", "") FORM_END);
}

static void test_headers_are_bounded(void **state) {
  (void)state;
  fg_text form = {0}, out = {0};
  fg_text_append_string(&form, "------x9\r\n");
  for (uint32_t i = 0; i < 3000; i++) fg_text_append_string(&form, "x");
  fg_text_append_string(&form, "\r\n\r\n" FORM_END);
  assert_int_equal(read_form(&out, TYPE, form.data, form.length, 100), FG_INVALID);
  fg_text_clear(&form);
  fg_text_append_string(&form, "------x9\r\n");
  for (uint32_t i = 0; i < 30; i++) fg_text_append_string(&form, "a: b\r\n");
  fg_text_append_string(&form, "\r\n" FORM_END);
  assert_int_equal(read_form(&out, TYPE, form.data, form.length, 100), FG_INVALID);
  fg_text_clear(&form);
  fg_text_append_string(&form, "------x9\r\nContent-Disposition: form-data; name=a; filename=\"");
  for (uint32_t i = 0; i < 300; i++) fg_text_append_string(&form, "x");
  fg_text_append_string(&form, "\"\r\n\r\n" FORM_END);
  assert_int_equal(read_form(&out, TYPE, form.data, form.length, 100), FG_INVALID);
  fg_text_free(&form);
  fg_text_free(&out);
}

static bool no(void *user, const char *bytes, size_t count) {
  (void)user;
  (void)bytes;
  (void)count;
  return false;
}

static void test_a_sink_can_stop_it(void **state) {
  (void)state;
  fg_text out = {0};
  const fg_multipart_sink sink = {begin, no, end, &out};
  static const char form[] = PART("name=a", "data") FORM_END;
  fg_multipart *m;
  fg_error err;
  assert_int_equal(fg_multipart_create(&m, TYPE, &sink, &err), FG_OK);
  assert_int_equal(fg_multipart_feed(m, form, sizeof form - 1, &err), FG_CANCELLED);
  fg_multipart_destroy(m);
  fg_text_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fields_and_files),
      cmocka_unit_test(test_data_may_look_like_a_delimiter),
      cmocka_unit_test(test_empty_parts_and_forms),
      cmocka_unit_test(test_what_stands_around_the_form_is_ignored),
      cmocka_unit_test(test_lines_may_end_without_carriage_return_and_names_go_by_any_case),
      cmocka_unit_test(test_quotes_in_names),
      cmocka_unit_test(test_zero_bytes_are_data),
      cmocka_unit_test(test_boundaries),
      cmocka_unit_test(test_torn_forms_are_refused),
      cmocka_unit_test(test_what_is_no_form_is_refused),
      cmocka_unit_test(test_headers_are_bounded),
      cmocka_unit_test(test_a_sink_can_stop_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
