// Everything that is answered.
#include "serve/server_internal.h"

const fg_api_route fg_server_routes[] = {
    {"GET", "/", FG_ACCESS_OPEN, FG_BODY_NONE, fg_handle_page, NULL},
    {"GET", "/stats", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_stats, NULL},
    {"GET", "/health", FG_ACCESS_OPEN, FG_BODY_NONE, fg_handle_health, NULL},
    {"GET", "/v1/models", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_models, NULL},
    {"GET", "/v1/models/{+model}", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_model, NULL},
    {"POST", "/v1/completions", FG_ACCESS_KEY, FG_BODY_WHOLE, fg_handle_completions, NULL},
    {"POST", "/v1/chat/completions", FG_ACCESS_KEY, FG_BODY_WHOLE, fg_handle_chat, NULL},
    {"POST", "/v1/files", FG_ACCESS_KEY, FG_BODY_PIECES, fg_handle_upload, fg_handle_upload_piece},
    {"GET", "/v1/files", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_files, NULL},
    {"GET", "/v1/files/{id}", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_file, NULL},
    {"DELETE", "/v1/files/{id}", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_file_delete, NULL},
    {"GET", "/v1/files/{id}/content", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_file_content, NULL},
    {"POST", "/v1/batches", FG_ACCESS_KEY, FG_BODY_WHOLE, fg_handle_batch_create, NULL},
    {"GET", "/v1/batches", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_batches, NULL},
    {"GET", "/v1/batches/{id}", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_batch, NULL},
    {"POST", "/v1/batches/{id}/cancel", FG_ACCESS_KEY, FG_BODY_WHOLE, fg_handle_batch_cancel, NULL},
    {"POST", "/tokenize", FG_ACCESS_KEY, FG_BODY_WHOLE, fg_handle_tokenize, NULL},
    {"POST", "/detokenize", FG_ACCESS_KEY, FG_BODY_WHOLE, fg_handle_detokenize, NULL},
    {"GET", "/tokenizer_info", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_tokenizer_info, NULL},
    {"GET", "/metrics", FG_ACCESS_KEY, FG_BODY_NONE, fg_handle_metrics, NULL},
};

const uint32_t fg_server_route_count = sizeof fg_server_routes / sizeof *fg_server_routes;
