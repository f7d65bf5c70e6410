// engine.h: a model, a machine's memory, and token sequences that go through both in steps.
//
// Open an engine, submit requests, call fg_engine_step until nothing is left. Each step is one pass over
// the model for a mixed batch: a token for every running sequence and chunks of prompts. Requests may be
// submitted and cancelled between any two steps; a finished one leaves at once and makes room. Tokens go
// to the request's callbacks as they are made. The engine knows token ids only: text, stop strings and
// files are the caller's (see job/ for the batch runner).
//
// Results do not depend on company: in float32 (and with `deterministic` in every type) the tokens and
// log-probabilities of a request are a function of the request alone.
//
// Threads: one owner; callbacks run in fg_engine_step. The engine starts its own compute threads.
#ifndef FLEXGEN_ENGINE_H
#define FLEXGEN_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fg_engine fg_engine;

// Tokens of a request: those given, and those generated at most.
typedef struct fg_row_length {
  uint32_t prompt, generated;
  // Of the prompt's first tokens, those with which the row before it begins as well, where rows stand in the
  // order of their token tree; 0: none, or not known.
  uint32_t shared;
  bool drawn;    // its first token is not simply the one with the largest logit
  uint32_t kept; // of the prompt's first tokens, those that the folder of kept prefixes has
} fg_row_length;

// In which order the rows of a job are best submitted, groups that share a prefix kept together.
typedef enum fg_row_order {
  FG_ORDER_CHOOSE,  // only as a wish
  FG_ORDER_INPUT,   // as they come
  FG_ORDER_LONGEST, // those that generate most first, of these the longest prompts: the tail is short
} fg_row_order;

// What is known of a job before it runs, for the plan. All 0: nothing is.
typedef struct fg_workload {
  uint64_t requests;            // 0 = unknown; a prompt answered n times counts n times
  uint32_t tokens;              // of a typical request, prompt and answer; 0 = unknown
  uint32_t generated;           // of `tokens`
  const fg_row_length *lengths; // of requests in their order, of a long job a sample; NULL = unknown; copied
  uint32_t length_count;
  uint32_t longest;    // no request has more tokens, prompt and answer; 0 = unknown
  uint32_t prompt_top; // most candidates that a request, of those that were seen, wants with a prompt token
  uint64_t host_bytes; // of the host budget that the caller will take for itself: the plan leaves them
} fg_workload;

// Zero means "choose" for every number and NULL the default for every string.
typedef struct fg_engine_options {
  const char *model;      // folder, .gguf, packed store, or shape name
  bool synthetic;         // `model` is a shape name; random weights
  uint32_t alias_layers;  // of a synthetic model: layers on the disk, which the others share; 0 = by the room
  const char *adapter;    // folder of a LoRA adapter to be merged into the model
  const char *device;     // "cpu", "fake", "opencl", "opencl:1"
  uint64_t host_memory;   // promise on the memory charged to the process
  uint64_t device_memory; // devices with memory of their own only
  const char *offload_dir;
  const char *dtype;        // "auto", "f32", "bf16", "int8"
  const char *weight_dtype; // "auto", "f32", "bf16", "f16", "int8", "int4"
  const char
      *weight_group; // of int8 and int4, values that share a scale: "auto", "32", "64", "128", "channel"
  const char *weight_symmetric; // of int8 and int4: "auto", "true", "false" (with a minimum)
  const char *weight_head,
      *weight_embedding;   // "auto", "same" as the layers, "f32", "bf16", "f16", "int8", "int4"
  const char *cache_dtype; // "auto", "f32", "bf16", "f16", "int8", "int4", "flexgen"
  // FlexGen's: of the values of a sequence, generated tokens read this share, those of the largest weights;
  // 0 or 1 = all.
  double attn_sparsity;
  // FlexGen's: the CPU attends to pages of the KV cache that live in host memory or on disk, where the device
  // has a memory of its own.
  bool cpu_cache_compute;
  const char *policy; // file of a policy (flexgen plan --json): what it names is fixed
  const int *percent; // six numbers, FlexGen's placement, or NULL
  uint32_t gpu_batch_size, num_gpu_batches;
  uint32_t max_num_seqs, max_num_batched_tokens, max_model_len;
  fg_workload expected;
  // Asked instead of `expected` once the tokenizer is there, before memory is planned. May be NULL. Lengths
  // must stay until fg_engine_open returns.
  fg_workload (*survey)(void *user, fg_engine *engine);
  uint32_t threads;
  bool deterministic;
  // Each step computes, of every row, the one token that is missing: without tokens that the row's own text
  // suggests for the positions behind it. Results are the same.
  bool no_speculation;
  uint32_t speculative_tokens; // so many are suggested for a row; 0: as many as pay
  // A machine that is not there: its name, or a file of its figures. The engine runs as it would there, on a
  // clock that is computed; nothing is read and every token is 0.
  const char *simulate;
  // Of a simulation, what the engine does otherwise is left out: "continuous" (sequences begin when all
  // before them have ended), "mixed" (steps read prompts or decode). Words with commas between.
  const char *without;
  const char *draft_model; // of the same vocabulary: suggests where the text does not; NULL: nothing does
  uint64_t draft_memory;   // of host_memory, what the draft model may take; 0: a quarter
  bool no_prefix_sharing;  // compute every token of every prompt, also those that others have in common
  // Folder in which beginnings of prompts are kept for jobs to come, and found again; results are the same.
  // NULL: none.
  const char *prefix_cache;
  uint64_t prefix_cache_size; // bytes of its files at most; 0: 10 GiB
  bool prefix_cache_prompts;  // keep whole prompts, not only what at least two requests begin with
  const char *trace_path;
  const char *io; // "auto", "uring", "threads"
  // Lines for people (level 0 warning, 1 information, 2 debug); NULL = silent.
  void (*log)(void *user, int level, const char *line);
  int log_level;
  // While a store is being packed; return false to interrupt. May be NULL.
  bool (*packing)(void *user, uint64_t bytes_done, uint64_t bytes_total);
  void *user;
} fg_engine_options;

fg_status fg_engine_open(fg_engine **out, const fg_engine_options *options, fg_error *err);
void fg_engine_close(fg_engine *engine);

typedef struct fg_engine_info {
  const char *name, *architecture, *fingerprint;
  const char *device, *dtype, *weight_dtype, *cache_dtype, *io;
  uint32_t vocab, max_model_len;
  const int32_t *eos;
  uint32_t eos_count;
  uint32_t max_num_seqs, max_num_batched_tokens;
  fg_row_order order; // by which the plan wants rows to be submitted; never FG_ORDER_CHOOSE
  uint64_t parameters, weight_bytes, resident_weight_bytes, host_budget, device_budget;
  uint64_t stored_weight_bytes; // on the disk: less than weight_bytes where layers share extents
  uint32_t aliased_layers;      // that do
} fg_engine_info;

void fg_engine_describe(const fg_engine *engine, fg_engine_info *out);

// ---- requests ------------------------------------------------------------------------------------------

typedef struct fg_logit_bias {
  int32_t token;
  float bias;
} fg_logit_bias;

// How a token is drawn; order of the steps as in vLLM. Defaults are those of fg_sampling_default.
typedef struct fg_sampling {
  float temperature;                         // 0 = greedy
  float top_p, min_p;                        // 1, 0 = off
  int32_t top_k;                             // 0 or -1 = off
  float repetition_penalty;                  // 1 = off; over prompt and output
  float presence_penalty, frequency_penalty; // over output
  const fg_logit_bias *bias;                 // copied at submit
  uint32_t bias_count;
  const int32_t *stop_ids; // end the sequence; copied
  uint32_t stop_id_count;
  bool ignore_eos;
  uint32_t min_tokens;        // until then eos and stop_ids are not drawn
  uint64_t seed, row, sample; // key of the random numbers, with the position
} fg_sampling;

fg_sampling fg_sampling_default(void); // greedy is not the default: temperature 1

typedef struct fg_candidate {
  int32_t token;
  float logprob;
} fg_candidate;

// A token and its place in the model's raw distribution at temperature 1 (natural logarithms).
typedef struct fg_token_info {
  int32_t token;
  float logprob;
  uint32_t rank;           // 1 = most likely; 0 = not asked for
  const fg_candidate *top; // most likely first; ties: lower id first
  uint32_t top_count;
} fg_token_info;

typedef enum fg_finish {
  FG_FINISH_EOS,     // an end-of-sequence token of the model
  FG_FINISH_STOP_ID, // one of the request's stop_ids
  FG_FINISH_CALLER,  // on_token said so
  FG_FINISH_LENGTH,  // max_tokens or the context is full
  FG_FINISH_CANCELLED,
  FG_FINISH_ERROR, // `error` of on_done says why
} fg_finish;

struct fg_guide;

typedef struct fg_request {
  const int32_t *prompt; // copied
  uint32_t prompt_count; // at least 1
  uint32_t max_tokens;   // 0 = only score the prompt
  fg_sampling sampling;
  int32_t logprobs;        // top candidates wanted with each generated token; -1 = no log-probabilities
  int32_t prompt_logprobs; // the same for prompt tokens (the first has none); -1 = no
  uint32_t logprobs_from;  // first prompt position whose log-probability is wanted; 0 = all
  // The form that the answer must have (guide/guide.h); NULL: any. Borrowed until on_done. Its end is the
  // answer's: not with min_tokens or ignore_eos.
  struct fg_guide *guide;
  void *user;
  // For each prompt position >= 1 and >= logprobs_from, in order, if prompt_logprobs >= 0. May be NULL.
  void (*on_prompt)(void *user, uint32_t position, const fg_token_info *info);
  // For each generated token; false = stop here (the token counts). May be NULL.
  bool (*on_token)(void *user, const fg_token_info *info);
  // Exactly once for each submitted request, last. error is NULL but for FG_FINISH_ERROR.
  void (*on_done)(void *user, fg_finish finish, const fg_error *error);
} fg_request;

typedef uint64_t fg_request_id; // never 0

// Refuses with FG_INVALID what can never run (ids outside the vocabulary, prompt beyond the context).
fg_status fg_engine_submit(fg_engine *engine, const fg_request *request, fg_request_id *id, fg_error *err);
// on_done is called with FG_FINISH_CANCELLED during the next step or close.
void fg_engine_cancel(fg_engine *engine, fg_request_id id);

// Sequences that are waiting or running.
uint32_t fg_engine_pending(const fg_engine *engine);
// How many more requests keep the machine busy: a caller that reads its requests from a file submits this
// many.
uint32_t fg_engine_wants(const fg_engine *engine);

// One step. FG_OK also when there was nothing to do. A failure ends every request with FG_FINISH_ERROR; the
// engine can only be closed then.
fg_status fg_engine_step(fg_engine *engine, fg_error *err);

// ---- figures -----------------------------------------------------------------------------------------

// What was planned, where the machine's profile is kept (flexgen profile) and the job is known.
typedef struct fg_engine_forecast {
  bool known;            // otherwise all else is 0
  double seconds, steps; // of the whole job, opening not included
  double prompt_tokens_per_s, generated_tokens_per_s;
  double shared_tokens;             // of the prompts': computed for a row before, and not again
  double copied_tokens;             // of these, behind the last page that all of it is shared
  double kept_tokens;               // of the prompts': read from the folder of kept prefixes instead
  double drafting_steps;            // of steps: where drafted tokens pay if every second one is right
  double bytes_read, bytes_written; // of the disk, opening included
  uint64_t host_bytes, device_bytes;
  const char *bound_by; // what the time goes by: "compute", "disk"
  double pace;          // time measured over time expected, of the steps so far
} fg_engine_forecast;

void fg_engine_get_forecast(const fg_engine *engine, fg_engine_forecast *out);
// Seconds that `requests` more requests of the job will take, by the plan and the pace so far; < 0 = unknown.
double fg_engine_remaining_seconds(const fg_engine *engine, uint64_t requests);

// Before the next step the host budget becomes less: the policy is made anew, and no request is lost. Where
// it would be too little for any policy, it stays as it is and the log says so. Never more than it was.
void fg_engine_shrink(fg_engine *engine, uint64_t host_memory);

typedef struct fg_engine_stats {
  uint64_t steps, prompt_tokens, generated_tokens, preemptions;
  // prompt_tokens were computed, of which distinct ones for the first time; shared ones were not, because
  // others had computed the same beginning; of these, what is behind the last page that all of it is shared
  // was copied. Distinct and shared ones make up the prompts.
  uint64_t prompt_tokens_distinct, prompt_tokens_shared, prompt_tokens_copied;
  // Of the folder of kept prefixes: tokens in pages that came from there, and what was read for them; the
  // same of what was written. Pages that were removed to make room; files that were not what they say. All
  // but the last two are part of bytes_read and bytes_written; tokens count as shared once a request begins
  // behind them.
  uint64_t prefix_tokens_loaded, prefix_bytes_loaded, prefix_tokens_saved, prefix_bytes_saved;
  uint64_t prefix_pages_removed, prefix_pages_damaged;
  // Tokens suggested for positions ahead, in so many steps; those that were right: each is a step that its
  // row did not take.
  uint64_t drafted_tokens, drafted_steps, accepted_tokens;
  uint64_t forced_tokens;             // of generated ones, those that a guide left no choice about: not drawn
  uint64_t bytes_read, bytes_written; // disk
  uint64_t weight_bytes_streamed;     // of bytes_read
  uint64_t kv_bytes_read, kv_bytes_written; // of bytes_read and bytes_written: pages of the KV cache
  // Of bytes_read and bytes_written: what layer passes kept on disk of the rows of a step.
  uint64_t hidden_bytes_read, hidden_bytes_written;
  // Experts that are read when they are wanted; all 0 where every one is resident. Bytes read are those of
  // used experts that were not in memory, and of wrong and open guesses.
  uint64_t experts_used, experts_hit; // times that a layer used one; found it in memory
  uint64_t expert_bytes_read, expert_bytes_absent, expert_bytes_ahead, expert_bytes_wrong, expert_bytes_open;
  // Of sparse attention: the cache's bytes of values that generated tokens see, and of these, what it spared.
  uint64_t sparse_value_bytes, sparse_spared_bytes;
  // Of the KV cache, between host memory and a device's own: queries to the CPU and states back, pages to the
  // device, and pages that need not go there since the CPU attended to them.
  uint64_t crossing_query_bytes, crossing_state_bytes, crossing_page_bytes, crossing_spared_bytes;
  uint64_t registered_bytes;                               // memory for reads that the kernel keeps pinned
  uint64_t host_used, host_peak, device_used, device_peak; // by the budgets
  uint64_t process_peak;                                   // resident set, as the system says
  uint32_t running, waiting;
  uint64_t policies; // that were used, one after the other
  double seconds_steps, seconds_compute, seconds_wait_read, seconds_read, seconds_read_overlapped,
      seconds_sample, seconds_gather, seconds_prefixes; // the last one beside the steps
} fg_engine_stats;

void fg_engine_get_stats(const fg_engine *engine, fg_engine_stats *out);

#ifdef __cplusplus
}
#endif
#endif
