// Attention of a batch, by the device alone or by both.
#include "engine/kv_cache_internal.h"
#include "kernels/attention.h"

// ---- who attends to what --------------------------------------------------------------------------------

// Old pages of which none is where the device computes, from the first on; the CPU stops at a block of keys.
static uint32_t pages_here(const fg_kv_cache *kv, const fg_kv_chunk *c) {
  uint32_t count = 0;
  for (; (uint64_t)count * kv->page_tokens < c->begin; count++) {
    const fg_kv_place place = fg_kv_places_of(kv->places, c->pages[count]);
    if (place.home == FG_KV_FAST || place.slot != FG_KV_NO_SLOT) break;
  }
  const uint32_t block = FG_KEY_BLOCK / kv->page_tokens;
  return block > 1 ? count / block * block : count;
}

// All by the device if the chunk has more bytes of queries than these pages are.
uint32_t fg_kv_host_pages(const fg_kv_cache *kv, const fg_kv_chunk *c) {
  if (!kv->attends) return 0;
  const uint32_t pages = pages_here(kv, c);
  return c->count * fg_kv_host_row_bytes(kv->attends) < pages * kv->page_bytes ? pages : 0;
}

uint32_t fg_kv_host_part(const fg_kv_cache *kv, uint32_t layer, const fg_kv_chunk *c) {
  const uint32_t pages = fg_kv_host_pages(kv, c);
  return pages > fg_kv_first_seen(kv, layer, c) ? pages : 0;
}

// ---- the layer's queries --------------------------------------------------------------------------------

fg_status fg_kv_cache_queries(fg_kv_cache *kv, const fg_call *attention, fg_error *err) {
  if (!kv->attends) return FG_OK;
  const uint32_t layer = (uint32_t)attention->layer;
  fg_status status = FG_OK;
  for (uint32_t c = 0, next; status == FG_OK && c < kv->chunk_count; c = next) {
    next = c + 1;
    if (!fg_kv_host_part(kv, layer, &kv->chunks[c])) continue;
    uint32_t end = kv->chunks[c].row + kv->chunks[c].count;
    for (; next < kv->chunk_count && fg_kv_host_part(kv, layer, &kv->chunks[next]); next++)
      end = kv->chunks[next].row + kv->chunks[next].count;
    status = fg_kv_host_fetch(kv->attends, attention, kv->chunks[c].row, end - kv->chunks[c].row, err);
  }
  return status;
}

// ---- a batch --------------------------------------------------------------------------------------------

// Of neighbours in a batch that have the same part on the host, of which the call has been cut to them.
static fg_status attend_run(fg_kv_cache *kv, const fg_kv_frame *f, const fg_call *call,
                            const fg_kv_chunk *chunks, fg_error *err) {
  fg_device *d = kv->options.device;
  const uint32_t part = fg_kv_host_part(kv, f->layer, chunks), count = call->batch.chunks;
  if (!part) return d->ops->run(d, FG_QUEUE_COMPUTE, call, err);
  for (uint32_t c = 0; c < count; c++)
    kv->spared += (part - fg_kv_first_seen(kv, f->layer, &chunks[c])) * kv->page_bytes;
  const uint64_t layer_bytes = kv->options.policy->host_pages * kv->page_bytes;
  const fg_kv_host_run run = {
      .batch = call,
      .first = f->batch.row,
      .row = chunks->row - f->batch.row,
      .rows = chunks[count - 1].row + chunks[count - 1].count - chunks->row,
      .end = part * kv->page_tokens,
      .cache = {kv->host_memory, f->layer * layer_bytes, 0},
      .chunk_list = {&kv->array_image, call->batch.chunk_list.offset, 4},
      .page_tables = {&kv->array_image, call->batch.page_tables.offset, call->batch.page_tables.stride}};
  return fg_kv_host_attend(kv->attends, &run, err);
}

fg_status fg_kv_cache_attend(fg_kv_cache *kv, const fg_call *call, fg_error *err) {
  fg_device *d = kv->options.device;
  if (!kv->attends) return d->ops->run(d, FG_QUEUE_COMPUTE, call, err);
  const fg_kv_frame *f = fg_kv_frame_at(kv, kv->next_use);
  const fg_kv_chunk *chunks = &kv->chunks[kv->batch_first[kv->next_use % kv->batches]];
  const uint32_t count = call->batch.chunks;
  fg_status status = fg_kv_host_wait(kv->attends, err);
  for (uint32_t c = 0, next; status == FG_OK && c < count; c = next) {
    const uint32_t part = fg_kv_host_part(kv, f->layer, &chunks[c]);
    for (next = c + 1; next < count; next++)
      if (fg_kv_host_part(kv, f->layer, &chunks[next]) != part) break;
    fg_call cut = *call;
    cut.batch.chunks = next - c;
    cut.batch.chunk_list.offset += c * 4 * sizeof(int32_t);
    if (cut.batch.prompts.memory) cut.batch.prompts.offset += c * sizeof(int32_t);
    status = attend_run(kv, f, &cut, &chunks[c], err);
  }
  return status;
}

fg_kv_crossing fg_kv_cache_crossing(const fg_kv_cache *kv) {
  fg_kv_crossing sum = {.pages = kv->copied, .spared = kv->spared};
  return kv->attends ? fg_kv_crossing_sum(sum, fg_kv_host_crossing(kv->attends)) : sum;
}
