// Whole pages of the KV cache, in and out, between two steps: for who keeps them beyond the job.
#include <string.h>

#include "engine/kv_cache_internal.h"

// Where a page of a layer is: at an offset of the device's memory, in host memory, or in the file.
typedef struct home {
  fg_kv_home kind; // NOWHERE and FAST: the device's memory
  uint64_t offset;
  char *host;
} home;

static home home_of(const fg_kv_cache *kv, uint32_t page, uint32_t layer) {
  const fg_policy *p = kv->options.policy;
  fg_kv_place place = {.home = FG_KV_FAST, .slot = page};
  if (kv->places) place = fg_kv_places_of(kv->places, page);
  if (place.home == FG_KV_HOST)
    return (home){.kind = FG_KV_HOST,
                  .host = (char *)kv->host_memory->base +
                          ((uint64_t)layer * p->host_pages + place.index) * kv->page_bytes};
  if (place.home == FG_KV_DISK)
    return (home){.kind = FG_KV_DISK,
                  .offset = ((uint64_t)layer * p->disk_pages + place.index) * kv->page_bytes};
  const uint64_t offset = (layer * kv->slots + place.slot) * kv->page_bytes;
  return (home){.kind = FG_KV_FAST, .offset = offset, .host = kv->reach ? kv->reach + offset : NULL};
}

static fg_status wait_queue(const fg_kv_cache *kv, fg_queue queue, fg_error *err) {
  fg_device *d = kv->options.device;
  return d->ops->host_wait(d, d->ops->record(d, queue), err);
}

fg_status fg_kv_cache_place(fg_kv_cache *kv, const fg_kv_tokens *tokens, fg_error *err) {
  if (!kv->places) return FG_OK;
  fg_status status = fg_kv_places_add(kv->places, tokens, err);
  fg_kv_places_settle(kv->places);
  return status;
}

// Without padding, as it is kept.
uint64_t fg_kv_cache_kept_bytes(const fg_kv_geometry *geometry) {
  fg_kv_geometry plain = *geometry;
  plain.page_align = 0;
  return fg_kv_page_bytes(&plain);
}

// ---- in -------------------------------------------------------------------------------------------------

// To the device or to host memory; what comes from `bytes` is there when its queue has passed.
static fg_status put_near(fg_kv_cache *kv, const home *h, const char *bytes, uint64_t count, fg_error *err) {
  fg_device *d = kv->options.device;
  if (!h->host) return d->ops->upload(d, FG_QUEUE_LOAD, kv->memory, h->offset, bytes, count, err);
  memcpy(h->host, bytes, count);
  return FG_OK;
}

// Several layers at a time are on their way to the disk, each from a place of its own in `spare`.
static fg_status put_far(fg_kv_cache *kv, const fg_kv_move *move, const char *bytes, uint64_t count,
                         fg_error *err) {
  fg_io_read writes[FG_KV_SPARE_PAGES];
  fg_status status = FG_OK;
  for (uint32_t i = 0, begun; i < move->layers && status == FG_OK; i += begun) {
    for (begun = 0; begun < FG_KV_SPARE_PAGES && i + begun < move->layers; begun++) {
      char *from = move->spare + begun * kv->page_bytes;
      memcpy(from, bytes + (i + begun) * count, count);
      memset(from + count, 0, kv->page_bytes - count);
      writes[begun] = (fg_io_read){.file = kv->file,
                                   .buffer = from,
                                   .offset = home_of(kv, move->page, move->layer + i + begun).offset,
                                   .bytes = kv->page_bytes,
                                   .layer = (int)(move->layer + i + begun)};
      fg_io_write_begin(kv->io, &writes[begun]);
    }
    for (uint32_t w = 0; w < begun; w++) {
      const fg_status one = fg_io_read_wait(kv->io, &writes[w], status == FG_OK ? err : NULL);
      if (status == FG_OK) status = one;
    }
  }
  return status;
}

fg_status fg_kv_cache_put(fg_kv_cache *kv, const fg_kv_move *move, const void *bytes, fg_error *err) {
  const uint64_t count = fg_kv_cache_kept_bytes(&kv->options.graph->kv);
  if (home_of(kv, move->page, move->layer).kind == FG_KV_DISK) return put_far(kv, move, bytes, count, err);
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < move->layers && status == FG_OK; i++) {
    const home h = home_of(kv, move->page, move->layer + i);
    status = put_near(kv, &h, (const char *)bytes + i * count, count, err);
  }
  const fg_status passed = wait_queue(kv, FG_QUEUE_LOAD, status == FG_OK ? err : NULL);
  return status == FG_OK ? passed : status;
}

// ---- out ------------------------------------------------------------------------------------------------

static fg_status get_near(fg_kv_cache *kv, const home *h, char *bytes, uint64_t count, fg_error *err) {
  fg_device *d = kv->options.device;
  if (!h->host) return d->ops->download(d, FG_QUEUE_STORE, kv->memory, h->offset, bytes, count, err);
  memcpy(bytes, h->host, count);
  return FG_OK;
}

static fg_status get_far(fg_kv_cache *kv, const fg_kv_move *move, char *bytes, uint64_t count,
                         fg_error *err) {
  fg_io_read reads[FG_KV_SPARE_PAGES];
  fg_status status = FG_OK;
  for (uint32_t i = 0, begun; i < move->layers && status == FG_OK; i += begun) {
    for (begun = 0; begun < FG_KV_SPARE_PAGES && i + begun < move->layers; begun++) {
      reads[begun] = (fg_io_read){.file = kv->file,
                                  .buffer = move->spare + begun * kv->page_bytes,
                                  .offset = home_of(kv, move->page, move->layer + i + begun).offset,
                                  .bytes = kv->page_bytes,
                                  .layer = (int)(move->layer + i + begun)};
      fg_io_read_begin(kv->io, &reads[begun]);
    }
    for (uint32_t r = 0; r < begun; r++) {
      const fg_status one = fg_io_read_wait(kv->io, &reads[r], status == FG_OK ? err : NULL);
      if (status == FG_OK) status = one;
      memcpy(bytes + (i + r) * count, move->spare + r * kv->page_bytes, count);
    }
  }
  return status;
}

fg_status fg_kv_cache_get(fg_kv_cache *kv, const fg_kv_move *move, void *bytes, fg_error *err) {
  const uint64_t count = fg_kv_cache_kept_bytes(&kv->options.graph->kv);
  if (home_of(kv, move->page, move->layer).kind == FG_KV_DISK) return get_far(kv, move, bytes, count, err);
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < move->layers && status == FG_OK; i++) {
    const home h = home_of(kv, move->page, move->layer + i);
    status = get_near(kv, &h, (char *)bytes + i * count, count, err);
  }
  const fg_status passed = wait_queue(kv, FG_QUEUE_STORE, status == FG_OK ? err : NULL);
  return status == FG_OK ? passed : status;
}
