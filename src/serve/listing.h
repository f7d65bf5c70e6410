// listing.h: lists of files and batches, as clients page through them: ?limit=N&after=ID&order=asc|desc.
#ifndef FG_SERVE_LISTING_H
#define FG_SERVE_LISTING_H

#include <jansson.h>
#include <stdint.h>

struct fg_exchange;

// Answers with the part of `items` that is asked for; objects with an "id", the youngest first. Takes over
// the reference; NULL: 500. `limit` is how many where nobody says, `most` what may be asked for.
void fg_listing_answer(struct fg_exchange *x, json_t *items, uint32_t limit, uint32_t most);

#endif
