// engine_state.h: the parts of an open engine, for the files of this folder that make, run and describe it.
#ifndef FG_ENGINE_ENGINE_STATE_H
#define FG_ENGINE_ENGINE_STATE_H

#include "base/budget.h"
#include "base/log.h"
#include "base/threads.h"
#include "base/trace.h"
#include "device/device.h"
#include "engine/draft_model.h"
#include "engine/executor.h"
#include "engine/forecast.h"
#include "engine/history.h"
#include "engine/prompt_notes.h"
#include "engine/readout.h"
#include "engine/replan.h"
#include "engine/scheduler.h"
#include "engine/speculation.h"
#include "flexgen/engine.h"
#include "guide/guide.h"
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
  uint32_t told;      // of them, those that its owner knows
  uint32_t reported;  // prompt positions whose log-probability was reported or is not wanted: below it
  uint32_t reached;   // tokens that were computed, or shared, at some time
  bool cancelled;
  bool looked_for;             // among kept prefixes
  bool complete;               // the last known token ends it, and need not be computed
  bool beyond_pass;            // the policy is one of layer passes, and they cannot take it
  fg_draft_record drafts;      // that were tried
  fg_guess draft;              // of the step that is planned or runs: tokens behind the known ones
  fg_guide_cursor cursor;      // of the request's guide, behind all known tokens
  const fg_error *guide_error; // why the guide cannot go on; NULL: it can (guided.h)
  int32_t *tokens;             // [prompt_count + max_tokens], in this block
} fg_sequence;

// What device and executor count. They are made anew with a new policy, and the counts go on.
typedef struct fg_runner_counts {
  uint64_t streamed, kv_read, kv_written; // bytes
  fg_hidden_counts hidden;
  fg_sparse_counts sparse;
  fg_expert_counts experts;
  fg_kv_crossing crossing;
} fg_runner_counts;

struct fg_engine {
  fg_engine_options options;
  char *name, *fingerprint;
  const char *device_name;
  fg_device_found device_found;
  fg_simulation *simulation; // NULL: the machine is this one
  fg_compute compute;
  bool compute_auto; // not named: int8 for quantized weights
  fg_dtype cache_dtype;
  bool rotates_cache;
  bool attends_on_host; // to old pages of the KV cache
  fg_log log;
  fg_trace *trace;
  fg_threads *threads;
  fg_budget *host, *device_budget; // the same where the device computes in host memory
  fg_io *io, *table_io;
  fg_io_backend_id io_backend; // as wished
  fg_model *model;
  fg_tokenizer *tokenizer; // NULL: the model has none
  fg_chat *chat;           // NULL: the model has no template
  fg_device *device;
  fg_policy policy;
  fg_forecast forecast;
  fg_executor *executor;
  fg_readout *readout;
  fg_scheduler *scheduler;
  fg_speculation speculation;  // draft.h
  fg_draft_model *draft_model; // NULL: none
  // Seconds that it was asked: for the step that is planned or runs, and before that one.
  double drafting_seconds, drafting_before;
  uint64_t drafted_tokens, accepted_tokens, drafted_steps;
  uint64_t forced_tokens;        // guided.h
  bool decodes_only;             // the step that is planned or runs
  fg_prompt_notes *notes;        // sharing.h; NULL: nothing is shared
  uint32_t noted_top;            // candidates that it has room for with a token
  uint64_t sharing_bytes;        // of the host budget, reserved for the index of prefixes
  struct fg_kept_prefixes *kept; // kept_prefixes.h; NULL: nothing is
  uint32_t sample_track, step_track;
  uint64_t process_bytes; // reserved for what is not counted one by one

  fg_sequence **sequences; // by fg_seq
  uint32_t sequence_capacity;
  uint32_t pending, cancelled;
  uint32_t beyond_pass; // of the pending ones
  fg_request_id next_id;
  fg_status failed; // a step failed: only close is left
  uint64_t steps, prompt_tokens, generated_tokens, preemptions;
  uint64_t prompt_tokens_shared, prompt_tokens_copied; // copied: of those that are shared
  uint64_t prompt_tokens_repeated;                     // of prompt_tokens
  // replan.h
  fg_measured_time mark; // when rates were last compared
  uint64_t memory_ns;    // when the machine's memory was last looked at
  uint64_t wished_limit; // of the host budget; 0 = as it is
  bool shrink_refused;
  uint64_t runner_bytes; // of the host budget, that fg_engine_open_runner took
  uint64_t changes;      // of the policy
  // of runners that were closed
  fg_runner_counts before;
  uint64_t opened_ns;
  fg_history history; // since then
};

// The type in which most bytes of the matrices are held.
fg_dtype fg_engine_weight_type(const fg_engine *engine);

// Device, executor, readout and scheduler by e->policy.
fg_status fg_engine_open_runner(fg_engine *engine, fg_error *err);
void fg_engine_close_runner(fg_engine *engine);
// Of all runners so far, the open one included.
fg_runner_counts fg_engine_count(const fg_engine *engine);
// At sequence->seq, which it has in the scheduler.
fg_status fg_engine_keep_sequence(fg_engine *engine, fg_sequence *sequence, fg_error *err);
// Tells its owner how it ended and frees it; it is in no list and not in the scheduler.
void fg_engine_end_sequence(fg_engine *engine, fg_sequence *sequence, fg_finish how, const fg_error *error);
// The same of one that is pending.
void fg_engine_finish_sequence(fg_engine *engine, fg_sequence *sequence, fg_finish how,
                               const fg_error *error);
// An open engine is about to run.
void fg_engine_begin_history(fg_engine *engine, uint64_t now_ns);
// A step of so many rows is over, its spans are in the trace.
void fg_engine_record_step(fg_engine *engine, uint64_t begin_ns, uint64_t end_ns, uint32_t rows);
// Between steps: another policy where there is reason for one.
fg_status fg_engine_replan(fg_engine *engine, fg_error *err);
// The best plan with this input for the rows that are left.
fg_status fg_engine_plan_rest(const fg_engine *engine, const fg_plan_input *input, fg_plan *plan,
                              fg_error *err);

// Of the device that the job will run on, for calls of so many rows.
fg_device_options fg_engine_device_options(const fg_engine *engine, uint32_t max_rows);
// e->policy, from the forecast's input.
fg_status fg_engine_choose_policy(fg_engine *engine, fg_error *err);

// Ends every request that is left; on_done hears FG_FINISH_CANCELLED.
void fg_engine_cancel_all(fg_engine *engine);

#endif
