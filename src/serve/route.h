// route.h: which function answers which request: a table of rows, searched from the top.
//
// A pattern is a path whose segments in braces match anything but a slash: "/v1/files/{id}/content". A last
// segment
// {+name} takes the rest of the path, slashes included: names of models have them. GET answers HEAD too.
//
// Pure: plain text in and out.
#ifndef FG_SERVE_ROUTE_H
#define FG_SERVE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FG_ROUTE_PARTS = 2, FG_ROUTE_ALLOW = 64 };

struct fg_exchange;

// Who may call it, where the server has keys.
typedef enum fg_access { FG_ACCESS_KEY, FG_ACCESS_OPEN } fg_access;

typedef enum fg_body_kind {
  FG_BODY_NONE,   // what is sent is dropped
  FG_BODY_WHOLE,  // collected, up to the server's limit; the handler sees all of it
  FG_BODY_PIECES, // `piece` gets it as it comes
} fg_body_kind;

typedef struct fg_api_route {
  const char *method, *pattern;
  fg_access access;
  fg_body_kind body;
  // All of the request is there. `server` is what the HTTP side was started with.
  void (*handle)(void *server, struct fg_exchange *x);
  // The next bytes of the body, before `handle`. If it answers, the rest of the body is dropped and `handle`
  // is not called.
  void (*piece)(void *server, struct fg_exchange *x, const char *bytes, size_t length);
} fg_api_route;

typedef struct fg_api_route_match {
  const fg_api_route *route;   // NULL: none
  char *parts[FG_ROUTE_PARTS]; // what the segments in braces matched; see fg_api_route_free
  char allow[FG_ROUTE_ALLOW]; // methods that this path knows, as the header Allow has them; "" = no such path
  bool out_of_memory;
} fg_api_route_match;

void fg_api_route_find(fg_api_route_match *out, const fg_api_route *routes, uint32_t count,
                       const char *method, const char *path);
void fg_api_route_free(fg_api_route_match *match);

#endif
