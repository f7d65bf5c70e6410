// flexgen generate: a few prompts, answered on standard output as the text becomes certain.
#include <stdlib.h>
#include <string.h>

#include "engine/engine_internal.h"
#include "run.h"
#include "text/chat.h"
#include "text/tokenizer.h"

typedef struct generation generation;

// One prompt and what has come of it. Answers run together but are printed in order: the text of a later one
// waits here.
typedef struct answer {
  generation *all;
  fg_text prompt;
  fg_detokenizer *detokenizer;
  fg_text waiting; // text that is certain and not yet printed
  uint32_t prompt_tokens, tokens;
  fg_finish finish;
  bool done;
  fg_error error;
} answer;

struct generation {
  fg_run run;
  const fg_options *options;
  const fg_tokenizer *tokenizer; // the engine's
  const fg_chat *chat;           // the engine's; NULL without --chat
  answer *answers;
  uint32_t count, submitted, printing; // answers before `printing` are printed whole
};

// ---- prompts -----------------------------------------------------------------------------------------

static fg_status read_prompts(generation *g, fg_error *err) {
  const fg_prompt_list *list = &g->options->prompts;
  g->answers = calloc(list->count, sizeof *g->answers);
  if (!g->answers) return fg_fail(err, FG_NO_SPACE, "no memory for %u prompts", list->count);
  g->count = list->count;
  for (uint32_t i = 0; i < list->count; i++) {
    fg_text *prompt = &g->answers[i].prompt;
    if (!list->items[i].is_file) {
      fg_text_append_string(prompt, list->items[i].text);
    } else {
      fg_status status = fg_read_text(list->items[i].text, prompt, err);
      if (status != FG_OK) return status;
      if (prompt->length && prompt->data[prompt->length - 1] == '\n') prompt->data[--prompt->length] = 0;
    }
    if (fg_text_failed(prompt)) return fg_fail(err, FG_NO_SPACE, "no memory for prompt %u", i + 1);
  }
  return FG_OK;
}

static fg_status find_text_parts(generation *g, fg_error *err) {
  g->tokenizer = fg_engine_tokenizer(g->run.engine);
  if (!g->tokenizer)
    return fg_fail(err, FG_NOT_FOUND, "this model has no tokenizer; give token ids to flexgen batch instead");
  if (!g->options->chat) return FG_OK;
  g->chat = fg_engine_chat(g->run.engine);
  return g->chat
             ? FG_OK
             : fg_fail(err, FG_NOT_FOUND, "this model has no chat template that can be used; drop --chat");
}

static fg_status render_chat(const generation *g, const fg_text *message, fg_text *prompt, fg_error *err) {
  json_t *variables =
      json_pack("{s:[{s:s,s:s%}],s:b}", "messages", "role", "user", "content",
                message->length ? message->data : "", message->length, "add_generation_prompt", 1);
  if (!variables) return fg_fail(err, FG_INVALID, "a prompt is not valid UTF-8");
  fg_status status = fg_chat_render(g->chat, variables, prompt, err);
  json_decref(variables);
  if (status == FG_OK && fg_text_failed(prompt)) status = fg_fail(err, FG_NO_SPACE, "no memory for a prompt");
  return status;
}

static fg_status encode_prompt(const generation *g, const answer *a, fg_ids *ids, fg_error *err) {
  fg_text rendered = {0};
  fg_status status = g->chat ? render_chat(g, &a->prompt, &rendered, err) : FG_OK;
  const fg_text *text = g->chat ? &rendered : &a->prompt;
  if (status == FG_OK)
    status =
        fg_tokenizer_encode(g->tokenizer, text->length ? text->data : "", text->length, !g->chat, ids, err);
  fg_text_free(&rendered);
  if (status == FG_OK && ids->count == 0) status = fg_fail(err, FG_INVALID, "the prompt has no tokens");
  return status;
}

// ---- answers -----------------------------------------------------------------------------------------

static bool is_eos(const fg_engine_info *info, int32_t token) {
  for (uint32_t i = 0; i < info->eos_count; i++)
    if (info->eos[i] == token) return true;
  return false;
}

static bool on_token(void *user, const fg_token_info *info) {
  answer *a = user;
  a->tokens++;
  size_t length;
  // An end has no text, nor has an id that only the model knows (its vocabulary may be padded).
  if (is_eos(&a->all->run.info, info->token)) return true;
  if (!fg_tokenizer_token_bytes(a->all->tokenizer, info->token, &length)) return true;
  return fg_detokenizer_push(a->detokenizer, info->token, &a->waiting, &a->error) == FG_OK;
}

// It reads the engine's tokenizer, so it goes with its request, before the engine.
static void drop_detokenizer(answer *a) {
  fg_detokenizer_destroy(a->detokenizer);
  a->detokenizer = NULL;
}

static void on_done(void *user, fg_finish finish, const fg_error *error) {
  answer *a = user;
  a->done = true;
  a->finish = finish;
  if (error) a->error = *error;
  if (a->error.status == FG_OK) fg_detokenizer_finish(a->detokenizer, &a->waiting, &a->error);
  drop_detokenizer(a);
}

static fg_request request_for(const generation *g, uint32_t index, const fg_ids *ids) {
  fg_request request = {
      .prompt = ids->data,
      .prompt_count = (uint32_t)ids->count,
      .max_tokens = g->options->max_tokens,
      .sampling = fg_sampling_default(),
      .logprobs = -1,
      .prompt_logprobs = -1,
      .user = &g->answers[index],
      .on_token = on_token,
      .on_done = on_done,
  };
  request.sampling.temperature = (float)g->options->temperature;
  request.sampling.top_p = (float)g->options->top_p;
  request.sampling.top_k = (int32_t)g->options->top_k;
  request.sampling.seed = g->options->seed;
  request.sampling.row = index;
  return request;
}

static fg_status submit(void *user, bool *more, fg_error *err) {
  generation *g = user;
  *more = g->submitted < g->count;
  if (!*more) return FG_OK;
  uint32_t index = g->submitted++;
  answer *a = &g->answers[index];
  a->all = g;
  fg_ids ids = {0};
  fg_status status = encode_prompt(g, a, &ids, err);
  if (status == FG_OK) status = fg_detokenizer_create(&a->detokenizer, g->tokenizer, true, err);
  if (status == FG_OK) status = fg_detokenizer_prime(a->detokenizer, ids.data, ids.count, err);
  if (status == FG_OK) {
    fg_request request = request_for(g, index, &ids);
    fg_request_id id;
    a->prompt_tokens = request.prompt_count;
    status = fg_engine_submit(g->run.engine, &request, &id, err);
  }
  fg_ids_free(&ids);
  if (status == FG_OK) return FG_OK;
  drop_detokenizer(a);
  return fg_fail_prefix(err, "prompt %u", index + 1);
}

static const char *finish_name(fg_finish finish) {
  return finish == FG_FINISH_LENGTH ? "length" : "stop";
}

static json_t *answer_json(const answer *a) {
  return json_pack("{s:s%,s:s%,s:s,s:I,s:I}", "prompt", a->prompt.length ? a->prompt.data : "",
                   a->prompt.length, "text", a->waiting.length ? a->waiting.data : "", a->waiting.length,
                   "finish_reason", finish_name(a->finish), "prompt_tokens", (json_int_t)a->prompt_tokens,
                   "completion_tokens", (json_int_t)a->tokens);
}

// Prints what may be printed now: the first unfinished answer as it grows, finished ones behind it.
static fg_status print_answers(void *user, fg_error *err) {
  generation *g = user;
  for (; g->printing < g->count; g->printing++) {
    answer *a = &g->answers[g->printing];
    if (a->error.status != FG_OK || fg_text_failed(&a->waiting)) break;
    if (a->waiting.length && !g->options->json) {
      fg_console_clear(g->run.console);
      fwrite(a->waiting.data, 1, a->waiting.length, stdout);
      fg_text_clear(&a->waiting);
    }
    if (!a->done) break;
    if (!g->options->json)
      putchar('\n');
    else if (fg_print_json(answer_json(a), err) != FG_OK)
      return err->status;
  }
  fflush(stdout);
  if (ferror(stdout)) return fg_fail(err, FG_IO, "cannot write to standard output");
  if (g->printing == g->count) return FG_OK;
  const answer *a = &g->answers[g->printing];
  if (fg_text_failed(&a->waiting))
    return fg_fail(err, FG_NO_SPACE, "no memory for answer %u", g->printing + 1);
  if (a->error.status != FG_OK)
    return fg_fail(err, a->error.status, "prompt %u: %s", g->printing + 1, a->error.message);
  return FG_OK;
}

static void release(generation *g) {
  for (uint32_t i = 0; i < g->count; i++) {
    fg_text_free(&g->answers[i].prompt);
    fg_text_free(&g->answers[i].waiting);
  }
  free(g->answers);
}

int fg_command_generate(const fg_options *options, fg_console *console) {
  generation g = {.options = options};
  fg_error err = {FG_OK, ""};
  if (options->prompts.count == 0) {
    fg_console_error(console, "-p TEXT or -f FILE is missing");
    return FG_EXIT_USAGE;
  }
  fg_status status = read_prompts(&g, &err);
  if (status != FG_OK) {
    fg_console_error(console, err.message);
    release(&g);
    return FG_EXIT_FAILED;
  }
  int code = fg_run_open(&g.run, "generate", options, console, (fg_run_job){0});
  if (code == FG_EXIT_DONE) {
    status = find_text_parts(&g, &err);
    fg_feed feed = {submit, print_answers, &g};
    if (status == FG_OK) status = fg_run_drive(&g.run, &feed, &err);
    code = fg_run_close(&g.run, status, &err);
  }
  release(&g);
  return code;
}
