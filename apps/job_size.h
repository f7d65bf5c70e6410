// job_size.h: how long the requests of a job are, for the plan: of a batch file, or of bench's random
// prompts.
#ifndef FG_APPS_JOB_SIZE_H
#define FG_APPS_JOB_SIZE_H

#include "run.h"

// Opens the engine for the job: of -i IN.jsonl where that is given, else of --num-prompts, --prompt-len or
// --input-len-range, and --gen-len. plan_only: it can only be asked for its plan.
int fg_run_open_job(fg_run *run, const char *command, const fg_options *options, fg_console *console,
                    bool plan_only);

// The job of bench: how many prompts, and the tokens of one of them, by its number.
uint32_t fg_bench_prompts(const fg_options *options);
uint32_t fg_bench_prompt_length(const fg_options *options, uint32_t prompt);
uint32_t fg_bench_longest_prompt(const fg_options *options);
bool fg_bench_pads(const fg_options *options); // prompts are as long as the longest (--without ragged)
// order[i]: the prompt that is submitted as the i-th, of fg_bench_prompts. Ordered by so many at a time as
// the plan looked at.
fg_status fg_bench_order(uint32_t *order, const fg_options *options, fg_row_order wish, fg_error *err);

#endif
