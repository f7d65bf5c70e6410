// job_size.h: how long the requests of a job are, for the plan: of a batch file, or of bench's random
// prompts.
#ifndef FG_APPS_JOB_SIZE_H
#define FG_APPS_JOB_SIZE_H

#include "job/workload.h"
#include "run.h"

typedef struct fg_job_size {
  const fg_options *options;
  fg_workload_survey survey;
} fg_job_size;

// Of -i IN.jsonl. `size` lives until the engine is open.
fg_run_job fg_job_size_of_file(fg_job_size *size, const fg_options *options);
// Of --num-prompts, --prompt-len or --input-len-range, and --gen-len.
fg_run_job fg_job_size_of_bench(fg_job_size *size, const fg_options *options);

// The job of bench: how many prompts, and the tokens of one of them, by its number.
uint32_t fg_bench_prompts(const fg_options *options);
uint32_t fg_bench_prompt_length(const fg_options *options, uint32_t prompt);
uint32_t fg_bench_longest_prompt(const fg_options *options);

#endif
