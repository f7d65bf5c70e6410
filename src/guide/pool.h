// pool.h: the memory that all guides of a job have together.
#ifndef FG_GUIDE_POOL_H
#define FG_GUIDE_POOL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fg_guide_pool {
  uint64_t limit, used; // bytes
} fg_guide_pool;

static inline bool fg_guide_pool_take(fg_guide_pool *pool, uint64_t bytes) {
  if (bytes > pool->limit - pool->used) return false;
  pool->used += bytes;
  return true;
}

static inline void fg_guide_pool_give(fg_guide_pool *pool, uint64_t bytes) {
  pool->used -= bytes;
}

#endif
