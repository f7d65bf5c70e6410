// body.h: the body of a request as JSON, within the server's memory.
#ifndef FG_SERVE_BODY_H
#define FG_SERVE_BODY_H

#include "serve/server_internal.h"

typedef struct fg_json_body {
  json_t *root; // an object
  uint64_t taken;
} fg_json_body;

// Reads what was sent and lets the text go. false: the exchange is answered with what is wrong, and there is
// nothing to free.
bool fg_json_body_read(fg_json_body *out, fg_exchange *x);
void fg_json_body_free(fg_json_body *body, fg_exchange *x);

#endif
