// The head of a request, changed as bytes: method, path, and the headers that say who asks. What a route
// takes from a path is a part of that path; a key opens only as it stands; no name of another site passes for
// this machine's.
#include <stdlib.h>
#include <string.h>

#include "fuzz_driver.h"
#include "serve/access.h"
#include "serve/server_internal.h"

enum { LINES = 5 }; // method, path, authorization, origin, host

static const char *const keys[] = {"secret", "another key"};

static const char *pick(fuzz_random *r, const char *const *list, size_t count) {
  return list[fuzz_below(r, count)];
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  static const char *const
      methods[] = {"GET", "POST", "HEAD", "DELETE", "PUT", "get"},
      *const paths[] = {"/v1/models", "/v1/models/org/name",  "/v1/models/x", "/health",  "/v1/completions",
                        "/",          "/v1/chat/completions", "//",           "/metrics/"},
      *const authorizations[] = {"Bearer secret", "bearer another key", "Bearer ", "Basic c2VjcmV0"},
      *const origins[] = {"http://localhost:8000", "https://evil.example", "null", "http://"},
      *const hosts[] = {"localhost:8000", "127.0.0.1", "[::1]:8000", "evil.example", "[", ":1"};
#define PICK(list) pick(r, list, sizeof(list) / sizeof *(list))
  fuzz_put_format(out, "%s\n%s\n%s\n%s\n%s", PICK(methods), PICK(paths), PICK(authorizations), PICK(origins),
                  PICK(hosts));
#undef PICK
  if (fuzz_chance(r, 80)) fuzz_noise(r, out);
}

static void check_route(const char *method, const char *path) {
  fg_api_route_match match;
  fg_api_route_find(&match, fg_server_routes, fg_server_route_count, method, path);
  if (memchr(match.allow, 0, sizeof match.allow) == NULL) fuzz_broken("the list of methods has no end");
  if (match.route && match.allow[0] && !match.route->handle) fuzz_broken("a route without a handler");
  for (int i = 0; i < FG_ROUTE_PARTS; i++) {
    const char *part = match.parts[i];
    if (part && (!match.route || !*part || !strstr(path, part)))
      fuzz_broken("'%s' is no part of '%s'", part, path);
  }
  fg_api_route_free(&match);
}

static void check_access(char *const *line) {
  const char *authorization = line[2], *host = line[4];
  if (fg_access_key(authorization, keys, 2) && !strstr(authorization, keys[0]) &&
      !strstr(authorization, keys[1]))
    fuzz_broken("'%s' opens", authorization);
  if (fg_access_origin(line[3], host) && !strstr(line[3], "://")) fuzz_broken("origin '%s'", line[3]);
  if (fg_access_loopback_host(host) && strncmp(host, "evil.", 5) == 0 && !strcasestr(host, "localhost"))
    fuzz_broken("host '%s'", host);
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  (void)path;
  char *text = malloc(input->count + 1), *line[LINES], *at = text;
  if (!text) fuzz_broken("no memory");
  if (input->count) memcpy(text, input->data, input->count);
  text[input->count] = '\0';
  for (int i = 0; i < LINES; i++) {
    line[i] = at ? at : text + strlen(text);
    at = at ? strchr(at, '\n') : NULL;
    if (at) *at++ = '\0';
  }
  check_route(line[0], line[1]);
  check_access(line);
  free(text);
  return FUZZ_ACCEPTED;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {
      .name = "request_head", .file_name = "head.txt", .make = make, .run = run};
  return fuzz_main(argc, argv, &target);
}
