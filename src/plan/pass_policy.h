// pass_policy.h: policies of layer passes (engine/layer_pass.h). Plain numbers in and out.
//
// A layer pass takes whole rows through one layer after the other, so that of all its tokens only the
// residual stream is kept, and weights are read once for all of them. It is for rows that are only scored, or
// get one token.
//
// The rule: a job of such rows runs so if its weights do not all stay in memory, or if the KV cache bounds
// its steps; but not if its rows share so much of their tokens that computing these once, and keeping them,
// saves more. Memory goes to tokens before it goes to weights: with W bytes of weights, of which r are
// resident, tokens of a bytes each and room R for both, a step reads W - r for R - r bytes of tokens, and
// while W > R that is less for each token the smaller r is. But a step takes no more than MOST_TOKENS, and no
// more than the job has; what is left then goes to weights. The residual stream goes to disk only where its
// traffic is less than that of the weights which it spares: where a step would take fewer tokens than a few
// times the width of a row.
#ifndef FG_PLAN_PASS_POLICY_H
#define FG_PLAN_PASS_POLICY_H

#include "plan/policy.h"

// Where the residual stream has room (engine/hidden_state.h).
typedef struct fg_hidden_limits {
  uint32_t width;                           // of a row, f32
  uint32_t fast_rows, host_rows, disk_rows; // where rows have room; a batch is in one place
  uint32_t batch_rows, batches;             // the largest batch; the most batches of a step
} fg_hidden_limits;

enum {
  FG_HIDDEN_FRAMES = 3,      // batches of other tiers that are in fast memory: used, read, written
  FG_HIDDEN_BATCH_ROOM = 24, // bytes of host memory for the bookkeeping of a batch there, at most
  FG_PASS_BATCH_ROOM = 32,   // and in the executor
  FG_PASS_TOP = 8,           // candidates that can be asked for with a token of a layer pass
};

fg_hidden_limits fg_pass_hidden_limits(const fg_policy *policy, uint32_t width);
// What it charges: device memory, and host memory; on a device that computes in host memory, both to it.
void fg_hidden_bytes(const fg_hidden_limits *limits, bool one_memory, uint64_t *host, uint64_t *device);
uint64_t fg_hidden_disk_bytes(const fg_hidden_limits *limits);

// fg_policy_memory for a policy of layer passes, before host and device are added up.
void fg_pass_memory(const fg_plan_input *input, const fg_policy *policy, uint64_t *host, uint64_t *device);

// Whether the user wants layer passes; whether the job may run so; and whether it had better, where the
// ordinary policy is this one (NULL: there is none).
bool fg_pass_is_wished(const fg_plan_input *input);
bool fg_pass_may(const fg_plan_input *input);
bool fg_pass_pays(const fg_plan_input *input, const fg_policy *ordinary, const fg_policy *pass);

// ordinary: as above; longer rows than a pass takes will run under it. FG_NO_SPACE: there is no room.
fg_status fg_pass_policy_make(const fg_plan_input *input, const fg_policy *ordinary, fg_policy *policy,
                              fg_error *err);

#endif
