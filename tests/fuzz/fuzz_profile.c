// A machine's profile, changed as a JSON value, then as bytes. What is taken answers look-ups with finite
// times that are not below zero, and is written as it was read.
#include <math.h>
#include <string.h>

#include "fuzz_json.h"
#include "plan/profile_json.h"

static const char *const words[] = {
    "products", "attentions", "disks", "seconds", "weights", "cache", "compute", "bf16", "i4g64m", "int8",
    "q4_k",     "k_dim",      "group", "depth",   "machine", "quick", "launch",  "nan",  NULL};

static void make(fuzz_random *r, fuzz_bytes *out) {
  fg_profile p = {.machine = "CPU, 2 threads",
                  .kernels = "cpu-avx2-2 avx2",
                  .version = "0.1.0",
                  .date = "2026-01-02T03:04:05Z",
                  .offload = "/offload (ext4)",
                  .disk = "8:1 ext4",
                  .threads = 2,
                  .memory_bytes = 1 << 30,
                  .memory_read = 1e10,
                  .memory_copy = 1e10,
                  .row_value = 1e-10,
                  .store_value = 1e-10,
                  .launch = 1e-6,
                  .product_count = 1 + (uint32_t)fuzz_below(r, 4),
                  .attention_count = (uint32_t)fuzz_below(r, 4),
                  .disk_count = (uint32_t)fuzz_below(r, 4)};
  for (uint32_t i = 0; i < p.product_count; i++) {
    p.products[i] = (fg_profile_product){.dtype = FG_BF16, .compute = 1, .k = 512u << i};
    for (uint32_t n = 0; n < FG_PROFILE_ROW_POINTS; n++) p.products[i].seconds[n] = 1e-10 * (n + 1.0);
  }
  for (uint32_t i = 0; i < p.attention_count; i++)
    p.attentions[i] = (fg_profile_attention){FG_BF16, 64u << (i & 1), 1 + i, 1e-8, 1e-9};
  for (uint32_t i = 0; i < p.disk_count; i++) p.disks[i] = (fg_profile_disk){1 << 20, 1 + i, 1e9, 1e9};
  json_t *root = fg_profile_to_json(&p);
  if (!root) fuzz_broken("no memory");
  for (uint64_t n = fuzz_below(r, 4); n > 0; n--) fuzz_json_mutate(r, root, words);
  fuzz_json_put(out, root);
  json_decref(root);
  if (fuzz_chance(r, 10)) fuzz_noise(r, out);
}

static void check_time(double seconds) {
  // Times of any size are believed; of two of them an interpolated one may be too large for a double, never
  // less than nothing.
  if (isnan(seconds) || seconds < 0) fuzz_broken("a look-up says %g", seconds);
}

static void look_up(const fg_profile *p) {
  static const fg_dtype types[] = {FG_F32, FG_BF16, FG_Q4_K, FG_I4G64M};
  static const double rows[] = {0, 0.5, 1, 3, 300, 2047.999999999999, 2048, 5000};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++)
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
      check_time(fg_profile_product_seconds(p, types[t], (int)(t % 3), 1000, 1e6, rows[i]));
  fg_kv_geometry kv = {.kv_heads = 2, .k_dim = 96, .v_dim = 96, .page_tokens = 32, .dtype = FG_BF16};
  for (uint32_t heads = 2; heads <= 32; heads *= 2) {
    check_time(fg_profile_decode_seconds(p, &kv, heads, 1000));
    check_time(fg_profile_prefill_seconds(p, &kv, heads, 1000));
  }
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  fg_profile p;
  fg_error err = {0};
  (void)input;
  if (fg_profile_read(&p, path, &err) != FG_OK) {
    if (err.message[0] == 0) fuzz_broken("refused without a reason");
    return strstr(err.message, "\"profile_format\"") || !strchr(err.message, '"') ? FUZZ_REFUSED
                                                                                  : FUZZ_PAST_HEADER;
  }
  look_up(&p);
  json_t *first = fg_profile_to_json(&p);
  fg_profile again;
  if (!first || fg_profile_from_json(&again, first, "again", &err) != FG_OK)
    fuzz_broken("not read again: %s", err.message);
  json_t *second = fg_profile_to_json(&again);
  if (!json_equal(first, second)) fuzz_broken("written otherwise than read");
  json_decref(first);
  json_decref(second);
  return FUZZ_ACCEPTED;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {
      .name = "profile", .file_name = "profile.json", .make = make, .run = run};
  return fuzz_main(argc, argv, &target);
}
