#include "plan/machine_profile.h"

#include <math.h>
#include <stdio.h>

#include "device/device.h"
#include "device/simulated_cost.h"

// Kinds of weights and of caches: the nearest stands for those that are not listed.
static const fg_dtype weights[] = {FG_F32, FG_BF16, FG_F16, FG_I8G64M, FG_I8G128M, FG_I4G64M, FG_I4G128M};
static const fg_dtype caches[] = {FG_F32, FG_BF16, FG_F16, FG_I8G64M, FG_I4G64M};
static const uint32_t head_dims[] = {32, 64, 128, 256};
static const uint32_t groups[] = {1, 16};
enum {
  WEIGHTS = sizeof weights / sizeof *weights,
  CACHES = sizeof caches / sizeof *caches,
  HEAD_DIMS = sizeof head_dims / sizeof *head_dims,
  GROUPS = sizeof groups / sizeof *groups,
  ANY_K = 4096,
};
_Static_assert(WEIGHTS *FG_PROFILE_COMPUTES <= FG_PROFILE_MAX_PRODUCTS, "a place for each product");
_Static_assert(CACHES *HEAD_DIMS *GROUPS <= FG_PROFILE_MAX_ATTENTIONS, "and for each attention");

static double weight_bytes(fg_dtype dtype) {
  const fg_dtype_info *type = fg_dtype_get(dtype);
  return (double)type->bytes / type->block;
}

static void add_product(fg_profile *out, const fg_hardware *hw, fg_dtype dtype, int compute) {
  fg_profile_product *p = &out->products[out->product_count++];
  const double expand = fg_dtype_get(dtype)->bits ? FG_EXPAND_BYTES / hw->device_memory : 0;
  *p = (fg_profile_product){.dtype = dtype, .compute = compute, .k = ANY_K};
  for (int i = 0; i < FG_PROFILE_ROW_POINTS; i++)
    p->seconds[i] =
        fmax(2 * fg_profile_rows[i] / hw->product, weight_bytes(dtype) / hw->device_memory) + expand;
}

static void add_attention(fg_profile *out, const fg_hardware *hw, fg_dtype cache, uint32_t dim,
                          uint32_t group) {
  const double row = (double)fg_kv_row_bytes(cache, dim);
  out->attentions[out->attention_count++] = (fg_profile_attention){
      .cache = cache,
      .k_dim = dim,
      .group = group,
      .decode = fmax(2 * row / hw->device_memory, 4.0 * dim * group / hw->product),
      .prefill = 4.0 * dim / hw->product + FG_SCORE_BYTES / hw->device_memory,
  };
}

void fg_machine_profile(fg_profile *out, const fg_hardware *hw) {
  *out = (fg_profile){.threads = 1,
                      .memory_bytes = hw->host_bytes,
                      .memory_read = hw->host_memory,
                      .memory_copy = hw->host_memory / 2,
                      .disk_read = hw->disk_read,
                      .disk_write = hw->disk_write,
                      .disk_burst = hw->disk_read,
                      .disk_direct = true,
                      .row_value = 2 * sizeof(float) / hw->device_memory,
                      .store_value = (2 + sizeof(float)) / hw->device_memory,
                      .logit = sizeof(float) / hw->link,
                      .launch = hw->launch,
                      .link = hw->unified ? 0 : hw->link};
  snprintf(out->machine, sizeof out->machine, "%s, simulated", hw->name);
  for (int compute = 0; compute < FG_PROFILE_COMPUTES; compute++)
    for (int w = 0; w < WEIGHTS; w++) add_product(out, hw, weights[w], compute);
  for (int c = 0; c < CACHES; c++)
    for (int d = 0; d < HEAD_DIMS; d++)
      for (int g = 0; g < GROUPS; g++) add_attention(out, hw, caches[c], head_dims[d], groups[g]);
}
