#include "job/batch_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "job/json_out.h"
#include "plan/policy.h"

// ---- in ----------------------------------------------------------------------------------------------

// What a row says that has no memory even for its error.
static const fg_api_error no_memory = {
    .status = 500, .type = "server_error", .message = "out of memory for a row"};

static void keep_error(fg_batch_row *row, const fg_api_error *error) {
  if (row->error) return; // the first one counts
  fg_api_error *kept = malloc(sizeof *kept);
  if (kept) *kept = *error;
  row->error = kept ? kept : &no_memory;
}

void fg_batch_row_refuse(fg_batch_row *row, const char *why) {
  fg_api_error error = {0};
  fg_api_fail(&error, NULL, "%s", why);
  keep_error(row, &error);
}

typedef struct row_reading {
  const fg_envelope *envelope;
  bool duplicate;
  fg_api_error error;
} row_reading;

static bool check_envelope(const fg_batch_row *row, row_reading *reading, fg_endpoint *endpoint) {
  const fg_envelope *e = reading->envelope;
  fg_api_error *error = &reading->error;
  if (reading->duplicate)
    return fg_api_fail(error, "custom_id", "line %" PRIu64 ": this custom_id stands on an earlier line too",
                       row->line);
  if (!e->method || strcmp(e->method, "POST") != 0)
    return fg_api_fail(error, "method", "method must be \"POST\"");
  if (!e->url) return fg_api_fail(error, "url", "url is missing");
  if (!e->body) return fg_api_fail(error, "body", "body is missing");
  return fg_endpoint_find(e->url, endpoint, error);
}

// JSON of a token's log-probability and of each candidate with it, about.
enum { LINE_FIXED = 4096, LINE_PER_TOKEN = 64, LINE_PER_CANDIDATE = 48, LINE_PER_BYTE = 4 };

static void count_costs(fg_batch_row *row) {
  const fg_job_request *q = row->request;
  uint64_t per_token = q->logprobs < 0 ? 0 : LINE_PER_TOKEN + (uint64_t)q->logprobs * LINE_PER_CANDIDATE;
  row->held = sizeof *row + row->custom_id.capacity + fg_job_request_bytes(q);
  row->line_cost = LINE_FIXED;
  for (uint32_t i = 0; i < q->prompt_count; i++) {
    uint64_t one = fg_choice_cost(q, &row->setting->context, i),
             tokens = fg_job_request_room(q, &row->setting->context, i);
    if (q->echo) tokens += q->prompts[i].ids.count;
    row->cost += q->n * one + q->prompts[i].ids.count * sizeof(int32_t) + q->prompts[i].text_length;
    row->line_cost += q->n * tokens * (per_token + LINE_PER_BYTE);
  }
}

static void read_request(fg_batch_row *row, row_reading *reading) {
  fg_endpoint endpoint = FG_ENDPOINT_COMPLETIONS;
  if (check_envelope(row, reading, &endpoint) &&
      fg_job_request_read(&row->request, &row->setting->context, endpoint, reading->envelope->body,
                          &reading->error))
    count_costs(row);
  else
    keep_error(row, &reading->error);
}

fg_batch_row *fg_batch_row_create(const fg_batch_setting *setting, uint64_t number, const fg_line *line,
                                  const fg_envelope *e, bool duplicate) {
  fg_batch_row *row = calloc(1, sizeof *row);
  if (!row) return NULL;
  row->setting = setting;
  row->row = number;
  row->line = line->number;
  row->input_bytes = line->length + 1;
  row->id = fg_hash_more(setting->id_seed, line->text ? line->text : "", line->length);
  if (!e->root) {
    row->code = e->code;
    fg_batch_row_refuse(row, e->error.message);
    return row;
  }
  fg_json_put_string(&row->custom_id, e->custom_id, e->custom_id_length);
  read_request(row, &(row_reading){.envelope = e, .duplicate = duplicate});
  return row;
}

void fg_batch_row_destroy(fg_batch_row *row) {
  if (!row) return;
  for (uint32_t i = 0; i < row->count; i++) fg_choice_free(&row->choices[i]);
  free(row->choices);
  fg_job_request_destroy(row->request);
  fg_text_free(&row->custom_id);
  if (row->error != &no_memory) free((void *)(uintptr_t)row->error);
  free(row);
}

// ---- through the engine ------------------------------------------------------------------------------

static void fail_row(fg_batch_row *row, const fg_error *err) {
  fg_api_error error = {0};
  fg_api_fail(&error, NULL, "%s", err->message);
  if (err->status != FG_INVALID) {
    error.status = 500;
    error.type = "server_error";
  }
  keep_error(row, &error);
}

static fg_order_item item_of(const fg_batch_row *row, uint32_t prompt) {
  const fg_ids *ids = &row->request->prompts[prompt].ids;
  return (fg_order_item){ids->data, (uint32_t)ids->count,
                         fg_job_request_room(row->request, &row->setting->context, prompt)};
}

fg_order_item fg_batch_row_item(const fg_batch_row *row) {
  fg_order_item item = item_of(row, 0);
  for (uint32_t i = 1; i < row->request->prompt_count; i++) {
    const uint32_t generated = item_of(row, i).generated;
    if (generated > item.generated) item.generated = generated;
  }
  return item;
}

static void choice_done(void *user, fg_choice *choice) {
  (void)choice;
  fg_batch_row *row = user;
  if (--row->left == 0 && !row->submitting) row->setting->complete(row->setting->user, row);
}

static fg_status submit_choice(fg_batch_row *row, uint32_t index, fg_error *err) {
  const fg_batch_setting *setting = row->setting;
  fg_choice *choice = &row->choices[index];
  fg_status status = fg_choice_start(choice, row->request, &setting->context, index, err);
  if (status != FG_OK) return status;
  choice->done = choice_done;
  choice->user = row;
  fg_request request;
  fg_choice_engine_request(choice, (fg_choice_key){setting->seed, row->line}, &request);
  return fg_engine_submit(setting->engine, &request, &choice->id, err);
}

// The numbers of the row's prompts as they are best submitted.
static fg_status order_prompts(const fg_batch_row *row, uint32_t *order, fg_error *err) {
  const uint32_t count = row->request->prompt_count;
  order[0] = 0;
  if (count == 1) return FG_OK;
  fg_order_item *items = malloc(count * sizeof *items);
  void *scratch = malloc(fg_order_scratch(count));
  if (items && scratch) {
    for (uint32_t i = 0; i < count; i++) items[i] = item_of(row, i);
    fg_order(items, count, FG_PAGE_TOKENS, FG_ORDER_INPUT, scratch, order);
  }
  const bool done = items && scratch;
  free(items);
  free(scratch);
  return done ? FG_OK : fg_fail(err, FG_NO_SPACE, "out of memory for %" PRIu32 " prompts", count);
}

static fg_status submit_prompt(fg_batch_row *row, uint32_t prompt, fg_error *err) {
  const uint32_t n = row->request->n;
  fg_status status = FG_OK;
  for (uint32_t i = prompt * n; status == FG_OK && i < (prompt + 1) * n; i++) {
    row->left++;
    status = submit_choice(row, i, err);
    if (status != FG_OK) row->left--; // the engine never heard of it
  }
  return status;
}

static fg_status submit_choices(fg_batch_row *row, fg_error *err) {
  const fg_job_request *q = row->request;
  const uint32_t count = fg_job_request_choices(q);
  row->choices = calloc(count, sizeof *row->choices);
  uint32_t one, *order = q->prompt_count == 1 ? &one : malloc(q->prompt_count * sizeof *order);
  fg_status status = row->choices && order ? order_prompts(row, order, err)
                                           : fg_fail(err, FG_NO_SPACE, "out of memory for %u choices", count);
  if (row->choices) row->count = count;
  for (uint32_t i = 0; status == FG_OK && i < q->prompt_count; i++)
    status = submit_prompt(row, order[i], err);
  if (order != &one) free(order);
  return status;
}

void fg_batch_row_submit(fg_batch_row *row) {
  fg_error err;
  row->submitting = true;
  if (submit_choices(row, &err) != FG_OK) {
    fail_row(row, &err);
    fg_batch_row_cancel(row);
  }
  row->submitting = false;
  if (row->left == 0) row->setting->complete(row->setting->user, row);
}

void fg_batch_row_cancel(fg_batch_row *row) {
  for (uint32_t i = 0; i < row->count; i++)
    if (row->choices[i].id && !row->choices[i].finished)
      fg_engine_cancel(row->setting->engine, row->choices[i].id);
}

// ---- out ---------------------------------------------------------------------------------------------

static void put_body(const fg_batch_row *row, fg_text *line) {
  if (row->error) {
    fg_response_error(line, row->error);
    return;
  }
  char id[32];
  bool chat = row->request->endpoint == FG_ENDPOINT_CHAT;
  snprintf(id, sizeof id, "%s-%016" PRIx64, chat ? "chatcmpl" : "cmpl", row->id);
  const fg_batch_setting *setting = row->setting;
  fg_response_head head = {
      .id = id, .created = setting->id_seed ? (int64_t)time(NULL) : 0, .model = setting->context.info.name};
  fg_response_body(line, &head, row->choices, row->count);
}

static void put_unreadable(const fg_batch_row *row, fg_text *line) {
  fg_text_append_string(line, "null,\"response\":null,\"error\":{\"code\":");
  fg_json_put_cstring(line, row->code);
  fg_text_append_string(line, ",\"message\":");
  fg_json_put_cstring(line, row->error->message);
  fg_text_append_string(line, "}}\n");
}

// The order of the members is part of what output.c relies on.
void fg_batch_row_put_line(fg_batch_row *row, fg_text *line) {
  fg_text_printf(line, "{\"id\":\"batch_req_%016" PRIx64 "\",\"custom_id\":", row->id);
  if (row->code) {
    put_unreadable(row, line);
    return;
  }
  fg_api_error error;
  if (!row->error && !fg_response_check(row->choices, row->count, &error)) keep_error(row, &error);
  fg_text_append(line, row->custom_id.data, row->custom_id.length);
  fg_text_printf(line, ",\"response\":{\"status_code\":%d,\"request_id\":\"req_%016" PRIx64 "\",\"body\":",
                 row->error ? row->error->status : 200, row->id);
  put_body(row, line);
  fg_text_append_string(line, "},\"error\":null}\n");
}
