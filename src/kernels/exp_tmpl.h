// exp_tmpl.h: the exponential over the vectors of a vec_*.h, which is included before.
#ifndef FG_KERNELS_EXP_TMPL_H
#define FG_KERNELS_EXP_TMPL_H

// exp(x) within 2 units in the last place: x = n ln 2 + r, |r| <= ln 2 / 2, with exp(r) by its Taylor
// polynomial of degree 7 (its remainder is 5e-9). Below -103.97 the result is 0, above 88.72 infinite.
static inline vec vec_exp(vec x) {
  static const float inverse_factorials[] = {1.f / 5040, 1.f / 720, 1.f / 120, 1.f / 24,
                                             1.f / 6,    1.f / 2,   1,         1};
  x = vec_max(vec_set(-110), vec_min(vec_set(89), x));
  vec n = vec_round(vec_mul(x, vec_set(1.44269504f)));
  // ln 2 in two parts, the first with 12 bits free, so that its product with n is exact
  vec r = vec_fnma(n, vec_set(-2.12194440e-4f), vec_fnma(n, vec_set(0.693359375f), x));
  vec sum = vec_set(inverse_factorials[0]);
  for (int i = 1; i < 8; i++) sum = vec_fma(sum, r, vec_set(inverse_factorials[i]));
  return vec_scale(sum, n);
}

// 1 - 2 / (exp(2x) + 1): within 2^-23 of the value, not of its own size.
static inline vec vec_tanh(vec x) {
  vec e = vec_exp(vec_add(x, x));
  return vec_sub(vec_set(1), vec_div(vec_set(2), vec_add(e, vec_set(1))));
}

#endif
