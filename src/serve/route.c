#include "serve/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct span {
  const char *begin;
  size_t length;
} span;

// Whether a path is of the pattern; the spans get what its braces matched.
static bool matches(const char *pattern, const char *path, span parts[FG_ROUTE_PARTS]) {
  uint32_t count = 0;
  while (*pattern) {
    if (*pattern != '{') {
      if (*pattern++ != *path++) return false;
      continue;
    }
    const bool rest = pattern[1] == '+';
    const size_t length = rest ? strlen(path) : strcspn(path, "/");
    if (!length || count == FG_ROUTE_PARTS) return false;
    parts[count++] = (span){path, length};
    path += length;
    pattern += strcspn(pattern, "}");
    pattern += *pattern == '}';
  }
  return *path == '\0';
}

static bool answers(const fg_api_route *route, const char *method) {
  return strcmp(route->method, method) == 0 ||
         (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void allow(fg_api_route_match *out, const char *method) {
  const size_t used = strlen(out->allow);
  snprintf(out->allow + used, sizeof out->allow - used, "%s%s%s", used ? ", " : "", method,
           strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

static void keep_parts(fg_api_route_match *out, const span parts[FG_ROUTE_PARTS]) {
  for (uint32_t i = 0; i < FG_ROUTE_PARTS && parts[i].begin; i++) {
    out->parts[i] = strndup(parts[i].begin, parts[i].length);
    out->out_of_memory |= !out->parts[i];
  }
}

void fg_api_route_find(fg_api_route_match *out, const fg_api_route *routes, uint32_t count,
                       const char *method, const char *path) {
  *out = (fg_api_route_match){0};
  for (uint32_t i = 0; i < count; i++) {
    span parts[FG_ROUTE_PARTS] = {{0}};
    if (!matches(routes[i].pattern, path, parts)) continue;
    if (answers(&routes[i], method)) {
      out->route = &routes[i];
      keep_parts(out, parts);
      return;
    }
    allow(out, routes[i].method);
  }
}

void fg_api_route_free(fg_api_route_match *match) {
  for (uint32_t i = 0; i < FG_ROUTE_PARTS; i++) free(match->parts[i]);
  *match = (fg_api_route_match){0};
}
