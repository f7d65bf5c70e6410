#include "serve/access.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool same_bytes(const char *a, const char *b) {
  const size_t length = strlen(a);
  unsigned different = length != strlen(b);
  // Of the caller's text all bytes are looked at, whatever the key's length.
  for (size_t i = 0, n = strlen(b); i < length; i++) different |= (unsigned)(a[i] ^ b[n ? i % n : 0]);
  return !different;
}

bool fg_access_key(const char *authorization, const char *const *keys, uint32_t count) {
  static const char scheme[] = "Bearer ";
  if (!count) return true;
  if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0) return false;
  authorization += sizeof scheme - 1;
  while (*authorization == ' ') authorization++;
  bool known = false;
  for (uint32_t i = 0; i < count; i++) known |= same_bytes(authorization, keys[i]);
  return known;
}

bool fg_access_origin(const char *origin, const char *host) {
  if (!origin) return true;
  const char *name = strstr(origin, "://");
  return name && host && strcasecmp(name + 3, host) == 0;
}

// The name in "name:port" or "[address]:port".
static bool split_host(const char *host, char *name, size_t size) {
  const char *begin = host + (*host == '[');
  const size_t length = strcspn(begin, *host == '[' ? "]" : ":");
  return length && (size_t)snprintf(name, size, "%.*s", (int)length, begin) < size;
}

static bool ends_with(const char *text, const char *end) {
  const size_t length = strlen(text), tail = strlen(end);
  return length >= tail && strcasecmp(text + length - tail, end) == 0;
}

bool fg_access_loopback_host(const char *host) {
  char name[256];
  unsigned char address[sizeof(struct in6_addr)];
  if (!host) return true; // HTTP/1.0 needs none, and browsers send one
  if (!split_host(host, name, sizeof name)) return false;
  return strcasecmp(name, "localhost") == 0 || ends_with(name, ".localhost") ||
         inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

bool fg_access_is_loopback(const char *address) {
  struct in_addr four;
  struct in6_addr six;
  if (strcasecmp(address, "localhost") == 0) return true;
  if (inet_pton(AF_INET, address, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}
