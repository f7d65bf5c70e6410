// flexgen eval: perplexity of a text over disjoint windows. The text is tokenized once and cut; each window
// is scored alone, its first token has nothing before it and is not counted: ppl = exp(-sum / scored).
#include <math.h>
#include <stdlib.h>

#include "model_input.h"
#include "run.h"
#include "text/tokenizer.h"

typedef struct evaluation {
  fg_run run;
  fg_ids ids;
  size_t next;     // first token not yet submitted
  uint32_t window; // tokens
  uint64_t windows, finished;
  double *sums; // [windows]: added up in order at the end, so that the result has no order of its own
  uint64_t scored;
  fg_error error;
} evaluation;

typedef struct eval_window {
  evaluation *eval;
  uint64_t index;
} eval_window;

static void on_prompt(void *user, uint32_t position, const fg_token_info *info) {
  (void)position;
  eval_window *w = user;
  w->eval->sums[w->index] += (double)info->logprob;
  w->eval->scored++;
}

static void on_done(void *user, fg_finish finish, const fg_error *error) {
  eval_window *w = user;
  w->eval->finished++;
  if (finish == FG_FINISH_ERROR && w->eval->error.status == FG_OK) w->eval->error = *error;
  free(w);
}

static fg_status submit(void *user, bool *more, fg_error *err) {
  evaluation *e = user;
  size_t left = e->ids.count - e->next, take = left < e->window ? left : e->window;
  *more = take >= 2; // a window of one token scores nothing
  if (!*more) return FG_OK;
  eval_window *w = malloc(sizeof *w);
  if (!w) return fg_fail(err, FG_NO_SPACE, "no memory for a window");
  *w = (eval_window){e, e->next / e->window};
  fg_request request = {
      .prompt = e->ids.data + e->next,
      .prompt_count = (uint32_t)take,
      .max_tokens = 0,
      .sampling = fg_sampling_default(),
      .logprobs = -1,
      .prompt_logprobs = 0,
      .user = w,
      .on_prompt = on_prompt,
      .on_done = on_done,
  };
  fg_request_id id;
  fg_status status = fg_engine_submit(e->run.engine, &request, &id, err);
  if (status == FG_OK)
    e->next += take;
  else
    free(w);
  return status;
}

static fg_status stepped(void *user, fg_error *err) {
  evaluation *e = user;
  if (e->error.status != FG_OK) return fg_fail(err, e->error.status, "%s", e->error.message);
  fg_run_progress(&e->run, "windows", e->finished, e->windows);
  return FG_OK;
}

// The text's ids. Before the engine is there: what they take then counts as the process's own memory.
static fg_status read_ids(evaluation *e, const fg_options *o, fg_error *err) {
  fg_status status = fg_read_ids(&e->ids, o->arguments[0], o->text, o->special, err);
  if (status == FG_OK && e->ids.count < 2)
    status =
        fg_fail(err, FG_INVALID, "%s: %zu tokens; at least 2 are needed to score one", o->text, e->ids.count);
  return status;
}

static fg_status cut_windows(evaluation *e, fg_error *err) {
  uint32_t wanted = e->run.options->window, context = e->run.info.max_model_len;
  e->window = wanted ? wanted : context;
  if (e->window > context)
    return fg_fail(err, FG_INVALID, "--window %u is beyond the context of %u tokens", e->window, context);
  e->windows = (e->ids.count + e->window - 1) / e->window;
  e->sums = calloc(e->windows, sizeof *e->sums);
  return e->sums ? FG_OK
                 : fg_fail(err, FG_NO_SPACE, "no memory for %llu windows", (unsigned long long)e->windows);
}

static fg_status print_result(const evaluation *e, fg_error *err) {
  double sum = 0;
  for (uint64_t i = 0; i < e->windows; i++) sum += e->sums[i];
  double perplexity = exp(-sum / (double)e->scored);
  if (e->run.options->json) {
    if (!isfinite(perplexity)) return fg_fail(err, FG_INTERNAL, "the perplexity is not a finite number");
    return fg_print_json(json_pack("{s:f,s:I,s:f}", "sum_logprob", sum, "scored_tokens",
                                   (json_int_t)e->scored, "perplexity", perplexity),
                         err);
  }
  printf("perplexity %.4f over %llu scored tokens of %zu in %llu windows of %u, log-probability %.4f\n",
         perplexity, (unsigned long long)e->scored, e->ids.count, (unsigned long long)e->windows, e->window,
         sum);
  return FG_OK;
}

int fg_command_eval(const fg_options *options, fg_console *console) {
  evaluation e = {0};
  fg_error err = {FG_OK, ""};
  if (!options->text) {
    fg_console_error(console, "--text FILE is missing");
    return FG_EXIT_USAGE;
  }
  int code = FG_EXIT_FAILED;
  if (read_ids(&e, options, &err) != FG_OK) {
    fg_console_error(console, err.message);
  } else if ((code = fg_run_open(&e.run, "eval", options, console,
                                 (fg_run_job){.expected = {.tokens = options->window}})) == FG_EXIT_DONE) {
    fg_status status = cut_windows(&e, &err);
    fg_feed feed = {submit, stepped, &e};
    if (status == FG_OK) status = fg_run_drive(&e.run, &feed, &err);
    fg_console_clear(console);
    if (status == FG_OK) status = print_result(&e, &err);
    code = fg_run_close(&e.run, status, &err);
  }
  fg_ids_free(&e.ids);
  free(e.sums);
  return code;
}
