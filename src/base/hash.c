#include "base/hash.h"

#include <xxhash.h>

uint64_t fg_hash(const void *data, size_t bytes) {
  return XXH3_64bits(data, bytes);
}

uint64_t fg_hash_more(uint64_t hash, const void *data, size_t bytes) {
  return XXH3_64bits_withSeed(data, bytes, hash);
}
