// The operations on the KV cache.
#include <string.h>

#include "device/execute_internal.h"
#include "kernels/rotate.h"

// ---- store ---------------------------------------------------------------------------------------------

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

static fg_status check_geometry(const fg_cpu_executor *e, const fg_kv_geometry *kv, bool rotated,
                                fg_error *err) {
  if ((unsigned)kv->dtype < FG_DTYPE_COUNT && e->kernels.to_cache[kv->dtype] && kv->kv_heads &&
      kv->page_tokens && fg_kv_row_bytes(kv->dtype, kv->k_dim) && fg_kv_row_bytes(kv->dtype, kv->v_dim) &&
      (!rotated || fg_kv_can_rotate(kv)) && kv->k_dim <= e->head_dim &&
      kv->v_dim <= (kv->v_in_k ? kv->k_dim : e->head_dim))
    return FG_OK;
  return fg_fail(err, FG_INTERNAL,
                 "a cache of %u heads, keys of %u, values of %u (at most %u), pages of %u tokens",
                 kv->kv_heads, kv->k_dim, kv->v_dim, e->head_dim, kv->page_tokens);
}

// The cache reaches from the view's offset to the end of its memory.
static fg_status resolve_cache(const fg_view *view, const fg_kv_geometry *kv, uint8_t **cache,
                               uint64_t *pages, fg_error *err) {
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
  fg_status status = check_geometry(e, kv, call->params.kv_store.rotated, err);
  if (!status) status = resolve_cache(&call->out, kv, &j.cache, &pages, err);
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

// ---- attention -----------------------------------------------------------------------------------------

// A row of batch.chunk_list.
typedef struct chunk {
  int32_t row, rows, position, table;
} chunk;

typedef struct attention_job {
  fg_cpu_executor *e;
  const fg_call *call;
  fg_attend_fn *attend;
  fg_attention attention;
  float *q;                 // attention's
  fg_sparse_kernels sparse; // of blocks that are
  const chunk *chunks;
  const int32_t *tables, *prompts; // prompts: NULL = attention is not sparse
  uint32_t block_count, run_count;
  uint32_t group, heads, parts; // query heads of a KV head; of them in one block; blocks that makes
} attention_job;

static fg_query_block block_of(const attention_job *j, uint32_t index, uint32_t kv_head, uint32_t part) {
  const fg_row_block *b = &j->e->blocks[index];
  const chunk *c = &j->chunks[b->chunk];
  const fg_key_segment *segment = &j->call->params.attention.segment;
  uint32_t before = part * j->heads, left = j->group - before;
  return (fg_query_block){
      .pages = j->tables + (uint64_t)c->table * j->call->batch.page_tables.stride,
      .row = (uint32_t)c->row + b->first,
      .rows = b->rows,
      .position = (uint32_t)c->position + b->first,
      .head = kv_head * j->group + before,
      .heads = left < j->heads ? left : j->heads,
      .first_key = segment->first_key,
      .end_key = segment->end_key,
      .resumes = segment->resumes,
      .pauses = segment->pauses,
  };
}

static void attend_sparse(const attention_job *j, const fg_query_block *block, void *scratch) {
  const fg_attention *a = &j->attention;
  const uint32_t seen = block->position + 1 - fg_first_key(a, block, 0);
  const uint64_t row = fg_kv_row_bytes(a->kv.dtype, a->kv.v_dim);
  uint32_t read = fg_attend_sparse(&j->sparse, a, block, j->call->params.attention.sparsity, scratch);
  atomic_fetch_add_explicit(&j->e->value_bytes, seen * row, memory_order_relaxed);
  atomic_fetch_add_explicit(&j->e->spared_bytes, (seen - read) * row, memory_order_relaxed);
}

// The block's vectors of queries, or of outputs, in place.
static void rotate_block(float *rows, uint32_t stride, uint32_t dim, const fg_query_block *block) {
  for (uint32_t r = block->row; r < block->row + block->rows; r++)
    for (uint32_t h = block->head; h < block->head + block->heads; h++)
      fg_rotate_row(rows + (uint64_t)r * stride + (uint64_t)h * dim, dim);
}

static void attend_block(const attention_job *j, const fg_query_block *block, bool sparse, void *scratch) {
  const fg_attention *a = &j->attention;
  const bool rotated = j->call->params.attention.rotated;
  if (rotated && !block->resumes) rotate_block(j->q, a->q_stride, a->kv.k_dim, block);
  if (sparse)
    attend_sparse(j, block, scratch);
  else
    j->attend(a, block, scratch);
  if (rotated && !block->pauses) rotate_block(a->out, a->out_stride, a->kv.v_dim, block);
}

// A run of blocks, one after the other, each knowing the next.
static void attend_item(void *arg, uint32_t item, uint32_t thread) {
  const attention_job *j = arg;
  const fg_cpu_executor *e = j->e;
  // Late blocks of a prompt see more keys: they go first, so that threads end together.
  uint32_t run = j->run_count - 1 - item % j->run_count;
  uint32_t kv_head = item / j->run_count / j->parts, part = item / j->run_count % j->parts;
  uint32_t index = e->blocks[run].run, end = run + 1 < j->run_count ? e->blocks[run + 1].run : j->block_count;
  for (bool fetched = false; index < end; fetched = !e->blocks[index++].sparse) {
    fg_query_block block = block_of(j, index, kv_head, part), next;
    block.fetched = fetched;
    if (index + 1 < end) {
      next = block_of(j, index + 1, kv_head, part);
      block.next = &next;
    }
    attend_block(j, &block, e->blocks[index].sparse, e->scratch + thread * e->thread_bytes);
  }
}

static fg_status check_chunk(const attention_job *j, const chunk *c, uint64_t pages, fg_error *err) {
  const fg_attention *a = &j->attention;
  if (c->row < 0 || c->rows < 0 || c->position < 0 || (uint64_t)c->row + (uint64_t)c->rows > j->call->rows)
    return fg_fail(err, FG_INTERNAL, "a chunk of rows [%d, +%d) of %u", (int)c->row, (int)c->rows,
                   j->call->rows);
  if (c->rows == 0) return FG_OK;
  const fg_key_segment *segment = &j->call->params.attention.segment;
  const fg_query_block all = {.rows = (uint32_t)c->rows,
                              .position = (uint32_t)c->position,
                              .first_key = segment->first_key,
                              .end_key = segment->end_key};
  const uint32_t begin = fg_block_first_key(a, &all), end = fg_block_end_key(&all);
  const int32_t *table = j->tables + (uint64_t)c->table * j->call->batch.page_tables.stride;
  for (uint32_t p = begin / a->kv.page_tokens; begin < end && p <= (end - 1) / a->kv.page_tokens; p++)
    if (table[p] < 0 || (uint64_t)table[p] >= pages)
      return fg_fail(err, FG_INTERNAL, "page %d of a cache of %llu", (int)table[p],
                     (unsigned long long)pages);
  return FG_OK;
}

// The page tables must reach as far as the chunks point.
static fg_status resolve_batch(attention_job *j, fg_error *err) {
  const fg_batch_view *batch = &j->call->batch;
  void *list, *tables;
  fg_status status = fg_view_resolve(&batch->chunk_list, "chunk_list", 1, (uint64_t)batch->chunks * 4,
                                     sizeof(int32_t), &list, err);
  if (status) return status;
  j->chunks = list;
  int64_t last = -1, context = 0;
  for (uint32_t i = 0; i < batch->chunks; i++) {
    const chunk *c = &j->chunks[i];
    if (c->table < 0) return fg_fail(err, FG_INTERNAL, "chunk %u has page table %d", i, (int)c->table);
    if (c->table > last) last = c->table;
    if ((int64_t)c->position + c->rows > context) context = (int64_t)c->position + c->rows;
  }
  uint64_t pages = ((uint64_t)context + j->attention.kv.page_tokens - 1) / j->attention.kv.page_tokens;
  if (pages > batch->page_tables.stride && last > 0)
    return fg_fail(err, FG_INTERNAL, "page tables of %u pages for %lld tokens", batch->page_tables.stride,
                   (long long)context);
  status = fg_view_resolve(&batch->page_tables, "page_tables", (uint64_t)(last + 1), pages, sizeof(int32_t),
                           &tables, err);
  j->tables = tables;
  if (status || j->call->params.attention.sparsity == 0) return status;
  if (context > j->e->options.sparse_context)
    return fg_fail(err, FG_INTERNAL, "sparse attention to %lld keys, %u at most", (long long)context,
                   j->e->options.sparse_context);
  void *prompts;
  status = fg_view_resolve(&batch->prompts, "prompts", 1, batch->chunks, sizeof(int32_t), &prompts, err);
  j->prompts = prompts;
  return status;
}

// Rows of a chunk that are tokens of the prompt: their attention is never sparse.
static uint32_t dense_rows(const attention_job *j, uint32_t index) {
  const chunk *c = &j->chunks[index];
  int64_t dense = j->prompts ? (int64_t)j->prompts[index] - c->position : c->rows;
  return dense < 0 ? 0 : dense < c->rows ? (uint32_t)dense : (uint32_t)c->rows;
}

static fg_status list_blocks(attention_job *j, uint64_t pages, fg_error *err) {
  uint32_t block_rows = FG_QUERY_BLOCK / j->heads, covered = 0;
  for (uint32_t i = 0; i < j->call->batch.chunks; i++) {
    const chunk *c = &j->chunks[i];
    fg_status status = check_chunk(j, c, pages, err);
    if (status) return status;
    uint32_t rows = (uint32_t)c->rows, dense = dense_rows(j, i);
    covered += rows;
    if (covered > j->call->rows) return fg_fail(err, FG_INTERNAL, "chunks overlap in %u rows", j->call->rows);
    for (uint32_t first = 0; first < dense; first += block_rows)
      j->e->blocks[j->block_count++] =
          (fg_row_block){i, first, dense - first < block_rows ? dense - first : block_rows, 0, false};
    for (uint32_t row = dense; row < rows; row++)
      j->e->blocks[j->block_count++] = (fg_row_block){i, row, 1, 0, true};
  }
  return FG_OK;
}

// Blocks of few rows, as those of decode, are taken several at a time: at most the rows of a full block, and
// runs enough for the threads to share.
static void list_runs(attention_job *j) {
  enum { LONGEST = 8, RUNS_A_THREAD = 8 };
  const fg_cpu_executor *e = j->e;
  uint32_t threads = fg_threads_count(e->options.threads);
  uint64_t blocks = (uint64_t)j->block_count * j->attention.kv.kv_heads * j->parts;
  uint64_t longest = blocks / ((uint64_t)threads * RUNS_A_THREAD);
  if (longest > LONGEST) longest = LONGEST;
  uint32_t most_rows = FG_QUERY_BLOCK / j->heads, rows = 0, length = 0;
  for (uint32_t i = 0; i < j->block_count; i++) {
    bool joins = i > 0 && length < longest && rows + e->blocks[i].rows <= most_rows;
    if (!joins) {
      e->blocks[j->run_count++].run = i;
      rows = length = 0;
    }
    rows += e->blocks[i].rows;
    length++;
  }
}

static fg_status check_sparsity(const fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  const fg_kv_geometry *kv = &call->params.attention.kv;
  double share = call->params.attention.sparsity;
  if (share == 0) return FG_OK;
  if (share > 0 && share <= 1 && !kv->v_in_k &&
      call->params.attention.heads / kv->kv_heads <= e->options.sparse_heads)
    return FG_OK;
  return fg_fail(err, FG_INTERNAL, "sparse attention to %g of the values%s by %u heads for %u KV heads",
                 share, kv->v_in_k ? " in keys" : "", call->params.attention.heads, kv->kv_heads);
}

static fg_status check_segment(const fg_call *call, fg_error *err) {
  const fg_key_segment *s = &call->params.attention.segment;
  const bool whole = !s->resumes && !s->pauses && s->first_key == 0 && s->end_key == 0;
  if (s->first_key % FG_KEY_BLOCK == 0 && s->end_key % FG_KEY_BLOCK == 0 &&
      (whole || call->params.attention.sparsity == 0) && (s->end_key == 0 || s->first_key < s->end_key))
    return FG_OK;
  return fg_fail(err, FG_INTERNAL, "%s to a segment of keys from %u to %u",
                 call->params.attention.sparsity > 0 ? "sparse attention" : "attention", s->first_key,
                 s->end_key);
}

static void choose_kernels(attention_job *j) {
  const fg_kernels *k = &j->e->kernels;
  const fg_dtype dtype = j->call->params.attention.kv.dtype;
  j->attend = k->attend[dtype];
  j->sparse = (fg_sparse_kernels){k->score[dtype], k->sparse_values};
  if (j->e->options.compute == FG_COMPUTE_F32) return;
  if (k->attend_rounded[dtype]) j->attend = k->attend_rounded[dtype];
  if (k->score_rounded[dtype]) j->sparse.score = k->score_rounded[dtype];
}

fg_status fg_execute_attention(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  const fg_kv_geometry *kv = &call->params.attention.kv;
  uint32_t heads = call->params.attention.heads;
  fg_status status = check_geometry(e, kv, call->params.attention.rotated, err);
  if (!status && (heads == 0 || heads % kv->kv_heads))
    status = fg_fail(err, FG_INTERNAL, "%u query heads for %u KV heads", heads, kv->kv_heads);
  if (!status) status = check_sparsity(e, call, err);
  if (!status) status = check_segment(call, err);
  if (status) return status;
  attention_job j = {.e = e, .call = call, .group = heads / kv->kv_heads};
  choose_kernels(&j);
  j.heads = j.group < FG_QUERY_BLOCK ? j.group : FG_QUERY_BLOCK;
  j.parts = (j.group - 1) / j.heads + 1;
  j.attention = (fg_attention){
      .kv = *kv,
      .heads = heads,
      .window = call->params.attention.window,
      .scale = call->params.attention.scale,
      .softcap = call->params.attention.softcap,
      .head_kind = call->params.attention.head_kind,
      .q_stride = call->a.stride,
      .out_stride = call->out.stride,
      .state_stride = call->state.stride,
  };
  const fg_key_segment *segment = &call->params.attention.segment;
  void *q, *out, *numbers = NULL, *state = NULL;
  uint8_t *cache;
  uint64_t pages;
  status = fg_view_resolve(&call->a, "a", call->rows, (uint64_t)heads * kv->k_dim, sizeof(float), &q, err);
  if (!status)
    status = fg_view_resolve(&call->out, "out", call->rows, (uint64_t)heads * kv->v_dim, 4, &out, err);
  if (!status && j.attention.head_kind != FG_HEAD_PLAIN)
    status = fg_view_resolve(&call->c, "c", 1, heads, sizeof(float), &numbers, err);
  if (!status && (segment->resumes || segment->pauses))
    status = fg_view_resolve(&call->state, "state", call->rows, (uint64_t)2 * heads, 4, &state, err);
  if (!status) status = resolve_cache(&call->b, kv, &cache, &pages, err);
  if (!status) status = resolve_batch(&j, err);
  if (!status) status = list_blocks(&j, pages, err);
  if (status) return status;
  j.attention.q = j.q = q;
  j.attention.out = out;
  j.attention.head_numbers = numbers;
  j.attention.state = state;
  j.attention.cache = cache;
  list_runs(&j);
  uint64_t elements = (uint64_t)call->rows * heads * call->batch.max_context;
  fg_execute_items(e, j.run_count * kv->kv_heads * j.parts, elements, attend_item, &j);
  return FG_OK;
}
