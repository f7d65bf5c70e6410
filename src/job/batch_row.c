#include "job/batch_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "job/json_out.h"

// ---- in ----------------------------------------------------------------------------------------------

static bool check_envelope(fg_batch_row *row, const fg_envelope *e, bool duplicate, fg_endpoint *endpoint) {
  fg_api_error *error = &row->error;
  if (duplicate)
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
  row->line_cost = LINE_FIXED;
  for (uint32_t i = 0; i < q->prompt_count; i++) {
    uint64_t one = fg_choice_cost(q, &row->setting->context, i),
             tokens = fg_job_request_room(q, &row->setting->context, i);
    if (q->echo) tokens += q->prompts[i].ids.count;
    row->cost += q->n * one + q->prompts[i].ids.count * sizeof(int32_t) + q->prompts[i].text_length;
    row->line_cost += q->n * tokens * (per_token + LINE_PER_BYTE);
  }
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
    snprintf(row->error.message, sizeof row->error.message, "%s", e->error.message);
    return row;
  }
  fg_json_put_string(&row->custom_id, e->custom_id, e->custom_id_length);
  fg_endpoint endpoint = FG_ENDPOINT_COMPLETIONS;
  if (check_envelope(row, e, duplicate, &endpoint) &&
      fg_job_request_read(&row->request, &setting->context, endpoint, e->body, &row->error))
    count_costs(row);
  return row;
}

void fg_batch_row_destroy(fg_batch_row *row) {
  if (!row) return;
  for (uint32_t i = 0; i < row->count; i++) fg_choice_free(&row->choices[i]);
  free(row->choices);
  fg_job_request_destroy(row->request);
  fg_text_free(&row->custom_id);
  free(row);
}

// ---- through the engine ------------------------------------------------------------------------------

static void fail_row(fg_batch_row *row, const fg_error *err) {
  if (row->error.status) return;
  fg_api_fail(&row->error, NULL, "%s", err->message);
  if (err->status == FG_INVALID) return;
  row->error.status = 500;
  row->error.type = "server_error";
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

static fg_status submit_choices(fg_batch_row *row, fg_error *err) {
  uint32_t count = fg_job_request_choices(row->request);
  row->choices = calloc(count, sizeof *row->choices);
  if (!row->choices) return fg_fail(err, FG_NO_SPACE, "out of memory for %u choices", count);
  fg_status status = FG_OK;
  while (status == FG_OK && row->count < count) {
    row->left++;
    status = submit_choice(row, row->count++, err);
    if (status != FG_OK) row->left--; // the engine never heard of it
  }
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
  if (row->error.status) {
    fg_response_error(line, &row->error);
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
  fg_json_put_cstring(line, row->error.message);
  fg_text_append_string(line, "}}\n");
}

// The order of the members is part of what output.c relies on.
void fg_batch_row_put_line(fg_batch_row *row, fg_text *line) {
  fg_text_printf(line, "{\"id\":\"batch_req_%016" PRIx64 "\",\"custom_id\":", row->id);
  if (row->code) {
    put_unreadable(row, line);
    return;
  }
  if (!row->error.status) (void)fg_response_check(row->choices, row->count, &row->error);
  fg_text_append(line, row->custom_id.data, row->custom_id.length);
  fg_text_printf(line, ",\"response\":{\"status_code\":%d,\"request_id\":\"req_%016" PRIx64 "\",\"body\":",
                 row->error.status ? row->error.status : 200, row->id);
  put_body(row, line);
  fg_text_append_string(line, "},\"error\":null}\n");
}
