#include "io/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "io/backend.h"
#include "io/file.h"

enum {
  DEFAULT_DEPTH = 32,
  MOST_DEPTH = 1024,
  DEFAULT_PIECE = 1 << 20,
  MOST_PIECE = 1 << 30,
  // Interrupted calls and calls that moved nothing, in a row, before a piece is given up.
  MOST_STALLS = 64,
  PAST_END = -1, // in os_error: no errno, the file ends too early
};

// A lane is a track of the trace; reads that are open at the same time are in different lanes.
typedef struct lane {
  uint32_t track; // 0: not made yet
  bool busy;
} lane;

struct fg_io {
  const fg_io_backend *backend;
  void *state;
  const char *name;
  uint32_t depth, piece_bytes;

  fg_io_piece *pieces; // [depth]
  fg_io_piece *free;
  uint32_t in_flight;
  bool unkicked; // pieces were submitted since the last kick
  // Requests that have bytes not yet handed over, first come first served: only the first one can
  // have some pieces handed over and others not.
  fg_io_read *head, **tail;

  uint64_t bytes_read, bytes_written, bytes_registered;
  int register_error; // errno of the last refusal
  fg_budget *budget;
  void *bounce; // [piece_bytes], made at first use
  fg_trace *trace;
  fg_simulation *simulation; // NULL: there is a backend
  uint32_t disk_track;
  lane *lanes; // [depth + 1]: one for each piece in flight, and one for the first of the queue
};

static fg_status open_backend(fg_io *io, const fg_io_options *options, fg_error *err) {
  io->simulation = options->simulation;
  if (io->simulation) {
    io->name = "simulated";
    io->disk_track = fg_trace_track(io->trace, io->name);
    return FG_OK;
  }
  static const fg_io_backend *const rows[] = {[FG_IO_URING] = &fg_io_uring, [FG_IO_THREADS] = &fg_io_threads};
  fg_io_backend_id first = options->backend, last = options->backend;
  if (options->backend == FG_IO_AUTO) {
    first = FG_IO_URING;
    last = FG_IO_THREADS;
  }
  fg_status status = FG_OK;
  for (fg_io_backend_id id = first; id <= last; id++) {
    io->backend = rows[id];
    status = io->backend->create(&io->state, io->depth, err);
    if (!status) break;
  }
  if (status) return status;
  io->name = io->backend->name;
  if (!options->fault) return FG_OK;
  void *faulty;
  status = fg_io_faulty_create(&faulty, io->backend, io->state, options->fault, err);
  if (status) {
    io->backend->destroy(io->state);
    return status;
  }
  io->backend = &fg_io_faulty;
  io->state = faulty;
  return FG_OK;
}

static void release_memory(fg_io *io) {
  free(io->pieces);
  free(io->lanes);
  free(io);
}

fg_status fg_io_create(fg_io **out, const fg_io_options *options, fg_error *err) {
  uint32_t depth = options->depth ? options->depth : DEFAULT_DEPTH;
  uint32_t piece_bytes = options->piece_bytes ? options->piece_bytes : DEFAULT_PIECE;
  if (depth > MOST_DEPTH || piece_bytes > MOST_PIECE || piece_bytes % FG_IO_ALIGN || !options->budget)
    return fg_fail(err, FG_INVALID,
                   "I/O in pieces of %u bytes, %u in flight: at most %d of at most %d, in %ds", piece_bytes,
                   depth, MOST_DEPTH, MOST_PIECE, FG_IO_ALIGN);
  fg_io *io = calloc(1, sizeof *io);
  if (!io) return fg_fail(err, FG_NO_SPACE, "no memory for the I/O queue");
  io->depth = depth;
  io->piece_bytes = piece_bytes;
  io->tail = &io->head;
  io->budget = options->budget;
  io->trace = options->trace;
  io->pieces = calloc(depth, sizeof *io->pieces);
  io->lanes = calloc(depth + 1, sizeof *io->lanes);
  fg_status status = io->pieces && io->lanes ? open_backend(io, options, err)
                                             : fg_fail(err, FG_NO_SPACE, "no memory for the I/O queue");
  if (status) {
    release_memory(io);
    return status;
  }
  for (uint32_t i = 0; i < depth; i++) {
    io->pieces[i].next = io->free;
    io->free = &io->pieces[i];
  }
  *out = io;
  return FG_OK;
}

void fg_io_destroy(fg_io *io) {
  if (!io) return;
  for (; io->in_flight > 0; io->in_flight--) io->backend->wait(io->state);
  if (io->backend) io->backend->destroy(io->state);
  fg_budget_free(io->budget, io->bounce);
  release_memory(io);
}

const char *fg_io_backend_name(const fg_io *io) {
  return io->name;
}
bool fg_io_is_simulated(const fg_io *io) {
  return io->simulation != NULL;
}
uint64_t fg_io_bytes_read(const fg_io *io) {
  return io->bytes_read;
}
uint64_t fg_io_bytes_written(const fg_io *io) {
  return io->bytes_written;
}

// A request into memory of small pages has 256 segments to the MiB, more than a queue may take at once: 1.3
// GB/s from a virtio disk, 2.7 into huge pages.
void fg_io_register(fg_io *io, void *base, size_t bytes) {
  if (io->simulation) return;
  fg_prefer_huge_pages(base, bytes);
  int error = io->backend->enroll(io->state, base, bytes, &io->bytes_registered);
  if (error) io->register_error = error;
}

void fg_io_unregister(fg_io *io, const void *base, size_t bytes) {
  if (io->simulation) return;
  io->backend->dismiss(io->state, base, bytes, &io->bytes_registered);
}

uint64_t fg_io_bytes_registered(const fg_io *io) {
  return io->bytes_registered;
}
int fg_io_register_error(const fg_io *io) {
  return io->register_error;
}

// The span of a request: opened with its first piece, closed when its last one was seen.

static void open_span(fg_io *io, fg_io_read *request) {
  request->begin_ns = fg_now_ns();
  if (request->write || !io->trace) return;
  uint32_t i = 0;
  while (io->lanes[i].busy) i++;
  if (io->lanes[i].track == 0) {
    char name[24];
    snprintf(name, sizeof name, "read %u", i + 1);
    io->lanes[i].track = fg_trace_track(io->trace, name);
  }
  io->lanes[i].busy = true;
  request->lane = i;
}

static void close_span(fg_io *io, fg_io_read *request) {
  request->end_ns = fg_now_ns();
  if (request->write || !io->trace) return;
  lane *l = &io->lanes[request->lane];
  l->busy = false;
  fg_trace_span(io->trace, l->track, FG_SPAN_READ, NULL, request->layer, request->done, request->begin_ns,
                request->end_ns);
}

static bool is_finished(const fg_io_read *request) {
  return request->in_flight == 0 && (request->os_error || request->done == request->bytes);
}

static void leave_queue(fg_io *io) {
  io->head = io->head->next;
  if (!io->head) io->tail = &io->head;
}

static void submit(fg_io *io, fg_io_piece *piece) {
  const fg_file *file = piece->read->file;
  piece->fd = file->fd;
  piece->direct = file->direct;
  piece->bytes = piece->left;
  io->backend->submit(io->state, piece);
  io->unkicked = true;
}

// Hands over pieces in order while there are free ones, and lets the backend start.
static void pump(fg_io *io) {
  while (io->head && io->free) {
    fg_io_read *request = io->head;
    size_t rest = request->bytes - request->submitted;
    fg_io_piece *piece = io->free;
    io->free = piece->next;
    *piece = (fg_io_piece){
        .write = request->write,
        .address = (char *)request->buffer + request->submitted,
        .offset = request->offset + request->submitted,
        .left = rest < io->piece_bytes ? (uint32_t)rest : io->piece_bytes,
        .read = request,
    };
    if (request->submitted == 0) open_span(io, request);
    request->submitted += piece->left;
    request->in_flight++;
    io->in_flight++;
    submit(io, piece);
    if (request->submitted == request->bytes) leave_queue(io);
  }
  if (!io->unkicked) return;
  io->unkicked = false;
  io->backend->kick(io->state);
}

static void fail(fg_io *io, fg_io_read *request, int os_error) {
  if (!request->os_error) request->os_error = os_error;
  if (io->head == request) leave_queue(io);
}

// How far a call that moved `moved` bytes brought its piece.
static uint32_t progress(const fg_io_piece *piece, uint32_t moved) {
  if (moved >= piece->left) return piece->left;
  if (!piece->write && piece->offset + moved >= piece->read->file->size) {
    // The end of the file, in its last block: what follows in the block is zero.
    memset((char *)piece->address + moved, 0, piece->left - moved);
    return piece->left;
  }
  // A direct call must go on at a block's start: the torn block is moved again.
  return piece->direct ? moved / FG_IO_ALIGN * FG_IO_ALIGN : moved;
}

// Takes in what a call brought; returns an errno, PAST_END, or 0 if the piece may go on.
static int take_result(fg_io *io, fg_io_piece *piece) {
  fg_io_read *request = piece->read;
  int32_t result = piece->result;
  piece->stalls++;
  if (result > 0) {
    uint32_t moved = (uint32_t)result;
    *(piece->write ? &io->bytes_written : &io->bytes_read) += moved;
    int error = piece->direct ? 0 : fg_file_forget(request->file, piece->offset, moved, piece->write);
    if (error) return error;
    uint32_t step = progress(piece, moved);
    if (step > 0) piece->stalls = 0;
    piece->address = (char *)piece->address + step;
    piece->offset += step;
    piece->left -= step;
    request->done += step;
    return piece->stalls < MOST_STALLS ? 0 : piece->write ? EIO : PAST_END;
  }
  if (result == 0) return piece->write ? EIO : PAST_END;
  bool again = result == -EINTR || result == -EAGAIN;
  // Another piece of the same file may have given up direct access already.
  bool was_direct = result == -EINVAL && piece->direct;
  if (was_direct && request->file->direct) was_direct = fg_file_make_buffered(request->file);
  return (again || was_direct) && piece->stalls < MOST_STALLS ? 0 : -result;
}

static void complete(fg_io *io, fg_io_piece *piece) {
  fg_io_read *request = piece->read;
  int error = take_result(io, piece);
  if (error) fail(io, request, error);
  if (!request->os_error && piece->left > 0) {
    submit(io, piece);
    return;
  }
  piece->next = io->free;
  io->free = piece;
  io->in_flight--;
  request->in_flight--;
  if (is_finished(request)) close_span(io, request);
}

// Takes in all that has finished, without waiting.
static void collect(fg_io *io) {
  fg_io_piece *piece;
  while (io->in_flight > 0 && (piece = io->backend->poll(io->state))) complete(io, piece);
  pump(io);
}

static bool is_aligned(const void *buffer, uint64_t offset, size_t bytes) {
  return ((uintptr_t)buffer | offset | bytes) % FG_IO_ALIGN == 0;
}

static int check(const fg_io_read *request) {
  const fg_file *file = request->file;
  if (file->direct && !is_aligned(request->buffer, request->offset, request->bytes)) return EINVAL;
  uint64_t end;
  if (!fg_add_u64(request->offset, request->bytes, &end) || end > INT64_MAX - FG_IO_ALIGN) return EFBIG;
  if (!request->write && end > fg_align_up(file->size, FG_IO_ALIGN)) return PAST_END;
  return 0;
}

// ---- of a machine that is simulated: a request is a time -------------------------------------------------

static void begin_simulated(fg_io *io, fg_io_read *request) {
  const fg_hardware *hw = &io->simulation->machine;
  const double rate = request->write ? hw->disk_write : hw->disk_read;
  const fg_timeline_span span =
      fg_timeline_work(&io->simulation->time, FG_SIMULATED_DISK, FG_UNIT_DISK, (double)request->bytes / rate);
  request->os_error = 0;
  request->in_flight = 0;
  request->done = request->bytes;
  request->begin_ns = span.begin;
  request->end_ns = span.end;
  *(request->write ? &io->bytes_written : &io->bytes_read) += request->bytes;
  if (request->bytes)
    fg_trace_span(io->trace, io->disk_track, FG_SPAN_READ, request->write ? "write" : NULL, request->layer,
                  request->bytes, span.begin, span.end);
}

// ---- of a real one ---------------------------------------------------------------------------------------

static void begin(fg_io *io, fg_io_read *request) {
  if (io->simulation) {
    begin_simulated(io, request);
    return;
  }
  request->done = request->submitted = 0;
  request->in_flight = 0;
  request->begin_ns = request->end_ns = 0;
  request->next = NULL;
  request->os_error = check(request);
  if (!request->os_error && request->bytes > 0) {
    *io->tail = request;
    io->tail = &request->next;
  }
  collect(io);
}

static void finish(fg_io *io, fg_io_read *request) {
  if (io->simulation) {
    fg_timeline_wait(&io->simulation->time, request->end_ns);
    return;
  }
  collect(io);
  while (!is_finished(request)) {
    complete(io, io->backend->wait(io->state));
    collect(io);
  }
}

static fg_status past_end(const fg_file *file, uint64_t offset, size_t bytes, fg_error *err) {
  return fg_fail(err, FG_CORRUPT,
                 "%s: %zu bytes at offset %" PRIu64 " are not all there, of %" PRIu64
                 " at opening; the file is truncated or not what it says",
                 file->path, bytes, offset, file->size);
}

static fg_status result_of(const fg_io_read *request, fg_error *err) {
  int error = request->os_error;
  if (error == 0) return FG_OK;
  if (error == PAST_END) return past_end(request->file, request->offset, request->bytes, err);
  bool full = request->write && (error == ENOSPC || error == EDQUOT);
  return fg_fail(err, full ? FG_DISK_FULL : FG_IO, "%s: cannot %s %zu bytes at offset %" PRIu64 ": %s%s",
                 request->file->path, request->write ? "write" : "read", request->bytes, request->offset,
                 strerror(error), full ? "; free some space or choose another directory" : "");
}

void fg_io_read_begin(fg_io *io, fg_io_read *read) {
  read->write = false;
  begin(io, read);
}

bool fg_io_read_poll(fg_io *io, fg_io_read *read) {
  if (io->simulation) return io->simulation->time.now >= read->end_ns;
  collect(io);
  return is_finished(read);
}

fg_status fg_io_read_wait(fg_io *io, fg_io_read *read, fg_error *err) {
  finish(io, read);
  fg_status status = result_of(read, err);
  uint64_t end = read->offset + read->bytes;
  if (!status && read->write && read->file && end > read->file->size) read->file->size = end;
  return status;
}

void fg_io_write_begin(fg_io *io, fg_io_read *write) {
  write->write = true;
  begin(io, write);
}

static fg_status run_now(fg_io *io, fg_io_read *request, fg_error *err) {
  begin(io, request);
  return fg_io_read_wait(io, request, err);
}

// Reads whole blocks into the bounce buffer and copies what was asked for.
static fg_status read_bounced(fg_io *io, fg_file *file, uint64_t offset, char *to, size_t bytes,
                              fg_error *err) {
  if (!io->bounce) {
    fg_status status =
        fg_budget_alloc(io->budget, io->piece_bytes, "a buffer for unaligned reads", &io->bounce, err);
    if (status) return status;
  }
  while (bytes > 0) {
    size_t skip = offset % FG_IO_ALIGN, part = io->piece_bytes - skip;
    if (part > bytes) part = bytes;
    fg_io_read request = {
        .file = file,
        .buffer = io->bounce,
        .offset = offset - skip,
        .bytes = fg_align_up(skip + part, FG_IO_ALIGN),
        .layer = -1,
    };
    fg_status status = run_now(io, &request, err);
    if (status) return status;
    memcpy(to, (char *)io->bounce + skip, part);
    to += part;
    offset += part;
    bytes -= part;
  }
  return FG_OK;
}

fg_status fg_io_read_now(fg_io *io, fg_file *file, uint64_t offset, void *buffer, size_t bytes,
                         fg_error *err) {
  if (io->simulation) {
    fg_io_read whole = {.buffer = buffer, .offset = offset, .bytes = bytes, .layer = -1};
    return run_now(io, &whole, err);
  }
  bool aligned = is_aligned(buffer, offset, bytes);
  // Only who reads in whole blocks may mean the padding of the last one.
  if (!aligned && !fg_range_ok(offset, bytes, file->size)) return past_end(file, offset, bytes, err);
  if (!aligned && file->direct) return read_bounced(io, file, offset, buffer, bytes, err);
  fg_io_read request = {.file = file, .buffer = buffer, .offset = offset, .bytes = bytes, .layer = -1};
  return run_now(io, &request, err);
}

fg_status fg_io_write_now(fg_io *io, fg_file *file, uint64_t offset, const void *buffer, size_t bytes,
                          fg_error *err) {
  fg_io_read request = {
      .file = file,
      .buffer = (void *)buffer, // read from only
      .offset = offset,
      .bytes = bytes,
      .layer = -1,
      .write = true,
  };
  return run_now(io, &request, err);
}
