// Where keys and values are in a page of a KV cache.
#include "base/checked.h"
#include "kernels/kinds.h"

uint64_t fg_kv_row_bytes(fg_dtype dtype, uint32_t dim) {
  const fg_dtype_info *type = fg_dtype_get(dtype);
  if (type->block == 1) return (uint64_t)dim * type->bytes;
  if (dim % FG_KV_CODE_RUN || !type->minimum) return 0;
  uint64_t groups = ((uint64_t)dim + type->block - 1) / type->block;
  return groups * 4 + (uint64_t)dim * type->bits / 8;
}

bool fg_kv_can_rotate(const fg_kv_geometry *geometry) {
  const fg_kv_geometry *g = geometry;
  enum { GROUP = 64 };
  if (g->k_dim % FG_KV_CODE_RUN || g->v_dim % FG_KV_CODE_RUN) return false;
  return !g->v_in_k || g->v_dim == g->k_dim || g->v_dim % GROUP == 0;
}

uint64_t fg_kv_key_offset(const fg_kv_geometry *geometry, uint32_t kv_head, uint32_t token) {
  const fg_kv_geometry *g = geometry;
  return ((uint64_t)kv_head * g->page_tokens + token) * fg_kv_row_bytes(g->dtype, g->k_dim);
}

uint64_t fg_kv_value_offset(const fg_kv_geometry *geometry, uint32_t kv_head, uint32_t token) {
  const fg_kv_geometry *g = geometry;
  return (g->v_in_k ? 0 : fg_kv_key_offset(g, g->kv_heads, 0)) +
         ((uint64_t)kv_head * g->page_tokens + token) * fg_kv_value_step(g);
}

uint64_t fg_kv_value_step(const fg_kv_geometry *geometry) {
  return fg_kv_row_bytes(geometry->dtype, geometry->v_in_k ? geometry->k_dim : geometry->v_dim);
}

uint64_t fg_kv_page_bytes(const fg_kv_geometry *geometry) {
  uint64_t bytes = fg_kv_value_offset(geometry, geometry->kv_heads, 0), align = geometry->page_align;
  return align ? fg_align_up(bytes, align) : bytes;
}
