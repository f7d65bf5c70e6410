// step_time.h: how long one step of given content takes on a machine whose profile is known.
//
// A model is what a step has to do: products of so many weights, so many values of activations, attention of
// so many layers. Its rates on one machine are made once from the profile; then a step costs a few lookups,
// so that whole jobs can be gone through step by step (engine/predict.h).
//
// Computing and the disk work side by side, as far as what is read ahead has room. While matrices are
// multiplied, weights are used up as they come, and pages of the KV cache are read into the ring of frames
// until it is full. While a layer attends, and in all else that needs no weights, pages are used up, and
// weights are read into their ring until it is full. So with rings that are large enough a step takes as long
// as the busier of both, and with small ones longer. The link to a device with memory of its own is one more
// of those that bring weights and pages.
#ifndef FG_PLAN_STEP_TIME_H
#define FG_PLAN_STEP_TIME_H

#include "plan/profile.h"

enum { FG_PLAN_MATRICES = 24, FG_PLAN_ATTENTIONS = 8 };

// Matrices whose weights are held alike.
typedef struct fg_plan_matrices {
  fg_dtype dtype;
  uint32_t k;
  double values;
} fg_plan_matrices;

typedef struct fg_plan_products {
  fg_plan_matrices kinds[FG_PLAN_MATRICES];
  uint32_t count;
} fg_plan_products;

// Layers that attend alike.
typedef struct fg_plan_attention {
  uint32_t layers, heads, window; // window 0: a token sees all before it
} fg_plan_attention;

typedef struct fg_plan_model {
  uint32_t layers, vocab;
  int compute;                         // fg_compute
  fg_plan_products body;               // used by every token of a step
  fg_plan_products head;               // by the tokens whose logits are wanted
  fg_plan_products experts;            // of all experts of all layers
  uint32_t expert_count, experts_used; // of a layer; 0: there are none
  double expert_bytes;                 // of all of them
  double head_bytes;                   // of the head's matrices
  double input_row_bytes;              // of a token, gathered by the host
  double table_row_bytes;              // read for a token where tables are not resident
  fg_plan_attention attention[FG_PLAN_ATTENTIONS];
  uint32_t attention_count;
  fg_kv_geometry kv;
  double row_values, head_row_values;     // values of activations that a token's operations go over
  double input_values, head_input_values; // of these, what products put into the form that they read
  uint32_t operations;                    // of a step
} fg_plan_model;

// What a step has to do. Weights and caches on disk are those that it reads.
typedef struct fg_step_work {
  double tokens, selected;             // tokens; those whose logits are wanted
  double keys[FG_PLAN_ATTENTIONS];     // that decoded tokens see in one layer of the kind
  double pairs[FG_PLAN_ATTENTIONS];    // of a query and a key it sees, of prompts
  double read_bytes, written_bytes;    // of the disk; what is written are pages of the cache
  double cache_bytes;                  // of read_bytes: pages of the cache
  double link_bytes, link_cache_bytes; // to a device with memory of its own: all; of them, pages
  double link_out_bytes;               // from it: pages
  double weights_ahead, pages_ahead;   // bytes that each layer finds read, at most
  double batches;                      // of KV per layer beyond the first one
} fg_step_work;

// Steps of so many tokens took so many times as long as the rates say (engine/rehearsal.h), in rising order;
// between two of them the times follow the logarithm of the tokens. None: steps take what the rates say.
enum { FG_STEP_SCALE_POINTS = 8 };
typedef struct fg_step_scale {
  uint32_t count;
  double tokens[FG_STEP_SCALE_POINTS], times[FG_STEP_SCALE_POINTS];
} fg_step_scale;

double fg_step_scale_at(const fg_step_scale *scale, double tokens);

typedef struct fg_step_rates {
  const fg_plan_model *model;
  fg_step_scale scale;                // of computing
  double body[FG_PROFILE_ROW_POINTS]; // seconds of all products at fg_profile_rows
  double head[FG_PROFILE_ROW_POINTS], experts[FG_PROFILE_ROW_POINTS];
  double key[FG_PLAN_ATTENTIONS], pair[FG_PLAN_ATTENTIONS]; // seconds, all layers of the kind
  double token, selected, step;                             // seconds of what goes by tokens and steps alone
  double batch;                                             // of one more batch of KV in every layer
  double disk_read, disk_write, read_slowdown, memory_copy, link; // as in the profile
} fg_step_rates;

fg_step_rates fg_step_rates_of(const fg_profile *profile, const fg_plan_model *model);

typedef struct fg_step_seconds {
  double compute, disk, link, seconds; // link: of its busier direction
} fg_step_seconds;

fg_step_seconds fg_step_time(const fg_step_rates *rates, const fg_step_work *work);

// How many of a layer's experts a step of so many tokens uses, if all are chosen alike.
double fg_plan_experts_touched(const fg_plan_model *model, double tokens);

// Keys that a token at this position sees, itself among them; summed over `count` tokens from there on.
double fg_plan_visible_keys(uint32_t window, double position, double count);

#endif
