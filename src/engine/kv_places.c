#include "engine/kv_places.h"

#include <inttypes.h>
#include <stdlib.h>

enum { WORD = 64 };

typedef struct page_entry {
  uint32_t index, slot, serial;
  uint8_t home; // fg_kv_home
  bool open;    // not full: its slot is an open one
} page_entry;

struct fg_kv_places {
  fg_kv_places_limits limits;
  uint32_t pages;
  page_entry *entries;     // [pages]
  uint32_t *slots, *hosts; // stacks of what is free
  uint32_t *leaving;       // [open_slots] pages whose slots are free when the step is over
  uint64_t *disk;          // [disk_pages / 64] a bit for each place that is taken
  uint32_t slots_free, hosts_free, disk_free, leaving_count;
  uint32_t serial; // of the last page that got a home outside fast memory
  uint32_t kept;   // full pages that live in fast memory
  uint32_t cursor; // where the search on disk goes on
};

static uint32_t slot_count(const fg_kv_places_limits *l) {
  return l->device_pages + l->open_slots;
}

static uint32_t page_count(const fg_kv_places_limits *l) {
  return l->device_pages + l->host_pages + l->disk_pages;
}

static uint64_t disk_words(const fg_kv_places_limits *l) {
  return (uint64_t)l->disk_pages / WORD + 1;
}

uint64_t fg_kv_places_bytes(const fg_kv_places_limits *l) {
  return sizeof(fg_kv_places) + (uint64_t)page_count(l) * sizeof(page_entry) +
         ((uint64_t)slot_count(l) + l->host_pages + l->open_slots) * sizeof(uint32_t) +
         disk_words(l) * sizeof(uint64_t);
}

fg_status fg_kv_places_create(fg_kv_places **out, const fg_kv_places_limits *limits, fg_error *err) {
  *out = NULL;
  fg_kv_places *p = calloc(1, sizeof *p);
  if (!p) return fg_fail(err, FG_NO_SPACE, "no memory for the places of the KV cache");
  p->limits = *limits;
  p->pages = page_count(limits);
  p->slots_free = slot_count(limits);
  p->hosts_free = limits->host_pages;
  p->disk_free = limits->disk_pages;
  p->entries = calloc((size_t)p->pages + 1, sizeof *p->entries);
  p->slots = malloc(((size_t)p->slots_free + 1) * sizeof *p->slots);
  p->hosts = malloc(((size_t)p->hosts_free + 1) * sizeof *p->hosts);
  p->leaving = malloc(((size_t)limits->open_slots + 1) * sizeof *p->leaving);
  p->disk = calloc(disk_words(limits), sizeof *p->disk);
  if (!p->entries || !p->slots || !p->hosts || !p->leaving || !p->disk) {
    fg_kv_places_destroy(p);
    return fg_fail(err, FG_NO_SPACE, "no memory for the places of %" PRIu32 " pages", page_count(limits));
  }
  for (uint32_t i = 0; i < p->pages; i++) p->entries[i].slot = FG_KV_NO_SLOT;
  for (uint32_t i = 0; i < p->slots_free; i++) p->slots[i] = p->slots_free - 1 - i;
  for (uint32_t i = 0; i < p->hosts_free; i++) p->hosts[i] = p->hosts_free - 1 - i;
  *out = p;
  return FG_OK;
}

void fg_kv_places_destroy(fg_kv_places *p) {
  if (!p) return;
  free(p->entries);
  free(p->slots);
  free(p->hosts);
  free(p->leaving);
  free(p->disk);
  free(p);
}

// ---- places on disk -------------------------------------------------------------------------------------

static bool disk_taken(const fg_kv_places *p, uint32_t i) {
  return p->disk[i / WORD] >> i % WORD & 1;
}

static void take_disk(fg_kv_places *p, uint32_t i) {
  p->disk[i / WORD] |= 1ull << i % WORD;
  p->disk_free--;
}

static void give_disk(fg_kv_places *p, uint32_t i) {
  p->disk[i / WORD] &= ~(1ull << i % WORD);
  p->disk_free++;
}

// The first run of `count` free places in [from, to); `to` if there is none. Full words are passed over
// whole.
static uint32_t find_run(const fg_kv_places *p, uint32_t from, uint32_t to, uint32_t count) {
  uint32_t run = 0;
  for (uint32_t i = from; i < to; i++) {
    if (i % WORD == 0 && p->disk[i / WORD] == UINT64_MAX) {
      run = 0;
      i += WORD - 1;
      continue;
    }
    run = disk_taken(p, i) ? 0 : run + 1;
    if (run == count) return i + 1 - count;
  }
  return to;
}

// Where a run of `count` places begins, searched from the cursor on so that sequences that grow at the same
// time do not stand in each other's way; a single place where no such run is left.
static uint32_t find_disk(fg_kv_places *p, uint32_t count) {
  const uint32_t all = p->limits.disk_pages;
  const uint32_t lengths[] = {count, 1};
  for (uint32_t i = 0; i < 2; i++) {
    const uint32_t length = lengths[i];
    uint32_t found = find_run(p, p->cursor, all, length);
    if (found == all) found = find_run(p, 0, all, length);
    if (found == all) continue;
    p->cursor = found + length < all ? found + length : 0;
    return found;
  }
  return all;
}

// ---- homes ----------------------------------------------------------------------------------------------

static fg_status no_room(const fg_kv_places *p, const char *what, fg_error *err) {
  return fg_fail(err, FG_INTERNAL,
                 "the KV cache of %" PRIu32 " pages and %" PRIu32 " open slots has no %s left", p->pages,
                 p->limits.open_slots, what);
}

static uint32_t pages_at_last(const fg_kv_places *p, const fg_kv_tokens *t) {
  const uint32_t longest = t->longest > t->end ? t->longest : t->end;
  return (longest - 1) / p->limits.page_tokens + 1;
}

// Whether fast memory keeps page `i` of the sequence, which is full.
static bool keeps(const fg_kv_places *p, const fg_kv_tokens *t, uint32_t i) {
  const fg_kv_places_limits *l = &p->limits;
  const bool room = p->kept < l->device_pages;
  if (!l->oldest_elsewhere) return room;
  const uint64_t elsewhere = (uint64_t)l->host_pages + l->disk_pages;
  const bool old = i * (elsewhere + l->device_pages) < pages_at_last(p, t) * elsewhere;
  return old ? !p->hosts_free && !p->disk_free : room;
}

// A home outside fast memory for page `i` of the sequence, beside its page before if that place is free.
static fg_status give_home(fg_kv_places *p, const fg_kv_tokens *t, uint32_t i, fg_error *err) {
  page_entry *e = &p->entries[t->pages[i]];
  e->serial = ++p->serial;
  if (p->hosts_free) {
    e->home = FG_KV_HOST;
    e->index = p->hosts[--p->hosts_free];
    return FG_OK;
  }
  if (!p->disk_free) return no_room(p, "place", err);
  const page_entry *before = i ? &p->entries[t->pages[i - 1]] : NULL;
  uint32_t at = before && before->home == FG_KV_DISK ? before->index + 1 : p->limits.disk_pages;
  if (at >= p->limits.disk_pages || disk_taken(p, at)) {
    at = find_disk(p, pages_at_last(p, t) - i);
  }
  take_disk(p, at);
  e->home = FG_KV_DISK;
  e->index = at;
  return FG_OK;
}

static fg_status open_page(fg_kv_places *p, page_entry *e, bool full, fg_error *err) {
  if (!p->slots_free) return no_room(p, "slot", err);
  e->home = FG_KV_FAST;
  e->index = e->slot = p->slots[--p->slots_free];
  e->open = !full;
  p->kept += full;
  return FG_OK;
}

// A page of fast memory is full now.
static fg_status close_page(fg_kv_places *p, const fg_kv_tokens *t, uint32_t i, fg_error *err) {
  page_entry *e = &p->entries[t->pages[i]];
  e->open = false;
  if (keeps(p, t, i)) {
    p->kept++;
    return FG_OK;
  }
  fg_status status = give_home(p, t, i, err);
  if (status == FG_OK) p->leaving[p->leaving_count++] = t->pages[i];
  return status;
}

fg_status fg_kv_places_add(fg_kv_places *p, const fg_kv_tokens *t, fg_error *err) {
  const uint32_t tokens = p->limits.page_tokens;
  fg_status status = FG_OK;
  for (uint32_t i = (t->end - 1) / tokens + 1; i < t->page_count; i++) fg_kv_places_drop(p, t->pages[i]);
  for (uint32_t i = t->begin / tokens; status == FG_OK && i <= (t->end - 1) / tokens; i++) {
    page_entry *e = &p->entries[t->pages[i]];
    const bool begins = (uint64_t)i * tokens >= t->begin, full = (i + 1ull) * tokens <= t->end;
    if (begins) {
      fg_kv_places_drop(p, t->pages[i]);
      status = full && !keeps(p, t, i) ? give_home(p, t, i, err) : open_page(p, e, full, err);
    } else if (full && e->open) {
      status = close_page(p, t, i, err);
    }
  }
  return status;
}

void fg_kv_places_settle(fg_kv_places *p) {
  while (p->leaving_count) {
    page_entry *e = &p->entries[p->leaving[--p->leaving_count]];
    p->slots[p->slots_free++] = e->slot;
    e->slot = FG_KV_NO_SLOT;
  }
}

void fg_kv_places_drop(fg_kv_places *p, uint32_t page) {
  page_entry *e = &p->entries[page];
  if (e->home == FG_KV_FAST) {
    p->slots[p->slots_free++] = e->slot;
    p->kept -= !e->open;
  } else if (e->home == FG_KV_HOST) {
    p->hosts[p->hosts_free++] = e->index;
  } else if (e->home == FG_KV_DISK) {
    give_disk(p, e->index);
  }
  *e = (page_entry){.slot = FG_KV_NO_SLOT};
}

fg_kv_place fg_kv_places_of(const fg_kv_places *p, uint32_t page) {
  const page_entry *e = &p->entries[page];
  return (fg_kv_place){.home = (fg_kv_home)e->home, .index = e->index, .slot = e->slot, .serial = e->serial};
}

fg_kv_places_limits fg_kv_places_left(const fg_kv_places *p) {
  const uint32_t device = p->limits.device_pages - p->kept;
  return (fg_kv_places_limits){.device_pages = device,
                               .host_pages = p->hosts_free,
                               .disk_pages = p->disk_free,
                               .open_slots = p->slots_free - device,
                               .page_tokens = p->limits.page_tokens,
                               .oldest_elsewhere = p->limits.oldest_elsewhere};
}
