#include "job/workload.h"

#include <string.h>
#include <sys/stat.h>

#include "job/rows.h"

enum {
  SAMPLE_ROWS = 256,      // whose prompts are tokenized
  FIRST_ROWS = 64,        // tell how long lines are
  UNLIMITED_ANSWER = 256, // of a chat without a limit: a guess
  REQUESTS_OF_A_ROW = 4,  // kept of one that has many
};

typedef struct look {
  fg_workload_survey *out;
  fg_request_context context;
  fg_job_memory memory;
  uint64_t rows, sampled;             // of the file; of them tokenized
  double requests, tokens, generated; // of the sampled rows
  uint32_t longest;
} look;

static void keep_length(look *l, uint32_t prompt, uint32_t generated) {
  fg_workload *w = &l->out->workload;
  if (w->length_count == FG_WORKLOAD_LENGTHS) return;
  l->out->lengths[w->length_count++] = (fg_row_length){.prompt = prompt, .generated = generated};
}

static void take_request(look *l, const fg_job_request *r) {
  for (uint32_t i = 0; i < r->prompt_count; i++) {
    const uint32_t prompt = r->prompts[i].ids.count;
    uint32_t generated = fg_job_request_room(r, &l->context, i);
    if (prompt + generated > l->longest) l->longest = prompt + generated;
    if (r->max_tokens == UINT32_MAX && generated > UNLIMITED_ANSWER) generated = UNLIMITED_ANSWER;
    l->requests += r->n;
    l->generated += (double)r->n * generated;
    l->tokens += (double)r->n * (prompt + (double)generated);
    for (uint32_t n = 0; n < r->n && n < REQUESTS_OF_A_ROW && i < REQUESTS_OF_A_ROW; n++)
      keep_length(l, prompt, generated);
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

// Every how manieth row is taken: by the length of the first lines.
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
    if (l->rows++ % stride == 0) take_row(l, &line);
}

static void look_into(look *l, const char *path, uint64_t file_bytes) {
  fg_rows *rows;
  if (fg_budget_create(&l->memory.host, "a look at the input", NULL, 0, NULL) != FG_OK) return;
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

void fg_workload_look(fg_workload_survey *out, const fg_request_context *context, const char *path,
                      uint32_t shards) {
  struct stat file;
  out->workload = (fg_workload){.lengths = out->lengths};
  if (strcmp(path, "-") == 0 || stat(path, &file) != 0 || !S_ISREG(file.st_mode)) return;
  look l = {.out = out, .context = *context};
  look_into(&l, path, (uint64_t)file.st_size);
  fg_workload *w = &out->workload;
  if (l.requests <= 0) {
    w->length_count = 0;
    return;
  }
  const double whole = (double)l.rows * l.requests / (double)l.sampled / (shards ? shards : 1);
  w->requests = (uint64_t)(whole + 0.5) ? (uint64_t)(whole + 0.5) : 1;
  if (l.sampled == l.rows) w->longest = l.longest;
  w->generated = mean(l.generated, l.requests);
  w->tokens = mean(l.tokens, l.requests);
}
