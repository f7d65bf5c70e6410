// From a call to a kernel's numbers; nothing here speaks to a driver.
#include <stdio.h>
#include <string.h>

#include "device/opencl_internal.h"
#include "device/view.h"
#include "kernels/attention.h"

_Static_assert((int)FG_NORM_LAYER == XPU_NORM_LAYER && (int)FG_NORM_COUNT == 2, "kinds of norms");
_Static_assert((int)FG_ACT_RELU == XPU_ACT_RELU && (int)FG_ACT_GELU_ERF == XPU_ACT_GELU_ERF &&
                   (int)FG_ACT_GELU_TANH == XPU_ACT_GELU_TANH && (int)FG_ACT_SILU == XPU_ACT_SILU &&
                   (int)FG_ACT_COUNT == 5,
               "kinds of activations");
_Static_assert((int)FG_MAP_SCALE == XPU_MAP_SCALE && (int)FG_MAP_CLAMP == XPU_MAP_CLAMP &&
                   (int)FG_MAP_COUNT == 3,
               "kinds of maps");
_Static_assert((int)FG_HEAD_PLAIN == XPU_HEAD_PLAIN && (int)FG_HEAD_ALIBI == XPU_HEAD_ALIBI &&
                   (int)FG_HEAD_ALIBI_BF16 == XPU_HEAD_ALIBI_BF16 && (int)FG_HEAD_SINK == XPU_HEAD_SINK &&
                   (int)FG_HEAD_COUNT == 4,
               "kinds of heads");
_Static_assert((int)FG_ROUTE_SOFTMAX == XPU_ROUTE_SOFTMAX && (int)FG_ROUTE_CHOSEN == XPU_ROUTE_CHOSEN &&
                   (int)FG_ROUTE_COUNT == 3 && (int)FG_MAX_EXPERTS == XPU_MAX_EXPERTS,
               "kinds of routes");
_Static_assert((int)FG_KEY_BLOCK == XPU_KEY_BLOCK, "keys of a block");

enum operand { A, B, C, OUT, STATE, POSITIONS, LENGTHS, SLOTS, CHUNKS, TABLES };
_Static_assert(TABLES + 1 == FG_OPENCL_OPERANDS, "a place for each operand");

enum { MOST_QUERIES = 8, SMALL_TILE = 8, LARGE_TILE = 64, STORE_LANES = 64 };

typedef struct planning {
  fg_launch *l;
  const fg_device_options *options;
  const fg_call *call;
  fg_error *err;
  fg_status status; // of the first operand that does not fit
} planning;

// Takes an operand of [rows, width] elements of `size` bytes.
static void take(planning *p, enum operand which, xpu_view *to, const fg_view *view, const char *name,
                 uint64_t rows, uint64_t width, uint64_t size) {
  if (p->status) return;
  if (!view->memory) {
    p->status = fg_fail(p->err, FG_INTERNAL, "operand %s is absent", name);
    return;
  }
  p->status = fg_view_check(view, name, rows, width, size, view->memory->bytes, p->err);
  // Kernels see values of `size` bytes; memory itself is aligned for all.
  if (!p->status && size <= 4 && view->offset % size)
    p->status = fg_fail(p->err, FG_INTERNAL, "operand %s begins at byte %llu", name,
                        (unsigned long long)view->offset);
  *to = (xpu_view){.at = view->offset, .stride = view->stride, .there = 1};
  p->l->memories[which] = view->memory;
}

static void take_a(planning *p, uint64_t rows, uint64_t width) {
  take(p, A, &p->l->call.a, &p->call->a, "a", rows, width, sizeof(float));
}
static void take_out(planning *p, uint64_t rows, uint64_t width) {
  take(p, OUT, &p->l->call.out, &p->call->out, "out", rows, width, sizeof(float));
}
static void take_b(planning *p, uint64_t width) {
  if (p->call->b.memory) take(p, B, &p->l->call.b, &p->call->b, "b", 1, width, 4);
}
static void take_c(planning *p, uint64_t width) {
  if (p->call->c.memory) take(p, C, &p->l->call.c, &p->call->c, "c", 1, width, 4);
}

// Rows of `width` floats that a view's memory holds.
static uint64_t rows_there(const fg_view *view, uint64_t width) {
  const uint64_t total = view->memory->bytes < view->offset ? 0 : (view->memory->bytes - view->offset) / 4;
  if (total < width) return 0;
  return view->stride ? (total - width) / view->stride + 1 : UINT32_MAX;
}

static void a_group_a_row(planning *p, const char *name) {
  p->l->source = FG_XPU_ROWS;
  p->l->name = name;
  p->l->groups[0] = p->call->rows;
  p->l->groups[1] = 1;
  p->l->lanes = XPU_ROW_LANES;
}

// ---- rows ------------------------------------------------------------------------------------------------

static void plan_norm(planning *p) {
  const fg_call *c = p->call;
  const uint64_t width = (uint64_t)c->params.norm.width * c->params.norm.segments;
  const uint64_t weights = c->params.norm.apart ? width : c->params.norm.width;
  take_a(p, c->rows, width);
  take_b(p, weights);
  take_c(p, weights);
  take_out(p, c->rows, width);
  a_group_a_row(p, "fg_norm");
  p->l->groups[0] = (size_t)c->rows * c->params.norm.segments;
  p->l->call.norm = (xpu_norm){.width = c->params.norm.width,
                               .segments = c->params.norm.segments,
                               .apart = c->params.norm.apart,
                               .kind = c->params.norm.kind,
                               .eps = c->params.norm.eps};
}

static void plan_act(planning *p) {
  take_out(p, p->call->rows, p->call->params.act.width);
  a_group_a_row(p, "fg_act");
  p->l->call.act = (xpu_act){.width = p->call->params.act.width, .kind = p->call->params.act.kind};
}

static void plan_glu(planning *p) {
  const uint32_t width = p->call->params.act.width;
  take_a(p, p->call->rows, 2 * (uint64_t)width);
  take_out(p, p->call->rows, width);
  a_group_a_row(p, "fg_glu");
  p->l->call.act = (xpu_act){.width = width,
                             .kind = p->call->params.act.kind,
                             .number = p->call->params.act.limit,
                             .alpha = p->call->params.act.alpha};
}

static void plan_add(planning *p) {
  const uint32_t width = p->call->params.copy.width;
  take_a(p, p->call->rows, width);
  take_out(p, p->call->rows, width);
  a_group_a_row(p, "fg_add");
  p->l->call.act = (xpu_act){.width = width, .number = p->call->params.copy.scale};
}

static void plan_map(planning *p) {
  take_out(p, p->call->rows, p->call->params.map.width);
  a_group_a_row(p, "fg_map");
  p->l->call.act = (xpu_act){.width = p->call->params.map.width,
                             .kind = p->call->params.map.kind,
                             .number = p->call->params.map.number};
}

static void plan_select(planning *p) {
  const uint32_t width = p->call->params.copy.width;
  take_a(p, 1, width);
  take(p, B, &p->l->call.b, &p->call->b, "b", 1, p->call->rows, sizeof(int32_t));
  take_out(p, p->call->rows, width);
  a_group_a_row(p, "fg_select_rows");
  p->l->checks = true;
  p->l->call.act = (xpu_act){.width = width};
  if (!p->status) p->l->call.most_rows = rows_there(&p->call->a, width);
}

static void plan_scatter(planning *p) {
  const uint32_t width = p->call->params.copy.width;
  take_a(p, p->call->rows, width);
  if (p->call->b.memory) take_b(p, p->call->rows);
  take(p, C, &p->l->call.c, &p->call->c, "c", p->call->rows, 1, sizeof(float));
  take_out(p, 1, width);
  a_group_a_row(p, "fg_scatter");
  p->l->checks = true;
  p->l->call.act = (xpu_act){.width = width};
  if (!p->status) p->l->call.most_rows = rows_there(&p->call->out, width);
}

static uint32_t largest_head(const fg_device_options *o) {
  return o->max_head_dim ? o->max_head_dim : UINT32_MAX;
}

static void plan_rope(planning *p) {
  const fg_call *c = p->call;
  const uint32_t rotary = c->params.rope.rotary, dim = c->params.rope.head_dim, heads = c->params.rope.heads;
  const bool depends = c->params.rope.original > 0, switches = depends && c->params.rope.growth == 0;
  if (rotary % 2 || rotary > dim || dim > largest_head(p->options)) {
    p->status = fg_fail(p->err, FG_INTERNAL, "%u of %u dimensions of a head cannot be turned (at most %u)",
                        rotary, dim, largest_head(p->options));
    return;
  }
  take_a(p, 1, switches ? rotary : rotary / 2);
  if (depends)
    take(p, LENGTHS, &p->l->call.lengths, &c->batch.lengths, "lengths", 1, c->rows, sizeof(int32_t));
  take(p, POSITIONS, &p->l->call.positions, &c->batch.positions, "positions", 1, c->rows, sizeof(int32_t));
  take_out(p, c->rows, heads ? (uint64_t)(heads - 1) * dim + rotary : 0);
  a_group_a_row(p, "fg_rope");
  if (rotary == 0 || heads == 0) p->l->groups[0] = 0;
  p->l->call.rope = (xpu_rope){.heads = heads,
                               .head_dim = dim,
                               .rotary = rotary,
                               .interleaved = c->params.rope.interleaved,
                               .original = c->params.rope.original,
                               .scale = c->params.rope.scale,
                               .theta = c->params.rope.theta,
                               .growth = c->params.rope.growth};
}

static void plan_route(planning *p) {
  const fg_route_form *f = &p->call->params.route;
  if (!fg_route_form_ok(f)) {
    p->status = fg_fail(p->err, FG_INTERNAL, "%u of %u experts in %u groups", f->used, f->experts, f->groups);
    return;
  }
  take_a(p, p->call->rows, f->experts);
  take_c(p, f->experts);
  take_out(p, p->call->rows, 2 * (uint64_t)f->used);
  a_group_a_row(p, "fg_route");
  p->l->call.route = (xpu_route){.kind = f->kind,
                                 .experts = f->experts,
                                 .used = f->used,
                                 .groups = f->groups,
                                 .top_groups = f->top_groups,
                                 .group_best = f->group_best,
                                 .normalise = f->normalise,
                                 .scale = f->scale};
}

// ---- products --------------------------------------------------------------------------------------------

static void name_weights(fg_dtype dtype, uint32_t tile, char *out, size_t size) {
  const fg_dtype_info *t = fg_dtype_get(dtype);
  int used = snprintf(out, size, "-D TILE_ROWS=%u ", tile);
  if (t->bits)
    snprintf(out + used, size - (size_t)used,
             "-D WEIGHT=weight_group -D W_BITS=%u -D W_GROUP=%u -D W_MINIMUM=%d", t->bits, t->block,
             t->minimum);
  else if (t->block == 1)
    snprintf(out + used, size - (size_t)used, "-D WEIGHT=weight_%s -D W_PLAIN=%d", t->name,
             dtype == FG_F32   ? 32
             : dtype == FG_F16 ? 16
                               : 17);
  else
    snprintf(out + used, size - (size_t)used, "-D WEIGHT=weight_%s", t->name);
}

static void plan_matmul(planning *p) {
  const fg_call *c = p->call;
  const uint32_t n = c->params.matmul.n, k = c->params.matmul.k;
  const fg_layout *layout = c->params.matmul.layout;
  const uint32_t tile = c->rows <= SMALL_TILE ? SMALL_TILE : LARGE_TILE;
  const uint64_t bytes = layout->bytes(c->params.matmul.dtype, n, k);
  if (layout->kind != FG_LAYOUT_PLAIN || k == 0 || bytes == UINT64_MAX) {
    p->status = fg_fail(p->err, FG_INTERNAL, "weights [%u, %u] of type %s in layout %s cannot be multiplied",
                        n, k, fg_dtype_get(c->params.matmul.dtype)->name, layout->name);
    return;
  }
  take_a(p, c->rows, k);
  take(p, B, &p->l->call.b, &c->b, "b", 1, bytes, 1);
  take_c(p, n);
  take_out(p, c->rows, n);
  p->l->source = FG_XPU_MATMUL;
  p->l->name = "fg_matmul";
  p->l->lanes = XPU_PRODUCT_LANES;
  p->l->groups[0] = (n + XPU_PRODUCT_COLUMNS - 1) / XPU_PRODUCT_COLUMNS;
  p->l->groups[1] = (c->rows + tile - 1) / tile;
  name_weights(c->params.matmul.dtype, tile, p->l->options, sizeof p->l->options);
  p->l->call.matmul =
      (xpu_matmul){.n = n, .k = k, .accumulate = c->params.matmul.accumulate, .row_bytes = n ? bytes / n : 0};
}

// ---- the cache -------------------------------------------------------------------------------------------

static bool name_cache(fg_dtype dtype, uint32_t queries, char *out, size_t size) {
  static const char *const names[FG_DTYPE_COUNT] = {[FG_F32] = "CACHE_F32",
                                                    [FG_F16] = "CACHE_F16",
                                                    [FG_BF16] = "CACHE_BF16",
                                                    [FG_I8G64M] = "CACHE_BITS=8",
                                                    [FG_I4G64M] = "CACHE_BITS=4"};
  if ((unsigned)dtype >= FG_DTYPE_COUNT || !names[dtype]) return false;
  snprintf(out, size, "-D QUERIES=%u -D %s", queries, names[dtype]);
  return true;
}

static void take_cache(planning *p, const fg_kv_geometry *kv, bool rotated, const fg_view *view,
                       enum operand which, xpu_view *to, uint32_t queries) {
  const uint32_t most = largest_head(p->options);
  const bool good = name_cache(kv->dtype, queries, p->l->options, sizeof p->l->options) && kv->kv_heads &&
                    kv->page_tokens && fg_kv_row_bytes(kv->dtype, kv->k_dim) &&
                    fg_kv_row_bytes(kv->dtype, kv->v_dim) && (!rotated || fg_kv_can_rotate(kv)) &&
                    kv->k_dim <= most && kv->v_dim <= (kv->v_in_k ? kv->k_dim : most);
  if (!good) {
    p->status = fg_fail(p->err, FG_INTERNAL,
                        "a cache of %u heads, keys of %u, values of %u (at most %u), pages of %u tokens",
                        kv->kv_heads, kv->k_dim, kv->v_dim, most, kv->page_tokens);
    return;
  }
  take(p, which, to, view, "cache", 0, 0, 4);
  if (p->status) return;
  p->l->source = FG_XPU_CACHE;
  p->l->checks = true;
  const uint64_t page = fg_kv_page_bytes(kv);
  p->l->call.kv = (xpu_kv){.page_bytes = page,
                           .pages = (view->memory->bytes - view->offset) / page,
                           .value_base = fg_kv_value_offset(kv, 0, 0),
                           .k_row = (uint32_t)fg_kv_row_bytes(kv->dtype, kv->k_dim),
                           .v_row = (uint32_t)fg_kv_value_step(kv),
                           .kv_heads = kv->kv_heads,
                           .k_dim = kv->k_dim,
                           .v_dim = kv->v_dim,
                           .page_tokens = kv->page_tokens,
                           .v_in_k = kv->v_in_k,
                           .rotated = rotated};
}

static void plan_kv_store(planning *p) {
  const fg_call *c = p->call;
  const fg_kv_geometry *kv = &c->params.kv_store.kv;
  take_cache(p, kv, c->params.kv_store.rotated, &c->out, OUT, &p->l->call.out, MOST_QUERIES);
  take_a(p, c->rows, (uint64_t)kv->kv_heads * kv->k_dim);
  if (!kv->v_in_k)
    take(p, B, &p->l->call.b, &c->b, "b", c->rows, (uint64_t)kv->kv_heads * kv->v_dim, sizeof(float));
  take(p, SLOTS, &p->l->call.slots, &c->batch.slots, "slots", 1, c->rows, sizeof(int32_t));
  const uint32_t most = kv->k_dim > kv->v_dim ? kv->k_dim : kv->v_dim, group = 64;
  p->l->name = "fg_kv_store";
  p->l->lanes = STORE_LANES;
  p->l->groups[0] = c->rows;
  p->l->groups[1] = ((size_t)kv->kv_heads * 2 * ((most + group - 1) / group) + STORE_LANES - 1) / STORE_LANES;
}

static void plan_kv_copy(planning *p) {
  const fg_call *c = p->call;
  const fg_kv_geometry *kv = &c->params.kv_store.kv;
  take_cache(p, kv, false, &c->out, OUT, &p->l->call.out, MOST_QUERIES);
  take(p, B, &p->l->call.b, &c->b, "copies", 1, c->rows, sizeof(fg_page_copy));
  const uint64_t k_row = p->l->call.kv.k_row, v_row = p->l->call.kv.v_row;
  const uint64_t most = (k_row > v_row ? k_row : v_row) * kv->page_tokens / 2;
  p->l->name = "fg_kv_copy";
  p->l->lanes = STORE_LANES;
  p->l->groups[0] = (most + STORE_LANES - 1) / STORE_LANES;
  p->l->groups[1] = (size_t)kv->kv_heads * 2;
}

// Lanes take a number of queries at a time that is compiled in. Where each chunk is one token, no more than
// the heads that share keys.
static uint32_t queries_of(const fg_call *c, uint32_t per_kv_head) {
  uint32_t queries = 1;
  if (c->batch.chunks < c->rows) return MOST_QUERIES;
  while (queries < MOST_QUERIES && queries < per_kv_head) queries *= 2;
  return queries;
}

static fg_status check_attention(const planning *p) {
  const fg_call *c = p->call;
  const uint32_t heads = c->params.attention.heads;
  const fg_key_segment *s = &c->params.attention.segment;
  if (c->params.attention.kv.kv_heads == 0 || heads == 0 || heads % c->params.attention.kv.kv_heads)
    return fg_fail(p->err, FG_INTERNAL, "%u query heads for %u KV heads", heads,
                   c->params.attention.kv.kv_heads);
  if (c->params.attention.sparsity != 0)
    return fg_fail(p->err, FG_UNSUPPORTED, "sparse attention is not for OpenCL devices");
  if (s->first_key % FG_KEY_BLOCK || s->end_key % FG_KEY_BLOCK || (s->end_key && s->first_key >= s->end_key))
    return fg_fail(p->err, FG_INTERNAL, "attention to a segment of keys from %u to %u", s->first_key,
                   s->end_key);
  if (c->batch.shared && (s->first_key || s->end_key || s->resumes || s->pauses))
    return fg_fail(p->err, FG_INTERNAL, "%u shared segments in a call that is itself a segment",
                   c->batch.shared);
  return FG_OK;
}

// What chunks share is read once more for each: no bit depends on it.
static void plan_attention(planning *p) {
  const fg_call *c = p->call;
  const fg_kv_geometry *kv = &c->params.attention.kv;
  const uint32_t heads = c->params.attention.heads;
  const fg_key_segment *s = &c->params.attention.segment;
  p->status = check_attention(p);
  if (p->status) return;
  const uint32_t per_kv_head = heads / kv->kv_heads, queries = queries_of(c, per_kv_head);
  const uint32_t block_heads = per_kv_head < queries ? per_kv_head : queries;
  take_cache(p, kv, c->params.attention.rotated, &c->b, B, &p->l->call.b, queries);
  take_a(p, c->rows, (uint64_t)heads * kv->k_dim);
  take_out(p, c->rows, (uint64_t)heads * kv->v_dim);
  if (c->params.attention.head_kind != FG_HEAD_PLAIN)
    take(p, C, &p->l->call.c, &c->c, "numbers", 1, heads, sizeof(float));
  if (s->resumes || s->pauses)
    take(p, STATE, &p->l->call.state, &c->state, "state", c->rows, (uint64_t)2 * heads, sizeof(float));
  take(p, CHUNKS, &p->l->call.chunk_list, &c->batch.chunk_list, "chunk_list", 1,
       (uint64_t)c->batch.chunks * 4, sizeof(int32_t));
  take(p, TABLES, &p->l->call.page_tables, &c->batch.page_tables, "page_tables", 0, 0, sizeof(int32_t));
  if (p->status) return;
  xpu_attention *a = &p->l->call.attention;
  *a = (xpu_attention){
      .table_entries = (c->batch.page_tables.memory->bytes - c->batch.page_tables.offset) / sizeof(int32_t),
      .heads = heads,
      .window = c->params.attention.window,
      .head_kind = c->params.attention.head_kind,
      .chunks = c->batch.chunks,
      .block_heads = block_heads,
      .block_rows = queries / block_heads,
      .parts = (per_kv_head - 1) / block_heads + 1,
      .first_key = s->first_key,
      .end_key = s->end_key,
      .resumes = s->resumes,
      .pauses = s->pauses,
      .scale = c->params.attention.scale,
      .softcap = c->params.attention.softcap,
  };
  // A chunk makes at most one block that is not full, and no block is empty.
  const uint32_t blocks = c->rows / a->block_rows + c->batch.chunks;
  p->l->name = "fg_attention";
  p->l->lanes = FG_KEY_BLOCK;
  p->l->groups[0] = blocks < c->rows ? blocks : c->rows;
  p->l->groups[1] = (size_t)kv->kv_heads * a->parts;
}

static void (*const plans[FG_OP_COUNT])(planning *) = {
    [FG_OP_NORM] = plan_norm,         [FG_OP_MATMUL] = plan_matmul,   [FG_OP_ROPE] = plan_rope,
    [FG_OP_KV_STORE] = plan_kv_store, [FG_OP_KV_COPY] = plan_kv_copy, [FG_OP_ATTENTION] = plan_attention,
    [FG_OP_ACT] = plan_act,           [FG_OP_GLU] = plan_glu,         [FG_OP_ADD] = plan_add,
    [FG_OP_MAP] = plan_map,           [FG_OP_SELECT] = plan_select,   [FG_OP_ROUTE] = plan_route,
    [FG_OP_SCATTER] = plan_scatter,
};

fg_status fg_opencl_plan_launch(fg_launch *out, const fg_device_options *options, const fg_call *call,
                                fg_error *err) {
  memset(out, 0, sizeof *out);
  if ((unsigned)call->op >= FG_OP_COUNT)
    return fg_fail(err, FG_INTERNAL, "operation %d is unknown", (int)call->op);
  if (call->rows == 0) return FG_OK;
  fg_error cause;
  planning p = {.l = out, .options = options, .call = call, .err = &cause};
  if (call->rows > options->max_rows)
    p.status = fg_fail(&cause, FG_INTERNAL, "%u rows on a device made for at most %u", call->rows,
                       options->max_rows);
  else
    plans[call->op](&p);
  out->call.rows = call->rows;
  return p.status ? fg_fail(err, p.status, "%s of layer %d: %s", fg_op_name(call->op), (int)call->layer,
                            cause.message)
                  : FG_OK;
}
