// digest.h: what a blob's name says about its contents.
//
// 64 hexadecimal digits are the SHA-256 of the bytes (large files), 40 are git's SHA-1 of a blob, "blob
// SIZE", a zero byte and the bytes. A server with names of another kind gives nothing to compare with.
#ifndef FG_HUB_DIGEST_H
#define FG_HUB_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_hub_digest fg_hub_digest;

// `bytes` is the size of the whole file.
fg_status fg_hub_digest_create(fg_hub_digest **out, const char *etag, uint64_t bytes, fg_error *err);
void fg_hub_digest_destroy(fg_hub_digest *digest); // NULL is fine
void fg_hub_digest_add(fg_hub_digest *digest, const void *data, size_t count);
// Whether what was added is what the name says; ends the digest. True for a name that says nothing.
bool fg_hub_digest_matches(fg_hub_digest *digest);

#endif
