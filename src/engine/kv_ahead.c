// What the next step will read, while this one ends and the next is not planned yet.
//
// A sequence that has computed all of its tokens and may go on decodes in the next step: its old pages are
// known before its next token is. So they are listed as if that step were there, in the order of this one's
// chunks. When it is, its chunks take the frames in which they find their pages; frames in which nobody does
// are dropped. A page is told by the serial number of its coming to its home, so one that has a new owner is
// not mistaken for what it was.
#include <string.h>

#include "engine/kv_cache_internal.h"

// ---- listing and reading --------------------------------------------------------------------------------

static bool goes_on(const fg_kv_chunk *c) {
  return c->begin + c->count == c->known && c->known + 1 < c->longest;
}

static fg_kv_chunk next_of(const fg_kv_chunk *c) {
  fg_kv_chunk next = *c;
  next.begin = c->known;
  next.count = 1;
  return next;
}

// Places of a frame for a chunk that is expected, as they are listed: its page that is being filled may leave
// its slot.
static uint32_t places_for(const fg_kv_cache *kv, const fg_kv_chunk *before, const fg_kv_chunk *next) {
  uint32_t count = fg_kv_places_taken(kv, next) + ((next->begin + 1) % kv->page_tokens == 0);
  for (uint32_t i = 0; before && i * kv->page_tokens < next->begin; i++) {
    const fg_kv_home home = fg_kv_places_of(kv->places, next->pages[i]).home;
    count -= (home == FG_KV_DISK || home == FG_KV_HOST) && fg_kv_sees_page(kv, 0, before, next, i);
  }
  return count;
}

// Begins to read what chunks from kv->expected on will see, as far as the frame has room. False: they see
// nothing that is elsewhere, and the frame is still free.
static bool fill(fg_kv_cache *kv, fg_kv_frame *f) {
  const uint32_t room = kv->options.policy->frame_pages, first = kv->expected;
  uint32_t taken = 0;
  fg_kv_chunk last, *before = NULL;
  f->layer = 0;
  f->page_count = 0;
  for (; kv->expected < kv->chunk_count && kv->expected - first < FG_FRAME_CHUNKS; kv->expected++) {
    const fg_kv_chunk *c = &kv->chunks[kv->expected];
    if (!goes_on(c)) continue;
    const fg_kv_chunk next = next_of(c);
    const uint32_t places = places_for(kv, before, &next);
    if (taken + places > room) break;
    taken += places;
    fg_kv_frame_expect(kv, f, before, &next);
    last = next;
    before = &last;
  }
  if (f->page_count) fg_kv_frame_read(kv, f);
  return f->page_count > 0;
}

// The first layer's pages of this step are all where the next step will look for them.
static bool first_layer_is_written(const fg_kv_cache *kv) {
  if (kv->next_use < kv->batches) return false;
  for (uint32_t i = 0; i < kv->options.policy->frames; i++) {
    const fg_kv_frame *f = &kv->frames[i];
    if (f->layer == 0 && (f->state == FG_FRAME_COMPUTED || f->state == FG_FRAME_WRITING)) return false;
  }
  return true;
}

void fg_kv_ahead_fill(fg_kv_cache *kv) {
  if (!kv->io || kv->next_load < kv->total || !first_layer_is_written(kv)) return;
  while (kv->expected < kv->chunk_count && fg_kv_frame_at(kv, kv->next_load)->state == FG_FRAME_FREE)
    kv->next_load += fill(kv, fg_kv_frame_at(kv, kv->next_load));
}

// ---- when the step is there -----------------------------------------------------------------------------

// Whether all old pages that a chunk's queries see stand in the frame, in order, from *at on, which then
// is behind them; but for those of the chunk before, or NULL.
static bool holds(const fg_kv_cache *kv, const fg_kv_frame *f, const fg_kv_chunk *before,
                  const fg_kv_chunk *c, uint32_t *at) {
  uint32_t next = *at;
  fg_chunk_page page = {.host_part = fg_kv_host_part(kv, 0, c)};
  for (; page.index <= (c->begin + c->count - 1) / kv->page_tokens; page.index++) {
    page.place = fg_kv_places_of(kv->places, c->pages[page.index]);
    const fg_frame_use use = fg_kv_frame_use_of(kv, c, &page);
    if (use != FG_FRAME_IN && use != FG_FRAME_HERE) continue;
    if (before && fg_kv_sees_page(kv, 0, before, c, page.index)) continue;
    while (next < f->page_count && f->pages[next].place.serial != page.place.serial) next++;
    if (next++ == f->page_count) return false;
  }
  *at = next;
  return true;
}

// Places of the frame that pages take beside those that were read.
static uint32_t new_places(const fg_kv_cache *kv, const fg_kv_chunk *c) {
  uint32_t count = 0;
  fg_chunk_page page = {0};
  for (; page.index <= (c->begin + c->count - 1) / kv->page_tokens; page.index++) {
    page.place = fg_kv_places_of(kv->places, c->pages[page.index]);
    const fg_frame_use use = fg_kv_frame_use_of(kv, c, &page);
    count += use == FG_FRAME_OUT || use == FG_FRAME_OUT_SLOT;
  }
  return count;
}

// The chunk behind those that the frame is good for, from `chunk` on.
static uint32_t match(const fg_kv_cache *kv, const fg_kv_frame *f, uint32_t chunk) {
  const uint32_t room = kv->options.policy->frame_pages, first = chunk;
  uint32_t at = 0, elsewhere = 0, places = f->page_count;
  for (; chunk < kv->chunk_count && chunk - first < FG_FRAME_CHUNKS; chunk++) {
    const fg_kv_chunk *c = &kv->chunks[chunk];
    const fg_kv_chunk *before = chunk > first ? c - 1 : NULL;
    elsewhere += before ? fg_kv_places_behind(kv, before, c) : fg_kv_places_taken(kv, c);
    places += new_places(kv, c);
    if (elsewhere > room || places > room || !holds(kv, f, before, c, &at)) break;
  }
  return at ? chunk : first;
}

// Frames that are taken come first in the ring, those that are dropped last.
uint32_t fg_kv_ahead_take(fg_kv_cache *kv) {
  const uint32_t frames = kv->options.policy->frames;
  fg_kv_frame **next = kv->ring + frames;
  uint32_t chunk = 0, taken = 0;
  for (uint64_t i = kv->total; i < kv->next_load; i++) {
    fg_kv_frame *f = fg_kv_frame_at(kv, i);
    const uint32_t end = match(kv, f, chunk);
    f->state = end > chunk ? FG_FRAME_READING : FG_FRAME_DROPPED;
    if (end == chunk) continue;
    kv->batch_first[taken] = chunk;
    next[taken++] = f;
    chunk = end;
  }
  uint32_t all = taken;
  for (uint32_t i = 0; i < frames; i++) {
    fg_kv_frame *f = fg_kv_frame_at(kv, kv->next_load + i);
    if (f->state != FG_FRAME_READING) next[all++] = f;
  }
  memcpy(kv->ring, next, frames * sizeof *next);
  kv->batches = taken;
  return chunk;
}
