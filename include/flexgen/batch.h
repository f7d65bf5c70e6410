// batch.h: the main job. OpenAI Batch lines in, OpenAI Batch output lines out.
//
// Requests are read as a stream, results are written in the order of the input, and nothing that is finished
// is ever lost: OUT holds the longest finished prefix, rows that finished early wait in OUT.journal. A run
// that was killed goes on where it was (docs/batch.md has formats and promises).
#ifndef FLEXGEN_BATCH_H
#define FLEXGEN_BATCH_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "flexgen/engine.h"
#include "flexgen/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fg_resume { FG_RESUME_AUTO, FG_RESUME_REQUIRE, FG_RESUME_OVERWRITE } fg_resume;

typedef struct fg_batch_progress {
  uint64_t rows_done, rows_failed, rows_total; // total 0 = not known (stdin)
  uint64_t rows_earlier;                       // of rows_done: by earlier runs
  uint64_t prompt_tokens, generated_tokens;    // of this run
  double seconds, eta_seconds;                 // eta < 0 = not known
  double prompt_tokens_per_s, generated_tokens_per_s;
  uint64_t host_used, host_budget;
} fg_batch_progress;

typedef struct fg_batch_options {
  const char *input, *output; // "-" = standard input, output
  fg_resume resume;
  bool retry_errors;
  uint32_t shard, shards; // every shards-th row, starting with shard; shards 0 = all
  uint64_t seed;          // of the job
  bool deterministic_ids;
  bool keep_journal; // also when all is done: for who makes something else of OUT and may be killed meanwhile
  uint32_t rows_ahead;     // that are read before they run, to be put into a good order; 0: as many as pay
  const char *options_key; // text of every option that changes results, for the journal's header
  const volatile sig_atomic_t *stop; // not 0: end after the current step, everything finished is safe
  void (*progress)(void *user, const fg_batch_progress *progress); // at most a few times a second
  void *user;
} fg_batch_options;

// Runs the job on an open engine. FG_CANCELLED after `stop`. *done may be NULL.
fg_status fg_batch_run(fg_engine *engine, const fg_batch_options *options, fg_batch_progress *done,
                       fg_error *err);

#ifdef __cplusplus
}
#endif
#endif
