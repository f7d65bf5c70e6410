#include "plan/step_cost.h"

#include <math.h>

// What this engine's kernels for a device of its own move and start. A weight of codes is read, expanded for
// the matrix units once a step, and read again; a cached code is expanded in registers.
static const double F16_BYTES = 2, EXPAND_BYTES = 4;
static const double SCORE_BYTES = 2; // of one score of a prompt: they stay on the chip but for the merging
static const double ACTIVATION_BYTES =
    32; // of a token, for each value of the hidden width: branches, their inputs
enum { LAYER_LAUNCHES = 14 };
// Memory of the device that streamed weights pass through, in layers.
static const double RING_LAYERS = 1.0 / 4;

typedef struct amounts {
  double weights, layer;    // values: of all matrices, of one layer
  double prompts;           // tokens of prompts in a step
  double context;           // mean number of keys that a decoded token sees
  double cached, new_cache; // values: read by a step's decoded tokens, added by a step
  double held;              // and kept, room for what sequences will grow by included
} amounts;

static amounts amounts_of(const fg_plan_shape *shape, const fg_step_wish *wish) {
  const double all = (double)wish->prompt + wish->generated, token = shape->kv_values * shape->layers;
  amounts a = {.layer = shape->attention_values + shape->mlp_values,
               .prompts = wish->sequences * wish->prompt / wish->generated,
               .context = wish->prompt + wish->generated / 2.0};
  a.weights = a.layer * shape->layers + shape->head_values;
  a.cached = wish->sequences * a.context * token;
  a.new_cache = (wish->sequences + a.prompts) * token;
  a.held = wish->sequences * all * token;
  return a;
}

static double device_seconds(const fg_hardware *hw, const fg_plan_shape *shape, const fg_step_wish *wish,
                             const amounts *a, double tokens) {
  const double matrices = a->layer * shape->layers, codes = wish->weight_bytes < F16_BYTES;
  const double scores = a->prompts * wish->prompt / 2 * shape->layers; // what is not in the future
  return fg_hardware_product(hw, matrices, matrices * wish->weight_bytes, tokens) +
         // only tokens that are drawn need logits
         fg_hardware_product(hw, shape->head_values, shape->head_values * wish->weight_bytes,
                             wish->sequences) +
         codes * a->weights * EXPAND_BYTES / hw->device_memory +
         2 * 2 * scores * shape->hidden / hw->product +
         scores * shape->heads * SCORE_BYTES / hw->device_memory +
         shape->layers * LAYER_LAUNCHES * hw->launch;
}

static void set_seconds(fg_step_cost *cost, const fg_hardware *hw, const fg_step_wish *wish,
                        const amounts *a) {
  const double weights = a->weights * wish->weight_bytes;
  const double cached = a->cached * wish->cache_bytes, added = a->new_cache * wish->cache_bytes;
  double(*s)[FG_SHARE_COUNT] = cost->seconds;
  s[FG_LANE_DEVICE][FG_CACHE_DEVICE] = s[FG_LANE_DEVICE][FG_CACHE_HOST] = cached / hw->device_memory;
  for (int share = FG_CACHE_HOST_CPU; share <= FG_CACHE_DISK; share++)
    s[FG_LANE_CPU][share] = cached / hw->host_memory;
  s[FG_LANE_IN][FG_WEIGHTS_HOST] = s[FG_LANE_IN][FG_WEIGHTS_DISK] = weights / hw->link;
  s[FG_LANE_IN][FG_CACHE_HOST] = cached / hw->link;
  for (int share = FG_CACHE_HOST; share <= FG_CACHE_DISK; share++) s[FG_LANE_OUT][share] = added / hw->link;
  s[FG_LANE_DISK][FG_WEIGHTS_DISK] = weights / hw->disk_read;
  s[FG_LANE_DISK][FG_CACHE_DISK] = cached / hw->disk_read + added / hw->disk_write;
}

static void set_bytes(fg_step_cost *cost, const fg_hardware *hw, const fg_plan_shape *shape,
                      const fg_step_wish *wish, const amounts *a) {
  const double weights = a->weights * wish->weight_bytes, held = a->held * wish->cache_bytes;
  static const fg_tier tier_of[FG_SHARE_COUNT] = {FG_TIER_DEVICE, FG_TIER_HOST, FG_TIER_DISK, FG_TIER_DEVICE,
                                                  FG_TIER_HOST,   FG_TIER_HOST, FG_TIER_DISK};
  for (int share = 0; share < FG_SHARE_COUNT; share++)
    cost->bytes[tier_of[share]][share] = share < FG_CACHE_DEVICE ? weights : held;
  cost->taken[FG_TIER_DEVICE] =
      cost->tokens * shape->hidden * ACTIVATION_BYTES + RING_LAYERS * a->layer * F16_BYTES;
  cost->taken[FG_TIER_HOST] = RING_LAYERS * a->layer * wish->weight_bytes;
  cost->room[FG_TIER_DEVICE] = (double)hw->device_bytes;
  cost->room[FG_TIER_HOST] = (double)hw->host_bytes;
  cost->room[FG_TIER_DISK] = (double)hw->disk_bytes;
}

fg_step_cost fg_step_cost_of(const fg_hardware *hw, const fg_plan_shape *shape, const fg_step_wish *wish) {
  const amounts a = amounts_of(shape, wish);
  fg_step_cost cost = {.tokens = wish->sequences + a.prompts};
  cost.fixed[FG_LANE_DEVICE] = device_seconds(hw, shape, wish, &a, cost.tokens);
  set_seconds(&cost, hw, wish, &a);
  set_bytes(&cost, hw, shape, wish, &a);
  return cost;
}

double fg_step_cost_lane(const fg_step_cost *cost, fg_lane lane, const double *shares) {
  double seconds = cost->fixed[lane];
  for (int i = 0; i < FG_SHARE_COUNT; i++) seconds += cost->seconds[lane][i] * shares[i];
  return seconds;
}

const char *fg_lane_name(fg_lane lane) {
  static const char *const names[FG_LANE_COUNT] = {"device", "CPU", "link to the device",
                                                   "link from the device", "disk"};
  return names[lane];
}
