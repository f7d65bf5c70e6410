// server_internal.h: what handlers know. A new endpoint is a handler here and a row in routes.c.
#ifndef FG_SERVE_SERVER_INTERNAL_H
#define FG_SERVE_SERVER_INTERNAL_H

#include <stdatomic.h>

#include "base/budget.h"
#include "base/log.h"
#include "job/request.h"
#include "serve/batches.h"
#include "serve/httpd.h"
#include "serve/live.h"
#include "serve/server.h"
#include "serve/service.h"

struct fg_server {
  fg_server_options options;
  fg_log log;        // forwards to the options' function
  fg_engine *engine; // its owner's alone
  fg_request_context context;
  fg_form_store forms; // the owner's alone: a form is made when its request is submitted
  fg_job_memory form_memory;
  fg_budget *memory; // for connections and requests: a part of the host budget, taken at the start
  uint64_t taken;    // of the host budget
  fg_service *service;
  fg_httpd *http;
  fg_access_log *access_log; // NULL: there is none
  fg_live *live;
  fg_file_store *files; // NULL, as batches: it keeps none
  fg_batches *batches;
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
    fg_handle_tokenize, fg_handle_detokenize, fg_handle_tokenizer_info, fg_handle_metrics, fg_handle_page,
    fg_handle_stats, fg_handle_upload, fg_handle_files, fg_handle_file, fg_handle_file_content,
    fg_handle_file_delete, fg_handle_batch_create, fg_handle_batches, fg_handle_batch, fg_handle_batch_cancel;
void fg_handle_upload_piece(void *server, fg_exchange *x, const char *bytes, size_t count);

// Whether the server goes by this name; NULL, none given, is fine. Otherwise the exchange is answered with
// 404.
bool fg_server_check_model(const fg_server *server, fg_exchange *x, const char *name);
// Whether there are files and batches here. Otherwise the exchange is answered with 501.
bool fg_server_keeps_files(const fg_server *server, fg_exchange *x);
// Takes memory of the server's for the answer. Otherwise the exchange is answered with 429.
bool fg_server_take(fg_exchange *x, uint64_t bytes);
// Answers with what a store or a batch has to say.
void fg_server_refuse(fg_exchange *x, const fg_error *err);

fg_status fg_server_open_files(fg_server *server, fg_error *err);
void fg_server_close_files(fg_server *server);

// A number for the ids of answers that nobody guesses.
uint64_t fg_server_new_id(fg_server *server);

#endif
