#include "serve/body.h"

#include <inttypes.h>

#include "base/json.h"

bool fg_json_body_read(fg_json_body *out, fg_exchange *x) {
  const fg_text *text = fg_exchange_body(x);
  const uint64_t cost = fg_json_parse_cost(text->data, text->length);
  fg_error err;
  *out = (fg_json_body){.taken = cost};
  if (cost > fg_exchange_memory(x)) {
    fg_exchange_refuse(x, 413, NULL,
                       "reading this body may take %" PRIu64 " bytes and the server has %" PRIu64
                       " for requests; send less at once",
                       cost, fg_exchange_memory(x));
    return false;
  }
  if (fg_exchange_take(x, cost, "reading a request", &err) != FG_OK) {
    fg_exchange_refuse_for_now(x);
    return false;
  }
  out->root = fg_json_parse(text->data ? text->data : "", text->length, "JSON", &err);
  fg_exchange_drop_body(x);
  if (json_is_object(out->root)) return true;
  if (out->root)
    fg_exchange_refuse(x, 400, "invalid_json", "the body must be a JSON object");
  else
    fg_exchange_refuse(x, 400, "invalid_json", "%s", err.message);
  fg_json_body_free(out, x);
  return false;
}

void fg_json_body_free(fg_json_body *body, fg_exchange *x) {
  json_decref(body->root);
  fg_exchange_give(x, body->taken);
  *body = (fg_json_body){0};
}
