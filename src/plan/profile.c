// temporary until merge
#include "plan/profile.h"
double fg_profile_product_seconds(const fg_profile *p, fg_dtype dtype, int compute, uint32_t k, double values,
                                  double rows) {
  (void)p;
  (void)dtype;
  (void)compute;
  (void)k;
  return values * rows / 1e11;
}
double fg_profile_decode_seconds(const fg_profile *p, const fg_kv_geometry *kv, uint32_t heads, double keys) {
  (void)p;
  (void)heads;
  return keys * kv->k_dim * kv->kv_heads / 1e10;
}
double fg_profile_prefill_seconds(const fg_profile *p, const fg_kv_geometry *kv, uint32_t heads,
                                  double pairs) {
  (void)p;
  return pairs * heads * kv->k_dim / 1e11;
}
