// httpd.h: the HTTP side of the server, on libmicrohttpd: connections in, exchanges to the handlers of a
// route table.
//
// A few threads serve all connections; none has a thread of its own. They read requests, check who asks and
// how much is sent, and call the route's handler when all of the body is there (route.h). A handler answers
// at once, or holds its exchange: then the connection sleeps, and costs nothing but memory, until it is woken
// (exchange.h).
//
// Whoever closes its side of the connection before its answer is whole is taken to be gone, as elsewhere on
// the web: TCP does not tell a closed socket from a half-closed one, and work for nobody is what a busy
// engine has least use for.
//
// Memory: what connections take at most is taken from the budget at the start; bodies are, as they come;
// whatever else an exchange needs its handler takes (fg_exchange_take).
#ifndef FG_SERVE_HTTPD_H
#define FG_SERVE_HTTPD_H

#include "base/budget.h"
#include "serve/access_log.h"
#include "serve/exchange.h"
#include "serve/patience.h"
#include "serve/route.h"

typedef struct fg_httpd fg_httpd;

typedef struct fg_httpd_options {
  const char *host; // name or address
  uint16_t port;    // 0: any that is free
  const fg_api_route *routes;
  uint32_t route_count;
  void *server;            // handed to handlers
  const char *const *keys; // none: everyone may
  uint32_t key_count;
  uint32_t max_connections; // more wait to be accepted
  uint64_t max_body;        // bytes of a body
  fg_patience patience;
  uint32_t quiet_ms;  // an exchange that sleeps so long is woken to look again
  fg_access_log *log; // NULL: none
  fg_budget *memory;
} fg_httpd_options;

typedef struct fg_httpd_figures {
  uint32_t connections, exchanges; // open now
  uint64_t answers[6];             // by the first digit of the status; [0]: the client was gone
} fg_httpd_figures;

fg_status fg_httpd_start(fg_httpd **out, const fg_httpd_options *options, fg_error *err);
uint16_t fg_httpd_port(const fg_httpd *http);
fg_httpd *fg_httpd_of(const fg_exchange *x);
void fg_httpd_get_figures(fg_httpd *http, fg_httpd_figures *out);

// No new connection is accepted, and on those there are a new request is answered with 503.
void fg_httpd_refuse_new(fg_httpd *http);
// Bytes that connections take at most.
uint64_t fg_httpd_memory(uint32_t max_connections);
// Waits until the answers that are under way are sent, some seconds at most, then closes all. Held exchanges
// are told that nobody waits any more. NULL is allowed.
void fg_httpd_stop(fg_httpd *http, uint32_t seconds);

#endif
