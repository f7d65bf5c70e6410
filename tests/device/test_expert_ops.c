// The operations that experts need, on every device.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "rig.h"

enum { ROWS = 37, EXPERTS = 11, USED = 3, WIDTH = 50 };

// Rows apart, and a bias: each row is what fg_route says of it.
static void check_route(rig *r) {
  enum { STRIDE = 16 };
  uint64_t state = 1;
  float *logits = random_floats(&state, ROWS * STRIDE), *bias = random_floats(&state, EXPERTS);
  float out[ROWS * 2 * USED], weights[USED];
  int32_t chosen[USED];
  fg_memory *ml = put(r, logits, ROWS * STRIDE * 4), *mb = put(r, bias, EXPERTS * 4);
  fg_memory *mo = make_memory(r, sizeof out);
  fg_call call = {.op = FG_OP_ROUTE,
                  .rows = ROWS,
                  .a = view_of(ml, STRIDE),
                  .c = view_of(mb, 0),
                  .out = view_of(mo, 2 * USED)};
  call.params.route = (fg_route_form){
      .kind = FG_ROUTE_SIGMOID, .experts = EXPERTS, .used = USED, .normalise = true, .scale = 2};
  run_call(r, &call);
  take(r, mo, out, sizeof out);
  drop_memory(r, ml), drop_memory(r, mb);
  for (int row = 0; row < ROWS; row++) {
    fg_route(&call.params.route, logits + row * STRIDE, bias, chosen, weights);
    assert_memory_equal(out + row * 2 * USED, chosen, sizeof chosen);
    for (int i = 0; i < USED; i++) // another device's exponentials are not this one's
      assert_true(fabsf(out[row * 2 * USED + USED + i] - weights[i]) <= 1e-6f);
  }
  free(logits), free(bias);
}

static void test_route(void **state) {
  (void)state;
  each_device(check_route);
}

static void check_scatter(rig *r, bool listed) {
  enum { MOVED = 5, STRIDE = 4 };
  static const int32_t rows[MOVED] = {36, 0, 7, 11, 3};
  uint64_t state = 2;
  float *x = random_floats(&state, MOVED * WIDTH), *y = random_floats(&state, ROWS * WIDTH),
        out[ROWS * WIDTH];
  float *weights = random_floats(&state, MOVED * STRIDE);
  fg_memory *mx = put(r, x, MOVED * WIDTH * 4), *mr = put(r, rows, sizeof rows), *my = put(r, y, sizeof out),
            *mw = put(r, weights, MOVED * STRIDE * 4);
  fg_call call = {.op = FG_OP_SCATTER, .rows = MOVED, .a = view_of(mx, WIDTH), .out = view_of(my, WIDTH)};
  if (listed) call.b = view_of(mr, 1);
  call.c = (fg_view){mw, 4, STRIDE}; // a column
  call.params.copy.width = WIDTH;
  run_call(r, &call);
  take(r, my, out, sizeof out);
  drop_memory(r, mx), drop_memory(r, mr), drop_memory(r, mw);
  for (int row = 0; row < ROWS; row++) {
    int from = -1;
    for (int i = 0; i < MOVED; i++)
      if ((listed ? rows[i] : i) == row) from = i;
    for (int i = 0; i < WIDTH; i++) {
      double want = y[row * WIDTH + i];
      if (from >= 0) want += (double)weights[from * STRIDE + 1] * x[from * WIDTH + i];
      assert_true(fabs(out[row * WIDTH + i] - want) < 1e-6);
    }
  }
  free(x), free(y), free(weights);
}

static void check_listed(rig *r) {
  check_scatter(r, true);
}
static void check_in_place(rig *r) {
  check_scatter(r, false);
}

static void test_scatter_adds_weighted_rows_where_they_belong(void **state) {
  (void)state;
  each_device(check_listed);
  each_device(check_in_place);
}

static void check_refusals(rig *r) {
  fg_error err;
  const int32_t outside[] = {0, ROWS}, negative[] = {0, -1};
  float zeros[ROWS * WIDTH] = {0};
  fg_memory *m = put(r, zeros, sizeof zeros);
  fg_memory *rows[] = {put(r, outside, sizeof outside), put(r, negative, sizeof negative)};
  for (int i = 0; i < 2; i++) {
    fg_call call = {.op = FG_OP_SCATTER,
                    .rows = 2,
                    .a = view_of(m, WIDTH),
                    .b = view_of(rows[i], 1),
                    .c = view_of(m, 1),
                    .out = view_of(m, WIDTH)};
    call.params.copy.width = WIDTH;
    assert_int_equal(run_failing(r, &call, &err), FG_INTERNAL);
  }
  fg_call call = {.op = FG_OP_ROUTE, .rows = 2, .a = view_of(m, WIDTH), .out = view_of(m, WIDTH)};
  call.params.route = (fg_route_form){.experts = 2, .used = 3};
  assert_int_equal(run_failing(r, &call, &err), FG_INTERNAL);
  drop_memory(r, rows[0]), drop_memory(r, rows[1]), drop_memory(r, m);
}

static void test_wrong_rows_and_routes_are_refused(void **state) {
  (void)state;
  rig r = make_rig("cpu", 2, FG_COMPUTE_F32);
  check_refusals(&r);
  drop_rig(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_route),
      cmocka_unit_test(test_scatter_adds_weighted_rows_where_they_belong),
      cmocka_unit_test(test_wrong_rows_and_routes_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
