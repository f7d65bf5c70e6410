// Whether the server is well, and what it serves.
#include <string.h>

#include "serve/server_internal.h"

// Alive, as load balancers ask: 200 without a body, or an error.
void fg_handle_health(void *server, fg_exchange *x) {
  fg_server *s = server;
  fg_service_figures figures;
  fg_service_get_figures(s->service, &figures);
  if (figures.failed)
    fg_exchange_refuse(x, 503, NULL, "the engine has failed");
  else if (atomic_load(&s->draining))
    fg_exchange_refuse(x, 503, NULL, "this server is going down");
  else
    fg_exchange_answer(x, 200, NULL, &(fg_text){0});
}

static json_t *model_json(const fg_server *s, const char *name) {
  return json_pack("{s:s,s:s,s:I,s:s,s:s,s:n,s:I}", "id", name, "object", "model", "created",
                   (json_int_t)s->started, "owned_by", "flexgen", "root", s->context.info.name, "parent",
                   "max_model_len", (json_int_t)s->context.info.max_model_len);
}

void fg_handle_models(void *server, fg_exchange *x) {
  const fg_server *s = server;
  json_t *data = json_array();
  bool ok = data && json_array_append_new(data, model_json(s, s->model_name)) == 0;
  for (uint32_t i = 1; i < s->options.model_name_count; i++)
    ok = ok && json_array_append_new(data, model_json(s, s->options.model_names[i])) == 0;
  json_t *list = ok ? json_pack("{s:s,s:O}", "object", "list", "data", data) : NULL;
  json_decref(data);
  fg_exchange_answer_json(x, 200, list);
}

void fg_handle_model(void *server, fg_exchange *x) {
  const fg_server *s = server;
  const char *name = fg_exchange_part(x, 0);
  if (fg_server_check_model(s, x, name)) fg_exchange_answer_json(x, 200, model_json(s, name));
}

// A model that is served by its own name answers to ORG/NAME too, as the Hub calls it.
static bool goes_by(const fg_server *s, const char *name) {
  const char *last = strrchr(name, '/');
  if (strcmp(name, s->model_name) == 0) return true;
  if (!s->options.model_name_count) return last && strcmp(last + 1, s->model_name) == 0;
  for (uint32_t i = 1; i < s->options.model_name_count; i++)
    if (strcmp(name, s->options.model_names[i]) == 0) return true;
  return false;
}

bool fg_server_check_model(const fg_server *s, fg_exchange *x, const char *name) {
  if (!name || goes_by(s, name)) return true;
  fg_exchange_refuse(x, 404, "model_not_found", "there is no model \"%.100s\" here, only \"%.100s\"", name,
                     s->model_name);
  return false;
}
