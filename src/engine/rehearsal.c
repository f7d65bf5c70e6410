#include "engine/rehearsal.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/typical.h"
#include "engine/executor_state.h"
#include "engine/predict.h"
#include "profile/fill.h"

enum { SEQUENCES = 64, MOST_CONTEXT = 2048, PROMPT_TOKENS = 256, MOST_TAKES = 64, PASSES = 3, DEPTH = 32 };
static const double MOST_OF_A_STEP = 0.25; // of all seconds: longer steps are left out
static const double PROMPT_SECONDS = 0.15; // that a step of PROMPT_TOKENS should take: many are tried
static const uint64_t LEAST_WEIGHTS = (uint64_t)96 << 20; // they should not stay in a cache
static const double FARTHEST = 4; // a scale beyond it says something else than how steps run

// Steps of so many tokens: each of a sequence of its own, or the beginnings of texts; and, last, those that
// the job's policy takes.
static const struct {
  uint32_t tokens;
  bool decodes;
} sizes[] = {{1, true}, {4, true}, {16, true}, {64, true}, {PROMPT_TOKENS, false}, {1024, false}, {0, false}};
enum { SIZES = sizeof sizes / sizeof *sizes };

typedef struct rehearsal {
  const fg_rehearsal_options *options;
  fg_graph graph; // cut short; what it points to is the model's
  fg_store store;
  fg_weight *weights; // of the store
  fg_plan_model model;
  fg_step_rates rates;
  fg_policy policy;
  uint32_t context, pages; // of a sequence
  uint32_t *numbers;       // of pages: [sequences, pages]
  int32_t *ids;            // [context]
  fg_io *io;
  fg_device *device;
  fg_executor *executor;
} rehearsal;

// ---- the model, cut short --------------------------------------------------------------------------------

static uint64_t bytes_of(const fg_store *store, const fg_weight *w) {
  uint64_t bytes = 0;
  for (uint32_t p = w->panel; w->kind == FG_WEIGHT_MATRIX && p < w->panel + w->panels; p++)
    bytes += fg_align_up(store->panels[p].bytes, FG_IO_ALIGN);
  return bytes;
}

// Layers whose matrices fit, beside those before and behind all layers.
static uint32_t layers_within(const fg_rehearsal_options *o, uint64_t room) {
  const uint32_t layers = o->graph->layers;
  uint64_t *of_layer = calloc(layers + 1u, sizeof *of_layer), others = 0;
  uint32_t count = 0;
  for (uint32_t w = 0; of_layer && w < o->store->weight_count; w++) {
    const fg_weight *weight = &o->store->weights[w];
    const bool in_layer = weight->layer >= 0 && weight->layer < (int32_t)layers;
    *(in_layer ? &of_layer[weight->layer] : &others) += bytes_of(o->store, weight);
  }
  while (of_layer && count < layers && others + of_layer[count] <= room) others += of_layer[count++];
  free(of_layer);
  return count;
}

static fg_status cut_to(rehearsal *r, uint32_t layers, fg_error *err) {
  const fg_rehearsal_options *o = r->options;
  r->graph.layers = layers;
  r->store.weight_count = 0;
  for (uint32_t w = 0; w < o->store->weight_count; w++) {
    const int32_t layer = o->store->weights[w].layer;
    if (layer < (int32_t)layers || layer >= (int32_t)o->graph->layers)
      r->weights[r->store.weight_count++] = o->store->weights[w];
  }
  fg_profile profile = *o->profile;
  profile.logit = 0; // nobody reads any
  fg_status status = fg_plan_model_of(&r->model, &r->graph, &r->store, (int)o->settings.compute, err);
  r->rates = fg_step_rates_of(&profile, &r->model);
  return status;
}

static uint64_t weight_bytes(const rehearsal *r) {
  uint64_t bytes = 0;
  for (uint32_t w = 0; w < r->store.weight_count; w++) bytes += bytes_of(&r->store, &r->weights[w]);
  return bytes;
}

// To so many layers, or fewer where steps of them are long and their weights many.
static fg_status cut(rehearsal *r, uint32_t layers, fg_error *err) {
  const fg_rehearsal_options *o = r->options;
  r->graph = *o->graph;
  r->graph.input_count = 0;
  r->store = *o->store;
  r->weights = r->store.weights = calloc(o->store->weight_count + 1u, sizeof *r->weights);
  if (!r->weights) return fg_fail(err, FG_NO_SPACE, "no memory for a list of weights");
  fg_status status = cut_to(r, layers, err);
  if (status != FG_OK) return status;
  const double seconds =
      fmax(1e-9, fg_step_time(&r->rates, &(fg_step_work){.tokens = PROMPT_TOKENS}).compute);
  const double share = fmax(PROMPT_SECONDS / seconds, (double)LEAST_WEIGHTS / (double)weight_bytes(r));
  return share < 1 ? cut_to(r, (uint32_t)ceil(layers * share), err) : FG_OK;
}

// ---- opening and closing ---------------------------------------------------------------------------------

// A policy by which all weights are resident, with as many tokens and sequences as there is memory for.
static fg_status make_policy(rehearsal *r, fg_error *err) {
  const fg_rehearsal_options *o = r->options;
  const fg_plan_input *job = o->input;
  const uint64_t weights = weight_bytes(r);
  fg_status status = FG_NO_SPACE;
  for (uint32_t tokens = o->tokens; status != FG_OK && tokens; tokens /= 2) {
    for (uint32_t seqs = SEQUENCES; status != FG_OK && seqs >= 4; seqs /= 4) {
      fg_plan_input in = {.one_memory = true,
                          .host = o->memory,
                          .context = r->context + 1,
                          .scratch = job->scratch,
                          .user = job->user,
                          .max_tokens = tokens,
                          .max_seqs = seqs,
                          .max_len = r->context + 1,
                          .device_pages = seqs * r->pages,
                          .weight_bytes = weights};
      fg_executor_costs(&r->graph, &r->store, true, &in);
      status = fg_policy_make(&in, &r->policy, err);
      if (status == FG_OK && r->policy.device_weight_bytes < weights)
        status = fg_fail(err, FG_NO_SPACE, "no memory for the weights of a rehearsal");
    }
  }
  return status;
}

static fg_status open_parts(rehearsal *r, fg_error *err) {
  const fg_rehearsal_options *o = r->options;
  fg_budget *host = o->settings.host;
  const fg_io_options io = {.backend = o->backend, .depth = DEPTH, .budget = host};
  fg_device_options device = o->settings;
  device.max_rows = r->policy.max_tokens;
  device.trace = NULL;
  fg_status status = fg_io_create(&r->io, &io, err);
  if (status == FG_OK) status = fg_device_create(&r->device, o->device, &device, err);
  if (status != FG_OK) return status;
  const fg_executor_options executor = {.graph = &r->graph,
                                        .store = &r->store,
                                        .device = r->device,
                                        .io = r->io,
                                        .table_io = r->io,
                                        .host = host,
                                        .policy = &r->policy,
                                        .rotates_cache = o->rotates_cache,
                                        .attn_sparsity = o->attn_sparsity};
  return fg_executor_create(&r->executor, &executor, err);
}

// Activations and the cache, as if steps had been there before.
static void fill(rehearsal *r) {
  const fg_executor *x = r->executor;
  char *stream = fg_device_host_pointer(r->device, x->registers);
  fg_fill_floats((float *)(stream + x->register_offset[0]),
                 (uint64_t)r->policy.max_tokens * r->graph.register_width[0]);
  const uint64_t page = fg_kv_page_bytes(&r->graph.kv) * r->policy.device_pages;
  const fg_view cache = fg_kv_cache_view(x->kv, 0);
  fg_fill_bytes(fg_device_host_pointer(r->device, cache.memory), page * r->graph.layers);
}

static fg_status open_rehearsal(rehearsal *r, fg_error *err) {
  fg_status status = make_policy(r, err);
  if (status == FG_OK) status = open_parts(r, err);
  if (status != FG_OK) return status;
  const uint64_t pages = (uint64_t)r->policy.max_seqs * r->pages;
  r->numbers = malloc(pages * sizeof *r->numbers);
  r->ids = calloc(r->context + 1u, sizeof *r->ids);
  if (!r->numbers || !r->ids) return fg_fail(err, FG_NO_SPACE, "no memory for a rehearsal");
  for (uint32_t i = 0; i < pages; i++) r->numbers[i] = i;
  fill(r);
  return FG_OK;
}

static void close_rehearsal(rehearsal *r) {
  fg_executor_destroy(r->executor);
  if (r->device) fg_device_destroy(r->device);
  fg_io_destroy(r->io);
  free(r->numbers);
  free(r->ids);
  free(r->weights);
}

// ---- steps -----------------------------------------------------------------------------------------------

static void no_logits(void *user, const fg_logits_block *block) {
  (void)user, (void)block;
}

static void add(rehearsal *r, uint32_t sequence, uint32_t begin, uint32_t count, bool selected,
                fg_step_work *work) {
  const fg_chunk_tokens tokens = {.ids = r->ids,
                                  .begin = begin,
                                  .count = count,
                                  .prompt = r->context,
                                  .known = begin + count,
                                  .longest = r->context + 1};
  const fg_chunk chunk = {.begin = begin, .count = count};
  const uint32_t row =
      fg_executor_add(r->executor, &tokens, r->numbers + (uint64_t)sequence * r->pages, r->pages);
  if (selected) fg_executor_select(r->executor, row);
  fg_predict_add_chunk(work, &r->model, &chunk, selected ? begin : r->context, selected);
}

// One step of about so many tokens. *tokens: how many there are; *expected: seconds by the rates.
static fg_status run_step(rehearsal *r, uint32_t size, uint32_t *tokens, double *expected, double *takes,
                          fg_error *err) {
  const uint32_t room = r->policy.max_tokens, wanted = sizes[size].tokens;
  const uint32_t most = wanted && wanted < room ? wanted : room;
  fg_step_work work = {0};
  const uint64_t begin = fg_now_ns();
  *tokens = 0;
  fg_executor_begin(r->executor, NULL, 0);
  for (uint32_t i = 0; i < r->policy.max_seqs && *tokens < most; i++) {
    const uint32_t left = most - *tokens, count = sizes[size].decodes ? 1
                                                  : left < r->context ? left
                                                                      : r->context;
    add(r, i, sizes[size].decodes ? r->context - 1 : 0, count, sizes[size].decodes, &work);
    *tokens += count;
  }
  fg_status status = fg_executor_run(r->executor, no_logits, NULL, err);
  *takes = 1e-9 * (double)(fg_now_ns() - begin);
  *expected = fg_step_time(&r->rates, &work).compute;
  return status;
}

typedef struct size_times {
  uint32_t tokens, count;
  bool left_out;
  double expected, takes[MOST_TAKES];
} size_times;

// In passes over all sizes: what disturbs the machine for a while disturbs not all of one. The first step of
// a size makes what is made once.
static fg_status measure(rehearsal *r, size_times *times, fg_error *err) {
  const double slice = r->options->seconds / PASSES / SIZES;
  fg_status status = FG_OK;
  for (uint32_t pass = 0; status == FG_OK && pass < PASSES; pass++)
    for (uint32_t i = 0; status == FG_OK && i < SIZES; i++) {
      size_times *t = &times[i];
      double spent = 0, takes = 0;
      if (!pass) status = run_step(r, i, &t->tokens, &t->expected, &takes, err);
      t->left_out |= takes > MOST_OF_A_STEP * r->options->seconds;
      for (uint32_t n = 0; status == FG_OK && !t->left_out && (!n || spent < slice) && t->count < MOST_TAKES;
           n++) {
        status = run_step(r, i, &t->tokens, &t->expected, &takes, err);
        if (status == FG_OK) t->takes[t->count++] = takes;
        spent += takes;
      }
    }
  return status;
}

static fg_step_scale scale_of(size_times *times) {
  fg_step_scale scale = {0};
  for (uint32_t i = 0; i < SIZES; i++) {
    const bool more = !scale.count || times[i].tokens > scale.tokens[scale.count - 1];
    if (!times[i].count || !more || times[i].expected <= 0) continue;
    const double ratio = fg_typical(times[i].takes, times[i].count) / times[i].expected;
    scale.tokens[scale.count] = times[i].tokens;
    scale.times[scale.count++] = fmin(FARTHEST, fmax(1 / FARTHEST, ratio));
  }
  return scale;
}

fg_status fg_rehearse(fg_step_scale *out, const fg_rehearsal_options *o, fg_error *err) {
  *out = (fg_step_scale){0};
  rehearsal r = {.options = o, .context = o->context < 2 ? 2 : o->context};
  if (r.context > MOST_CONTEXT) r.context = MOST_CONTEXT;
  r.pages = (r.context + o->graph->kv.page_tokens) / o->graph->kv.page_tokens;
  const uint32_t layers = layers_within(o, o->memory / 2);
  if (!layers) return FG_OK;
  size_times *times = calloc(SIZES, sizeof *times);
  fg_status status = times ? cut(&r, layers, err) : fg_fail(err, FG_NO_SPACE, "no memory for a rehearsal");
  if (status == FG_OK) status = open_rehearsal(&r, err);
  if (status == FG_OK) status = measure(&r, times, err);
  if (status == FG_OK) *out = scale_of(times);
  close_rehearsal(&r);
  free(times);
  return status == FG_NO_SPACE ? FG_OK : status;
}
