// engine_state.h: the parts of an open engine, for the files of this folder that make, run and describe it.
#ifndef FG_ENGINE_ENGINE_STATE_H
#define FG_ENGINE_ENGINE_STATE_H

#include "base/budget.h"
#include "base/log.h"
#include "base/threads.h"
#include "base/trace.h"
#include "device/device.h"
#include "engine/executor.h"
#include "engine/readout.h"
#include "engine/scheduler.h"
#include "flexgen/engine.h"
#include "io/io.h"
#include "model/model.h"
#include "plan/policy.h"
#include "text/chat.h"
#include "text/tokenizer.h"

// A submitted request: its tokens and how far it has come.
typedef struct fg_sequence {
  fg_request_id id;
  fg_seq seq;         // in the scheduler
  fg_request request; // prompt, bias and stop_ids point into this block
  uint32_t count;     // known tokens
  uint32_t reported;  // prompt positions whose log-probability was reported: below it
  bool cancelled;
  int32_t *tokens; // [prompt_count + max_tokens], in this block
} fg_sequence;

struct fg_engine {
  fg_engine_options options;
  char *name, *fingerprint;
  const char *device_name;
  fg_compute compute;
  bool compute_auto; // not named: int8 for quantized weights
  fg_dtype cache_dtype;
  bool rotates_cache;
  fg_log log;
  fg_trace *trace;
  fg_threads *threads;
  fg_budget *host, *device_budget; // the same where the device computes in host memory
  fg_io *io, *table_io;
  fg_model *model;
  fg_tokenizer *tokenizer; // NULL: the model has none
  fg_chat *chat;           // NULL: the model has no template
  fg_device *device;
  fg_policy policy;
  fg_executor *executor;
  fg_readout *readout;
  fg_scheduler *scheduler;
  uint32_t sample_track, step_track;
  uint64_t process_bytes; // reserved for what is not counted one by one

  fg_sequence **sequences; // by fg_seq
  uint32_t sequence_capacity;
  uint32_t pending, cancelled;
  fg_request_id next_id;
  fg_status failed; // a step failed: only close is left
  uint64_t steps, prompt_tokens, generated_tokens, preemptions;
};

// The type in which most bytes of the matrices are held.
fg_dtype fg_engine_weight_type(const fg_engine *engine);

// Ends every request that is left; on_done hears FG_FINISH_CANCELLED.
void fg_engine_cancel_all(fg_engine *engine);

#endif
