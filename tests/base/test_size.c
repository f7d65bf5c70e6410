#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/size.h"

static void test_units_as_people_write_them(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t bytes;
  } rows[] = {
      {"0", 0},
      {"4096", 4096},
      {"12B", 12},
      {"900M", UINT64_C(900) << 20},
      {"900m", UINT64_C(900) << 20},
      {"1.5G", UINT64_C(3) << 29},
      {".5K", 512},
      {"2.K", 2048},
      {"20 GiB", UINT64_C(20) << 30},
      {"20GB", UINT64_C(20000000000)},
      {"1kB", 1000},
      {"1.1GB", UINT64_C(1100000000)},
      {"16777215T", UINT64_C(16777215) << 40},
      {"18446744073709551615", UINT64_MAX},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint64_t bytes = 1;
    if (fg_size_parse(rows[i].text, &bytes, NULL)) fail_msg("%s", rows[i].text);
    assert_int_equal(bytes, rows[i].bytes);
  }
}

static void test_what_is_no_size_is_named(void **state) {
  (void)state;
  static const char *const texts[] = {"",     " ",      "G",    ".",         "-1",
                                      "+1",   "1e9",    "1 G ", "1,5G",      "1GG",
                                      "0x10", "1 KiBs", "1  G", "16777216T", "18446744073709551616",
                                      "nan"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    uint64_t bytes = 77;
    fg_error err;
    if (fg_size_parse(texts[i], &bytes, &err) != FG_INVALID) fail_msg("'%s' passed", texts[i]);
    assert_int_equal(bytes, 77);
    assert_non_null(strstr(err.message, texts[i]));
  }
}

static void test_sizes_as_shown(void **state) {
  (void)state;
  static const struct {
    uint64_t bytes;
    const char *text;
  } rows[] = {
      {0, "0 B"},
      {1023, "1023 B"},
      {1024, "1 KiB"},
      {1536, "1.5 KiB"},
      {(812 << 10) + 5, "812 KiB"},
      {UINT64_C(1503238553), "1.4 GiB"},
      {(UINT64_C(1) << 30) - 1, "1 GiB"}, // never "1024 MiB"
      {UINT64_MAX, "16 EiB"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char buffer[16];
    assert_string_equal(fg_size_format(rows[i].bytes, buffer), rows[i].text);
  }
}

static void test_no_size_overruns_its_buffer(void **state) {
  (void)state;
  for (uint64_t bytes = 1; bytes < UINT64_MAX / 3; bytes = bytes * 3 - 1) {
    char buffer[17];
    buffer[16] = '#';
    fg_size_format(bytes * 2 / 3 + bytes, buffer);
    assert_true(strlen(buffer) < 16 && buffer[16] == '#');
    assert_null(strstr(buffer, "1024"));
    if (bytes == 1) bytes = 2;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_units_as_people_write_them),
      cmocka_unit_test(test_what_is_no_size_is_named),
      cmocka_unit_test(test_sizes_as_shown),
      cmocka_unit_test(test_no_size_overruns_its_buffer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
