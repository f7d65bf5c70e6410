#include "wrangle/text_pool.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 10 };

struct fg_pool_block {
  fg_pool_block *older;
  size_t used, size;
  char bytes[];
};

static fg_pool_block *new_block(fg_text_pool *pool, size_t size) {
  fg_pool_block *block = malloc(sizeof *block + size);
  if (!block) return NULL;
  *block = (fg_pool_block){.older = pool->blocks, .size = size};
  pool->blocks = block;
  return block;
}

fg_slice fg_pool_copy(fg_text_pool *pool, const char *bytes, size_t length) {
  fg_pool_block *block = pool->blocks;
  if (!block || block->size - block->used <= length)
    block = new_block(pool, length < BLOCK_BYTES ? BLOCK_BYTES : length + 1);
  if (!block) return (fg_slice){0};
  char *copy = block->bytes + block->used;
  if (length) memcpy(copy, bytes, length);
  copy[length] = 0;
  block->used += length + 1;
  return (fg_slice){copy, length};
}

void fg_pool_free(fg_text_pool *pool) {
  while (pool->blocks) {
    fg_pool_block *block = pool->blocks;
    pool->blocks = block->older;
    free(block);
  }
}
