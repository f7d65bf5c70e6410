#include "plan/flexgen_work.h"

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

// Tensors of equal size stand on the line disk, CPU, GPU; each goes whole to where its middle lies.
static fg_flexgen_place place_tensors(double values, int tensors, const double *percent) {
  fg_flexgen_place out = {0};
  const double disk = 100 - percent[0] - percent[1];
  for (int i = 0; i < tensors; i++) {
    const double middle = (i + 0.5) * 100 / tensors;
    double *to = middle < disk ? &out.disk : middle < disk + percent[1] ? &out.cpu : &out.gpu;
    *to += values / tensors;
  }
  return out;
}

fg_flexgen_job fg_flexgen_job_of(const fg_hardware *hw, const fg_plan_shape *shape,
                                 const fg_flexgen_policy *policy, uint32_t prompt) {
  fg_flexgen_job job = {.hw = hw, .shape = shape, .policy = policy, .prompt = prompt};
  job.weights[FG_FLEXGEN_ATTENTION] = place_tensors(shape->attention_values, 4, policy->percent);
  job.weights[FG_FLEXGEN_MLP] = place_tensors(shape->mlp_values, 2, policy->percent);
  return job;
}

static double weight_bytes(const fg_flexgen_job *j) {
  return j->policy->compress_weight ? CODE_BYTES : F16_BYTES;
}

static double cache_bytes(const fg_flexgen_job *j) {
  return j->policy->compress_cache ? CODE_BYTES : F16_BYTES;
}

static double rows_of(const fg_flexgen_job *j, double context) {
  return context > 0 ? j->policy->batch : (double)j->policy->batch * j->prompt;
}

static double product(const fg_flexgen_job *j, double values, double rows) {
  const double expand = j->policy->compress_weight ? values * EXPAND_BYTES / j->hw->device_memory : 0;
  return fg_hardware_product(j->hw, values, values * F16_BYTES, rows) + expand;
}

void fg_flexgen_load_weights(const fg_flexgen_job *j, fg_flexgen_half half, fg_flexgen_lanes *t) {
  const fg_flexgen_place *w = &j->weights[half];
  if (!j->policy->pin_weight) t->thread += w->cpu * weight_bytes(j) / j->hw->pinning;
  t->link += (w->cpu + w->disk) * weight_bytes(j) / j->hw->link;
  t->read += w->disk * weight_bytes(j) / j->hw->disk_read;
}

void fg_flexgen_store_cache(const fg_flexgen_job *j, double context, fg_flexgen_lanes *t) {
  const double *p = j->policy->percent, values = rows_of(j, context) * j->shape->kv_values;
  const double bytes = values * cache_bytes(j);
  if (j->policy->compress_cache) t->device += values * EXPAND_BYTES / j->hw->device_memory;
  t->back += bytes * (1 - p[2] / 100) / j->hw->pageable_out;
  t->write += bytes * (1 - (p[2] + p[3]) / 100) / j->hw->disk_write;
}

// All the keys so far of each sequence.
static double cached_values(const fg_flexgen_job *j, double context) {
  return j->policy->batch * context * j->shape->kv_values;
}

void fg_flexgen_load_cache(const fg_flexgen_job *j, double context, fg_flexgen_lanes *t) {
  const fg_flexgen_policy *p = j->policy;
  const double values = cached_values(j, context), away = values * (1 - p->percent[2] / 100);
  t->read += values * cache_bytes(j) * (1 - (p->percent[2] + p->percent[3]) / 100) / j->hw->disk_read;
  if (p->cpu_cache_compute) return;
  t->thread += away * cache_bytes(j) / j->hw->pinning;
  t->link += away * cache_bytes(j) / j->hw->link;
}

static void attend_prompt(const fg_flexgen_job *j, fg_flexgen_lanes *t) {
  const double batch = j->policy->batch, n = j->prompt, scores = batch * n * n;
  t->device += 2 * 2 * scores * j->shape->hidden / j->hw->product +
               scores * j->shape->heads * SCORE_BYTES / j->hw->device_memory;
}

// One query of each sequence.
static void attend_cache(const fg_flexgen_job *j, double context, fg_flexgen_lanes *t) {
  const fg_flexgen_policy *p = j->policy;
  const double values = cached_values(j, context), away = values * (1 - p->percent[2] / 100);
  if (p->compress_cache) t->device += values * EXPAND_BYTES / j->hw->device_memory;
  if (p->cpu_cache_compute) {
    t->cpu += away * CPU_CACHE_BYTES / j->hw->host_memory;
    t->device += (values - away) * F16_BYTES / j->hw->device_memory;
  } else {
    t->device += values * 2 * F16_BYTES / j->hw->device_memory; // joined with the new ones, then read
  }
}

void fg_flexgen_compute(const fg_flexgen_job *j, fg_flexgen_half half, double context, fg_flexgen_lanes *t) {
  const bool attends = half == FG_FLEXGEN_ATTENTION;
  t->device += product(j, attends ? j->shape->attention_values : j->shape->mlp_values, rows_of(j, context)) +
               (attends ? ATTENTION_LAUNCHES : MLP_LAUNCHES) * j->hw->launch;
  if (attends && context > 0) attend_cache(j, context, t);
  if (attends && context == 0) attend_prompt(j, t);
}

// What a half begins and ends with, where it is on the host.
void fg_flexgen_move_hidden(const fg_flexgen_job *j, double context, fg_flexgen_lanes *t) {
  if (j->policy->percent[4] >= 100) return;
  const double bytes = rows_of(j, context) * j->shape->hidden * F16_BYTES;
  t->link += bytes / j->hw->link;
  t->back += bytes / j->hw->link;
}

double fg_flexgen_head(const fg_flexgen_job *j, double context) {
  const double rows = rows_of(j, context);
  return product(j, j->shape->head_values, rows) +
         rows * j->shape->vocab * LOGIT_BYTES / j->hw->device_memory;
}
