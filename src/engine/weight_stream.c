#include "engine/weight_stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "engine/panel_load.h"

enum { MAX_ENTRIES = 256 }; // panels in the ring at once: a layer of the largest models, and the next one

typedef enum entry_state { ENTRY_READING, ENTRY_LOADED, ENTRY_RELEASED } entry_state;

// A panel in the ring.
typedef struct entry {
  uint32_t panel;
  uint64_t offset, bytes; // in the ring; bytes padded to FG_IO_ALIGN
  entry_state state;
  fg_io_read read;
  fg_event loaded, released;
} entry;

struct fg_weight_stream {
  fg_weight_stream_options options;
  uint8_t *tier;
  uint32_t *weight_of; // [panels]
  // resident panels
  fg_memory *device_block;
  char *device_host; // where the host sees device_block, or NULL
  char *host_block;
  uint64_t *place; // [panels] offset in its block
  bool *verified;  // [panels]
  // the others, in order of use
  uint32_t *order;
  uint32_t order_count, tail_first; // order[tail_first...] belong to the epilogue
  uint64_t next;                    // what to start next: cycle * order_count + index in order
  uint64_t steps;                   // begun so far
  bool tail_wanted;
  // the ring, filled and emptied in order
  fg_memory *ring;
  char *ring_host;   // where reads go: the ring itself or its image in host memory
  bool host_reaches; // ring_host is the ring itself
  entry entries[MAX_ENTRIES];
  // Deque; of the entries, counted from `first`, those before `used` are released, and `held` after them
  // acquired.
  uint32_t first, count, used, held;
  uint64_t bytes_read;
  uint32_t track;
};

static uint64_t padded(const fg_panel *panel) {
  return fg_align_up(panel->bytes, FG_IO_ALIGN);
}
static entry *entry_at(fg_weight_stream *s, uint32_t i) {
  return &s->entries[(s->first + i) % MAX_ENTRIES];
}

static fg_status damaged(const fg_weight_stream *s, uint32_t index, fg_error *err) {
  const fg_panel *panel = &s->options.store->panels[index];
  return fg_fail(err, FG_CORRUPT,
                 "%s: weight %s (rows %" PRIu32 " to %" PRIu32
                 ") does not match its checksum; remove the store "
                 "(flexgen store clear) and run again to pack it anew",
                 fg_file_path(s->options.store->file), s->options.store->weights[s->weight_of[index]].name,
                 panel->row, panel->row + panel->rows - 1);
}

static bool is_whole(const fg_weight_stream *s, uint32_t index, const void *data) {
  const fg_panel *panel = &s->options.store->panels[index];
  return fg_hash(data, panel->bytes) == panel->hash;
}

// ---- resident panels ----------------------------------------------------------------------------------

// Where the host puts a resident panel; NULL: it has to be uploaded.
static char *host_place(const fg_weight_stream *s, uint32_t index) {
  if (s->tier[index] == FG_TIER_HOST) return s->host_block + s->place[index];
  return s->device_host ? s->device_host + s->place[index] : NULL;
}

static bool is_resident(const fg_weight_stream *s, uint32_t index) {
  return s->tier[index] != FG_TIER_DISK;
}

static fg_status load_in_place(fg_weight_stream *s, fg_error *err) {
  const fg_store *store = s->options.store;
  fg_panel_load *loads = calloc(store->panel_count + 1u, sizeof *loads);
  uint32_t *index_of = calloc(store->panel_count + 1u, sizeof *index_of), count = 0, bad = UINT32_MAX;
  if (!loads || !index_of) {
    free(loads);
    free(index_of);
    return fg_fail(err, FG_NO_SPACE, "out of memory for a list of %" PRIu32 " panels", store->panel_count);
  }
  for (uint32_t i = 0; i < store->panel_count; i++) {
    if (!is_resident(s, i) || !host_place(s, i)) continue;
    index_of[count] = i;
    loads[count++] =
        (fg_panel_load){&store->panels[i], host_place(s, i), store->weights[s->weight_of[i]].layer};
  }
  fg_panel_loader loader = {s->options.io, store->file, s->options.device->options.threads};
  fg_status status = fg_panels_load(&loader, loads, count, &bad, err);
  if (status == FG_CORRUPT && bad != UINT32_MAX) damaged(s, index_of[bad], err);
  free(loads);
  free(index_of);
  return status;
}

// To a device whose memory the host does not reach.
static fg_status load_by_upload(fg_weight_stream *s, uint32_t index, void *bounce, fg_error *err) {
  const fg_panel *panel = &s->options.store->panels[index];
  fg_device *d = s->options.device;
  fg_status status =
      fg_io_read_now(s->options.io, s->options.store->file, panel->offset, bounce, padded(panel), err);
  if (status == FG_OK && !is_whole(s, index, bounce)) status = damaged(s, index, err);
  if (status == FG_OK)
    status = d->ops->upload(d, FG_QUEUE_LOAD, s->device_block, s->place[index], bounce, panel->bytes, err);
  if (status == FG_OK) status = d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_LOAD), err);
  return status;
}

static fg_status load_all_resident(fg_weight_stream *s, fg_error *err) {
  fg_store *store = s->options.store;
  fg_device *d = s->options.device;
  uint64_t bytes[2] = {0, 0};
  for (uint32_t i = 0; i < store->panel_count; i++) {
    if (s->tier[i] == FG_TIER_DISK) continue;
    uint64_t *sum = &bytes[s->tier[i] == FG_TIER_HOST];
    s->place[i] = *sum;
    *sum += padded(&store->panels[i]);
  }
  fg_status status = FG_OK;
  if (bytes[0]) status = d->ops->memory_create(d, bytes[0], "resident weights", &s->device_block, err);
  if (status == FG_OK && bytes[1])
    status = fg_device_host_create(d, bytes[1], "weights in host memory", (void **)&s->host_block, err);
  if (status != FG_OK) return status;
  if (s->device_block) s->device_host = fg_device_host_pointer(d, s->device_block);
  if (fg_io_is_simulated(s->options.io)) { // they are there, without a byte of theirs
    for (uint32_t i = 0; i < store->panel_count; i++) s->verified[i] = true;
    return FG_OK;
  }
  void *bounce = NULL;
  if (s->device_block && !s->device_host)
    status =
        fg_device_host_create(d, fg_store_largest_panel(store), "a buffer for loading weights", &bounce, err);
  if (status == FG_OK) status = load_in_place(s, err);
  for (uint32_t i = 0; status == FG_OK && i < store->panel_count; i++) {
    s->verified[i] = is_resident(s, i);
    if (is_resident(s, i) && !host_place(s, i)) status = load_by_upload(s, i, bounce, err);
  }
  fg_device_host_destroy(d, bounce);
  return status;
}

// ---- the ring --------------------------------------------------------------------------------------------

// Finds room for `bytes` behind the youngest entry, wrapping once.
static bool ring_place(fg_weight_stream *s, uint64_t bytes, uint64_t *offset) {
  uint64_t size = s->options.ring_bytes;
  if (s->count == MAX_ENTRIES || bytes > size) return false;
  if (s->count == 0) {
    *offset = 0;
    return true;
  }
  const entry *oldest = entry_at(s, 0), *youngest = entry_at(s, s->count - 1);
  uint64_t end = youngest->offset + youngest->bytes;
  bool wrapped = youngest->offset < oldest->offset;
  if (wrapped) {
    *offset = end;
    return bytes <= oldest->offset - end;
  }
  *offset = bytes <= size - end ? end : 0;
  return bytes <= size - end || bytes <= oldest->offset;
}

static void ring_reclaim(fg_weight_stream *s) {
  fg_device *d = s->options.device;
  while (s->used > 0 && d->ops->reached(d, entry_at(s, 0)->released)) {
    s->first = (s->first + 1) % MAX_ENTRIES;
    s->count--;
    s->used--;
  }
}

// Brings a panel that is in host memory to the device. The copy queue may run later.
static fg_status upload(fg_weight_stream *s, entry *e, const void *from, fg_error *err) {
  fg_device *d = s->options.device;
  const fg_panel *panel = &s->options.store->panels[e->panel];
  fg_status status = d->ops->upload(d, FG_QUEUE_LOAD, s->ring, e->offset, from, panel->bytes, err);
  e->loaded = d->ops->record(d, FG_QUEUE_LOAD);
  e->state = ENTRY_LOADED;
  return status;
}

// A read has ended, or is waited for now: passes it on to the device.
static fg_status finish_read(fg_weight_stream *s, entry *e, fg_error *err) {
  fg_status status = fg_io_read_wait(s->options.io, &e->read, err);
  if (status != FG_OK) return status;
  s->bytes_read += e->bytes;
  if (!s->host_reaches) return upload(s, e, e->read.buffer, err);
  e->loaded = (fg_event){0};
  e->state = ENTRY_LOADED;
  return FG_OK;
}

// Panels of the ring that were never checked. A hash is one thread's work, so threads share several.
typedef struct unchecked {
  fg_weight_stream *stream;
  uint32_t count;
  const entry *entries[MAX_ENTRIES];
  bool whole[MAX_ENTRIES];
} unchecked;

static void check_one(void *arg, uint32_t item, uint32_t thread) {
  (void)thread;
  unchecked *u = arg;
  u->whole[item] = is_whole(u->stream, u->entries[item]->panel, u->entries[item]->read.buffer);
}

// Checks all panels that are there: they come one by one, and at the first use of one there may be many.
static fg_status check_ring(fg_weight_stream *s, fg_error *err) {
  fg_threads *threads = s->options.device->options.threads; // idle: jobs are the owner's to start
  unchecked u = {.stream = s};
  for (uint32_t i = s->used; i < s->count; i++) {
    const entry *e = entry_at(s, i);
    if (e->state == ENTRY_LOADED && !s->verified[e->panel]) u.entries[u.count++] = e;
  }
  fg_threads_run(threads, u.count, check_one, &u);
  for (uint32_t i = 0; i < u.count; i++) {
    if (!u.whole[i]) return damaged(s, u.entries[i]->panel, err);
    s->verified[u.entries[i]->panel] = true;
  }
  return FG_OK;
}

static fg_status start(fg_weight_stream *s, uint32_t index, uint64_t offset, fg_error *err) {
  const fg_panel *panel = &s->options.store->panels[index];
  entry *e = entry_at(s, s->count++);
  *e = (entry){.panel = index, .offset = offset, .bytes = padded(panel)};
  if (s->tier[index] == FG_TIER_HOST) return upload(s, e, s->host_block + s->place[index], err);
  e->read = (fg_io_read){.file = s->options.store->file,
                         .buffer = s->ring_host + offset,
                         .offset = panel->offset,
                         .bytes = e->bytes,
                         .layer = s->options.store->weights[s->weight_of[index]].layer};
  fg_io_read_begin(s->options.io, &e->read);
  return FG_OK;
}

// Whether panel number `next` of the endless order may be started, skipping what no step will use. The
// epilogue's panels wait until it is known whether the step wants them.
static bool next_known(fg_weight_stream *s) {
  for (;;) {
    uint64_t cycle = s->next / s->order_count, index = s->next % s->order_count;
    if (index < s->tail_first) return true;
    if (cycle >= s->steps) return false;
    if (s->tail_wanted) return true; // every panel before it was used, so this is the current step's
    s->next = (cycle + 1) * s->order_count;
  }
}

// Keeps the ring full: passes finished reads on and starts what fits.
static fg_status pump(fg_weight_stream *s, fg_error *err) {
  if (s->order_count == 0) return FG_OK;
  for (uint32_t i = s->used; i < s->count; i++) {
    entry *e = entry_at(s, i);
    if (e->state != ENTRY_READING) continue;
    if (!fg_io_read_poll(s->options.io, &e->read)) break;
    fg_status status = finish_read(s, e, err);
    if (status != FG_OK) return status;
  }
  ring_reclaim(s);
  while (next_known(s)) {
    uint32_t index = s->order[s->next % s->order_count];
    uint64_t offset;
    if (!ring_place(s, padded(&s->options.store->panels[index]), &offset)) break;
    s->next++;
    fg_status status = start(s, index, offset, err);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

// ---- for the executor --------------------------------------------------------------------------------

fg_status fg_weight_stream_begin(fg_weight_stream *s, bool tail, fg_error *err) {
  if (s->order_count) (void)next_known(s); // passes over the epilogue of the step before, if unused
  s->steps++;
  s->tail_wanted = tail;
  return pump(s, err);
}

// An entry that was acquired and not released; NULL: the panel is not.
static const entry *find_held(fg_weight_stream *s, uint32_t panel) {
  for (uint32_t i = s->used; i < s->used + s->held; i++)
    if (entry_at(s, i)->panel == panel) return entry_at(s, i);
  return NULL;
}

// Until the next panel is on its way: the ring may be full of panels whose last use is still queued.
static fg_status make_room(fg_weight_stream *s, uint32_t panel, fg_error *err) {
  fg_device *d = s->options.device;
  fg_status status = pump(s, err);
  while (status == FG_OK && s->used + s->held == s->count) {
    if (s->used == 0)
      return fg_fail(err, FG_INTERNAL, "the weight ring is too small for panel %" PRIu32, panel);
    status = d->ops->host_wait(d, entry_at(s, 0)->released, err);
    if (status == FG_OK) status = pump(s, err);
  }
  return status;
}

static fg_status wait_loaded(fg_weight_stream *s, entry *e, fg_error *err) {
  fg_device *d = s->options.device;
  fg_status status = FG_OK;
  if (e->state == ENTRY_READING) {
    uint64_t begin = fg_trace_now(s->options.trace);
    status = finish_read(s, e, err);
    fg_trace_span(s->options.trace, s->track, FG_SPAN_WAIT_READ, NULL, e->read.layer, e->bytes, begin,
                  fg_trace_now(s->options.trace));
  }
  if (status == FG_OK && !s->verified[e->panel]) status = check_ring(s, err);
  return status == FG_OK ? d->ops->queue_wait(d, FG_QUEUE_COMPUTE, e->loaded, err) : status;
}

fg_status fg_weight_stream_acquire(fg_weight_stream *s, uint32_t panel, fg_view *view, fg_error *err) {
  if (s->tier[panel] == FG_TIER_DEVICE) {
    *view = (fg_view){.memory = s->device_block, .offset = s->place[panel]};
    return FG_OK;
  }
  const entry *held = find_held(s, panel);
  if (held) {
    *view = (fg_view){.memory = s->ring, .offset = held->offset};
    return FG_OK;
  }
  fg_status status = make_room(s, panel, err);
  if (status != FG_OK) return status;
  entry *e = entry_at(s, s->used + s->held);
  if (e->panel != panel)
    return fg_fail(err, FG_INTERNAL,
                   "panel %" PRIu32 " was asked for, %" PRIu32 " is next in the order of use", panel,
                   e->panel);
  status = wait_loaded(s, e, err);
  if (status == FG_OK) s->held++;
  *view = (fg_view){.memory = s->ring, .offset = e->offset};
  return status;
}

fg_status fg_weight_stream_release(fg_weight_stream *s, uint32_t panel, fg_error *err) {
  if (s->tier[panel] == FG_TIER_DEVICE) return pump(s, err);
  entry *e = entry_at(s, s->used);
  if (s->held == 0 || e->panel != panel)
    return fg_fail(err, FG_INTERNAL, "panel %" PRIu32 " is released out of order", panel);
  e->released = s->options.device->ops->record(s->options.device, FG_QUEUE_COMPUTE);
  e->state = ENTRY_RELEASED;
  s->used++;
  s->held--;
  return pump(s, err);
}

uint64_t fg_weight_stream_bytes_read(const fg_weight_stream *s) {
  return s->bytes_read;
}

// ---- life --------------------------------------------------------------------------------------------

static fg_status allocate_tables(fg_weight_stream *s, fg_error *err) {
  uint32_t n = s->options.store->panel_count;
  s->tier = malloc(n + 1);
  s->weight_of = calloc(n + 1, sizeof *s->weight_of);
  s->place = calloc(n + 1, sizeof *s->place);
  s->verified = calloc(n + 1, sizeof *s->verified);
  s->order = calloc(n + 1, sizeof *s->order);
  if (!s->tier || !s->weight_of || !s->place || !s->verified || !s->order)
    return fg_fail(err, FG_NO_SPACE, "out of memory for a table of %" PRIu32 " weight panels", n);
  memcpy(s->tier, s->options.tier, n);
  return FG_OK;
}

static void list_order(fg_weight_stream *s) {
  const fg_store *store = s->options.store;
  for (uint32_t w = 0; w < store->weight_count; w++) {
    const fg_weight *weight = &store->weights[w];
    if (w == s->options.tail_weight) s->tail_first = s->order_count;
    for (uint32_t p = weight->panel; p < weight->panel + weight->panels; p++) {
      s->weight_of[p] = w;
      if (weight->kind != FG_WEIGHT_MATRIX || (s->options.apart && s->options.apart[p]))
        s->tier[p] = FG_TIER_DISK; // not this stream's business
      else if (s->tier[p] != FG_TIER_DEVICE)
        s->order[s->order_count++] = p;
    }
  }
}

static fg_status create_ring(fg_weight_stream *s, fg_error *err) {
  if (s->order_count == 0) return FG_OK;
  fg_device *d = s->options.device;
  uint64_t bytes = s->options.ring_bytes;
  fg_status status = d->ops->memory_create(d, bytes, "the ring of streamed weights", &s->ring, err);
  if (status != FG_OK) return status;
  s->ring_host = fg_device_host_pointer(d, s->ring);
  s->host_reaches = s->ring_host != NULL;
  if (!s->host_reaches)
    status = fg_device_host_create(d, bytes, "staging of streamed weights", (void **)&s->ring_host, err);
  if (status == FG_OK) fg_io_register(s->options.io, s->ring_host, bytes);
  return status;
}

fg_status fg_weight_stream_create(fg_weight_stream **out, const fg_weight_stream_options *options,
                                  fg_error *err) {
  *out = NULL;
  fg_weight_stream *s = calloc(1, sizeof *s);
  if (!s) return fg_fail(err, FG_NO_SPACE, "out of memory for the weight stream");
  s->options = *options;
  s->track = fg_trace_track(options->trace, "wait for weights");
  fg_status status = allocate_tables(s, err);
  if (status == FG_OK) {
    list_order(s);
    status = load_all_resident(s, err);
  }
  if (status == FG_OK) status = create_ring(s, err);
  if (status == FG_OK) status = pump(s, err);
  if (status != FG_OK) {
    fg_weight_stream_destroy(s);
    return status;
  }
  *out = s;
  return FG_OK;
}

void fg_weight_stream_destroy(fg_weight_stream *s) {
  if (!s) return;
  fg_device *d = s->options.device;
  for (uint32_t i = s->used; i < s->count; i++) // nobody may write into memory that is freed now
    if (entry_at(s, i)->state == ENTRY_READING)
      (void)fg_io_read_wait(s->options.io, &entry_at(s, i)->read, NULL);
  for (int q = 0; q < FG_QUEUE_COUNT; q++) (void)d->ops->host_wait(d, d->ops->record(d, (fg_queue)q), NULL);
  if (s->ring_host) fg_io_unregister(s->options.io, s->ring_host, s->options.ring_bytes);
  if (s->ring) d->ops->memory_destroy(d, s->ring);
  if (s->device_block) d->ops->memory_destroy(d, s->device_block);
  if (!s->host_reaches) fg_device_host_destroy(d, s->ring_host);
  fg_device_host_destroy(d, s->host_block);
  free(s->tier);
  free(s->weight_of);
  free(s->place);
  free(s->verified);
  free(s->order);
  free(s);
}
