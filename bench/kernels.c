// bench_kernels: what the device's operations reach, beside the machine's limits of the same rounds.
//
// Dense products run through the device interface for every type that its layouts know as a weight, in every
// arithmetic, in the shapes of whole layers; in int8 quantized ones alone, and quantising the activations is
// part of every call. Their weights lie one behind the other in a block much larger
// than the caches and each call takes the next, as layers do in a step.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "device/device.h"
#include "engine/sampler.h"
#include "engine/shared_segments.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "machine.h"
#include "measure.h"
#include "profile/fill.h"

enum { MAX_CASES = 4096, MAX_ROWS = 2048, MAX_WIDTH = 28672, MAX_K = 16384, PEAK_TURNS = 3000000 };

static const uint64_t arena_bytes = (uint64_t)768 << 20, cache_bytes = (uint64_t)512 << 20;

// An arithmetic of the device and the instruction whose peak it is held against.
static const struct {
  fg_compute compute;
  const char *name;
} arithmetics[] = {{FG_COMPUTE_F32, "f32"}, {FG_COMPUTE_BF16, "bf16"}, {FG_COMPUTE_INT8, "int8"}};
enum { ARITHMETICS = sizeof arithmetics / sizeof *arithmetics, ATTENTION_ARITHMETIC = 1 };

static const struct {
  const char *model;
  uint32_t n, k;
  bench_extent extent; // the least that has it
} shapes[] = {
    {"tinyllama-1.1b", 2048, 2048, BENCH_SMOKE},  {"tinyllama-1.1b", 256, 2048, BENCH_FULL},
    {"tinyllama-1.1b", 11264, 2048, BENCH_QUICK}, {"tinyllama-1.1b", 2048, 5632, BENCH_QUICK},
    {"opt-6.7b", 4096, 4096, BENCH_FULL},         {"opt-6.7b", 16384, 4096, BENCH_FULL},
    {"opt-6.7b", 4096, 16384, BENCH_FULL},        {"llama-3-8b", 1024, 4096, BENCH_FULL},
    {"llama-3-8b", 28672, 4096, BENCH_FULL},      {"llama-3-8b", 4096, 14336, BENCH_FULL},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static const struct {
  uint32_t tokens;
  bench_extent extent;
} batches[] = {{1, BENCH_SMOKE}, {4, BENCH_FULL},    {16, BENCH_QUICK},
               {64, BENCH_FULL}, {128, BENCH_QUICK}, {512, BENCH_QUICK}};
enum { BATCHES = sizeof batches / sizeof *batches };

static const struct {
  const char *model;
  uint32_t heads, kv_heads, dim;
  bench_extent extent;
} attentions[] = {{"tinyllama-1.1b", 32, 4, 64, BENCH_SMOKE},
                  {"opt-1.3b", 32, 32, 64, BENCH_FULL},
                  {"opt-6.7b", 32, 32, 128, BENCH_FULL},
                  {"llama-3-8b", 32, 8, 128, BENCH_FULL}};
enum { ATTENTIONS = sizeof attentions / sizeof *attentions };

static const struct {
  const char *name;
  uint32_t sequences, tokens, context; // tokens: new ones of each sequence, the last of its context
  uint32_t shared;                     // of the context: pages that all sequences have
  bool together;                       // these are attended to at once
  bench_extent extent;
} situations[] = {{"prefill", 1, 512, 512, 0, false, BENCH_QUICK},
                  {"prefill", 1, 2048, 2048, 0, false, BENCH_FULL},
                  {"decode", 32, 1, 512, 0, false, BENCH_SMOKE},
                  {"decode", 8, 1, 2048, 0, false, BENCH_FULL},
                  {"decode", 1, 1, 2048, 0, false, BENCH_FULL},
                  {"decode, prefix shared", 64, 1, 1088, 1024, false, BENCH_FULL},
                  {"decode, prefix shared, together", 64, 1, 1088, 1024, true, BENCH_FULL}};
enum { SITUATIONS = sizeof situations / sizeof *situations };

static const uint32_t vocabularies[] = {32000, 128256};
enum { VOCABULARIES = sizeof vocabularies / sizeof *vocabularies };

enum { PAGE_TOKENS = 16, MAX_SEQUENCES = 64, MAX_HEADS = 64 };

typedef struct bench bench;

// What one case does; which fields count depends on its run function.
typedef struct setting {
  bench *b;
  const bench_instruction *instruction;
  fg_device *device;
  fg_call call;
  uint64_t panel_bytes; // product: distance of weights in the arena
  double amount;        // 1e9 of what the case counts, for one call
  uint32_t vocab;
  fg_dtype dtype;
} setting;

struct bench {
  bench_options options;
  fg_budget *budget;
  fg_threads *threads;
  fg_device *devices[ARITHMETICS];
  fg_memory *arena, *x, *out, *tables, *states; // of the first device; the CPU's devices share host memory
  void *arena_host;
  uint8_t *packed;
  void *finding; // scratch of fg_shared_segments_find
  fg_sampler *sampler;
  setting settings[MAX_CASES];
  bench_case cases[MAX_CASES];
  uint32_t count;
  json_t *left_out;
};

// ---- measuring -----------------------------------------------------------------------------------------

static fg_status run_once(setting *s, fg_error *err) {
  fg_device *d = s->device;
  fg_status status = d->ops->run(d, FG_QUEUE_COMPUTE, &s->call, err);
  if (status) return status;
  return d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_COMPUTE), err);
}

// Calls an operation for at least 20 ms (once for a smoke test); 1e9 of its amount a second.
static fg_status measure_call(const bench_case *c, double *figure, fg_error *err) {
  setting s = *(const setting *)c->setting;
  uint64_t least = s.b->options.extent == BENCH_SMOKE ? 0 : 20000000;
  fg_status status = run_once(&s, err); // compiles, warms
  uint64_t begin = fg_now_ns(), spent = 0;
  uint32_t calls = 0;
  while (status == FG_OK && (calls == 0 || spent < least)) {
    if (s.panel_bytes) s.call.b.offset += s.panel_bytes;
    if (s.call.b.offset + s.panel_bytes > arena_bytes) s.call.b.offset = 0;
    status = run_once(&s, err);
    spent = fg_now_ns() - begin;
    calls++;
  }
  *figure = s.amount * calls / ((double)spent * 1e-9);
  return status;
}

static fg_status measure_peak(const bench_case *c, double *figure, fg_error *err) {
  (void)err;
  const setting *s = c->setting;
  uint64_t turns = s->b->options.extent == BENCH_SMOKE ? 10000 : PEAK_TURNS;
  *figure = bench_peak(s->instruction, s->b->threads, turns).wall;
  return FG_OK;
}

static fg_status measure_memory(const bench_case *c, double *figure, fg_error *err) {
  (void)err;
  const setting *s = c->setting;
  *figure = bench_read_rate(s->b->arena_host, cache_bytes, s->b->threads);
  return FG_OK;
}

static fg_status measure_pack(const bench_case *c, double *figure, fg_error *err) {
  (void)err;
  const setting *s = c->setting;
  uint64_t begin = fg_now_ns();
  s->call.params.matmul.layout->pack(s->dtype, s->b->arena_host, s->call.params.matmul.n,
                                     s->call.params.matmul.k, s->b->packed);
  *figure = s->amount / ((double)(fg_now_ns() - begin) * 1e-9);
  return FG_OK;
}

// Rows a second of one thread.
static fg_status measure_draw(const bench_case *c, double *figure, fg_error *err) {
  (void)err;
  const setting *s = c->setting;
  fg_sampling sampling = fg_sampling_default();
  sampling.temperature = 0.8f;
  fg_sampler_input input = {.logits = s->b->arena_host, .vocab = s->vocab, .sampling = &sampling};
  uint64_t begin = fg_now_ns();
  enum { DRAWS = 16 };
  for (int i = 0; i < DRAWS; i++) fg_sampler_draw(s->b->sampler, &input);
  *figure = DRAWS / ((double)(fg_now_ns() - begin) * 1e-9);
  return FG_OK;
}

static fg_status measure_logprob(const bench_case *c, double *figure, fg_error *err) {
  (void)err;
  const setting *s = c->setting;
  fg_candidate top[5];
  uint32_t rank;
  uint64_t begin = fg_now_ns();
  enum { ROWS = 16 };
  for (int i = 0; i < ROWS; i++) fg_logprob(s->b->arena_host, s->vocab, 7, &rank, top, 5);
  *figure = ROWS / ((double)(fg_now_ns() - begin) * 1e-9);
  return FG_OK;
}

// ---- cases ---------------------------------------------------------------------------------------------

typedef fg_status case_fn(const bench_case *c, double *figure, fg_error *err);

static void add_case(bench *b, case_fn *run, setting s, json_t *about) {
  if (b->count == MAX_CASES) {
    bench_leave_out(b->left_out, "further cases", "the program has no room for them");
    json_decref(about);
    return;
  }
  s.b = b;
  b->settings[b->count] = s;
  b->cases[b->count] =
      (bench_case){run, &b->settings[b->count], about, run == measure_peak || run == measure_memory, {0}, 0};
  b->count++;
}

static void add_limits(bench *b) {
  for (uint32_t i = 0; bench_instruction_at(i); i++) {
    const bench_instruction *in = bench_instruction_at(i);
    if (bench_instruction_of(in->name) != in) continue;
    add_case(b, measure_peak, (setting){.instruction = in},
             json_pack("{s:s,s:s,s:s}", "kind", "peak", "name", in->name, "unit", "Gop/s"));
  }
  add_case(b, measure_memory, (setting){0},
           json_pack("{s:s,s:s,s:s}", "kind", "memory", "name", "read", "unit", "GB/s"));
}

static void add_product(bench *b, uint32_t arithmetic, fg_dtype dtype, uint32_t shape, uint32_t rows) {
  uint32_t n = shapes[shape].n, k = shapes[shape].k;
  const fg_layout *layout = b->devices[arithmetic]->family->choose(dtype, n, k);
  if (!layout) return;
  if (arithmetics[arithmetic].compute == FG_COMPUTE_INT8 && !fg_dtype_get(dtype)->bits) return;
  uint64_t bytes = layout->bytes(dtype, n, k);
  setting s = {.device = b->devices[arithmetic], .panel_bytes = bytes};
  s.amount = 2e-9 * n * k * rows;
  s.call = (fg_call){
      .op = FG_OP_MATMUL, .rows = rows, .a = {b->x, 0, k}, .b = {b->arena, 0, 0}, .out = {b->out, 0, n}};
  s.call.params.matmul.n = n, s.call.params.matmul.k = k;
  s.call.params.matmul.dtype = dtype, s.call.params.matmul.layout = layout;
  add_case(b, measure_call, s,
           json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:I,s:s}", "kind", "product", "name",
                     arithmetics[arithmetic].name, "weights", fg_dtype_get(dtype)->name, "layout",
                     layout->name, "model", shapes[shape].model, "n", (int)n, "k", (int)k, "tokens",
                     (int)rows, "weight_bytes", (json_int_t)bytes, "unit", "Gop/s"));
}

static void add_products(bench *b) {
  for (uint32_t dtype = 0; dtype < FG_DTYPE_COUNT; dtype++)
    for (uint32_t arithmetic = 0; arithmetic < ARITHMETICS; arithmetic++)
      for (uint32_t shape = 0; shape < SHAPES; shape++)
        for (uint32_t i = 0; i < BATCHES; i++)
          if (shapes[shape].extent <= b->options.extent && batches[i].extent <= b->options.extent)
            add_product(b, arithmetic, (fg_dtype)dtype, shape, batches[i].tokens);
}

// Positions, chunks and page tables of a situation, one behind the other in `tables`.
typedef struct tables {
  int32_t positions[MAX_ROWS];
  int32_t chunks[MAX_SEQUENCES][4];
  int32_t pages[MAX_SEQUENCES][2048 / PAGE_TOKENS];
  fg_shared_segment segments[MAX_SEQUENCES];
  fg_query_row members[FG_SHARED_LEVELS * MAX_ROWS];
  int32_t starts[MAX_SEQUENCES];
} tables;

// By the pages that the sequences have in common; heads: of queries for a KV head.
static void find_shared(const bench *b, tables *t, uint32_t heads, uint64_t at, fg_batch_view *view) {
  const fg_shared_chunks chunks = {.list = t->chunks[0],
                                   .tables = t->pages[0],
                                   .count = view->chunks,
                                   .stride = 2048 / PAGE_TOKENS,
                                   .page_tokens = PAGE_TOKENS,
                                   .queries = heads};
  fg_shared_lists lists = {.segments = t->segments, .members = t->members, .starts = t->starts};
  fg_shared_segments_find(&chunks, b->finding, &lists);
  view->shared = lists.segment_count;
  view->members = lists.member_count;
  view->shared_list = (fg_view){b->tables, at + offsetof(tables, segments), 1};
  view->member_list = (fg_view){b->tables, at + offsetof(tables, members), 1};
  view->starts = (fg_view){b->tables, at + offsetof(tables, starts), 1};
}

static fg_batch_view fill_tables(const bench *b, uint32_t situation, uint32_t heads) {
  uint32_t sequences = situations[situation].sequences, tokens = situations[situation].tokens;
  uint64_t at = situation * sizeof(tables);
  tables *t = (tables *)((uint8_t *)fg_device_host_pointer(b->devices[0], b->tables) + at);
  uint32_t shared = situations[situation].shared / PAGE_TOKENS;
  int32_t first = (int32_t)(situations[situation].context - tokens), page = (int32_t)shared;
  for (uint32_t s = 0; s < sequences; s++) {
    t->chunks[s][0] = (int32_t)(s * tokens), t->chunks[s][1] = (int32_t)tokens;
    t->chunks[s][2] = first, t->chunks[s][3] = (int32_t)s;
    for (uint32_t i = 0; i < tokens; i++) t->positions[s * tokens + i] = first + (int32_t)i;
    for (uint32_t i = 0; i * PAGE_TOKENS < situations[situation].context; i++)
      t->pages[s][i] = i < shared ? (int32_t)i : page++;
  }
  fg_batch_view view = {
      .tokens = sequences * tokens,
      .chunks = sequences,
      .max_context = situations[situation].context,
      .positions = {b->tables, at, 1},
      .chunk_list = {b->tables, at + offsetof(tables, chunks), 4},
      .page_tables = {b->tables, at + offsetof(tables, pages), 2048 / PAGE_TOKENS},
  };
  if (situations[situation].together) find_shared(b, t, heads, at, &view);
  return view;
}

static void add_attention(bench *b, uint32_t model, uint32_t situation, fg_dtype dtype) {
  uint32_t heads = attentions[model].heads, dim = attentions[model].dim;
  uint32_t sequences = situations[situation].sequences, tokens = situations[situation].tokens;
  double context = situations[situation].context, keys = context - (tokens - 1) / 2.0; // of a token, mean
  setting s = {.device = b->devices[ATTENTION_ARITHMETIC]};
  fg_kv_geometry kv = {attentions[model].kv_heads, dim, dim, PAGE_TOKENS, dtype, false, 0};
  s.call = (fg_call){.op = FG_OP_ATTENTION,
                     .rows = sequences * tokens,
                     .a = {b->x, 0, heads * dim},
                     .b = {b->arena, 0, 0},
                     .out = {b->out, 0, heads * dim},
                     .state = {b->states, 0, 2 * heads},
                     .batch = fill_tables(b, situation, heads / attentions[model].kv_heads)};
  s.call.params.attention.kv = kv, s.call.params.attention.heads = heads;
  s.call.params.attention.scale = 0.1f;
  s.amount = 4e-9 * heads * dim * keys * tokens * sequences;
  double own = context - situations[situation].shared,
         bytes =
             (double)fg_kv_page_bytes(&kv) / PAGE_TOKENS * (situations[situation].shared + own * sequences);
  add_case(b, measure_call, s,
           json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:f,s:f,s:s}", "kind", "attention", "name",
                     situations[situation].name, "cache", fg_dtype_get(dtype)->name, "model",
                     attentions[model].model, "sequences", (int)sequences, "context", (int)context,
                     "operations", s.amount * 1e9, "cache_bytes", bytes, "unit", "Gop/s"));
}

static void add_attentions(bench *b) {
  fg_kernels kernels;
  fg_kernels_init(&kernels, fg_cpu_features());
  for (uint32_t dtype = 0; dtype < FG_DTYPE_COUNT; dtype++)
    for (uint32_t model = 0; model < ATTENTIONS; model++)
      for (uint32_t situation = 0; situation < SITUATIONS; situation++)
        if (kernels.attend[dtype] && attentions[model].extent <= b->options.extent &&
            situations[situation].extent <= b->options.extent)
          add_attention(b, model, situation, (fg_dtype)dtype);
}

static void add_packing(bench *b) {
  enum { N = 1024, K = 4096 };
  for (uint32_t dtype = 0; dtype < FG_DTYPE_COUNT; dtype++) {
    const fg_layout *layout = b->devices[0]->family->choose((fg_dtype)dtype, N, K);
    if (!layout) continue;
    uint64_t bytes = layout->bytes((fg_dtype)dtype, N, K);
    setting s = {.dtype = (fg_dtype)dtype, .amount = 1e-9 * (double)bytes};
    s.call.params.matmul.layout = layout, s.call.params.matmul.n = N, s.call.params.matmul.k = K;
    add_case(b, measure_pack, s,
             json_pack("{s:s,s:s,s:s,s:s}", "kind", "pack", "name", fg_dtype_get((fg_dtype)dtype)->name,
                       "layout", layout->name, "unit", "GB/s of one thread"));
  }
}

static void add_readouts(bench *b) {
  static const struct {
    const char *name;
    case_fn *run;
  } readouts[] = {{"draw", measure_draw}, {"log-probability and 5 candidates", measure_logprob}};
  for (uint32_t i = 0; i < 2; i++)
    for (uint32_t v = 0; v < VOCABULARIES; v++)
      add_case(b, readouts[i].run, (setting){.vocab = vocabularies[v]},
               json_pack("{s:s,s:s,s:i,s:s}", "kind", "readout", "name", readouts[i].name, "vocab",
                         (int)vocabularies[v], "unit", "rows/s of one thread"));
}

// ---- the program ---------------------------------------------------------------------------------------

static fg_status make_devices(bench *b, fg_error *err) {
  fg_device_options options = {.max_rows = MAX_ROWS,
                               .max_width = MAX_WIDTH,
                               .max_k = MAX_K,
                               .host = b->budget,
                               .memory = b->budget,
                               .threads = b->threads};
  for (uint32_t i = 0; i < ARITHMETICS; i++) {
    options.compute = arithmetics[i].compute;
    fg_status status = fg_device_create(&b->devices[i], "cpu", &options, err);
    if (status) return status;
  }
  return FG_OK;
}

static fg_status make_memory(bench *b, uint64_t bytes, fg_memory **out, fg_error *err) {
  fg_device *d = b->devices[0];
  fg_status status = d->ops->memory_create(d, bytes, "the benchmark", out, err);
  if (status == FG_OK) fg_fill_bytes(fg_device_host_pointer(d, *out), bytes);
  return status;
}

static fg_status open_bench(bench *b, fg_error *err) {
  fg_status status = fg_budget_create(&b->budget, "host memory", "--host-memory", 0, err);
  if (status == FG_OK) status = fg_threads_create(&b->threads, b->options.threads, err);
  if (status == FG_OK) status = make_devices(b, err);
  if (status == FG_OK) status = make_memory(b, arena_bytes, &b->arena, err);
  if (status == FG_OK) status = make_memory(b, (uint64_t)MAX_ROWS * MAX_K * 4, &b->x, err);
  if (status == FG_OK) status = make_memory(b, (uint64_t)MAX_ROWS * MAX_WIDTH * 4, &b->out, err);
  if (status == FG_OK) status = make_memory(b, SITUATIONS * sizeof(tables), &b->tables, err);
  if (status == FG_OK) status = make_memory(b, (uint64_t)MAX_ROWS * MAX_HEADS * 2 * 4, &b->states, err);
  if (status == FG_OK)
    status = fg_budget_alloc(b->budget, fg_shared_scratch_bytes(MAX_SEQUENCES), "a tree", &b->finding, err);
  if (status == FG_OK) b->arena_host = fg_device_host_pointer(b->devices[0], b->arena);
  if (status == FG_OK)
    fg_fill_floats(fg_device_host_pointer(b->devices[0], b->x), (uint64_t)MAX_ROWS * MAX_K);
  void *packed = NULL;
  if (status == FG_OK) status = fg_budget_alloc(b->budget, (uint64_t)32 << 20, "packing", &packed, err);
  b->packed = packed;
  return status ? status : fg_sampler_create(&b->sampler, vocabularies[VOCABULARIES - 1], b->budget, err);
}

static void close_bench(bench *b) {
  fg_memory *memories[] = {b->arena, b->x, b->out, b->tables, b->states};
  if (b->sampler) fg_sampler_destroy(b->sampler);
  if (b->packed) fg_budget_free(b->budget, b->packed);
  if (b->finding) fg_budget_free(b->budget, b->finding);
  for (uint32_t i = 0; i < sizeof memories / sizeof *memories; i++)
    if (memories[i]) b->devices[0]->ops->memory_destroy(b->devices[0], memories[i]);
  for (uint32_t i = 0; i < ARITHMETICS; i++)
    if (b->devices[i]) fg_device_destroy(b->devices[i]);
  if (b->threads) fg_threads_destroy(b->threads);
  if (b->budget) fg_budget_destroy(b->budget);
}

static void add_cases(bench *b) {
  add_limits(b);
  add_products(b);
  add_attentions(b);
  add_packing(b);
  add_readouts(b);
}

int main(int argc, char **argv) {
  bench *b = calloc(1, sizeof *b);
  fg_error err = {FG_OK, ""};
  if (!b || !bench_parse(argc, argv, &b->options)) {
    free(b);
    return 2;
  }
  b->left_out = json_array();
  fg_status status = open_bench(b, &err);
  if (status == FG_OK) add_cases(b);
  if (status == FG_OK) status = bench_rounds(b->cases, b->count, b->options.rounds, &err);
  if (status == FG_OK)
    bench_print("kernels", &b->options, b->cases, b->count, b->left_out);
  else
    fprintf(stderr, "bench_kernels: %s\n", err.message);
  close_bench(b);
  free(b);
  return status ? 1 : 0;
}
