// Attention to a KV cache.
#include "device/execute_internal.h"
#include "kernels/rotate.h"

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
  uint32_t context, table_count;
  const fg_shared_segment *shared; // NULL with what belongs to it: nothing is shared
  const fg_query_row *members;
  const int32_t *starts;
  uint32_t block_count, run_count;
  uint32_t group, heads, parts; // query heads of a KV head; of them in one block; blocks that makes
} attention_job;

static const int32_t *table_of(const attention_job *j, int32_t table) {
  return j->tables + (uint64_t)table * j->call->batch.page_tables.stride;
}

// Rows [first, first + rows) of a chunk; of the heads nothing yet.
static fg_query_block rows_of_chunk(const attention_job *j, uint32_t index, uint32_t first, uint32_t rows) {
  const chunk *c = &j->chunks[index];
  const fg_key_segment *segment = &j->call->params.attention.segment;
  const uint32_t start = j->starts ? (uint32_t)j->starts[index] : 0;
  return (fg_query_block){
      .pages = table_of(j, c->table),
      .row = (uint32_t)c->row + first,
      .rows = rows,
      .position = (uint32_t)c->position + first,
      .first_key = start ? start : segment->first_key,
      .end_key = segment->end_key,
      .resumes = start > 0 || segment->resumes,
      .pauses = segment->pauses,
  };
}

static fg_query_block rows_of_shared(const attention_job *j, uint32_t index, uint32_t first, uint32_t rows) {
  const fg_shared_segment *s = &j->shared[index];
  return (fg_query_block){
      .pages = table_of(j, s->table),
      .rows = rows,
      .list = j->members + s->first_member + first,
      .first_key = (uint32_t)s->first_key,
      .end_key = (uint32_t)s->end_key,
      .resumes = s->first_key > 0,
      .pauses = true,
  };
}

static fg_query_block block_of(const attention_job *j, uint32_t index, uint32_t kv_head, uint32_t part) {
  const fg_row_block *b = &j->e->blocks[index];
  fg_query_block block =
      (b->kind == FG_BLOCK_SHARED ? rows_of_shared : rows_of_chunk)(j, b->of, b->first, b->rows);
  uint32_t before = part * j->heads, left = j->group - before;
  block.head = kv_head * j->group + before;
  block.heads = left < j->heads ? left : j->heads;
  return block;
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
  for (uint32_t r = 0; r < block->rows; r++)
    for (uint32_t h = block->head; h < block->head + block->heads; h++)
      fg_rotate_row(rows + (uint64_t)fg_block_row(block, r) * stride + (uint64_t)h * dim, dim);
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
  for (bool fetched = false; index < end; fetched = e->blocks[index++].kind != FG_BLOCK_SPARSE) {
    fg_query_block block = block_of(j, index, kv_head, part), next;
    block.fetched = fetched;
    if (index + 1 < end) {
      next = block_of(j, index + 1, kv_head, part);
      block.next = &next;
    }
    attend_block(j, &block, e->blocks[index].kind == FG_BLOCK_SPARSE, e->scratch + thread * e->thread_bytes);
  }
}

// The pages of what a block sees.
static fg_status check_pages(const attention_job *j, const fg_query_block *all, uint64_t pages,
                             fg_error *err) {
  const fg_attention *a = &j->attention;
  const uint32_t begin = fg_block_first_key(a, all), end = fg_block_end_key(all);
  for (uint32_t p = begin / a->kv.page_tokens; begin < end && p <= (end - 1) / a->kv.page_tokens; p++)
    if (all->pages[p] < 0 || (uint64_t)all->pages[p] >= pages)
      return fg_fail(err, FG_INTERNAL, "page %d of a cache of %llu", (int)all->pages[p],
                     (unsigned long long)pages);
  return FG_OK;
}

static fg_status check_chunk(const attention_job *j, uint32_t index, uint64_t pages, fg_error *err) {
  const chunk *c = &j->chunks[index];
  if (c->row < 0 || c->rows < 0 || c->position < 0 || (uint64_t)c->row + (uint64_t)c->rows > j->call->rows)
    return fg_fail(err, FG_INTERNAL, "a chunk of rows [%d, +%d) of %u", (int)c->row, (int)c->rows,
                   j->call->rows);
  if (c->rows == 0) return FG_OK;
  if (j->starts &&
      (j->starts[index] < 0 || j->starts[index] > c->position || j->starts[index] % FG_KEY_BLOCK))
    return fg_fail(err, FG_INTERNAL, "a chunk at %d begins with key %d", (int)c->position,
                   (int)j->starts[index]);
  const fg_query_block all = rows_of_chunk(j, index, 0, (uint32_t)c->rows);
  return check_pages(j, &all, pages, err);
}

static fg_status check_shared(const attention_job *j, uint32_t index, uint64_t pages, fg_error *err) {
  const fg_shared_segment *s = &j->shared[index];
  if (s->first_key < 0 || s->end_key <= s->first_key || s->first_key % FG_KEY_BLOCK ||
      s->end_key % FG_KEY_BLOCK || (uint32_t)s->end_key > j->context || s->members <= 0 ||
      s->first_member < 0 || (uint64_t)s->first_member + (uint64_t)s->members > j->call->batch.members ||
      s->table < 0 || (uint32_t)s->table >= j->table_count)
    return fg_fail(err, FG_INTERNAL, "keys from %d to %d are shared by members [%d, +%d) of %u with table %d",
                   (int)s->first_key, (int)s->end_key, (int)s->first_member, (int)s->members,
                   j->call->batch.members, (int)s->table);
  for (int32_t i = s->first_member; i < s->first_member + s->members; i++)
    if (j->members[i].row < 0 || (uint32_t)j->members[i].row >= j->call->rows ||
        j->members[i].position < s->end_key)
      return fg_fail(err, FG_INTERNAL, "row %d of %u, at %d, shares keys to %d", (int)j->members[i].row,
                     j->call->rows, (int)j->members[i].position, (int)s->end_key);
  const fg_query_block all = rows_of_shared(j, index, 0, (uint32_t)s->members);
  return check_pages(j, &all, pages, err);
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
  j->table_count = (uint32_t)(last + 1);
  j->context = (uint32_t)context;
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

// What chunks share; nothing where the lists are absent.
static fg_status resolve_shared(attention_job *j, fg_error *err) {
  const fg_batch_view *batch = &j->call->batch;
  const fg_key_segment *segment = &j->call->params.attention.segment;
  if (batch->shared == 0) return FG_OK;
  if (j->prompts || segment->first_key || segment->end_key || segment->resumes || segment->pauses)
    return fg_fail(err, FG_INTERNAL, "%u shared segments in a call that is sparse, or itself a segment",
                   batch->shared);
  void *shared, *members, *starts;
  fg_status status = fg_view_resolve(&batch->shared_list, "shared_list", 1, batch->shared,
                                     sizeof(fg_shared_segment), &shared, err);
  if (!status)
    status = fg_view_resolve(&batch->member_list, "member_list", 1, batch->members, sizeof(fg_query_row),
                             &members, err);
  if (!status) status = fg_view_resolve(&batch->starts, "starts", 1, batch->chunks, 4, &starts, err);
  if (status) return status;
  j->shared = shared;
  j->members = members;
  j->starts = starts;
  return FG_OK;
}

// All that memory's bounds depend on; and that blocks find room: of a level, or of the chunks.
static fg_status check_lists(const attention_job *j, uint64_t pages, fg_error *err) {
  uint64_t rows = 0;
  for (uint32_t i = 0; i < j->call->batch.chunks; i++) {
    fg_status status = check_chunk(j, i, pages, err);
    if (status) return status;
    rows += (uint32_t)j->chunks[i].rows;
  }
  if (rows > j->call->rows) return fg_fail(err, FG_INTERNAL, "chunks overlap in %u rows", j->call->rows);
  for (uint32_t i = 0; j->shared && i < j->call->batch.shared; i++) {
    fg_status status = check_shared(j, i, pages, err);
    if (status) return status;
    rows = (uint32_t)j->shared[i].members + (i && j->shared[i].level == j->shared[i - 1].level ? rows : 0);
    if (rows > j->call->rows)
      return fg_fail(err, FG_INTERNAL, "level %d shares more than %u rows", (int)j->shared[i].level,
                     j->call->rows);
  }
  return FG_OK;
}

static void list_rows(attention_job *j, fg_block_kind kind, uint32_t of, uint32_t rows, uint32_t block_rows) {
  for (uint32_t first = 0; first < rows; first += block_rows)
    j->e->blocks[j->block_count++] =
        (fg_row_block){kind, of, first, rows - first < block_rows ? rows - first : block_rows, 0};
}

static void list_blocks(attention_job *j) {
  j->block_count = 0;
  for (uint32_t i = 0; i < j->call->batch.chunks; i++) {
    uint32_t rows = (uint32_t)j->chunks[i].rows, dense = dense_rows(j, i);
    list_rows(j, FG_BLOCK_DENSE, i, dense, FG_QUERY_BLOCK / j->heads);
    for (uint32_t row = dense; row < rows; row++)
      j->e->blocks[j->block_count++] = (fg_row_block){FG_BLOCK_SPARSE, i, row, 1, 0};
  }
}

// Of the level that begins with segment `first`, in blocks of about one size; returns where the next begins.
static uint32_t list_level(attention_job *j, uint32_t first) {
  const uint32_t most = FG_QUERY_BLOCK / j->heads;
  uint32_t i = first;
  j->block_count = 0;
  for (; i < j->call->batch.shared && j->shared[i].level == j->shared[first].level; i++) {
    const uint32_t rows = (uint32_t)j->shared[i].members, blocks = (rows - 1) / most + 1;
    list_rows(j, FG_BLOCK_SHARED, i, rows, (rows - 1) / blocks + 1);
  }
  return i;
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
  j->run_count = 0;
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

static void run_blocks(attention_job *j) {
  list_runs(j);
  uint64_t elements = (uint64_t)j->call->rows * j->attention.heads * j->call->batch.max_context;
  fg_execute_items(j->e, j->run_count * j->attention.kv.kv_heads * j->parts, elements, attend_item, j);
}

fg_status fg_execute_attention(fg_cpu_executor *e, const fg_call *call, fg_error *err) {
  const fg_kv_geometry *kv = &call->params.attention.kv;
  uint32_t heads = call->params.attention.heads;
  fg_status status = fg_check_geometry(e, kv, call->params.attention.rotated, err);
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
  if (!status && (segment->resumes || segment->pauses || call->batch.shared))
    status = fg_view_resolve(&call->state, "state", call->rows, (uint64_t)2 * heads, 4, &state, err);
  if (!status) status = fg_resolve_cache(&call->b, kv, &cache, &pages, err);
  if (!status) status = resolve_batch(&j, err);
  if (!status) status = resolve_shared(&j, err);
  if (!status) status = check_lists(&j, pages, err);
  if (status) return status;
  j.attention.q = j.q = q;
  j.attention.out = out;
  j.attention.head_numbers = numbers;
  j.attention.state = state;
  j.attention.cache = cache;
  for (uint32_t i = 0; i < call->batch.shared;) {
    i = list_level(&j, i);
    run_blocks(&j);
  }
  list_blocks(&j);
  run_blocks(&j);
  return FG_OK;
}
