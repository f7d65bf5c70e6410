// hash.h: a checksum for extents (XXH3, 64 bits) and an incremental one for keys of stores and jobs.
// Not for secrets.
#ifndef FG_BASE_HASH_H
#define FG_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t fg_hash(const void *data, size_t bytes);
uint64_t fg_hash_more(uint64_t hash, const void *data, size_t bytes); // chain: order matters

#endif
