// plan_rig.h: a made-up machine and model for tests of predictions: round numbers, so that times can be
// reckoned.
#ifndef FG_TESTS_PLAN_RIG_H
#define FG_TESTS_PLAN_RIG_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device.h"
#include "engine/planner.h"

enum { RIG_LAYERS = 4, RIG_PAGE = 32 };

static const double RIG_DISK = 1e9;    // bytes/s
static const double RIG_VALUE = 1e-11; // seconds of a weight and a row; one row costs as many as eight

// Products are bound by memory up to 8 rows, attention takes a nanosecond a key of a head.
static inline fg_profile rig_profile(void) {
  fg_profile p = {
      .product_count = 1, .attention_count = 1, .disk_read = RIG_DISK, .disk_write = RIG_DISK / 2};
  p.products[0] = (fg_profile_product){.dtype = FG_BF16, .compute = FG_COMPUTE_BF16, .k = 1024};
  for (int r = 0; r < FG_PROFILE_ROW_POINTS; r++)
    p.products[0].seconds[r] = RIG_VALUE * (fg_profile_rows[r] > 8 ? fg_profile_rows[r] : 8);
  p.attentions[0] =
      (fg_profile_attention){.cache = FG_BF16, .k_dim = 64, .group = 1, .decode = 1e-9, .prefill = 1e-10};
  return p;
}

// 100 M weights in layers, 10 M in the head; 4 layers of 8 heads.
static inline fg_plan_model rig_model(void) {
  fg_plan_model m = {.layers = RIG_LAYERS, .vocab = 1000, .compute = FG_COMPUTE_BF16, .head_bytes = 20e6};
  m.body.count = m.head.count = 1;
  m.body.kinds[0] = (fg_plan_matrices){.dtype = FG_BF16, .k = 1024, .values = 100e6};
  m.head.kinds[0] = (fg_plan_matrices){.dtype = FG_BF16, .k = 1024, .values = 10e6};
  m.attention_count = 1;
  m.attention[0] = (fg_plan_attention){.layers = RIG_LAYERS, .heads = 8};
  m.kv = (fg_kv_geometry){.kv_heads = 8, .k_dim = 64, .v_dim = 64, .page_tokens = RIG_PAGE, .dtype = FG_BF16};
  return m;
}

static inline uint64_t rig_scratch(const void *user, uint32_t tokens) {
  (void)user;
  return 1024ull * tokens;
}

static inline fg_plan_input rig_input(uint64_t host) {
  const fg_plan_model m = rig_model();
  return (fg_plan_input){.one_memory = true,
                         .host = host,
                         .panel_bytes = 220000000,
                         .largest_panel = 1 << 20,
                         .page_bytes = fg_kv_page_bytes(&m.kv) * RIG_LAYERS,
                         .padded_page_bytes = fg_kv_page_bytes(&m.kv) * RIG_LAYERS,
                         .page_tokens = RIG_PAGE,
                         .layers = RIG_LAYERS,
                         .context = 4096,
                         .device_per_token = 100000,
                         .host_per_seq = 8000,
                         .scratch = rig_scratch};
}

#endif
