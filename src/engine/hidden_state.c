#include "engine/hidden_state.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "engine/unnamed_file.h"

enum { FRAMES = FG_HIDDEN_FRAMES };

typedef enum home { HOME_FAST, HOME_HOST, HOME_DISK, HOMES } home;

typedef struct batch {
  home home;
  uint32_t rows;
  uint64_t offset; // bytes, in the memory or file of its home
} batch;

_Static_assert(sizeof(batch) <= FG_HIDDEN_BATCH_ROOM, "what the policy counts");

typedef enum frame_state {
  FRAME_FREE,
  FRAME_READING,  // the request is a read
  FRAME_READY,    // on the device when `event` is reached
  FRAME_USED,     // acquired
  FRAME_COMPUTED, // its rows can be written, or forgotten, when `event` is reached
  FRAME_WRITING,  // the request is a write
} frame_state;

typedef struct frame {
  frame_state state;
  uint32_t batch;
  bool changed; // COMPUTED: its rows go back
  fg_io_read request;
  fg_event event;
} frame;

struct fg_hidden_state {
  fg_hidden_options options;
  fg_memory *memory; // [fast_rows, width], then the frames
  char *reach;       // the memory, where the host can reach it
  char *host_rows;   // [host_rows, width]
  char *images;      // of the frames in host memory, where the host cannot reach them
  fg_io *io;
  fg_file *file;
  uint32_t track;
  batch *batches;      // [limits.batches]
  uint64_t list_bytes; // reserved
  uint64_t taken[HOMES], room[HOMES];
  uint32_t count, next; // batches; of them the next one of the sweep
  fg_sweep sweep;
  frame frames[FRAMES];
  frame *used; // of the batch that is acquired, or NULL
};

// ---- sizes -----------------------------------------------------------------------------------------------

static uint64_t row_bytes(const fg_hidden_limits *l) {
  return (uint64_t)l->width * sizeof(float);
}

static uint64_t frame_bytes(const fg_hidden_limits *l) {
  return fg_align_up(l->batch_rows * row_bytes(l), FG_IO_ALIGN);
}

static uint64_t fast_bytes(const fg_hidden_limits *l) {
  return fg_align_up(l->fast_rows * row_bytes(l), FG_IO_ALIGN);
}

static uint64_t frames_bytes(const fg_hidden_limits *l) {
  return l->host_rows || l->disk_rows ? FRAMES * frame_bytes(l) : 0;
}

// ---- life ------------------------------------------------------------------------------------------------

static fg_status open_disk(fg_hidden_state *h, fg_error *err) {
  const fg_hidden_options *o = &h->options;
  const fg_io_options io = {.backend = o->backend,
                            .depth = 64,
                            .budget = o->host,
                            .trace = o->trace,
                            .simulation = o->device->options.simulation};
  fg_status status = fg_io_create(&h->io, &io, err);
  if (status != FG_OK || io.simulation) return status;
  const fg_unnamed_file wanted = {
      .folder = o->folder,
      .prefix = "hidden",
      .bytes = fg_hidden_disk_bytes(&o->limits),
      .what = "the hidden state of a step's rows",
      .advice = "choose another --offload-dir or lower --max-num-batched-tokens",
  };
  status = fg_unnamed_file_create(&h->file, &wanted, err);
  char *frames = h->reach ? h->reach + fast_bytes(&o->limits) : h->images;
  if (status == FG_OK) fg_io_register(h->io, frames, frames_bytes(&o->limits));
  return status;
}

static fg_status create_memory(fg_hidden_state *h, fg_error *err) {
  const fg_hidden_limits *l = &h->options.limits;
  fg_device *d = h->options.device;
  fg_budget *host = h->options.host;
  const char *what = "the hidden state of a step's rows";
  fg_status status = d->ops->memory_create(d, fast_bytes(l) + frames_bytes(l), what, &h->memory, err);
  if (status != FG_OK) return status;
  h->reach = fg_device_host_pointer(d, h->memory);
  status = fg_budget_reserve(host, l->batches * sizeof(batch), "batches of a step", err);
  if (status != FG_OK) return status;
  h->list_bytes = l->batches * sizeof(batch);
  h->batches = calloc(l->batches + 1u, sizeof *h->batches);
  if (!h->batches)
    return fg_fail(err, FG_NO_SPACE, "out of memory for a list of %" PRIu32 " batches", l->batches);
  if (l->host_rows)
    status = fg_device_host_create(d, l->host_rows * row_bytes(l), what, (void **)&h->host_rows, err);
  if (status == FG_OK && l->disk_rows && !h->reach)
    status =
        fg_device_host_create(d, frames_bytes(l), "staging of the hidden state", (void **)&h->images, err);
  return status;
}

fg_status fg_hidden_create(fg_hidden_state **out, const fg_hidden_options *options, fg_error *err) {
  *out = NULL;
  fg_hidden_state *h = calloc(1, sizeof *h);
  if (!h) return fg_fail(err, FG_NO_SPACE, "out of memory for the hidden state");
  const fg_hidden_limits *l = &options->limits;
  h->options = *options;
  h->track = fg_trace_track(options->trace, "wait for the hidden state");
  h->room[HOME_FAST] = l->fast_rows * row_bytes(l);
  h->room[HOME_HOST] = l->host_rows * row_bytes(l);
  h->room[HOME_DISK] = fg_hidden_disk_bytes(l);
  fg_status status = create_memory(h, err);
  if (status == FG_OK && l->disk_rows) status = open_disk(h, err);
  if (status != FG_OK) {
    fg_hidden_destroy(h);
    return status;
  }
  *out = h;
  return FG_OK;
}

void fg_hidden_destroy(fg_hidden_state *h) {
  if (!h) return;
  fg_device *d = h->options.device;
  for (int q = 0; q < FG_QUEUE_COUNT; q++) (void)d->ops->host_wait(d, d->ops->record(d, (fg_queue)q), NULL);
  fg_io_destroy(h->io); // waits for what is in flight into memory that is freed now
  fg_file_close(h->file);
  if (h->memory) d->ops->memory_destroy(d, h->memory);
  fg_device_host_destroy(d, h->host_rows);
  fg_device_host_destroy(d, h->images);
  fg_budget_release(h->options.host, h->list_bytes);
  free(h->batches);
  free(h);
}

// ---- a frame's way ---------------------------------------------------------------------------------------

static uint64_t frame_offset(const fg_hidden_state *h, const frame *f) {
  return fast_bytes(&h->options.limits) + (uint64_t)(f - h->frames) * frame_bytes(&h->options.limits);
}

static uint64_t batch_bytes(const fg_hidden_state *h, const batch *b) {
  return b->rows * row_bytes(&h->options.limits);
}

// Where the host has the rows that come to the frame, or go from it.
static char *host_address(const fg_hidden_state *h, const frame *f) {
  const batch *b = &h->batches[f->batch];
  if (b->home == HOME_HOST) return h->host_rows + b->offset;
  if (h->reach) return h->reach + frame_offset(h, f);
  return h->images + (uint64_t)(f - h->frames) * frame_bytes(&h->options.limits);
}

static fg_io_read request_of(const fg_hidden_state *h, const frame *f) {
  const batch *b = &h->batches[f->batch];
  return (fg_io_read){.file = h->file,
                      .buffer = host_address(h, f),
                      .offset = b->offset,
                      .bytes = fg_align_up(batch_bytes(h, b), FG_IO_ALIGN),
                      .layer = -1};
}

// The rows are where the host has them: on to the device, if that is another place.
static fg_status bring(fg_hidden_state *h, frame *f, fg_error *err) {
  fg_device *d = h->options.device;
  fg_status status = FG_OK;
  const char *from = host_address(h, f);
  if (!h->reach || h->batches[f->batch].home == HOME_HOST)
    status = d->ops->upload(d, FG_QUEUE_LOAD, h->memory, frame_offset(h, f), from,
                            batch_bytes(h, &h->batches[f->batch]), err);
  f->event = d->ops->record(d, FG_QUEUE_LOAD);
  f->state = FRAME_READY;
  return status;
}

static fg_status fill(fg_hidden_state *h, frame *f, uint32_t index, fg_error *err) {
  f->batch = index;
  f->event = (fg_event){0};
  f->state = FRAME_READY;
  if (h->sweep == FG_SWEEP_MAKE) return FG_OK;
  if (h->batches[index].home == HOME_HOST) return bring(h, f, err);
  f->request = request_of(h, f);
  f->state = FRAME_READING;
  fg_io_read_begin(h->io, &f->request);
  return FG_OK;
}

static fg_status wait_request(fg_hidden_state *h, frame *f, fg_error *err) {
  if (fg_io_read_poll(h->io, &f->request)) return fg_io_read_wait(h->io, &f->request, err);
  const uint64_t begin = fg_trace_now(h->options.trace);
  fg_status status = fg_io_read_wait(h->io, &f->request, err);
  fg_trace_span(h->options.trace, h->track, FG_SPAN_WAIT_READ, "rows of a batch", -1, f->request.bytes, begin,
                fg_trace_now(h->options.trace));
  return status;
}

// COMPUTED, and the event is reached.
static void put_back(fg_hidden_state *h, frame *f) {
  f->state = FRAME_FREE;
  if (!f->changed || h->batches[f->batch].home != HOME_DISK) return;
  f->request = request_of(h, f);
  f->state = FRAME_WRITING;
  fg_io_write_begin(h->io, &f->request);
}

// As far as it comes by itself.
static fg_status advance(fg_hidden_state *h, frame *f, fg_error *err) {
  fg_device *d = h->options.device;
  if (f->state == FRAME_READING && fg_io_read_poll(h->io, &f->request)) {
    fg_status status = fg_io_read_wait(h->io, &f->request, err);
    return status == FG_OK ? bring(h, f, err) : status;
  }
  if (f->state == FRAME_COMPUTED && d->ops->reached(d, f->event)) put_back(h, f);
  if (f->state != FRAME_WRITING || !fg_io_read_poll(h->io, &f->request)) return FG_OK;
  f->state = FRAME_FREE;
  return fg_io_read_wait(h->io, &f->request, err);
}

// Waits until a frame that was released is free.
static fg_status settle(fg_hidden_state *h, frame *f, fg_error *err) {
  fg_device *d = h->options.device;
  fg_status status = FG_OK;
  if (f->state == FRAME_COMPUTED) {
    status = d->ops->host_wait(d, f->event, err);
    if (status == FG_OK) put_back(h, f);
  }
  if (status != FG_OK || f->state != FRAME_WRITING) return status;
  f->state = FRAME_FREE;
  return wait_request(h, f, err);
}

// ---- reading ahead ---------------------------------------------------------------------------------------

static bool lives_elsewhere(const fg_hidden_state *h, uint32_t index) {
  return h->batches[index].home != HOME_FAST && h->batches[index].rows > 0;
}

// The frame that has a batch in one of the states [from, to].
static frame *find_frame(fg_hidden_state *h, uint32_t index, frame_state from, frame_state to) {
  for (int i = 0; i < FRAMES; i++) {
    frame *f = &h->frames[i];
    if (f->state >= from && f->state <= to && (f->state == FRAME_FREE || f->batch == index)) return f;
  }
  return NULL;
}

// Fills free frames with what comes next. A batch that is still on its way back ends it for now.
static fg_status pump(fg_hidden_state *h, fg_error *err) {
  fg_status status = FG_OK;
  for (int i = 0; i < FRAMES && status == FG_OK; i++) status = advance(h, &h->frames[i], err);
  for (uint32_t b = h->next; b < h->count && status == FG_OK; b++) {
    if (!lives_elsewhere(h, b) || find_frame(h, b, FRAME_READING, FRAME_USED)) continue;
    frame *f = find_frame(h, b, FRAME_FREE, FRAME_FREE);
    if (!f || find_frame(h, b, FRAME_COMPUTED, FRAME_WRITING)) break;
    status = fill(h, f, b, err);
  }
  return status;
}

// The frame with the next batch, which does not live where it is computed with.
static fg_status find_next(fg_hidden_state *h, frame **out, fg_error *err) {
  fg_status status = FG_OK;
  while (status == FG_OK && !(*out = find_frame(h, h->next, FRAME_READING, FRAME_READY))) {
    frame *f = find_frame(h, h->next, FRAME_COMPUTED, FRAME_WRITING);
    for (int i = 0; !f && i < FRAMES; i++)
      if (h->frames[i].state == FRAME_COMPUTED || h->frames[i].state == FRAME_WRITING) f = &h->frames[i];
    if (!f) return fg_fail(err, FG_INTERNAL, "no frame is left for batch %" PRIu32 " of a step", h->next);
    status = settle(h, f, err);
    if (status == FG_OK) status = pump(h, err);
  }
  return status;
}

// ---- a step ----------------------------------------------------------------------------------------------

void fg_hidden_begin(fg_hidden_state *h) {
  h->count = h->next = 0;
  for (int i = 0; i < HOMES; i++) h->taken[i] = 0;
}

fg_status fg_hidden_add(fg_hidden_state *h, uint32_t rows, fg_error *err) {
  const fg_hidden_limits *l = &h->options.limits;
  batch b = {.rows = rows};
  for (b.home = HOME_FAST; b.home < HOMES && h->count < l->batches && rows <= l->batch_rows; b.home++) {
    uint64_t bytes = batch_bytes(h, &b);
    if (b.home == HOME_DISK) bytes = fg_align_up(bytes, FG_IO_ALIGN);
    if (bytes > h->room[b.home] - h->taken[b.home]) continue;
    b.offset = h->taken[b.home];
    h->taken[b.home] += bytes;
    h->batches[h->count++] = b;
    return FG_OK;
  }
  return fg_fail(err, FG_INTERNAL, "no room for %" PRIu32 " rows more of a step of %" PRIu32 " batches", rows,
                 h->count);
}

fg_status fg_hidden_sweep(fg_hidden_state *h, fg_sweep sweep, fg_error *err) {
  h->sweep = sweep;
  h->next = 0;
  return pump(h, err);
}

fg_status fg_hidden_acquire(fg_hidden_state *h, fg_view *rows, fg_error *err) {
  fg_device *d = h->options.device;
  *rows = (fg_view){h->memory, h->batches[h->next].offset, h->options.limits.width};
  h->used = NULL;
  fg_status status = pump(h, err);
  if (status != FG_OK || !lives_elsewhere(h, h->next)) return status;
  frame *f;
  status = find_next(h, &f, err);
  if (status == FG_OK && f->state == FRAME_READING) {
    status = wait_request(h, f, err);
    if (status == FG_OK) status = bring(h, f, err);
  }
  if (status == FG_OK) status = d->ops->queue_wait(d, FG_QUEUE_COMPUTE, f->event, err);
  if (status != FG_OK) return status;
  f->state = FRAME_USED;
  h->used = f;
  rows->offset = frame_offset(h, f);
  return FG_OK;
}

fg_status fg_hidden_release(fg_hidden_state *h, uint32_t rows, fg_error *err) {
  fg_device *d = h->options.device;
  frame *f = h->used;
  fg_status status = FG_OK;
  batch *b = &h->batches[h->next++];
  b->rows = rows;
  h->used = NULL;
  if (!f) return pump(h, err);
  f->changed = h->sweep != FG_SWEEP_READ && rows > 0;
  f->event = d->ops->record(d, FG_QUEUE_COMPUTE);
  f->state = FRAME_COMPUTED;
  if (f->changed && (!h->reach || b->home == HOME_HOST)) {
    status = d->ops->queue_wait(d, FG_QUEUE_STORE, f->event, err);
    if (status == FG_OK)
      status = d->ops->download(d, FG_QUEUE_STORE, h->memory, frame_offset(h, f), host_address(h, f),
                                batch_bytes(h, b), err);
    f->event = d->ops->record(d, FG_QUEUE_STORE);
  }
  return status == FG_OK ? pump(h, err) : status;
}

fg_status fg_hidden_finish(fg_hidden_state *h, fg_error *err) {
  fg_status status = FG_OK;
  h->count = h->next = 0; // nothing is read ahead any more
  for (int i = 0; i < FRAMES && status == FG_OK; i++) status = settle(h, &h->frames[i], err);
  return status;
}

uint64_t fg_hidden_bytes_read(const fg_hidden_state *h) {
  return h->io ? fg_io_bytes_read(h->io) : 0;
}

uint64_t fg_hidden_bytes_written(const fg_hidden_state *h) {
  return h->io ? fg_io_bytes_written(h->io) : 0;
}
