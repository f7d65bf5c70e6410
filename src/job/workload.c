#include "job/workload.h"

#include <string.h>
#include <sys/stat.h>

#include "job/rows.h"

enum {
  SAMPLE_ROWS = 256,
  SAMPLE_BYTES = 4 << 20,
  BYTES_PER_TOKEN = 3,   // English prose has about 4, code and numbers fewer
  DEFAULT_ANSWER = 16,   // of /v1/completions
  UNLIMITED_ANSWER = 256 // of a chat without a limit: a guess
};

typedef struct sample {
  uint64_t rows, line_bytes, requests, prompt_tokens, answer_tokens;
} sample;

// Tokens of a prompt (a string, ids, messages): its text at BYTES_PER_TOKEN, its numbers one each. The parser
// bounds the depth.
static uint64_t tokens_in(const json_t *value) {
  uint64_t tokens = 0;
  size_t i;
  const char *key;
  json_t *part;
  if (json_is_string(value)) return json_string_length(value) / BYTES_PER_TOKEN + 1;
  if (json_is_integer(value)) return 1;
  if (json_is_array(value)) json_array_foreach(value, i, part) tokens += tokens_in(part);
  if (json_is_object(value)) json_object_foreach((json_t *)value, key, part) tokens += tokens_in(part);
  return tokens;
}

// A list of strings or of lists is that many prompts.
static uint64_t prompts_in(const json_t *prompt) {
  const json_t *first = json_array_get(prompt, 0);
  return json_is_string(first) || json_is_array(first) ? json_array_size(prompt) : 1;
}

static uint64_t number_or(const json_t *body, const char *key, uint64_t otherwise) {
  const json_t *value = json_object_get(body, key);
  return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) < INT32_MAX
             ? (uint64_t)json_integer_value(value)
             : otherwise;
}

static void take_row(sample *s, const fg_line *line, fg_job_memory *memory) {
  fg_envelope e;
  fg_envelope_read(&e, line, memory);
  s->rows++;
  s->line_bytes += line->length + 1;
  const json_t *messages = json_object_get(e.body, "messages"), *prompt = json_object_get(e.body, "prompt");
  if (messages || prompt) {
    uint64_t n = number_or(e.body, "n", 1), prompts = messages ? 1 : prompts_in(prompt);
    uint64_t most = number_or(e.body, "max_tokens", messages ? UNLIMITED_ANSWER : DEFAULT_ANSWER);
    s->requests += n * prompts;
    s->prompt_tokens += n * tokens_in(messages ? messages : prompt);
    s->answer_tokens += n * prompts * number_or(e.body, "max_completion_tokens", most);
  }
  fg_envelope_free(&e, memory);
}

static void take_rows(sample *s, fg_rows *rows, fg_job_memory *memory) {
  fg_line line;
  bool end = false;
  while (s->rows < SAMPLE_ROWS && s->line_bytes < SAMPLE_BYTES &&
         fg_rows_next(rows, &line, &end, NULL) == FG_OK && !end)
    take_row(s, &line, memory);
}

static uint32_t mean(uint64_t sum, uint64_t count) {
  uint64_t value = sum / count + (sum % count != 0);
  return value < UINT32_MAX / 4 ? (uint32_t)value : UINT32_MAX / 4;
}

fg_workload fg_workload_estimate(const char *path, uint32_t shards) {
  struct stat file;
  fg_workload w = {0};
  if (strcmp(path, "-") == 0 || stat(path, &file) != 0 || !S_ISREG(file.st_mode)) return w;
  fg_job_memory memory = {0}; // a private budget: the job's does not exist yet
  fg_rows *rows;
  if (fg_budget_create(&memory.host, "a look at the input", NULL, 0, NULL) != FG_OK) return w;
  sample s = {0};
  if (fg_rows_open(&rows, path, &memory, NULL) == FG_OK) {
    take_rows(&s, rows, &memory);
    fg_rows_close(rows);
  }
  fg_budget_destroy(memory.host);
  if (!s.requests) return w;
  double whole = (double)file.st_size / (double)s.line_bytes * (double)s.requests;
  w.requests = (uint64_t)(whole / (shards ? shards : 1)) + 1;
  w.generated = mean(s.answer_tokens, s.requests);
  w.tokens = mean(s.prompt_tokens, s.requests) + w.generated;
  return w;
}
