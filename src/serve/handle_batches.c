// Batches: made of an uploaded file, looked at, cancelled.
#include "base/json.h"
#include "serve/batches.h"
#include "serve/listing.h"
#include "serve/server_internal.h"

enum {
  LISTED = 20,
  LISTED_MOST = 100,
  ENTRY_BYTES = 4096, // of a list, about: as JSON, and its text
};

static void refuse_field(fg_exchange *x, const char *param, const char *why) {
  fg_api_error error = {0};
  fg_api_fail(&error, param, "%s", why);
  fg_exchange_fail(x, &error);
}

void fg_handle_batch_create(void *server, fg_exchange *x) {
  fg_server *s = server;
  fg_error err;
  if (!fg_server_keeps_files(s, x)) return;
  const fg_text *text = fg_exchange_body(x);
  json_t *body = fg_json_parse(text->length ? text->data : "", text->length, "body", &err);
  if (!body) {
    fg_exchange_refuse(x, 400, NULL, "%s", err.message);
    return;
  }
  fg_batch_record wish;
  const char *param, *wrong = fg_batch_wish_read(&wish, body, &param);
  json_t *object = NULL;
  if (wrong)
    refuse_field(x, param, wrong);
  else if (fg_batches_create(s->batches, &wish, &object, &err) == FG_OK)
    fg_exchange_answer_json(x, 200, object);
  else
    fg_server_refuse(x, &err);
  if (!object) fg_batch_record_free(&wish);
  json_decref(body);
  if (object) fg_service_wake(s->service);
}

void fg_handle_batches(void *server, fg_exchange *x) {
  fg_server *s = server;
  if (!fg_server_keeps_files(s, x) ||
      !fg_server_take(x, (uint64_t)ENTRY_BYTES * (1 + fg_batches_count(s->batches))))
    return;
  fg_listing_answer(x, fg_batches_list(s->batches), LISTED, LISTED_MOST);
}

void fg_handle_batch(void *server, fg_exchange *x) {
  fg_server *s = server;
  if (!fg_server_keeps_files(s, x)) return;
  json_t *object = fg_batches_get(s->batches, fg_exchange_part(x, 0));
  if (object)
    fg_exchange_answer_json(x, 200, object);
  else
    fg_exchange_refuse(x, 404, NULL, "there is no batch \"%.60s\"", fg_exchange_part(x, 0));
}

void fg_handle_batch_cancel(void *server, fg_exchange *x) {
  fg_server *s = server;
  fg_error err;
  json_t *object;
  if (!fg_server_keeps_files(s, x)) return;
  if (fg_batches_cancel(s->batches, fg_exchange_part(x, 0), &object, &err) != FG_OK) {
    fg_server_refuse(x, &err);
    return;
  }
  fg_exchange_answer_json(x, 200, object);
  fg_service_wake(s->service);
}
