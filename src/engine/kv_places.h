// kv_places.h: in which memory each page of the KV cache lives. Pure: numbers in, numbers out.
//
// The scheduler deals in pages that are only numbers. Here each gets a home when its first token is computed:
// a slot in fast memory, which has room for the page in every layer; or a place in host memory; or one on
// disk. Homes are handed out in this order and kept until the page is dropped: every page is used once a
// step, so moving the lately used ones up would only move them.
//
// A page is written once. So one that is not full yet stands in fast memory, in a slot of a few that are set
// apart (open slots: one for each sequence, and some). When it is full and fast memory has no room to keep
// it, it gets its home elsewhere and leaves: until the step is over it is in both. A page that a chunk fills
// from its first to its last token has its home at once, and needs no slot.
//
// Where the CPU attends to what is not in fast memory, it takes the oldest keys and the device goes on: then
// the first pages of a sequence go elsewhere, as large a part as there is room for of all, and the last ones
// to fast memory.
//
// Pages of a sequence get neighbouring places on disk where these are free, so that they are read and
// written together.
#ifndef FG_ENGINE_KV_PLACES_H
#define FG_ENGINE_KV_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_kv_places fg_kv_places;

typedef struct fg_kv_places_limits {
  uint32_t device_pages, host_pages, disk_pages; // homes; together there is one for each page
  uint32_t open_slots; // fast slots beyond device_pages; 0 if every page has its home in fast memory
  uint32_t page_tokens;
  bool oldest_elsewhere; // the first pages of a sequence, rather than those that come last
} fg_kv_places_limits;

typedef enum fg_kv_home { FG_KV_NOWHERE, FG_KV_FAST, FG_KV_HOST, FG_KV_DISK } fg_kv_home;

enum { FG_KV_NO_SLOT = UINT32_MAX };

typedef struct fg_kv_place {
  fg_kv_home home;
  uint32_t index;  // of the place in its home; FAST: the slot
  uint32_t slot;   // where fast memory has it in this step, or FG_KV_NO_SLOT
  uint32_t serial; // of its coming to a home outside fast memory: the same only while the bytes there are
} fg_kv_place;

// Tokens [begin, end) of a sequence that has these pages, and how long it may become.
typedef struct fg_kv_tokens {
  const uint32_t *pages;
  uint32_t page_count;
  uint32_t begin, end, longest;
} fg_kv_tokens;

fg_status fg_kv_places_create(fg_kv_places **out, const fg_kv_places_limits *limits, fg_error *err);
void fg_kv_places_destroy(fg_kv_places *p);                     // NULL is allowed
uint64_t fg_kv_places_bytes(const fg_kv_places_limits *limits); // what create allocates

// Places the pages in which these tokens come to stand. A page whose first token is among them begins anew,
// and nothing is left of pages after them, which a sequence has that was begun again. FG_INTERNAL if homes or
// slots run out: then more pages were used than there are, or more sequences.
fg_status fg_kv_places_add(fg_kv_places *p, const fg_kv_tokens *tokens, fg_error *err);
// The step is over: what has left fast memory is in its home alone.
void fg_kv_places_settle(fg_kv_places *p);
// Nobody owns the page any more. Not between add and settle.
void fg_kv_places_drop(fg_kv_places *p, uint32_t page);

fg_kv_place fg_kv_places_of(const fg_kv_places *p, uint32_t page);
// Free homes and slots, for tests: all of them when every page was dropped.
fg_kv_places_limits fg_kv_places_left(const fg_kv_places *p);

#endif
