#include "engine/kv_cache_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "engine/kv_file.h"

// ---- life -----------------------------------------------------------------------------------------------

// And that a KV_STORE and its ATTENTION can be taken together.
static fg_status find_windows(fg_kv_cache *kv, fg_error *err) {
  const fg_graph *g = kv->options.graph;
  kv->windows = calloc((size_t)g->layers + 1, sizeof *kv->windows);
  if (!kv->windows) return fg_fail(err, FG_NO_SPACE, "out of memory for a table of layers");
  for (uint32_t layer = 0; layer < g->layers; layer++) {
    const fg_program *p = fg_graph_program(g, (int32_t)layer);
    for (uint32_t i = 0; i < p->node_count; i++) {
      if (p->nodes[i].op == FG_OP_ATTENTION) {
        kv->windows[layer] = p->nodes[i].params.attention.window;
        if (p->nodes[i].params.attention.heads > kv->heads) kv->heads = p->nodes[i].params.attention.heads;
      }
      if (p->nodes[i].op == FG_OP_KV_STORE &&
          (i + 1 == p->node_count || p->nodes[i + 1].op != FG_OP_ATTENTION))
        return fg_fail(err, FG_INTERNAL, "layer %" PRIu32 " does not attend right after it stores", layer);
    }
  }
  return FG_OK;
}

static fg_status create_places(fg_kv_cache *kv, fg_error *err) {
  const fg_policy *p = kv->options.policy;
  const fg_kv_places_limits limits = {.device_pages = p->device_pages,
                                      .host_pages = p->host_pages,
                                      .disk_pages = p->disk_pages,
                                      .open_slots = p->open_slots,
                                      .page_tokens = kv->page_tokens,
                                      .oldest_elsewhere = kv->attends != NULL};
  kv->places_bytes = fg_kv_places_bytes(&limits) + (uint64_t)p->max_seqs * (sizeof *kv->chunks + 4);
  fg_status status =
      fg_budget_reserve(kv->options.host, kv->places_bytes, "places of the KV cache's pages", err);
  if (status != FG_OK) {
    kv->places_bytes = 0;
    return status;
  }
  kv->chunks = calloc(p->max_seqs, sizeof *kv->chunks);
  kv->batch_first = calloc((size_t)p->max_seqs + 1, sizeof *kv->batch_first);
  if (!kv->chunks || !kv->batch_first)
    return fg_fail(err, FG_NO_SPACE, "out of memory for %" PRIu32 " chunks of a step", p->max_seqs);
  return fg_kv_places_create(&kv->places, &limits, err);
}

static fg_status open_disk(fg_kv_cache *kv, fg_error *err) {
  const fg_policy *p = kv->options.policy;
  if (p->disk_pages == 0) return FG_OK;
  if (kv->page_bytes % FG_IO_ALIGN)
    return fg_fail(err, FG_INTERNAL, "pages of %" PRIu64 " bytes are not whole blocks of a disk",
                   kv->page_bytes);
  const fg_io_options io = {.backend = kv->options.backend,
                            .depth = 128,
                            .budget = kv->options.host,
                            .trace = kv->options.trace,
                            .simulation = kv->options.device->options.simulation};
  fg_status status = fg_io_create(&kv->io, &io, err);
  if (status != FG_OK || io.simulation) return status;
  return fg_kv_file_create(&kv->file, kv->options.folder, kv->layers * kv->page_bytes * p->disk_pages, err);
}

static void place_arrays(fg_kv_frame *f, char *arrays, uint32_t table_stride) {
  _Static_assert(sizeof(fg_shared_segment) + sizeof(int32_t) <= FG_FRAME_SHARED * sizeof(int32_t),
                 "what the policy counts");
  f->chunk_list = (int32_t *)arrays;
  f->prompts = f->chunk_list + 4 * FG_FRAME_CHUNKS;
  f->shared.segments = (fg_shared_segment *)(f->prompts + FG_FRAME_CHUNKS);
  f->shared.starts = (int32_t *)(f->shared.segments + FG_FRAME_CHUNKS);
  f->shared.members = (fg_query_row *)(f->shared.starts + FG_FRAME_CHUNKS);
  f->tables = (int32_t *)(f->shared.members + FG_FRAME_MEMBERS);
  f->slots = f->tables + (uint64_t)FG_FRAME_CHUNKS * table_stride;
}

static fg_status create_frames(fg_kv_cache *kv, fg_error *err) {
  const fg_policy *p = kv->options.policy;
  fg_device *d = kv->options.device;
  fg_budget *host = kv->options.host;
  const uint64_t lists = p->frame_pages * (sizeof(fg_frame_page) + sizeof(fg_io_read));
  _Static_assert(sizeof(fg_frame_page) + sizeof(fg_io_read) <= FG_FRAME_PAGE_ROOM, "what the policy counts");
  kv->table_stride = (p->max_len + kv->page_tokens - 1) / kv->page_tokens;
  kv->frame_array_bytes = fg_frame_array_bytes(p->max_tokens, kv->table_stride);
  kv->frames = calloc(p->frames, sizeof *kv->frames);
  kv->ring = calloc(2ull * p->frames, sizeof *kv->ring);
  kv->finding = malloc(fg_shared_scratch_bytes(FG_FRAME_CHUNKS));
  if (!kv->frames || !kv->ring || !kv->finding)
    return fg_fail(err, FG_NO_SPACE, "out of memory for the KV cache's frames");
  const uint64_t arrays = p->frames * kv->frame_array_bytes;
  fg_status status = d->ops->memory_create(d, arrays, "page tables of frames", &kv->array_memory, err);
  if (status == FG_OK)
    status = fg_device_host_create(d, arrays, "page tables of frames", (void **)&kv->arrays, err);
  kv->array_image = (fg_memory){(uint8_t *)kv->arrays, arrays};
  if (status == FG_OK)
    status = fg_budget_alloc(host, p->frames * lists, "lists of frames", (void **)&kv->lists, err);
  for (uint32_t i = 0; status == FG_OK && i < p->frames; i++) {
    fg_kv_frame *f = &kv->frames[i];
    kv->ring[i] = f;
    f->number = i;
    place_arrays(f, kv->arrays + i * kv->frame_array_bytes, kv->table_stride);
    f->requests = (fg_io_read *)(kv->lists + i * lists);
    f->pages = (fg_frame_page *)(f->requests + p->frame_pages);
  }
  return status;
}

// Memory that reads and writes use: the frames, or their image in host memory.
static fg_status create_staging(fg_kv_cache *kv, fg_error *err) {
  const fg_policy *p = kv->options.policy;
  const uint64_t frames = (uint64_t)p->frames * p->frame_pages * kv->page_bytes;
  const uint64_t pages = kv->layers * kv->page_bytes * p->host_pages;
  if (!kv->reach) {
    fg_status status =
        fg_device_host_create(kv->options.device, pages + frames, "the KV cache in host memory",
                              (void **)&kv->host_block.base, err);
    if (status != FG_OK) return status;
    kv->host_block.bytes = pages + frames;
    kv->host_memory = &kv->host_block;
    fg_prefer_huge_pages(kv->host_block.base, pages + frames);
    kv->bounce = (char *)kv->host_memory->base + pages;
  }
  if (p->disk_pages == 0) return FG_OK;
  char *begin = kv->reach ? kv->reach + kv->layers * kv->slots * kv->page_bytes : kv->bounce;
  fg_io_register(kv->io, begin, frames);
  return FG_OK;
}

static fg_status create_memory(fg_kv_cache *kv, fg_error *err) {
  const fg_policy *p = kv->options.policy;
  fg_device *d = kv->options.device;
  const uint64_t pages = kv->layers * kv->slots + (uint64_t)p->frames * p->frame_pages;
  if (p->open_slots && pages > (uint64_t)INT32_MAX / kv->page_tokens)
    return fg_fail(err, FG_UNSUPPORTED,
                   "%" PRIu64 " pages of the KV cache in memory are more than can be numbered; give it less",
                   pages);
  fg_status status = d->ops->memory_create(d, pages * kv->page_bytes, "the KV cache", &kv->memory, err);
  if (status == FG_OK) kv->reach = fg_device_host_pointer(d, kv->memory);
  return status;
}

fg_status fg_kv_cache_create(fg_kv_cache **out, const fg_kv_cache_options *options, fg_error *err) {
  *out = NULL;
  fg_kv_cache *kv = calloc(1, sizeof *kv);
  if (!kv) return fg_fail(err, FG_NO_SPACE, "out of memory for the KV cache");
  const fg_policy *p = options->policy;
  kv->options = *options;
  kv->layers = options->one_layer ? 1 : options->graph->layers;
  kv->page_tokens = options->graph->kv.page_tokens;
  kv->page_bytes = fg_kv_page_bytes(&options->graph->kv);
  kv->slots = (uint64_t)p->device_pages + p->open_slots;
  fg_status status = create_memory(kv, err);
  if (status == FG_OK && p->open_slots && options->attends_on_host && !kv->reach)
    status = fg_kv_host_create(&kv->attends, options->graph, options->device, p->max_tokens, err);
  if (status == FG_OK && p->open_slots) {
    kv->track = fg_trace_track(options->trace, "wait for the KV cache");
    status = find_windows(kv, err);
    if (status == FG_OK) status = create_places(kv, err);
    if (status == FG_OK) status = open_disk(kv, err);
    if (status == FG_OK) status = create_frames(kv, err);
    if (status == FG_OK) status = create_staging(kv, err);
  }
  if (status != FG_OK) {
    fg_kv_cache_destroy(kv);
    return status;
  }
  *out = kv;
  return FG_OK;
}

void fg_kv_cache_destroy(fg_kv_cache *kv) {
  if (!kv) return;
  fg_device *d = kv->options.device;
  for (int q = 0; q < FG_QUEUE_COUNT; q++) (void)d->ops->host_wait(d, d->ops->record(d, (fg_queue)q), NULL);
  fg_io_destroy(kv->io); // waits for what is in flight into memory that is freed now
  fg_file_close(kv->file);
  if (kv->memory) d->ops->memory_destroy(d, kv->memory);
  if (kv->array_memory) d->ops->memory_destroy(d, kv->array_memory);
  fg_device_host_destroy(d, kv->arrays);
  fg_budget_free(kv->options.host, kv->lists);
  fg_device_host_destroy(d, kv->host_block.base);
  fg_kv_host_destroy(kv->attends);
  fg_budget_release(kv->options.host, kv->places_bytes);
  fg_kv_places_destroy(kv->places);
  free(kv->finding);
  free(kv->frames);
  free(kv->ring);
  free(kv->chunks);
  free(kv->batch_first);
  free(kv->windows);
  free(kv);
}

// ---- putting a step together ----------------------------------------------------------------------------

void fg_kv_cache_drop(fg_kv_cache *kv, const uint32_t *pages, uint32_t count) {
  for (uint32_t i = 0; kv->places && i < count; i++) fg_kv_places_drop(kv->places, pages[i]);
}

fg_status fg_kv_cache_add(fg_kv_cache *kv, const fg_kv_chunk *chunk, fg_error *err) {
  if (!kv->places) return FG_OK;
  kv->chunks[kv->chunk_count++] = *chunk;
  const fg_kv_tokens tokens = {.pages = chunk->pages,
                               .page_count = chunk->page_count,
                               .begin = chunk->begin,
                               .end = chunk->begin + chunk->count,
                               .longest = chunk->longest};
  return fg_kv_places_add(kv->places, &tokens, err);
}

uint32_t fg_kv_cache_slot(const fg_kv_cache *kv, uint32_t page) {
  if (!kv->places) return page;
  const fg_kv_place place = fg_kv_places_of(kv->places, page);
  return place.slot == FG_KV_NO_SLOT ? 0 : place.slot;
}

static bool has_pages_elsewhere(const fg_kv_cache *kv, const fg_kv_chunk *c) {
  for (uint32_t i = 0; i <= (c->begin + c->count - 1) / kv->page_tokens; i++)
    if (fg_kv_places_of(kv->places, c->pages[i]).home != FG_KV_FAST) return true;
  return false;
}

uint32_t fg_kv_places_taken(const fg_kv_cache *kv, const fg_kv_chunk *c) {
  uint32_t count = 0;
  const uint32_t part = fg_kv_host_pages(kv, c);
  for (uint32_t i = 0; i < c->page_count && i <= (c->begin + c->count - 1) / kv->page_tokens; i++) {
    const fg_kv_home home = fg_kv_places_of(kv->places, c->pages[i]).home;
    count += home == FG_KV_DISK || (home == FG_KV_HOST && i >= part);
  }
  return count;
}

uint32_t fg_kv_places_behind(const fg_kv_cache *kv, const fg_kv_chunk *before, const fg_kv_chunk *c) {
  uint32_t count = fg_kv_places_taken(kv, c);
  for (uint32_t i = 0; !kv->attends && i * kv->page_tokens < before->begin && i < c->page_count; i++) {
    if (before->pages[i] != c->pages[i]) break;
    const fg_kv_home home = fg_kv_places_of(kv->places, c->pages[i]).home;
    count -= home == FG_KV_DISK || home == FG_KV_HOST;
  }
  return count;
}

// A batch takes chunks, from `chunk` on, as long as their pages have room in a frame: it has that for any one
// of them. There are kv->batches before it.
static void cut_batches(fg_kv_cache *kv, uint32_t chunk) {
  const uint32_t room = kv->options.policy->frame_pages, before = kv->batches;
  uint32_t taken = 0;
  bool elsewhere = false;
  for (uint32_t c = chunk; c < kv->chunk_count; c++) {
    const bool first = kv->batches == before;
    uint32_t pages = first ? 0 : fg_kv_places_behind(kv, &kv->chunks[c - 1], &kv->chunks[c]);
    if (first || taken + pages > room || c - kv->batch_first[kv->batches - 1] == FG_FRAME_CHUNKS) {
      kv->batch_first[kv->batches++] = c;
      pages = fg_kv_places_taken(kv, &kv->chunks[c]);
      taken = 0;
    }
    taken += pages;
    elsewhere = elsewhere || pages || has_pages_elsewhere(kv, &kv->chunks[c]);
  }
  kv->batch_first[kv->batches] = kv->chunk_count;
  if (before == 0 && !elsewhere) kv->batches = 0;
}

fg_status fg_kv_cache_start(fg_kv_cache *kv, uint32_t *batches, fg_error *err) {
  *batches = 0;
  if (!kv->places) return FG_OK;
  const uint32_t chunks = fg_kv_ahead_take(kv), taken = kv->batches;
  cut_batches(kv, chunks);
  for (uint32_t i = 0; i < taken; i++) fg_kv_frame_adopt(kv, kv->ring[i], i);
  kv->next_load = taken;
  kv->next_use = 0;
  kv->expected = 0;
  kv->total = (uint64_t)kv->batches * kv->layers;
  *batches = kv->batches;
  return fg_kv_cache_pump(kv, err);
}

// ---- the ring -------------------------------------------------------------------------------------------

// Takes a frame as far as it comes by itself.
static fg_status advance(fg_kv_cache *kv, fg_kv_frame *f, fg_error *err) {
  fg_device *d = kv->options.device;
  fg_status status = FG_OK;
  if (f->state == FG_FRAME_READING && fg_kv_frame_moved(kv, f)) status = fg_kv_frame_upload(kv, f, err);
  if (f->state == FG_FRAME_COMPUTED && d->ops->reached(d, f->event)) fg_kv_frame_write(kv, f);
  if (f->state == FG_FRAME_WRITING && fg_kv_frame_moved(kv, f)) status = fg_kv_frame_written(kv, f, err);
  if (f->state == FG_FRAME_AHEAD) (void)fg_kv_frame_moved(kv, f);
  if (f->state == FG_FRAME_DROPPED && fg_kv_frame_moved(kv, f)) fg_kv_frame_forget(kv, f);
  return status;
}

// Waits until a frame that was released, or dropped, is free.
static fg_status make_free(fg_kv_cache *kv, fg_kv_frame *f, fg_error *err) {
  fg_device *d = kv->options.device;
  fg_status status = FG_OK;
  if (f->state == FG_FRAME_COMPUTED) {
    status = d->ops->host_wait(d, f->event, err);
    if (status == FG_OK) fg_kv_frame_write(kv, f);
  }
  if (f->state == FG_FRAME_WRITING) status = fg_kv_frame_written(kv, f, err);
  if (f->state == FG_FRAME_DROPPED) fg_kv_frame_forget(kv, f);
  return status;
}

static void fill_next(fg_kv_cache *kv) {
  const uint64_t next = kv->next_load++;
  fg_kv_frame_fill(kv, fg_kv_frame_at(kv, next), (uint32_t)(next / kv->batches),
                   (uint32_t)(next % kv->batches));
}

fg_status fg_kv_cache_pump(fg_kv_cache *kv, fg_error *err) {
  if (kv->batches == 0) return FG_OK;
  const uint32_t frames = kv->options.policy->frames;
  // In the order of use, those before the next one last in the ring and so first to be written.
  for (uint32_t i = 0; i < frames; i++) {
    fg_status status = advance(kv, fg_kv_frame_at(kv, kv->next_use + i), err);
    if (status != FG_OK) return status;
  }
  while (kv->next_load < kv->total && fg_kv_frame_at(kv, kv->next_load)->state == FG_FRAME_FREE)
    fill_next(kv);
  fg_kv_ahead_fill(kv);
  return FG_OK;
}

fg_status fg_kv_cache_acquire(fg_kv_cache *kv, fg_kv_batch *batch, fg_error *err) {
  fg_device *d = kv->options.device;
  fg_status status = fg_kv_cache_pump(kv, err);
  fg_kv_frame *f = fg_kv_frame_at(kv, kv->next_use);
  if (status == FG_OK && kv->next_load == kv->next_use) {
    status = make_free(kv, f, err);
    if (status == FG_OK) fill_next(kv);
  }
  if (status == FG_OK && f->state == FG_FRAME_READING) status = fg_kv_frame_upload(kv, f, err);
  if (status == FG_OK) status = d->ops->queue_wait(d, FG_QUEUE_COMPUTE, f->event, err);
  *batch = f->batch;
  return status;
}

fg_status fg_kv_cache_release(fg_kv_cache *kv, fg_error *err) {
  fg_status status = fg_kv_frame_computed(kv, fg_kv_frame_at(kv, kv->next_use), err);
  kv->next_use++;
  return status == FG_OK ? fg_kv_cache_pump(kv, err) : status;
}

fg_status fg_kv_cache_finish(fg_kv_cache *kv, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; status == FG_OK && kv->batches && i < kv->options.policy->frames; i++)
    status = make_free(kv, fg_kv_frame_at(kv, kv->next_use + i), err);
  if (status == FG_OK && kv->batches) fg_kv_ahead_fill(kv);
  kv->chunk_count = kv->batches = 0;
  if (kv->places) fg_kv_places_settle(kv->places);
  return status;
}

fg_view fg_kv_cache_view(const fg_kv_cache *kv, int32_t layer) {
  return (fg_view){kv->memory, (uint64_t)layer % kv->layers * kv->slots * kv->page_bytes, 0};
}

uint64_t fg_kv_cache_bytes_read(const fg_kv_cache *kv) {
  return kv->io ? fg_io_bytes_read(kv->io) : 0;
}
uint64_t fg_kv_cache_bytes_written(const fg_kv_cache *kv) {
  return kv->io ? fg_io_bytes_written(kv->io) : 0;
}
