// kv_cache_internal.h: the frames of a KV cache: kv_cache.c keeps the ring, kv_frame.c fills and moves one,
// kv_ahead.c fills some for the step after this one.
//
// kv_attend.c runs attention where pages are on both sides.
//
// A frame goes round its states. It has a list of pages; page i of the list has place i of the frame, and the
// same place of the bounce buffer where the host cannot reach the device's memory.
#ifndef FG_ENGINE_KV_CACHE_INTERNAL_H
#define FG_ENGINE_KV_CACHE_INTERNAL_H

#include "device/execute.h"
#include "engine/kv_cache.h"
#include "engine/kv_places.h"
#include "engine/shared_segments.h"

typedef enum fg_frame_state {
  FG_FRAME_FREE,
  FG_FRAME_READING,  // requests are reads
  FG_FRAME_READY,    // on the device when `event` is reached
  FG_FRAME_COMPUTED, // what is to be written can be reached when `event` is
  FG_FRAME_WRITING,  // requests are writes
  FG_FRAME_AHEAD,    // requests are reads for a step that is not there yet
  FG_FRAME_DROPPED,  // requests are reads that nobody waits for
} fg_frame_state;

typedef enum fg_frame_use {
  FG_FRAME_NONE,     // no bytes move: nobody looks at the page, or it is in a slot
  FG_FRAME_IN,       // an old page, attended to from the frame
  FG_FRAME_HERE,     // an old page, attended to by the host from the frame's place in its bounce buffer
  FG_FRAME_OUT,      // a new page, made in the frame
  FG_FRAME_OUT_SLOT, // a page that became full in a slot, and leaves it
} fg_frame_use;

typedef struct fg_frame_page {
  fg_kv_place place;
  fg_frame_use use;
} fg_frame_page;

typedef struct fg_kv_frame {
  fg_frame_state state;
  uint32_t number, layer; // in the ring; that it is filled for
  uint32_t page_count, request_count;
  uint32_t ahead, found;   // the first of the pages were read ahead; the first of these were seen by a chunk
  uint32_t requests_ended; // the first of them, as far as it was seen
  fg_frame_page *pages;    // [frame_pages]
  fg_io_read *requests;    // [frame_pages]
  int32_t *chunk_list, *prompts, *tables, *slots; // image of its arrays in array_memory
  fg_shared_lists shared;                         // of them too
  fg_kv_batch batch;
  fg_event event;
} fg_kv_frame;

struct fg_kv_cache {
  fg_kv_cache_options options;
  fg_memory *memory;
  char *reach;                // the memory, where the host can reach it
  uint64_t page_bytes, slots; // of a layer
  uint32_t layers, page_tokens;
  uint32_t *windows; // [layers] of their attention; 0 = none
  uint32_t heads;    // the most of its queries
  uint32_t track;

  // The rest is for pages elsewhere; NULL and 0 if there are none.
  fg_kv_places *places;
  uint64_t places_bytes; // reserved
  fg_io *io;
  fg_file *file;
  fg_memory host_block;    // host_memory's
  fg_memory *host_memory;  // [layers][host_pages], then the bounce buffer; NULL where the host reaches frames
  char *bounce;            // the frames in host memory, where the host cannot reach them
  fg_kv_host *attends;     // NULL: the device does all
  fg_memory array_image;   // `arrays` as the CPU's memory
  uint64_t copied, spared; // bytes of old pages: to the device; that the host attended to
  fg_memory *array_memory;
  char *arrays, *lists; // image of array_memory; pages and requests of the frames
  uint64_t frame_array_bytes;
  uint32_t table_stride;
  void *finding;       // scratch of fg_shared_segments_find
  fg_kv_frame *frames; // [policy->frames]
  fg_kv_frame **ring;  // [2 * policy->frames] in the order of use, and room to sort them

  fg_kv_chunk *chunks;   // [max_seqs]
  uint32_t *batch_first; // [max_seqs + 1] chunk with which a batch begins
  uint32_t chunk_count, batches;
  uint64_t next_load, next_use, total; // of (layer, batch) in the order of use; loads go on behind total
  uint32_t expected;                   // chunks that were looked at for the next step
};

static inline fg_kv_frame *fg_kv_frame_at(const fg_kv_cache *kv, uint64_t index) {
  return kv->ring[index % kv->options.policy->frames];
}

// Whether both chunks have the same page as page i of their sequences.
static inline bool fg_kv_same_page(const fg_kv_cache *kv, const fg_kv_chunk *a, const fg_kv_chunk *b,
                                   uint32_t i) {
  return i <= (a->begin + a->count - 1) / kv->page_tokens && a->pages[i] == b->pages[i];
}

// Places of a frame that a chunk takes in a layer that sees all: its pages whose home is not fast memory, but
// those to which the host attends in their home.
uint32_t fg_kv_places_taken(const fg_kv_cache *kv, const fg_kv_chunk *c);
// The same behind another chunk of the frame: old pages that both begin with are there once. Where the host
// attends to some, each may have its own.
uint32_t fg_kv_places_behind(const fg_kv_cache *kv, const fg_kv_chunk *before, const fg_kv_chunk *c);
// The first pages of a chunk's sequence to which the host attends, and those in a layer: none if the layer
// sees none of them.
uint32_t fg_kv_host_pages(const fg_kv_cache *kv, const fg_kv_chunk *c);
uint32_t fg_kv_host_part(const fg_kv_cache *kv, uint32_t layer, const fg_kv_chunk *c);

// Lists the frame's pages for a batch of a layer, writes its arrays and begins its reads. It was free.
void fg_kv_frame_fill(fg_kv_cache *kv, fg_kv_frame *f, uint32_t layer, uint32_t batch);
// The same with old pages that are in the frame, or on their way.
void fg_kv_frame_adopt(fg_kv_cache *kv, fg_kv_frame *f, uint32_t batch);
// Lists the old pages that a chunk will see in the frame's layer, but for those of the chunk that was listed
// before it, or NULL; its own are not there yet.
void fg_kv_frame_expect(const fg_kv_cache *kv, fg_kv_frame *f, const fg_kv_chunk *before,
                        const fg_kv_chunk *c);
void fg_kv_frame_read(fg_kv_cache *kv, fg_kv_frame *f); // what was listed so

// A page of a chunk in a layer, and what a frame does with it. `host_part`: fg_kv_host_part.
typedef struct fg_chunk_page {
  uint32_t layer, index, host_part;
  fg_kv_place place;
} fg_chunk_page;
fg_frame_use fg_kv_frame_use_of(const fg_kv_cache *kv, const fg_kv_chunk *c, const fg_chunk_page *page);

// The first page that a query of the chunk sees. Kernels take keys in blocks at fixed positions.
uint32_t fg_kv_first_seen(const fg_kv_cache *kv, uint32_t layer, const fg_kv_chunk *c);
// Whether chunk `a` attends from the frame to the old page that is page i of both; each to its own where the
// host attends to some.
bool fg_kv_sees_page(const fg_kv_cache *kv, uint32_t layer, const fg_kv_chunk *a, const fg_kv_chunk *b,
                     uint32_t i);
// Each takes a frame from its state to the next, and waits where it must.
fg_status fg_kv_frame_upload(fg_kv_cache *kv, fg_kv_frame *f, fg_error *err); // READING: the reads
fg_status fg_kv_frame_computed(fg_kv_cache *kv, fg_kv_frame *f,
                               fg_error *err);           // READY; the caller enqueued all
void fg_kv_frame_write(fg_kv_cache *kv, fg_kv_frame *f); // COMPUTED, its event reached
fg_status fg_kv_frame_written(fg_kv_cache *kv, fg_kv_frame *f, fg_error *err); // WRITING: the writes
void fg_kv_frame_forget(fg_kv_cache *kv, fg_kv_frame *f);                      // DROPPED
bool fg_kv_frame_moved(fg_kv_cache *kv, fg_kv_frame *f); // whether its requests have ended; does not wait

// ---- the next step --------------------------------------------------------------------------------------

// Begins to read for the next step into frames that are free, once this one's loads have all begun.
void fg_kv_ahead_fill(fg_kv_cache *kv);
// The step's chunks are there: makes batches of those whose pages are in such frames, of layer 0, and leaves
// them READING. Returns the number of chunks in them. The others are dropped.
uint32_t fg_kv_ahead_take(fg_kv_cache *kv);

#endif
