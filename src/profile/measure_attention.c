// Attention over a cache in memory, and what is put into one.
#include <assert.h>
#include <stddef.h>

#include "plan/policy.h"
#include "profile/measure_internal.h"

static const struct {
  fg_dtype cache;
  fg_compute compute; // that such a cache is used with
  bool quick;
} caches[] = {{FG_F32, FG_COMPUTE_F32, false},
              {FG_BF16, FG_COMPUTE_BF16, true},
              {FG_F16, FG_COMPUTE_BF16, false},
              {FG_I8G64M, FG_COMPUTE_BF16, true},
              {FG_I4G64M, FG_COMPUTE_BF16, true}};
static const struct {
  uint32_t dim;
  bool quick;
} dims[] = {{64, true}, {128, true}};
static const struct {
  uint32_t group;
  bool quick;
} groups[] = {{1, true}, {4, true}, {8, false}};
enum {
  CACHES = sizeof caches / sizeof *caches,
  DIMS = sizeof dims / sizeof *dims,
  GROUPS = sizeof groups / sizeof *groups,
  KV_HEADS = 8,
  CONTEXT = 1024, // of a sequence that decodes
  CHUNK = 512,    // of a prompt
  MOST_SEQUENCES = 256,
  MOST_TAKES = 64,
};

static_assert(CACHES * DIMS * GROUPS <= FG_PROFILE_MAX_ATTENTIONS, "a profile has room for every attention");

// Positions, chunks and page tables, in a block of device memory.
typedef struct tables {
  int32_t positions[MOST_SEQUENCES + CHUNK];
  int32_t slots[MOST_SEQUENCES + CHUNK];
  int32_t chunks[MOST_SEQUENCES][4];
  int32_t pages[MOST_SEQUENCES][CONTEXT / FG_PAGE_TOKENS];
} tables;

static_assert(sizeof(tables) <= 1 << 20, "the block for small things holds them");

// `sequences` of contexts of `context` tokens, of which the last `tokens` are new.
static fg_batch_view fill_tables(const fg_taker *t, uint32_t sequences, uint32_t tokens, uint32_t context) {
  tables *at = fg_device_host_pointer(t->devices[0], t->small);
  int32_t page = 0;
  for (uint32_t s = 0; s < sequences; s++) {
    int32_t first = (int32_t)(context - tokens), begin = page;
    for (uint32_t i = 0; i * FG_PAGE_TOKENS < context; i++) at->pages[s][i] = page++;
    at->chunks[s][0] = (int32_t)(s * tokens), at->chunks[s][1] = (int32_t)tokens;
    at->chunks[s][2] = first, at->chunks[s][3] = (int32_t)s;
    for (uint32_t i = 0; i < tokens; i++) {
      at->positions[s * tokens + i] = first + (int32_t)i;
      at->slots[s * tokens + i] = begin * FG_PAGE_TOKENS + first + (int32_t)i;
    }
  }
  return (fg_batch_view){.tokens = sequences * tokens,
                         .chunks = sequences,
                         .max_context = context,
                         .positions = {t->small, 0, 1},
                         .slots = {t->small, offsetof(tables, slots), 1},
                         .chunk_list = {t->small, offsetof(tables, chunks), 4},
                         .page_tables = {t->small, offsetof(tables, pages), CONTEXT / FG_PAGE_TOKENS}};
}

static fg_call attention_call(const fg_taker *t, const fg_kv_geometry *kv, uint32_t group, uint32_t rows) {
  const uint32_t width = kv->kv_heads * group * kv->k_dim;
  fg_call call = {.op = FG_OP_ATTENTION,
                  .rows = rows,
                  .a = {t->x, 0, width},
                  .b = {t->pool, 0, 0},
                  .out = {t->y, 0, width}};
  call.params.attention.kv = *kv;
  call.params.attention.heads = kv->kv_heads * group;
  call.params.attention.scale = 0.1f;
  return call;
}

// Some calls' time, in seconds; `stride` bytes of the pool further on each time.
static fg_status take(const fg_taker *t, fg_compute compute, fg_call *call, uint64_t stride, double *seconds,
                      fg_error *err) {
  double takes[MOST_TAKES];
  uint32_t count = 0;
  uint64_t spent = 0;
  fg_status status = fg_taker_run(t, compute, call, &(uint64_t){0}, err);
  while (!status && count < MOST_TAKES && (count < 2 || spent < t->slice_ns)) {
    uint64_t ns = 0;
    call->b.offset += stride;
    if (call->b.offset + stride > t->pool_bytes) call->b.offset = 0;
    status = fg_taker_run(t, compute, call, &ns, err);
    takes[count++] = 1e-9 * (double)ns;
    spent += ns;
  }
  *seconds = fg_typical(takes, count);
  return status;
}

static fg_status measure_decode(const fg_taker *t, fg_compute compute, const fg_kv_geometry *kv,
                                uint32_t group, double *seconds, fg_error *err) {
  const uint64_t each = fg_kv_page_bytes(kv) * (CONTEXT / FG_PAGE_TOKENS);
  // Half of the pool, and the other half by the next call.
  uint64_t sequences = t->pool_bytes / 2 / each, most = FG_TAKER_WIDTH * (uint64_t)FG_TAKER_ROWS;
  if (sequences > MOST_SEQUENCES) sequences = MOST_SEQUENCES;
  if (sequences > most / (kv->kv_heads * group * kv->k_dim))
    sequences = most / (kv->kv_heads * group * kv->k_dim);
  fg_call call = attention_call(t, kv, group, (uint32_t)sequences);
  call.batch = fill_tables(t, (uint32_t)sequences, 1, CONTEXT);
  fg_status status = take(t, compute, &call, sequences * each, seconds, err);
  *seconds /= (double)sequences * CONTEXT * kv->kv_heads;
  return status;
}

static fg_status measure_prefill(const fg_taker *t, fg_compute compute, const fg_kv_geometry *kv,
                                 uint32_t group, double *seconds, fg_error *err) {
  fg_call call = attention_call(t, kv, group, CHUNK);
  call.batch = fill_tables(t, 1, CHUNK, CHUNK);
  fg_status status = take(t, compute, &call, fg_kv_page_bytes(kv) * (CHUNK / FG_PAGE_TOKENS), seconds, err);
  *seconds /= (double)CHUNK * (CHUNK + 1) / 2 * kv->kv_heads * group;
  return status;
}

// In the type that most caches have.
static fg_status measure_store(fg_taker *t, fg_error *err) {
  const fg_kv_geometry kv = {
      .kv_heads = KV_HEADS, .k_dim = 64, .v_dim = 64, .page_tokens = FG_PAGE_TOKENS, .dtype = FG_BF16};
  fg_call call = {.op = FG_OP_KV_STORE,
                  .rows = CHUNK,
                  .a = {t->x, 0, KV_HEADS * 64},
                  .b = {t->y, 0, KV_HEADS * 64},
                  .out = {t->pool, 0, 0},
                  .batch = fill_tables(t, 1, CHUNK, CHUNK)};
  call.params.kv_store.kv = kv;
  double takes[MOST_TAKES];
  fg_status status = FG_OK;
  const uint64_t stride = fg_kv_page_bytes(&kv) * (CHUNK / FG_PAGE_TOKENS);
  uint32_t count = 0;
  for (; !status && count < MOST_TAKES; count++) {
    uint64_t ns = 0;
    call.out.offset = count * stride % (t->pool_bytes - stride) / stride * stride;
    status = fg_taker_run(t, FG_COMPUTE_BF16, &call, &ns, err);
    takes[count] = 1e-9 * (double)ns;
  }
  t->out->store_value = fg_typical(takes, count) / (2.0 * CHUNK * KV_HEADS * 64);
  return status;
}

static fg_status measure_cache(fg_taker *t, uint32_t cache, uint32_t dim, uint32_t group, fg_error *err) {
  const fg_kv_geometry kv = {.kv_heads = KV_HEADS,
                             .k_dim = dim,
                             .v_dim = dim,
                             .page_tokens = FG_PAGE_TOKENS,
                             .dtype = caches[cache].cache};
  const fg_compute compute = caches[cache].compute;
  fg_profile_attention a = {.cache = kv.dtype, .k_dim = dim, .group = group};
  fg_status status = measure_decode(t, compute, &kv, group, &a.decode, err);
  if (!status) status = measure_prefill(t, compute, &kv, group, &a.prefill, err);
  if (!status) t->out->attentions[t->out->attention_count++] = a;
  return status;
}

fg_status fg_measure_attentions(fg_taker *t, fg_error *err) {
  const bool quick = t->options->quick;
  fg_status status = FG_OK;
  for (uint32_t c = 0; !status && c < CACHES; c++)
    for (uint32_t d = 0; !status && d < DIMS; d++)
      for (uint32_t g = 0; !status && g < GROUPS; g++) {
        if (quick && !(caches[c].quick && dims[d].quick && groups[g].quick)) continue;
        status = fg_taker_tell(t, "attention", 0.5 + 0.1 * c / CACHES, err);
        if (!status) status = measure_cache(t, c, dims[d].dim, groups[g].group, err);
      }
  return status ? status : measure_store(t, err);
}
