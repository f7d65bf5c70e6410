#include "job/workload.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "engine/sampler.h"
#include "job/id_set.h"
#include "job/order.h"
#include "job/rows.h"
#include "job/window.h"
#include "plan/policy.h"

enum {
  SAMPLE_ROWS = 256,      // whose prompts are tokenized
  FIRST_ROWS = 64,        // tell how long lines are
  UNLIMITED_ANSWER = 256, // of a chat without a limit: a guess
  REQUESTS_OF_A_ROW = 4,  // kept of one that has many
  CLUMP = 8,              // rows that are taken one after the other: neighbours often begin alike
  HASH_IDS = 2,           // a hash stands in a list of ids as two of them
  MOST_HASHES = 1 << 18,  // of all that is sampled; prompts beyond count as if they shared nothing
  MOST_MARKS = MOST_HASHES * FG_PAGE_TOKENS,
};

// What a kept prompt begins with: of each block a hash that goes on from the block before, and of each token
// a byte by which it is told from others.
typedef struct beginning {
  const uint8_t *marks;
  uint32_t tokens;
} beginning;

typedef struct look {
  fg_workload_survey *out;
  fg_request_context context;
  fg_job_memory memory;
  uint64_t rows, sampled;             // of the file; of them tokenized
  double requests, tokens, generated; // of the sampled rows
  uint32_t longest;
  const fg_workload_source *source;
  int32_t *hashes; // [MOST_HASHES * HASH_IDS]
  uint8_t *marks;  // [MOST_MARKS]
  size_t hash_count, mark_count;
  fg_order_item items[FG_WORKLOAD_LENGTHS]; // of these hashes
  beginning beginnings[FG_WORKLOAD_LENGTHS];
} look;

static beginning mark_tokens(look *l, const fg_ids *prompt) {
  const uint32_t SPREAD = 0x9e3779b1;
  if (!l->marks || prompt->count > MOST_MARKS - l->mark_count) return (beginning){0};
  const beginning b = {.marks = l->marks + l->mark_count, .tokens = (uint32_t)prompt->count};
  for (size_t i = 0; i < prompt->count; i++)
    l->marks[l->mark_count++] = (uint8_t)((uint32_t)prompt->data[i] * SPREAD >> 24);
  return b;
}

static fg_order_item hash_blocks(look *l, const fg_ids *prompt) {
  const size_t blocks = prompt->count / FG_PAGE_TOKENS;
  if (!l->hashes || l->hash_count + blocks > MOST_HASHES) return (fg_order_item){0};
  fg_order_item item = {.ids = l->hashes + HASH_IDS * l->hash_count, .count = (uint32_t)(HASH_IDS * blocks)};
  uint64_t hash = 0;
  for (size_t i = 0; i < blocks; i++) {
    hash = fg_hash_more(hash, prompt->data + i * FG_PAGE_TOKENS, FG_PAGE_TOKENS * sizeof *prompt->data);
    memcpy(l->hashes + HASH_IDS * l->hash_count++, &hash, sizeof hash);
  }
  return item;
}

// A request, so many times: samples of one prompt.
static void keep_length(look *l, const fg_ids *prompt, fg_row_length length, uint32_t times) {
  fg_workload *w = &l->out->workload;
  const fg_order_item item = hash_blocks(l, prompt);
  const beginning begin = mark_tokens(l, prompt);
  for (uint32_t i = 0; i < times && w->length_count < FG_WORKLOAD_LENGTHS; i++) {
    l->items[w->length_count] = item;
    l->beginnings[w->length_count] = begin;
    l->out->lengths[w->length_count++] = length;
  }
}

// Tokens that two prompts begin with: whole blocks by their hashes, and what the block in which they part
// has.
static uint32_t common_tokens(const look *l, uint32_t a, uint32_t b) {
  const beginning *x = &l->beginnings[a], *y = &l->beginnings[b];
  const uint32_t blocks = fg_order_common(&l->items[a], &l->items[b]) / HASH_IDS * FG_PAGE_TOKENS;
  uint32_t end = x->tokens < y->tokens ? x->tokens : y->tokens, common = blocks;
  if (end > blocks + FG_PAGE_TOKENS - 1) end = blocks + FG_PAGE_TOKENS - 1;
  while (common < end && x->marks[common] == y->marks[common]) common++;
  return common;
}

// Puts the lengths into the order in which their rows will run, each with what it shares with the one before.
static void order_lengths(look *l) {
  fg_workload *w = &l->out->workload;
  const uint32_t count = w->length_count;
  uint32_t *order = malloc(count * sizeof *order + 1);
  fg_row_length *lengths = malloc(count * sizeof *lengths + 1);
  void *scratch = malloc(fg_order_scratch(count));
  if (order && lengths && scratch) {
    memcpy(lengths, l->out->lengths, count * sizeof *lengths);
    fg_order(l->items, count, HASH_IDS, FG_ORDER_INPUT, scratch, order);
    for (uint32_t i = 0; i < count; i++) {
      fg_row_length *row = &l->out->lengths[i];
      *row = lengths[order[i]];
      if (i) row->shared = common_tokens(l, order[i - 1], order[i]);
    }
  }
  free(order);
  free(lengths);
  free(scratch);
}

static uint32_t kept_tokens(const look *l, const fg_job_request *r, uint32_t i, uint32_t generated) {
  const fg_workload_source *s = l->source;
  if (!s->kept) return 0;
  const fg_request request = {.prompt = r->prompts[i].ids.data,
                              .prompt_count = (uint32_t)r->prompts[i].ids.count,
                              .max_tokens = generated,
                              .logprobs = r->logprobs,
                              .prompt_logprobs = fg_job_request_prompt_logprobs(r)};
  return s->kept(s->user, &request);
}

static void take_request(look *l, const fg_job_request *r) {
  const uint32_t top = r->echo && r->logprobs > 0 ? (uint32_t)r->logprobs : 0;
  if (top > l->out->workload.prompt_top) l->out->workload.prompt_top = top;
  for (uint32_t i = 0; i < r->prompt_count; i++) {
    const uint32_t prompt = (uint32_t)r->prompts[i].ids.count;
    uint32_t generated = fg_job_request_room(r, &l->context, i);
    if (prompt + generated > l->longest) l->longest = prompt + generated;
    const uint32_t kept = kept_tokens(l, r, i, generated);
    if (r->max_tokens == UINT32_MAX && generated > UNLIMITED_ANSWER) generated = UNLIMITED_ANSWER;
    l->requests += r->n;
    l->generated += (double)r->n * generated;
    l->tokens += (double)r->n * (prompt + (double)generated);
    const fg_row_length length = {.prompt = prompt,
                                  .generated = generated,
                                  .drawn = !fg_sampler_takes_largest(&r->sampling, 0),
                                  .kept = kept};
    if (i < REQUESTS_OF_A_ROW)
      keep_length(l, &r->prompts[i].ids, length, r->n < REQUESTS_OF_A_ROW ? r->n : REQUESTS_OF_A_ROW);
  }
}

static void take_row(look *l, const fg_line *line) {
  fg_envelope e;
  fg_api_error error;
  fg_endpoint endpoint;
  fg_job_request *request;
  l->sampled++;
  fg_envelope_read(&e, line, &l->memory);
  if (e.url && e.body && fg_endpoint_find(e.url, &endpoint, &error) &&
      fg_job_request_read(&request, &l->context, endpoint, e.body, &error)) {
    take_request(l, request);
    fg_job_request_destroy(request);
  }
  fg_envelope_free(&e, &l->memory);
}

// Every how manieth clump is taken: by the length of the first lines.
static uint64_t choose_stride(look *l, const char *path, uint64_t file_bytes) {
  fg_rows *rows;
  fg_line line;
  bool end = false;
  uint64_t lines = 0, bytes = 0;
  if (fg_rows_open(&rows, path, &l->memory, NULL) != FG_OK) return 1;
  for (; lines < FIRST_ROWS && fg_rows_next(rows, &line, &end, NULL) == FG_OK && !end; lines++)
    bytes += line.length + 1;
  fg_rows_close(rows);
  const double all = bytes ? (double)file_bytes / (double)bytes * (double)lines : 0;
  return all > SAMPLE_ROWS ? (uint64_t)(all / SAMPLE_ROWS) + 1 : 1;
}

static void take_rows(look *l, fg_rows *rows, uint64_t stride) {
  fg_line line;
  bool end = false;
  while (fg_rows_next(rows, &line, &end, NULL) == FG_OK && !end)
    if (l->rows++ / CLUMP % stride == 0) take_row(l, &line);
}

static void look_into(look *l, const char *path, uint64_t file_bytes) {
  fg_rows *rows;
  const uint64_t limit = l->context.info.host_budget; // as the job will read it
  if (fg_budget_create(&l->memory.host, "a look at the input", NULL, limit, NULL) != FG_OK) return;
  const uint64_t stride = choose_stride(l, path, file_bytes);
  if (fg_rows_open(&rows, path, &l->memory, NULL) == FG_OK) {
    take_rows(l, rows, stride);
    fg_rows_close(rows);
  }
  fg_budget_destroy(l->memory.host);
}

static uint32_t mean(double sum, double count) {
  const double value = sum / count + 0.999;
  return value < UINT32_MAX / 4 ? (uint32_t)value : UINT32_MAX / 4;
}

// What the job will take beside what the engine sets aside for requests.
static uint64_t host_bytes(const look *l, uint64_t file_bytes) {
  const uint64_t share = fg_window_share(l->context.info.host_budget), allowance = FG_JOB_ALLOWANCE / 2;
  uint64_t window = fg_window_need(l->rows, file_bytes);
  if (window > share) window = share;
  const uint64_t all = fg_id_set_bytes(l->rows) + window;
  return all > allowance ? all - allowance : 0;
}

static void sum_up(const look *l, uint32_t shards) {
  fg_workload *w = &l->out->workload;
  if (l->requests <= 0) {
    w->length_count = 0;
    return;
  }
  const double whole = (double)l->rows * l->requests / (double)l->sampled / (shards ? shards : 1);
  w->requests = (uint64_t)(whole + 0.5) ? (uint64_t)(whole + 0.5) : 1;
  if (l->sampled == l->rows) w->longest = l->longest;
  w->generated = mean(l->generated, l->requests);
  w->tokens = mean(l->tokens, l->requests);
}

void fg_workload_look(fg_workload_survey *out, const fg_workload_source *source) {
  const char *path = source->path;
  struct stat file;
  out->workload = (fg_workload){.lengths = out->lengths};
  if (strcmp(path, "-") == 0 || stat(path, &file) != 0 || !S_ISREG(file.st_mode)) return;
  look *l = calloc(1, sizeof *l);
  if (!l) return;
  l->out = out;
  l->source = source;
  l->context = *source->context;
  // Touched as far as there are prompts.
  l->hashes = malloc(MOST_HASHES * HASH_IDS * sizeof *l->hashes);
  l->marks = malloc(MOST_MARKS);
  look_into(l, path, (uint64_t)file.st_size);
  order_lengths(l);
  out->workload.host_bytes = host_bytes(l, (uint64_t)file.st_size);
  sum_up(l, source->shards);
  free(l->hashes);
  free(l->marks);
  free(l);
}
