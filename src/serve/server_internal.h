// server_internal.h: what handlers know. A new endpoint is a handler here and a row in routes.c.
#ifndef FG_SERVE_SERVER_INTERNAL_H
#define FG_SERVE_SERVER_INTERNAL_H

#include <stdatomic.h>

#include "base/budget.h"
#include "job/request.h"
#include "serve/httpd.h"
#include "serve/server.h"
#include "serve/service.h"

struct fg_server {
  fg_server_options options;
  fg_engine *engine; // its owner's alone
  fg_request_context context;
  fg_budget *memory; // for connections and requests: a part of the host budget, taken at the start
  uint64_t taken;    // of the host budget
  fg_service *service;
  fg_httpd *http;
  const char *model_name;
  int64_t started; // seconds since 1970
  uint64_t id_seed;
  atomic_uint_fast64_t next_id,
      next_row; // next_row: of the key by which a request samples that brings no seed
  atomic_bool draining;
};

extern const fg_api_route fg_server_routes[];
extern const uint32_t fg_server_route_count;

// Handlers: `server` is the fg_server.
typedef void fg_handler(void *server, fg_exchange *x);
fg_handler fg_handle_health, fg_handle_models, fg_handle_model, fg_handle_completions, fg_handle_chat,
    fg_handle_tokenize, fg_handle_detokenize, fg_handle_tokenizer_info, fg_handle_metrics;

// Whether the server goes by this name; NULL, none given, is fine. Otherwise the exchange is answered with
// 404.
bool fg_server_check_model(const fg_server *server, fg_exchange *x, const char *name);
// A number for the ids of answers that nobody guesses.
uint64_t fg_server_new_id(fg_server *server);

#endif
