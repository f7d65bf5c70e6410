// access.h: who may come in: keys, and pages of other sites.
//
// A server on the loopback address is reached by every page that a browser on this machine shows. Such a page
// cannot be kept from sending, but its requests say where they come from (Origin), and a page that had its
// own name pointed at the loopback address says that name (Host): both are turned away.
//
// Pure: texts of headers in, verdicts out. NULL is a header that was not sent.
#ifndef FG_SERVE_ACCESS_H
#define FG_SERVE_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

// Whether `authorization` is "Bearer KEY" with one of the keys; how long it takes does not tell how much of a
// key was right. No keys: everyone may.
bool fg_access_key(const char *authorization, const char *const *keys, uint32_t count);

// Whether a request that names this origin comes from a page of this server itself, or from no page at all.
bool fg_access_origin(const char *origin, const char *host);

// Whether a server that is bound to the loopback address may be called by this name: an address, localhost or
// a name below it.
bool fg_access_loopback_host(const char *host);

// Whether an address to bind to can be reached from this machine only.
bool fg_access_is_loopback(const char *address);

#endif
