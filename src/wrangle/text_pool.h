// text_pool.h: texts that live as long as what was read, side by side in blocks.
#ifndef FG_WRANGLE_TEXT_POOL_H
#define FG_WRANGLE_TEXT_POOL_H

#include "text/unicode.h"

typedef struct fg_pool_block fg_pool_block;

typedef struct fg_text_pool {
  fg_pool_block *blocks; // the newest first
} fg_text_pool;

// A copy, with a zero behind it; data NULL without memory.
fg_slice fg_pool_copy(fg_text_pool *pool, const char *bytes, size_t length);
void fg_pool_free(fg_text_pool *pool);

#endif
