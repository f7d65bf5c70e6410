// sha.h: SHA-1 and SHA-256 of what comes piece by piece, by the system's library: libcrypto, on macOS its
// own.
#ifndef FG_HUB_SHA_H
#define FG_HUB_SHA_H

#include <stdbool.h>
#include <stddef.h>

enum { FG_SHA_MOST_BYTES = 32 };
typedef enum fg_sha_kind { FG_SHA_1, FG_SHA_256 } fg_sha_kind;
typedef struct fg_sha fg_sha;

fg_sha *fg_sha_create(fg_sha_kind kind); // NULL: no memory, or the library refuses it
void fg_sha_destroy(fg_sha *sha);
bool fg_sha_add(fg_sha *sha, const void *data, size_t count);
size_t fg_sha_end(fg_sha *sha, unsigned char out[FG_SHA_MOST_BYTES]); // bytes of the sum; 0: failed

#endif
