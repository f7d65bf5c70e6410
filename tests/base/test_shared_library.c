#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/shared_library.h"
#include "base/system.h"

typedef struct maths {
  int other;
  double (*cosine)(double x);
  double (*sine)(double x);
} maths;

static fg_shared_library library_of(const char *file, const fg_shared_function *functions, size_t count) {
  return (fg_shared_library){.file = file,
                             .name = "libmaths",
                             .advice = "ask for it",
                             .wanted = "a newer one",
                             .functions = functions,
                             .count = count};
}

static void test_functions_go_where_they_belong(void **state) {
  (void)state;
  static const fg_shared_function functions[] = {{"sin", offsetof(maths, sine)},
                                                 {"cos", offsetof(maths, cosine)}};
  const fg_shared_library library = library_of(FG_SHARED_LIBRARY("libm", "6"), functions, 2);
  maths m = {.other = 7};
  void *handle;
  fg_error err;
  if (fg_shared_library_open(&handle, &library, &m, &err) != FG_OK) fail_msg("%s", err.message);
  assert_float_equal(m.cosine(0), 1, 1e-12);
  assert_float_equal(m.sine(0), 0, 1e-12);
  assert_int_equal(m.other, 7);
  fg_shared_library_close(handle);
}

static void test_what_is_missing_is_named(void **state) {
  (void)state;
  static const fg_shared_function functions[] = {{"cos", offsetof(maths, cosine)},
                                                 {"no_such_function", offsetof(maths, sine)}};
  fg_shared_library library = library_of(FG_SHARED_LIBRARY("libm", "6"), functions, 2);
  maths m;
  void *handle = &m;
  fg_error err;
  assert_int_equal(fg_shared_library_open(&handle, &library, &m, &err), FG_UNSUPPORTED);
  assert_null(handle);
  assert_string_equal(err.message, "libmaths has no no_such_function; a newer one is wanted");
  library.file = "libflexgen-no-such-library.so.1";
  assert_int_equal(fg_shared_library_open(&handle, &library, &m, &err), FG_NOT_FOUND);
  assert_null(handle);
  assert_non_null(strstr(err.message, "libmaths is not installed; ask for it ("));
  fg_shared_library_close(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_functions_go_where_they_belong),
                                     cmocka_unit_test(test_what_is_missing_is_named)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
