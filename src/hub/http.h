// http.h: one request over HTTP, redirects included.
//
// A request has an answer as soon as a server said a status, whatever the status is; answers.h knows what
// statuses mean. Redirects are followed here, for the token must go to the Hub and to nobody else: not to a
// CDN, another port or another scheme. HEAD stops where another host begins, as signed addresses are for GET
// only, and what the Hub said about the file (commit, hash, size) came with its own answer.
//
// One thread at a time. libcurl does the work and is loaded when the first request is made, not with the
// program: it and its thirty libraries cost every process 20 ms and 6 MB of memory.
#ifndef FG_HUB_HTTP_H
#define FG_HUB_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_http fg_http;

typedef struct fg_http_options {
  const char *token;           // "" = none
  unsigned stall_s;            // a server that is silent for so long is gone
  bool (*stopped)(void *user); // asked at least once a second
  void *user;
} fg_http_options;

#define FG_HTTP_UNKNOWN_SIZE UINT64_MAX

typedef struct fg_http_answer {
  long status;      // of the last server that was asked; 0 = none answered
  bool cut;         // the connection failed or broke; another try may help
  uint64_t bytes;   // of the whole file, FG_HTTP_UNKNOWN_SIZE if nobody said
  uint64_t from;    // where the body begins in the file (206)
  unsigned retry_s; // Retry-After, 0 = not said
  char commit[64], etag[160], code[64], message[256]; // as the Hub says them: hostile
} fg_http_answer;

typedef struct fg_http_request {
  const char *url;
  bool head;
  uint64_t from; // ask for the bytes from here on
  // Takes a piece of the body of a 200 or 206; anything but FG_OK ends the request with it. Bodies of other
  // answers are thrown away.
  fg_status (*take)(void *user, const fg_http_answer *answer, const void *data, size_t count, fg_error *err);
  void *user;
} fg_http_request;

fg_status fg_http_create(fg_http **out, const fg_http_options *options, fg_error *err);
void fg_http_destroy(fg_http *http); // NULL is fine

// FG_OK: there is an answer, and all of its body was taken. FG_CANCELLED: stopped. Else the reason; with
// answer->cut it lies with the connection.
fg_status fg_http_do(fg_http *http, const fg_http_request *request, fg_http_answer *answer, fg_error *err);

#endif
