// Batch files whose lines are changed as JSON values, then bytes. Every line is read as the batch runner
// does: envelope, endpoint, request body.
#include <stdlib.h>
#include <string.h>

#include "fuzz_bases.h"
#include "fuzz_json.h"
#include "job/request.h"
#include "job/rows.h"

static const char *const bases[] = {
    "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/"
    "completions\",\"body\":{\"model\":\"m\",\"prompt\":\"the theory\",\"max_tokens\":16,"
    "\"temperature\":0.7,\"top_p\":0.9,\"top_k\":40,\"min_p\":0.05,\"n\":2,\"seed\":7,\"stop\":[\"\\n\","
    "\"end\"],\"stop_token_ids\":[3],"
    "\"logit_bias\":{\"5\":-100,\"7\":1.5},\"presence_penalty\":0.5,\"frequency_penalty\":-0.5,\"repetition_"
    "penalty\":1.1,"
    "\"min_tokens\":1,\"ignore_eos\":true,\"logprobs\":5,\"echo\":true,\"return_token_ids\":true}}",
    "{\"custom_id\":\"b\",\"method\":\"POST\",\"url\":\"/v1/"
    "completions\",\"body\":{\"prompt\":[[1,2,3],[4]],\"max_tokens\":0,\"echo\":true,"
    "\"logprobs\":0,\"add_special_tokens\":false,\"skip_special_tokens\":false,\"stream\":false,\"user\":"
    "\"u\"}}",
    "{\"custom_id\":\"c\",\"method\":\"POST\",\"url\":\"/v1/"
    "completions\",\"body\":{\"prompt\":[\"ab\",\"\\u00e9\\ud83d\\ude00\"],\"best_of\":1,"
    "\"suffix\":null,\"truncate_prompt_tokens\":2,\"return_tokens_as_token_ids\":true,\"include_stop_str_in_"
    "output\":true}}",
    "{\"custom_id\":\"d\",\"method\":\"POST\",\"url\":\"/v1/chat/"
    "completions\",\"body\":{\"messages\":[{\"role\":\"system\",\"content\":\"x\"},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"the\"}]}],\"max_completion_tokens\":9,"
    "\"logprobs\":true,"
    "\"top_logprobs\":3,\"chat_template_kwargs\":{\"a\":1},\"add_generation_prompt\":true,\"response_"
    "format\":{\"type\":\"text\"}}}",
};
enum { BASES = sizeof bases / sizeof *bases };

static const char *const words[] = {
    "custom_id",
    "method",
    "url",
    "body",
    "POST",
    "GET",
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/embeddings",
    "prompt",
    "messages",
    "role",
    "content",
    "system",
    "user",
    "assistant",
    "tool",
    "type",
    "text",
    "image_url",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "best_of",
    "seed",
    "stop",
    "stop_token_ids",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "echo",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "min_tokens",
    "ignore_eos",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "stream",
    "suffix",
    "tools",
    "tool_choice",
    "response_format",
    "guided_choice",
    "guided_regex",
    "guided_json",
    "structured_outputs",
    "json_schema",
    "schema",
    "truncate_prompt_tokens",
    "prompt_logprobs",
    "return_token_ids",
    "allowed_token_ids",
    "bad_words",
    "",
    "-1",
    "5",
    NULL,
};

static const char chat_template[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

static json_t *rows[BASES];
static fg_tokenizer *tokenizer;
static fg_chat *chat;
static fg_budget *budget;

static bool add_json(fg_assets *assets, const char *name, json_t *value) {
  fg_error err;
  char *text = json_dumps(value, JSON_COMPACT);
  bool ok = text && fg_assets_add(assets, name, text, strlen(text), &err) == FG_OK;
  free(text);
  json_decref(value);
  return ok;
}

static bool setup(void) {
  fg_assets assets = {0};
  fg_error err;
  bool ok = add_json(&assets, "tokenizer.json", fuzz_base_tokenizer(2)) &&
            !fg_assets_add(&assets, "chat_template.jinja", chat_template, sizeof chat_template - 1, &err) &&
            !fg_tokenizer_load(&tokenizer, &assets, &err) && !fg_chat_load(&chat, &assets, tokenizer, &err) &&
            !fg_budget_create(&budget, "host memory", "--host-memory", 0, &err);
  fg_assets_free(&assets);
  for (size_t i = 0; i < BASES; i++) ok = (rows[i] = json_loads(bases[i], 0, NULL)) && ok;
  return ok;
}

static void teardown(void) {
  for (size_t i = 0; i < BASES; i++) json_decref(rows[i]);
  fg_chat_destroy(chat);
  fg_tokenizer_destroy(tokenizer);
  fg_budget_destroy(budget);
}

static void put_row(fuzz_random *r, fuzz_bytes *out) {
  static const char *const ends[] = {"\n", "\n", "\r\n", "\n\n", "\n \t\n", "", "\r"};
  json_t *row = json_deep_copy(rows[fuzz_below(r, BASES)]);
  for (uint64_t n = fuzz_below(r, 4); n > 0; n--) fuzz_json_mutate(r, row, words);
  fuzz_json_put(out, row);
  json_decref(row);
  fuzz_put_text(out, ends[fuzz_below(r, sizeof ends / sizeof *ends)]);
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  if (fuzz_chance(r, 5)) fuzz_put_text(out, "\xef\xbb\xbf");
  for (uint64_t n = 1 + fuzz_below(r, 3); n > 0; n--) put_row(r, out);
  if (fuzz_chance(r, 20)) fuzz_noise(r, out);
}

static fuzz_outcome read_body(const fg_envelope *e) {
  const fg_request_context context = {
      .tokenizer = tokenizer, .chat = chat, .info = {.name = "m", .vocab = 264, .max_model_len = 64}};
  fg_endpoint endpoint;
  fg_api_error error = {0};
  fg_job_request *request;
  if (e->url && e->body && fg_endpoint_find(e->url, &endpoint, &error) &&
      fg_job_request_read(&request, &context, endpoint, e->body, &error)) {
    for (uint32_t i = 0; i < request->prompt_count; i++) {
      for (size_t n = 0; n < request->prompts[i].ids.count; n++) {
        int32_t id = request->prompts[i].ids.data[n];
        if (id < 0 || (uint32_t)id >= fg_tokenizer_size(tokenizer))
          fuzz_broken("prompt holds id %d", (int)id);
      }
      if (request->prompts[i].ids.count > context.info.max_model_len)
        fuzz_broken("prompt longer than the context");
    }
    fg_job_request_destroy(request);
    return FUZZ_ACCEPTED;
  }
  return FUZZ_PAST_HEADER;
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)input;
  fg_job_memory memory = {.host = budget};
  fg_rows *file;
  fg_error err = {0};
  fg_line line;
  bool end = false;
  fuzz_outcome best = FUZZ_REFUSED;
  if (fg_rows_open(&file, path, &memory, &err)) fuzz_broken("open: %s", err.message);
  while (fg_rows_next(file, &line, &end, &err) == FG_OK && !end) {
    fg_envelope e;
    fg_envelope_read(&e, &line, &memory);
    if (e.root) {
      fuzz_outcome outcome = read_body(&e);
      if (outcome > best) best = outcome;
    } else if (!e.code || e.error.message[0] == 0) {
      fuzz_broken("line %llu is refused without a reason", (unsigned long long)line.number);
    }
    fg_envelope_free(&e, &memory);
  }
  fg_rows_close(file);
  if (memory.used != 0)
    fuzz_broken("%llu bytes of memory are not given back", (unsigned long long)memory.used);
  return best;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {
      .name = "batch_jsonl",
      .file_name = "in.jsonl",
      .setup = setup,
      .make = make,
      .run = run,
      .teardown = teardown,
  };
  return fuzz_main(argc, argv, &target);
}
