// Storing keys and values, and copying stored ones.
#include <string.h>

#include "device/execute_internal.h"
#include "kernels/rotate.h"

enum { ITEM_TOKENS = 8 };

typedef struct store_job {
  fg_cpu_executor *e;
  const fg_call *call;
  const float *k, *v;
  const int32_t *slots;
  uint8_t *cache;
  uint64_t page_bytes;
} store_job;

// `scratch` holds a row.
static void store_row(const store_job *j, const float *x, uint32_t dim, float *scratch, uint8_t *to) {
  if (j->call->params.kv_store.rotated) {
    memcpy(scratch, x, dim * sizeof *x);
    fg_rotate_row(scratch, dim);
    x = scratch;
  }
  j->e->kernels.to_cache[j->call->params.kv_store.kv.dtype](x, to, dim);
}

static void store_token(const store_job *j, uint32_t row, float *scratch) {
  const fg_kv_geometry *kv = &j->call->params.kv_store.kv;
  uint32_t slot = (uint32_t)j->slots[row], token = slot % kv->page_tokens;
  uint8_t *page = j->cache + slot / kv->page_tokens * j->page_bytes;
  const float *k = j->k + (uint64_t)row * j->call->a.stride, *v = j->v;
  if (v) v += (uint64_t)row * j->call->b.stride;
  for (uint32_t h = 0; h < kv->kv_heads; h++) {
    store_row(j, k + (uint64_t)h * kv->k_dim, kv->k_dim, scratch, page + fg_kv_key_offset(kv, h, token));
    if (kv->v_in_k) continue;
    store_row(j, v + (uint64_t)h * kv->v_dim, kv->v_dim, scratch, page + fg_kv_value_offset(kv, h, token));
  }
}

static void store_item(void *arg, uint32_t item, uint32_t thread) {
  const store_job *j = arg;
  uint32_t begin = item * ITEM_TOKENS, left = j->call->rows - begin;
  float *scratch = (float *)(j->e->scratch + thread * j->e->thread_bytes);
  for (uint32_t r = begin; r < begin + (left < ITEM_TOKENS ? left : ITEM_TOKENS); r++)
    store_token(j, r, scratch);
}

fg_status fg_check_geometry(const fg_cpu_executor *e, const fg_kv_geometry *kv, bool rotated, fg_error *err) {
  if ((unsigned)kv->dtype < FG_DTYPE_COUNT && e->kernels.to_cache[kv->dtype] && kv->kv_heads &&
      kv->page_tokens && fg_kv_row_bytes(kv->dtype, kv->k_dim) && fg_kv_row_bytes(kv->dtype, kv->v_dim) &&
      (!rotated || fg_kv_can_rotate(kv)) && kv->k_dim <= e->head_dim &&
      kv->v_dim <= (kv->v_in_k ? kv->k_dim : e->head_dim))
    return FG_OK;
  return fg_fail(err, FG_INTERNAL,
                 "a cache of %u heads, keys of %u, values of %u (at most %u), pages of %u tokens",
                 kv->kv_heads, kv->k_dim, kv->v_dim, e->head_dim, kv->page_tokens);
}

fg_status fg_resolve_cache(const fg_view *view, const fg_kv_geometry *kv, uint8_t **cache, uint64_t *pages,
                           fg_error *err) {
  void *p;
  fg_status status = fg_view_resolve(view, "cache", 0, 0, 1, &p, err);
  if (status) return status;
  *cache = p;
  *pages = (view->memory->bytes - view->offset) / fg_kv_page_bytes(kv);
  return FG_OK;
}

fg_status fg_execute_kv_store(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  const fg_kv_geometry *kv = &call->params.kv_store.kv;
  store_job j = {.e = e, .call = call};
  void *k, *v = NULL, *slots;
  uint64_t pages, k_width = (uint64_t)kv->kv_heads * kv->k_dim, v_width = (uint64_t)kv->kv_heads * kv->v_dim;
  fg_status status = fg_check_geometry(e, kv, call->params.kv_store.rotated, err);
  if (!status) status = fg_resolve_cache(&call->out, kv, &j.cache, &pages, err);
  if (!status) status = fg_view_resolve(&call->a, "a", call->rows, k_width, sizeof(float), &k, err);
  if (!status && !kv->v_in_k)
    status = fg_view_resolve(&call->b, "b", call->rows, v_width, sizeof(float), &v, err);
  if (!status)
    status = fg_view_resolve(&call->batch.slots, "slots", 1, call->rows, sizeof(int32_t), &slots, err);
  if (status) return status;
  j.k = k;
  j.v = v;
  j.slots = slots;
  j.page_bytes = fg_kv_page_bytes(kv);
  for (uint32_t r = 0; r < call->rows; r++)
    if (j.slots[r] < 0 || (uint64_t)j.slots[r] / kv->page_tokens >= pages)
      return fg_fail(err, FG_INTERNAL, "slot %d of a cache of %llu pages of %u tokens", (int)j.slots[r],
                     (unsigned long long)pages, kv->page_tokens);
  fg_execute_items(e, (call->rows - 1) / ITEM_TOKENS + 1, call->rows * (k_width + v_width), store_item, &j);
  return FG_OK;
}

typedef struct copy_job {
  const fg_kv_geometry *kv;
  const fg_page_copy *copies;
  uint32_t count;
  uint8_t *cache;
  uint64_t page_bytes;
} copy_job;

// Of a head, whose rows follow each other in a page, all copies: so one may be made of another.
static void copy_head(void *arg, uint32_t head, uint32_t thread) {
  (void)thread;
  const copy_job *j = arg;
  const uint64_t keys = fg_kv_key_offset(j->kv, head, 0), key = fg_kv_row_bytes(j->kv->dtype, j->kv->k_dim);
  const uint64_t values = fg_kv_value_offset(j->kv, head, 0), value = fg_kv_value_step(j->kv);
  for (uint32_t i = 0; i < j->count; i++) {
    const fg_page_copy *c = &j->copies[i];
    const uint8_t *from = j->cache + (uint64_t)c->from * j->page_bytes;
    uint8_t *to = j->cache + (uint64_t)c->to * j->page_bytes;
    memcpy(to + keys, from + keys, (uint64_t)c->tokens * key);
    if (!j->kv->v_in_k) memcpy(to + values, from + values, (uint64_t)c->tokens * value);
  }
}

fg_status fg_execute_kv_copy(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  const fg_kv_geometry *kv = &call->params.kv_store.kv;
  copy_job j = {.kv = kv, .count = call->rows};
  void *copies;
  uint64_t pages, tokens = 0;
  fg_status status = fg_check_geometry(e, kv, false, err);
  if (!status) status = fg_resolve_cache(&call->out, kv, &j.cache, &pages, err);
  if (!status)
    status = fg_view_resolve(&call->b, "copies", 1, call->rows, sizeof(fg_page_copy), &copies, err);
  if (status) return status;
  j.copies = copies;
  j.page_bytes = fg_kv_page_bytes(kv);
  for (uint32_t i = 0; i < j.count; i++) {
    const fg_page_copy *c = &j.copies[i];
    if (c->from < 0 || c->to < 0 || c->from == c->to || (uint64_t)c->from >= pages ||
        (uint64_t)c->to >= pages || c->tokens < 1 || (uint32_t)c->tokens > kv->page_tokens)
      return fg_fail(err, FG_INTERNAL,
                     "%d tokens of page %d to page %d in a cache of %llu pages of %u tokens", (int)c->tokens,
                     (int)c->from, (int)c->to, (unsigned long long)pages, kv->page_tokens);
    tokens += (uint32_t)c->tokens;
  }
  fg_execute_items(e, kv->kv_heads, tokens * kv->kv_heads * (kv->k_dim + kv->v_dim), copy_head, &j);
  return FG_OK;
}
