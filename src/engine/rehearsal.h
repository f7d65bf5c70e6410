// rehearsal.h: a few steps of a model cut short, before its job is planned.
//
// A profile knows products, attention and operations on rows one by one, in shapes that were chosen to be
// measured, and the machine as it was then. Steps of this model have other shapes, one operation behind the
// other, and others may be using the machine now. So as many of its first layers as there is memory for, and
// its head, are run as in the job: by an executor, with prompts and with sequences that decode, in steps of
// several sizes. How long these take beside what the rates say scales the rates of the plan.
//
// What is cut is the number of layers, and rows of tables: the residual stream begins with random values.
#ifndef FG_ENGINE_REHEARSAL_H
#define FG_ENGINE_REHEARSAL_H

#include "device/device.h"
#include "io/io.h"
#include "model/graph.h"
#include "plan/policy.h"
#include "plan/step_time.h"

typedef struct fg_rehearsal_options {
  const fg_graph *graph;
  const fg_store *store; // with its file
  const char *device;    // whose memory the host reaches
  fg_device_options settings;
  const fg_plan_input *input; // its scratch
  const fg_profile *profile;
  fg_io_backend_id backend;
  bool rotates_cache;
  double attn_sparsity;
  uint64_t memory;  // of settings.host, at most
  uint32_t tokens;  // of the job's steps, at most
  uint32_t context; // tokens of a sequence, typically
  double seconds;   // for the steps
} fg_rehearsal_options;

// A scale without points where there is too little memory for any layer. What it allocates is freed again.
fg_status fg_rehearse(fg_step_scale *out, const fg_rehearsal_options *options, fg_error *err);

#endif
