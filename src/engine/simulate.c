#include "engine/simulate.h"

#include <stdlib.h>
#include <string.h>

#include "engine/engine_internal.h"
#include "machine/hardware_json.h"
#include "plan/flexgen_stream.h"

static const char *const words[] = {"continuous", "mixed", "ragged"};
enum { WORDS = sizeof words / sizeof *words };

// The next word of a list with commas between; NULL at its end.
static const char *next_word(const char **list, size_t *length) {
  const char *word = *list;
  if (!word || !*word) return NULL;
  *length = strcspn(word, ",");
  *list = word + *length + (word[*length] == ',');
  return word;
}

static bool is(const char *word, size_t length, const char *known) {
  return strlen(known) == length && strncmp(word, known, length) == 0;
}

bool fg_engine_is_without(const fg_engine *e, const char *word) {
  const char *list = e->options.without, *at;
  size_t length;
  while ((at = next_word(&list, &length)))
    if (is(at, length, word)) return true;
  return false;
}

static fg_status check_words(const fg_engine *e, fg_error *err) {
  const char *list = e->options.without, *at;
  size_t length;
  if (list && !e->options.simulate)
    return fg_fail(err, FG_INVALID, "--without is for a simulation; name a machine with --simulate");
  while ((at = next_word(&list, &length))) {
    int known = 0;
    while (known < WORDS && !is(at, length, words[known])) known++;
    if (known == WORDS)
      return fg_fail(err, FG_INVALID, "--without %.*s: not one of continuous, mixed, ragged", (int)length,
                     at);
  }
  return FG_OK;
}

fg_status fg_engine_open_simulation(fg_engine *e, fg_error *err) {
  fg_status status = check_words(e, err);
  if (status != FG_OK || !e->options.simulate) return status;
  if (e->options.device && strcmp(e->options.device, "cpu") != 0)
    return fg_fail(err, FG_INVALID, "--device %s: a simulation has the device of its machine; leave one out",
                   e->options.device);
  e->simulation = calloc(1, sizeof *e->simulation);
  if (!e->simulation) return fg_fail(err, FG_NO_SPACE, "out of memory for a simulation");
  fg_hardware *machine = &e->simulation->machine;
  status = fg_hardware_find(machine, e->options.simulate, err);
  if (status != FG_OK) return status;
  if (!e->options.host_memory) fg_budget_set_limit(e->host, machine->host_bytes);
  fg_budget_make_hollow(e->host);
  if (!e->options.device_memory && !machine->unified) e->options.device_memory = machine->device_bytes;
  e->options.no_speculation = true; // every token is 0: texts would repeat themselves
  e->options.prefix_cache = NULL;
  return FG_OK;
}

static uint64_t simulated_now(const void *user) {
  const fg_simulation *s = user;
  return s->time.now;
}

void fg_engine_start_clock(fg_engine *e) {
  if (e->simulation) fg_trace_set_clock(e->trace, simulated_now, e->simulation);
}

fg_status fg_engine_check_simulation(const fg_engine *e, fg_error *err) {
  const fg_graph *g = e->model->graph;
  for (uint32_t layer = 0; e->simulation && layer < g->layers; layer++)
    if (fg_graph_program(g, (int32_t)layer)->experts.count)
      return fg_fail(err, FG_UNSUPPORTED,
                     "--simulate: %s has experts, and which of them a token takes is not simulated",
                     e->model->name);
  if (e->simulation && e->options.attn_sparsity > 0 && e->options.attn_sparsity < 1)
    return fg_fail(err, FG_UNSUPPORTED,
                   "--simulate: sparse attention is not simulated; leave --attn-sparsity out");
  if (e->simulation && e->options.draft_model)
    return fg_fail(err, FG_UNSUPPORTED,
                   "--simulate: a draft model is not simulated; leave --draft-model out");
  return FG_OK;
}

const char *fg_engine_simulated_device(const fg_engine *e) {
  return e->simulation->machine.unified ? "simulated-unified" : "simulated";
}

uint64_t fg_engine_simulated_disk(const fg_engine *e) {
  const uint64_t disk = e->simulation->machine.disk_bytes, weights = fg_store_bytes(e->model->store);
  return disk > weights ? disk - weights : 0;
}

bool fg_engine_get_simulation(const fg_engine *e, fg_engine_simulation *out) {
  *out = (fg_engine_simulation){0};
  if (!e->simulation) return false;
  out->machine = e->simulation->machine.name;
  out->seconds = 1e-9 * (double)e->simulation->time.now;
  for (int u = 0; u < FG_UNIT_COUNT; u++) out->busy[u] = 1e-9 * (double)e->simulation->time.busy[u];
  return true;
}

uint64_t fg_engine_now_ns(const fg_engine *e) {
  return fg_trace_now(e->trace);
}

// ---- FlexGen's schedule ----------------------------------------------------------------------------------

static double matrix_values(const fg_store *store, int32_t layer) {
  double values = 0;
  for (uint32_t w = 0; w < store->weight_count; w++)
    if (store->weights[w].kind == FG_WEIGHT_MATRIX && store->weights[w].layer == layer)
      values += (double)store->weights[w].n * store->weights[w].k;
  return values;
}

// Of a decoder whose heads all have keys of their own and whose layers are alike.
static fg_status shape_of(const fg_engine *e, fg_plan_shape *out, fg_error *err) {
  const fg_graph *g = e->model->graph;
  const double hidden = g->hidden, values = matrix_values(e->model->store, 0);
  const double attention = 4 * hidden * hidden;
  if ((double)g->kv.kv_heads * g->kv.k_dim != hidden || values <= attention)
    return fg_fail(err, FG_UNSUPPORTED, "--schedule flexgen: FlexGen runs OPT, %s is not like it",
                   e->model->name);
  *out = (fg_plan_shape){.layers = g->layers,
                         .hidden = g->hidden,
                         .heads = g->kv.kv_heads,
                         .vocab = g->vocab,
                         .attention_values = attention,
                         .mlp_values = values - attention,
                         .head_values = hidden * g->vocab,
                         .kv_values = 2 * hidden};
  return FG_OK;
}

fg_status fg_engine_run_flexgen(fg_engine *e, const fg_flexgen_run *run, fg_flexgen_time *out,
                                fg_error *err) {
  fg_plan_shape shape;
  if (!e->simulation)
    return fg_fail(err, FG_INVALID, "--schedule flexgen is simulated; name a machine with --simulate");
  fg_status status = shape_of(e, &shape, err);
  if (status != FG_OK) return status;
  fg_flexgen_run whole = *run;
  whole.shape = &shape;
  whole.trace = e->trace;
  *out = fg_flexgen_stream(e->simulation, &whole);
  return FG_OK;
}
