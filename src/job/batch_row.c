#include "job/batch_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "job/json_out.h"

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

static void count_costs(fg_batch_row *row) {
  const fg_job_request *q = row->answer.request;
  row->held = sizeof *row + row->custom_id.capacity + fg_job_request_bytes(q);
  row->cost = fg_answer_cost(q, &row->setting->context);
  row->line_cost = fg_answer_json_cost(q, &row->setting->context);
}

static void read_request(fg_batch_row *row, row_reading *reading) {
  fg_endpoint endpoint = FG_ENDPOINT_COMPLETIONS;
  if (check_envelope(row, reading, &endpoint) &&
      fg_job_request_read(&row->answer.request, &row->setting->context, endpoint, reading->envelope->body,
                          &reading->error))
    count_costs(row);
  else
    keep_error(row, &reading->error);
}

// With its custom_id; without, and with an error, where the line cannot be read.
static fg_batch_row *new_row(const fg_batch_setting *setting, uint64_t number, const fg_line *line,
                             const fg_envelope *e) {
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
  return row;
}

fg_batch_row *fg_batch_row_create(const fg_batch_setting *setting, uint64_t number, const fg_line *line,
                                  const fg_envelope *e, bool duplicate) {
  fg_batch_row *row = new_row(setting, number, line, e);
  if (row && !row->code) read_request(row, &(row_reading){.envelope = e, .duplicate = duplicate});
  return row;
}

fg_batch_row *fg_batch_row_unanswered(const fg_batch_setting *setting, uint64_t number, const fg_line *line,
                                      const fg_envelope *e, const fg_row_end *end) {
  fg_batch_row *row = new_row(setting, number, line, e);
  if (!row || row->code) return row;
  row->code = end->code;
  fg_batch_row_refuse(row, end->message);
  return row;
}

void fg_batch_row_destroy(fg_batch_row *row) {
  if (!row) return;
  fg_answer_free(&row->answer);
  fg_text_free(&row->custom_id);
  if (row->error != &no_memory) free((void *)(uintptr_t)row->error);
  free(row);
}

// ---- through the engine ------------------------------------------------------------------------------

fg_order_item fg_batch_row_item(const fg_batch_row *row) {
  const fg_job_request *q = row->answer.request;
  fg_order_item item = fg_answer_item(q, &row->setting->context, 0);
  for (uint32_t i = 1; i < q->prompt_count; i++) {
    const uint32_t generated = fg_answer_item(q, &row->setting->context, i).generated;
    if (generated > item.generated) item.generated = generated;
  }
  return item;
}

static void answer_done(void *user, fg_answer *answer) {
  fg_batch_row *row = user;
  fg_api_error error;
  if (!fg_answer_check(answer, &error)) keep_error(row, &error);
  row->setting->complete(row->setting->user, row);
}

void fg_batch_row_submit(fg_batch_row *row) {
  const fg_batch_setting *setting = row->setting;
  fg_answer *a = &row->answer;
  a->engine = setting->engine;
  a->context = &setting->context;
  a->key = (fg_choice_key){setting->seed, row->line};
  a->done = answer_done;
  a->user = row;
  fg_answer_submit(a);
}

void fg_batch_row_cancel(fg_batch_row *row) {
  fg_answer_cancel(&row->answer);
}

// ---- out ---------------------------------------------------------------------------------------------

static void put_body(const fg_batch_row *row, fg_text *line) {
  if (row->error) {
    fg_response_error(line, row->error);
    return;
  }
  char id[32];
  bool chat = row->answer.request->endpoint == FG_ENDPOINT_CHAT;
  snprintf(id, sizeof id, "%s-%016" PRIx64, chat ? "chatcmpl" : "cmpl", row->id);
  const fg_batch_setting *setting = row->setting;
  fg_response_head head = {
      .id = id, .created = setting->id_seed ? (int64_t)time(NULL) : 0, .model = setting->context.info.name};
  fg_response_body(line, &head, row->answer.choices, row->answer.count);
}

static void put_without_response(const fg_batch_row *row, fg_text *line) {
  fg_text_append_string(line, "\"response\":null,\"error\":{\"code\":");
  fg_json_put_cstring(line, row->code);
  fg_text_append_string(line, ",\"message\":");
  fg_json_put_cstring(line, row->error->message);
  fg_text_append_string(line, "}}\n");
}

// The order of the members is part of what output.c relies on.
void fg_batch_row_put_line(fg_batch_row *row, fg_text *line) {
  fg_text_printf(line, "{\"id\":\"batch_req_%016" PRIx64 "\",\"custom_id\":%s,", row->id,
                 row->custom_id.length ? row->custom_id.data : "null");
  if (row->code) {
    put_without_response(row, line);
    return;
  }
  fg_text_printf(line, "\"response\":{\"status_code\":%d,\"request_id\":\"req_%016" PRIx64 "\",\"body\":",
                 row->error ? row->error->status : 200, row->id);
  put_body(row, line);
  fg_text_append_string(line, "},\"error\":null}\n");
}
