#include "engine/kv_cache_internal.h"

// ---- what a frame holds ---------------------------------------------------------------------------------

uint32_t fg_kv_first_seen(const fg_kv_cache *kv, uint32_t layer, const fg_kv_chunk *c) {
  const uint32_t window = kv->windows[layer], end = c->begin + 1;
  return window && end > window ? (end - window) / kv->page_tokens : 0;
}

bool fg_kv_sees_page(const fg_kv_cache *kv, uint32_t layer, const fg_kv_chunk *a, const fg_kv_chunk *b,
                     uint32_t i) {
  return !kv->attends && (uint64_t)i * kv->page_tokens < a->begin && i >= fg_kv_first_seen(kv, layer, a) &&
         a->pages[i] == b->pages[i];
}

// The number by which kernels know place 0 of the frame in the layer's view.
static uint64_t first_number(const fg_kv_cache *kv, const fg_kv_frame *f) {
  return (kv->layers - f->layer) * kv->slots + (uint64_t)f->number * kv->options.policy->frame_pages;
}

// The number by which the host's kernels know place 0 of the frame's image.
static uint64_t first_host_number(const fg_kv_cache *kv, const fg_kv_frame *f) {
  const fg_policy *p = kv->options.policy;
  return (uint64_t)(kv->layers - f->layer) * p->host_pages + (uint64_t)f->number * p->frame_pages;
}

fg_frame_use fg_kv_frame_use_of(const fg_kv_cache *kv, const fg_kv_chunk *c, const fg_chunk_page *page) {
  const fg_kv_place *place = &page->place;
  if (place->slot != FG_KV_NO_SLOT) return place->home == FG_KV_FAST ? FG_FRAME_NONE : FG_FRAME_OUT_SLOT;
  if ((uint64_t)page->index * kv->page_tokens >= c->begin) return FG_FRAME_OUT;
  if (page->index < fg_kv_first_seen(kv, page->layer, c)) return FG_FRAME_NONE;
  if (page->index >= page->host_part) return FG_FRAME_IN;
  return place->home == FG_KV_HOST ? FG_FRAME_NONE : FG_FRAME_HERE;
}

static uint32_t list_page(fg_kv_frame *f, fg_kv_place place, fg_frame_use use) {
  f->pages[f->page_count] = (fg_frame_page){place, use};
  return f->page_count++;
}

// The place of an old page, which may have been read ahead; of those, pages that nobody finds stay unused.
static uint32_t find_page(fg_kv_frame *f, fg_kv_place place, fg_frame_use use) {
  while (f->found < f->ahead && f->pages[f->found].place.serial != place.serial) f->found++;
  if (f->found == f->ahead) return list_page(f, place, use);
  f->pages[f->found].use = use;
  return f->found++;
}

// Whether the number is that of an old page's place in the frame.
static bool stands(const fg_kv_cache *kv, const fg_kv_frame *f, uint64_t number, fg_kv_place place) {
  const uint64_t i = number - first_number(kv, f);
  return i < f->page_count && f->pages[i].use == FG_FRAME_IN && f->pages[i].place.serial == place.serial;
}

// The number by which kernels know the page: the device's, or the host's if it attends to it. 0 is any page:
// nobody looks. `known`: that of the chunk before, if it has the same page. What is in the frame for that one
// is there for this one too, and is handed on past chunks that do not look at it.
static uint64_t number_page(const fg_kv_cache *kv, fg_kv_frame *f, const fg_kv_chunk *c,
                            const fg_chunk_page *page, uint64_t known) {
  const fg_frame_use use = fg_kv_frame_use_of(kv, c, page);
  const bool seen = use == FG_FRAME_IN || (use == FG_FRAME_NONE && page->index >= page->host_part);
  if (seen && page->place.slot == FG_KV_NO_SLOT && stands(kv, f, known, page->place)) return known;
  switch (use) {
  case FG_FRAME_OUT: return first_number(kv, f) + list_page(f, page->place, use);
  case FG_FRAME_IN: return first_number(kv, f) + find_page(f, page->place, use);
  case FG_FRAME_HERE: return first_host_number(kv, f) + find_page(f, page->place, use);
  case FG_FRAME_OUT_SLOT: (void)list_page(f, page->place, use); return page->place.slot;
  case FG_FRAME_NONE: break;
  }
  if (page->place.slot != FG_KV_NO_SLOT) return page->place.slot;
  return page->index < page->host_part ? page->place.index : 0;
}

// The row of the page tables of chunk k of the batch.
static void list_pages(const fg_kv_cache *kv, fg_kv_frame *f, const fg_kv_chunk *c, uint32_t k) {
  int32_t *table = f->tables + (uint64_t)k * kv->table_stride;
  fg_chunk_page page = {.layer = f->layer, .host_part = fg_kv_host_part(kv, f->layer, c)};
  for (; page.index <= (c->begin + c->count - 1) / kv->page_tokens; page.index++) {
    const bool same = k > 0 && fg_kv_same_page(kv, c - 1, c, page.index);
    page.place = fg_kv_places_of(kv->places, c->pages[page.index]);
    const uint64_t known = same ? (uint64_t)(table - kv->table_stride)[page.index] : 0;
    table[page.index] = (int32_t)number_page(kv, f, c, &page, known);
  }
}

static void list_chunk(const fg_kv_cache *kv, fg_kv_frame *f, const fg_kv_chunk *c) {
  const uint32_t k = f->batch.view.chunks++, row = f->batch.rows, tokens = kv->page_tokens;
  const int32_t *table = f->tables + (uint64_t)k * kv->table_stride;
  int32_t *entry = f->chunk_list + 4 * k;
  list_pages(kv, f, c, k);
  entry[0] = (int32_t)row;
  entry[1] = (int32_t)c->count;
  entry[2] = (int32_t)c->begin;
  entry[3] = (int32_t)k;
  f->prompts[k] = (int32_t)c->prompt;
  for (uint32_t i = 0; i < c->count; i++) {
    const uint32_t position = c->begin + i;
    f->slots[row + i] = table[position / tokens] * (int32_t)tokens + (int32_t)(position % tokens);
  }
  f->batch.rows += c->count;
  if (c->begin + c->count > f->batch.view.max_context) f->batch.view.max_context = c->begin + c->count;
}

static fg_view array_view(const fg_kv_cache *kv, const int32_t *image, uint32_t stride) {
  return (fg_view){kv->array_memory, (uint64_t)((const char *)image - kv->arrays), stride};
}

// What chunks of the batch share: pages of the frame, or of fast memory.
static void find_shared(const fg_kv_cache *kv, fg_kv_frame *f) {
  f->shared.segment_count = f->shared.member_count = 0;
  if (!kv->options.groups || kv->attends || f->batch.rows * FG_SHARED_LEVELS > FG_FRAME_MEMBERS) return;
  const fg_kv_geometry *g = &kv->options.graph->kv;
  const fg_shared_chunks chunks = {.list = f->chunk_list,
                                   .tables = f->tables,
                                   .count = f->batch.view.chunks,
                                   .stride = kv->table_stride,
                                   .page_tokens = kv->page_tokens,
                                   .queries = kv->heads / g->kv_heads};
  fg_shared_segments_find(&chunks, kv->finding, &f->shared);
  f->batch.view.shared = f->shared.segment_count;
  f->batch.view.members = f->shared.member_count;
  f->batch.view.shared_list = array_view(kv, (const int32_t *)f->shared.segments, 1);
  f->batch.view.member_list = array_view(kv, (const int32_t *)f->shared.members, 1);
  f->batch.view.starts = array_view(kv, f->shared.starts, 1);
}

static void list_batch(const fg_kv_cache *kv, fg_kv_frame *f, uint32_t batch) {
  f->batch = (fg_kv_batch){.row = kv->chunks[kv->batch_first[batch]].row};
  for (uint32_t c = kv->batch_first[batch]; c < kv->batch_first[batch + 1]; c++)
    list_chunk(kv, f, &kv->chunks[c]);
  f->batch.view.tokens = f->batch.rows;
  f->batch.view.slots = array_view(kv, f->slots, 1);
  f->batch.view.chunk_list = array_view(kv, f->chunk_list, 4);
  f->batch.view.prompts = array_view(kv, f->prompts, 1);
  f->batch.view.page_tables = array_view(kv, f->tables, kv->table_stride);
  find_shared(kv, f);
}

// ---- where its bytes go ---------------------------------------------------------------------------------

// In the device's memory.
static uint64_t device_offset(const fg_kv_cache *kv, const fg_kv_frame *f, uint32_t i) {
  const fg_frame_page *p = &f->pages[i];
  const uint64_t number =
      p->use == FG_FRAME_OUT_SLOT
          ? f->layer * kv->slots + p->place.slot
          : kv->layers * kv->slots + (uint64_t)f->number * kv->options.policy->frame_pages + i;
  return number * kv->page_bytes;
}

// Where the host has the bytes that come from a home or go there.
static char *host_address(const fg_kv_cache *kv, const fg_kv_frame *f, uint32_t i) {
  const fg_policy *policy = kv->options.policy;
  const fg_kv_place *place = &f->pages[i].place;
  if (place->home == FG_KV_HOST)
    return (char *)kv->host_memory->base +
           ((uint64_t)f->layer * policy->host_pages + place->index) * kv->page_bytes;
  if (kv->reach) return kv->reach + device_offset(kv, f, i);
  return kv->bounce + ((uint64_t)f->number * policy->frame_pages + i) * kv->page_bytes;
}

static uint64_t file_offset(const fg_kv_cache *kv, const fg_kv_frame *f, uint32_t i) {
  return ((uint64_t)f->layer * kv->options.policy->disk_pages + f->pages[i].place.index) * kv->page_bytes;
}

// Whether the host has the bytes before the frame is used, or afterwards.
static bool is_host_read(const fg_frame_page *p) {
  return p->use == FG_FRAME_IN || p->use == FG_FRAME_HERE;
}
static bool is_host_written(const fg_frame_page *p) {
  return p->use == FG_FRAME_OUT || p->use == FG_FRAME_OUT_SLOT;
}

// Makes requests of the pages that come from disk, or go there: neighbours on both sides are one.
static void list_requests(const fg_kv_cache *kv, fg_kv_frame *f, bool out) {
  f->request_count = f->requests_ended = 0;
  for (uint32_t i = 0; i < f->page_count; i++) {
    const fg_frame_page *p = &f->pages[i];
    if (p->place.home != FG_KV_DISK || !(out ? is_host_written(p) : is_host_read(p))) continue;
    char *address = host_address(kv, f, i);
    fg_io_read *last = f->request_count ? &f->requests[f->request_count - 1] : NULL;
    if (last && (char *)last->buffer + last->bytes == address &&
        last->offset + last->bytes == file_offset(kv, f, i)) {
      last->bytes += kv->page_bytes;
      continue;
    }
    f->requests[f->request_count++] = (fg_io_read){.file = kv->file,
                                                   .buffer = address,
                                                   .offset = file_offset(kv, f, i),
                                                   .bytes = kv->page_bytes,
                                                   .layer = (int)f->layer};
  }
}

static bool is_copied(const fg_frame_page *p, bool out) {
  return out ? is_host_written(p) : p->use == FG_FRAME_IN;
}

// Between the device and what the host has of the pages; runs of neighbours are one copy.
static fg_status copy_pages(fg_kv_cache *kv, const fg_kv_frame *f, bool out, fg_error *err) {
  fg_device *d = kv->options.device;
  fg_status status = FG_OK;
  for (uint32_t i = 0, next; status == FG_OK && i < f->page_count; i = next) {
    next = i + 1;
    if (!is_copied(&f->pages[i], out)) continue;
    char *host = host_address(kv, f, i);
    const uint64_t offset = device_offset(kv, f, i);
    for (; next < f->page_count && is_copied(&f->pages[next], out); next++) {
      const uint64_t bytes = (next - i) * kv->page_bytes;
      if (host_address(kv, f, next) != host + bytes || device_offset(kv, f, next) != offset + bytes) break;
    }
    const uint64_t bytes = (next - i) * kv->page_bytes;
    kv->copied += out ? 0 : bytes;
    status = out ? d->ops->download(d, FG_QUEUE_STORE, kv->memory, offset, host, bytes, err)
                 : d->ops->upload(d, FG_QUEUE_LOAD, kv->memory, offset, host, bytes, err);
  }
  return status;
}

// ---- from state to state --------------------------------------------------------------------------------

static void begin_reads(fg_kv_cache *kv, fg_kv_frame *f) {
  list_requests(kv, f, false);
  for (uint32_t i = 0; i < f->request_count; i++) fg_io_read_begin(kv->io, &f->requests[i]);
}

void fg_kv_frame_fill(fg_kv_cache *kv, fg_kv_frame *f, uint32_t layer, uint32_t batch) {
  f->layer = layer;
  f->page_count = f->ahead = f->found = 0;
  list_batch(kv, f, batch);
  begin_reads(kv, f);
  f->state = FG_FRAME_READING;
}

void fg_kv_frame_expect(const fg_kv_cache *kv, fg_kv_frame *f, const fg_kv_chunk *before,
                        const fg_kv_chunk *c) {
  const uint32_t part = fg_kv_host_part(kv, f->layer, c);
  for (uint32_t i = fg_kv_first_seen(kv, f->layer, c); i <= (c->begin - 1) / kv->page_tokens; i++) {
    const fg_kv_place place = fg_kv_places_of(kv->places, c->pages[i]);
    if (before && fg_kv_sees_page(kv, f->layer, before, c, i)) continue;
    if (place.home == FG_KV_DISK || (place.home == FG_KV_HOST && i >= part))
      (void)list_page(f, place, FG_FRAME_IN);
  }
}

void fg_kv_frame_read(fg_kv_cache *kv, fg_kv_frame *f) {
  begin_reads(kv, f);
  f->state = FG_FRAME_AHEAD;
}

void fg_kv_frame_adopt(fg_kv_cache *kv, fg_kv_frame *f, uint32_t batch) {
  f->ahead = f->page_count;
  f->found = 0;
  for (uint32_t i = 0; i < f->ahead; i++) f->pages[i].use = FG_FRAME_NONE;
  list_batch(kv, f, batch);
}

bool fg_kv_frame_moved(fg_kv_cache *kv, fg_kv_frame *f) {
  while (f->requests_ended < f->request_count && fg_io_read_poll(kv->io, &f->requests[f->requests_ended]))
    f->requests_ended++;
  return f->requests_ended == f->request_count;
}

// All of them, so that none is in flight after one has failed; the first failure counts.
static fg_status wait_requests(fg_kv_cache *kv, fg_kv_frame *f, const char *what, fg_error *err) {
  if (f->request_count == 0) return FG_OK;
  const bool ended = fg_kv_frame_moved(kv, f);
  const uint64_t begin = fg_trace_now(kv->options.trace);
  fg_status status = FG_OK;
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < f->request_count; i++) {
    fg_status one = fg_io_read_wait(kv->io, &f->requests[i], status == FG_OK ? err : NULL);
    if (status == FG_OK) status = one;
    bytes += f->requests[i].bytes;
  }
  f->request_count = f->requests_ended = 0;
  if (!ended)
    fg_trace_span(kv->options.trace, kv->track, FG_SPAN_WAIT_READ, what, (int)f->layer, bytes, begin,
                  fg_trace_now(kv->options.trace));
  return status;
}

// A failure is nobody's.
void fg_kv_frame_forget(fg_kv_cache *kv, fg_kv_frame *f) {
  (void)wait_requests(kv, f, "pages are not wanted", NULL);
  f->state = FG_FRAME_FREE;
}

fg_status fg_kv_frame_upload(fg_kv_cache *kv, fg_kv_frame *f, fg_error *err) {
  fg_device *d = kv->options.device;
  fg_status status = wait_requests(kv, f, "pages are read", err);
  if (status == FG_OK && !kv->reach) status = copy_pages(kv, f, false, err);
  // The used part of each array; they follow each other, so that what lies between goes along.
  const uint64_t offset = (uint64_t)((char *)f->chunk_list - kv->arrays);
  const uint64_t bytes = (uint64_t)((char *)(f->slots + f->batch.rows) - (char *)f->chunk_list);
  if (status == FG_OK)
    status = d->ops->upload(d, FG_QUEUE_LOAD, kv->array_memory, offset, f->chunk_list, bytes, err);
  f->event = d->ops->record(d, FG_QUEUE_LOAD);
  f->state = FG_FRAME_READY;
  return status;
}

fg_status fg_kv_frame_computed(fg_kv_cache *kv, fg_kv_frame *f, fg_error *err) {
  fg_device *d = kv->options.device;
  f->event = d->ops->record(d, FG_QUEUE_COMPUTE);
  f->state = FG_FRAME_COMPUTED;
  if (kv->reach) return FG_OK;
  fg_status status = d->ops->queue_wait(d, FG_QUEUE_STORE, f->event, err);
  if (status == FG_OK) status = copy_pages(kv, f, true, err);
  f->event = d->ops->record(d, FG_QUEUE_STORE);
  return status;
}

void fg_kv_frame_write(fg_kv_cache *kv, fg_kv_frame *f) {
  list_requests(kv, f, true);
  for (uint32_t i = 0; i < f->request_count; i++) fg_io_write_begin(kv->io, &f->requests[i]);
  f->state = FG_FRAME_WRITING;
}

fg_status fg_kv_frame_written(fg_kv_cache *kv, fg_kv_frame *f, fg_error *err) {
  fg_status status = wait_requests(kv, f, "pages are written", err);
  f->state = FG_FRAME_FREE;
  return status;
}
