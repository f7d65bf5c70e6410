// server.h: an engine as an OpenAI-compatible HTTP server.
//
// Three parts: the HTTP side (httpd.h) reads requests and writes answers in a few threads; handlers (routes.c
// has the table) turn requests into work; the service (service.h) lets the engine's owner do it, many
// requests in each step. docs/server.md is what clients see.
//
// Threads: the engine's owner creates, runs and destroys it.
#ifndef FG_SERVE_SERVER_H
#define FG_SERVE_SERVER_H

#include <signal.h>

#include "flexgen/engine.h"
#include "serve/file_store.h"

typedef struct fg_server fg_server;

typedef struct fg_server_options {
  const char *host;
  uint16_t port;           // 0: any that is free
  const char *const *keys; // none: everyone may
  uint32_t key_count;
  const char *const *model_names; // the first is shown; none: the model's own
  uint32_t model_name_count;
  uint32_t max_connections, max_queue;
  uint64_t max_body;
  uint32_t header_seconds, idle_seconds;
  uint32_t quiet_ms; // a stream that has nothing to say says so as often; 0: every 15 seconds
  uint64_t seed;     // of sampling, for requests that bring none
  // Where files and batches are kept; NULL: there are none. Where it is optional and cannot be had, the
  // server does without, and says so.
  const char *data_folder;
  bool data_optional;
  fg_file_limits file_limits;
  uint32_t batch_expiry_seconds; // 0: 24 hours
  const char *access_log;        // a file for a line for each request (access_log.h), or "-"; NULL: none
  double open_seconds;           // that the engine took, for the page
  // Lines for people, as the engine's; from the owner's thread. May be NULL.
  void (*log)(void *user, int level, const char *line);
  void *user;
} fg_server_options;

// Of a host budget, what the server takes for connections and requests: the engine's plan leaves it
// (fg_workload.host_bytes). 0 = unlimited.
uint64_t fg_server_memory(uint64_t host_budget);

// Listens already when it returns.
fg_status fg_server_create(fg_server **out, fg_engine *engine, const fg_server_options *options,
                           fg_error *err);
void fg_server_destroy(fg_server *server);
uint16_t fg_server_port(const fg_server *server);
// For a signal handler: 8 bytes that are not 0, written to this, make fg_server_run look at *stop.
int fg_server_wake_fd(const fg_server *server);

// Answers requests until *stop is set; then no more are taken, those there are finished, and it is
// FG_CANCELLED.
fg_status fg_server_run(fg_server *server, const volatile sig_atomic_t *stop, fg_error *err);

#endif
