#include "plan/flexgen_schedule.h"

#include <math.h>

// What FlexGen's PyTorch code moves and starts; counted in its source.
static const double F16_BYTES = 2,
                    CODE_BYTES = 4.5 / 8; // of a value; codes with a scale and a minimum for 64
// Memory traffic of expanding one value from its code: the two halves of a byte cut out and put in their
// places, the result divided and moved in float16, brought into the order of its use, and read again by who
// uses it.
static const double EXPAND_BYTES = 24;
// And of a cached value on the CPU: read as float16, written and read again as float32, what is written
// fetched first.
static const double CPU_CACHE_BYTES = 12;
static const double SCORE_BYTES = 12; // of one score of a prompt: product, mask, softmax, product in float16
static const double LOGIT_BYTES = 12; // of one logit; they are computed for all positions of a prompt
enum { ATTENTION_LAUNCHES = 20, MLP_LAUNCHES = 8 };

// Where the weights of half a layer are, in values.
typedef struct place {
  double gpu, cpu, disk;
} place;

typedef enum half { ATTENTION, MLP } half;

typedef struct job {
  const fg_hardware *hw;
  const fg_plan_shape *shape;
  const fg_flexgen_policy *policy;
  uint32_t prompt;
  place weights[2];
} job;

// Seconds of what goes on side by side in one step of the schedule.
typedef struct lanes {
  double thread; // the main one's: copies into pinned memory, before kernels are started
  double link, disk, compute, back;
} lanes;

// Tensors of equal size stand on the line disk, CPU, GPU; each goes whole to where its middle lies.
static place place_tensors(double values, int tensors, const double *percent) {
  place out = {0};
  const double disk = 100 - percent[0] - percent[1];
  for (int i = 0; i < tensors; i++) {
    const double middle = (i + 0.5) * 100 / tensors;
    double *to = middle < disk ? &out.disk : middle < disk + percent[1] ? &out.cpu : &out.gpu;
    *to += values / tensors;
  }
  return out;
}

static double weight_bytes(const job *j) {
  return j->policy->compress_weight ? CODE_BYTES : F16_BYTES;
}

static double cache_bytes(const job *j) {
  return j->policy->compress_cache ? CODE_BYTES : F16_BYTES;
}

static double product(const job *j, double values, double rows) {
  const double expand = j->policy->compress_weight ? values * EXPAND_BYTES / j->hw->device_memory : 0;
  return fg_hardware_product(j->hw, values, values * F16_BYTES, rows) + expand;
}

static void load_weights(const job *j, half which, lanes *t) {
  const place *w = &j->weights[which];
  if (!j->policy->pin_weight) t->thread += w->cpu * weight_bytes(j) / j->hw->pinning;
  t->link += (w->cpu + w->disk) * weight_bytes(j) / j->hw->link;
  t->disk += w->disk * weight_bytes(j) / j->hw->disk_read;
}

// Stores the new keys and values of a batch.
static void store_cache(const job *j, double values, lanes *t) {
  const double *p = j->policy->percent, bytes = values * cache_bytes(j);
  if (j->policy->compress_cache) t->compute += values * EXPAND_BYTES / j->hw->device_memory;
  t->back += bytes * (1 - p[2] / 100) / j->hw->pageable_out;
  t->disk += bytes * (1 - (p[2] + p[3]) / 100) / j->hw->disk_write;
}

static void attend_prompt(const job *j, lanes *t) {
  const double batch = j->policy->batch, n = j->prompt, scores = batch * n * n;
  t->compute += 2 * 2 * scores * j->shape->hidden / j->hw->product +
                scores * j->shape->heads * SCORE_BYTES / j->hw->device_memory;
  store_cache(j, batch * n * j->shape->kv_values, t);
}

// One query of each sequence, all the keys so far.
static void attend_cache(const job *j, double context, lanes *t) {
  const fg_flexgen_policy *p = j->policy;
  const double values = p->batch * context * j->shape->kv_values, away = values * (1 - p->percent[2] / 100);
  t->disk += values * cache_bytes(j) * (1 - (p->percent[2] + p->percent[3]) / 100) / j->hw->disk_read;
  if (p->compress_cache) t->compute += values * EXPAND_BYTES / j->hw->device_memory;
  if (p->cpu_cache_compute) {
    t->compute += away * CPU_CACHE_BYTES / j->hw->host_memory;
    t->compute += (values - away) * F16_BYTES / j->hw->device_memory;
  } else {
    t->compute += values * 2 * F16_BYTES / j->hw->device_memory; // joined with the new ones, then read
    t->thread += away * cache_bytes(j) / j->hw->pinning;
    t->link += away * cache_bytes(j) / j->hw->link;
  }
  store_cache(j, p->batch * j->shape->kv_values, t);
}

// One batch in one half of a layer; context 0: its prompts. `load`: the next half's weights come meanwhile.
static double step(const job *j, half which, double context, bool load) {
  const fg_flexgen_policy *p = j->policy;
  const double rows = context > 0 ? p->batch : (double)p->batch * j->prompt;
  lanes t = {0};
  t.compute = product(j, which == MLP ? j->shape->mlp_values : j->shape->attention_values, rows) +
              (which == MLP ? MLP_LAUNCHES : ATTENTION_LAUNCHES) * j->hw->launch;
  if (which == ATTENTION && context > 0) attend_cache(j, context, &t);
  if (which == ATTENTION && context == 0) attend_prompt(j, &t);
  if (load) load_weights(j, which == MLP ? ATTENTION : MLP, &t);
  if (p->percent[4] < 100) { // what a half begins and ends with is on the host
    t.link += rows * j->shape->hidden * F16_BYTES / j->hw->link;
    t.back += rows * j->shape->hidden * F16_BYTES / j->hw->link;
  }
  if (!p->overlap) return t.thread + t.link + t.disk + t.compute + t.back;
  return fmax(t.disk, t.thread + fmax(fmax(t.link, t.back), t.compute));
}

static double token(const job *j, double context) {
  const fg_flexgen_policy *p = j->policy;
  double layer = 0;
  for (uint32_t k = 0; k < p->batches; k++)
    layer += step(j, ATTENTION, context, k == 0) + step(j, MLP, context, k == 0);
  const double rows = context > 0 ? p->batch : (double)p->batch * j->prompt;
  const double head =
      product(j, j->shape->head_values, rows) + rows * j->shape->vocab * LOGIT_BYTES / j->hw->device_memory;
  return layer * j->shape->layers + head * p->batches;
}

fg_flexgen_time fg_flexgen_schedule(const fg_hardware *hw, const fg_plan_shape *shape,
                                    const fg_flexgen_policy *policy, uint32_t prompt, uint32_t generated) {
  job j = {.hw = hw, .shape = shape, .policy = policy, .prompt = prompt};
  j.weights[ATTENTION] = place_tensors(shape->attention_values, 4, policy->percent);
  j.weights[MLP] = place_tensors(shape->mlp_values, 2, policy->percent);
  fg_flexgen_time t = {.prefill = token(&j, 0)};
  for (uint32_t i = 1; i < generated; i++) t.decode += token(&j, prompt + i);
  t.rate = (double)policy->batch * policy->batches * generated / (t.prefill + t.decode);
  return t;
}
