// piece_cache.h: the ids of short pre-tokens seen before. Words recur; looking one up costs a tenth of
// cutting it. One slot a hash, the later pre-token wins; it belongs to one caller at a time.
#ifndef FG_TEXT_PIECE_CACHE_H
#define FG_TEXT_PIECE_CACHE_H

#include <stdbool.h>

#include "text/tokenizer.h"
#include "text/unicode.h"

typedef struct fg_piece_cache fg_piece_cache;

fg_status fg_piece_cache_create(fg_piece_cache **out, fg_error *err);
void fg_piece_cache_destroy(fg_piece_cache *cache);

// Appends the ids if the pre-token is known. `slot` is for fg_piece_cache_keep, NULL if it is too long.
typedef struct fg_cached_piece fg_cached_piece;
fg_status fg_piece_cache_find(fg_piece_cache *cache, fg_slice piece, fg_ids *ids, fg_cached_piece **slot,
                              bool *found, fg_error *err);
// Keeps the ids from `first` on, if they are few enough.
void fg_piece_cache_keep(fg_cached_piece *slot, fg_slice piece, const fg_ids *ids, size_t first);

#endif
