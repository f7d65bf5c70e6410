// predict.h: how long a job takes under a policy, before it runs.
//
// The engine's own scheduler goes through the job with nothing but lengths; each step is timed by the rates
// of the machine (plan/step_time.h). So what mixed steps, uneven lengths, waiting for pages and the tail of
// the job cost comes in as it comes in the run. What a row shares with the one before it counts once: its
// tokens are computed, and its pages held, for the first of them; where all pages are in one memory, what it
// shares of a page more is copied. What a folder of kept prefixes has is read instead. Of a long job the
// beginning is gone through, and what is left goes on as the last half of that did. Pure: no clock, no files.
#ifndef FG_ENGINE_PREDICT_H
#define FG_ENGINE_PREDICT_H

#include "engine/plan_model.h"
#include "engine/scheduler.h"
#include "plan/job.h"

typedef struct fg_prediction {
  double seconds;                                     // of the steps
  double compute_seconds, disk_seconds, link_seconds; // what each of these alone would take
  double steps, preempted;
  double prompt_tokens, generated_tokens;
  double shared_tokens, copied_tokens; // of prompt_tokens: computed for a row before, and not again; of these
  double kept_tokens;                  // of prompt_tokens: read from the folder of kept prefixes
  double drafting_steps;               // of steps: fg_predict_options.drafts
  double read_bytes, written_bytes;    // of the disk, opening included
} fg_prediction;

typedef struct fg_predict_options {
  const fg_step_rates *rates;
  const fg_policy *policy;
  fg_plan_traffic traffic;
  uint32_t page_tokens;
  uint32_t most_steps; // to go through; 0 = all of the job
  bool drafts;         // counts steps in which drafted tokens pay if every second one is right
} fg_predict_options;

// The parts of it, for steps that really run. A chunk of a sequence of which `prompt` tokens were given;
// selected: its last logits are wanted.
void fg_predict_add_chunk(fg_step_work *work, const fg_plan_model *model, const fg_chunk *chunk,
                          uint32_t prompt, bool selected);
// KV pages of all layers: in use, those that are not full included; filled by the step; full ones that it
// attends to, of which those that the chunk before has too count once; sequences that it takes. Of those
// touched and filled, the ones that are on disk, and so are read and written.
typedef struct fg_step_pages {
  double used, filled, touched, sequences;
  double read, written;
  double in, out; // not in the memory of a device that has its own: they cross the link
} fg_step_pages;
void fg_predict_add_pages(fg_step_pages *pages, const fg_chunk *chunk, uint32_t page_tokens, uint32_t common);
// Who knows no more of them takes it that every page beyond those of memory is as likely on disk as another.
fg_step_pages fg_predict_place_pages(const fg_step_pages *pages, const fg_policy *policy);
// What the step moves from and to the disk.
void fg_predict_add_traffic(fg_step_work *work, const fg_plan_model *model, const fg_plan_traffic *traffic,
                            const fg_policy *policy, const fg_step_pages *pages);

// FG_NO_SPACE, also where a row can never run.
fg_status fg_predict(fg_prediction *out, const fg_predict_options *options, const fg_plan_job *job,
                     fg_error *err);

#endif
