// The offload dir's disk: a file of its own, written, read for long enough to see a throttle, then read and
// written in requests of several sizes and depths. All requests are direct where the file system allows it,
// so that nothing comes from the page cache.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "base/system.h"
#include "profile/measure_internal.h"

enum {
  MIB = 1 << 20,
  ENGINE_DEPTH = 128, // the engine's own settings of reading
  ENGINE_PIECE = 1 << 20,
  LEAST_FILE_MIB = 64,
  BUFFER_MIB = 128,
  MOST_FILE_MIB = 4096,
  QUICK_FILE_MIB = 512,
  WRITE_SECONDS = 8,
  MOST_IN_FLIGHT = 128,
  MOST_SECONDS = 20,
};

typedef struct disk {
  fg_taker *t;
  fg_file *file;
  char path[PATH_MAX];
  uint64_t bytes;   // of the file
  uint8_t *buffers; // where requests go; requests in flight may share it
  uint64_t buffer_bytes;
} disk;

// A ring of requests, always as many in flight as `depth` says.
typedef struct stream {
  const disk *d;
  fg_io *io;
  bool write;
  uint64_t request, depth;
  uint64_t at, begun, ended; // next offset; requests handed over and waited for
  fg_status failed;          // of a request that nobody waited for
  fg_io_read ring[MOST_IN_FLIGHT];
} stream;

static void begin_one(stream *s) {
  const disk *d = s->d;
  const uint64_t place =
      s->begun * s->request % (d->buffer_bytes - s->request + 1) / FG_IO_ALIGN * FG_IO_ALIGN;
  fg_io_read *r = &s->ring[s->begun % s->depth];
  if (s->at + s->request > d->bytes) s->at = 0;
  *r = (fg_io_read){
      .file = d->file, .buffer = d->buffers + place, .offset = s->at, .bytes = s->request, .layer = -1};
  s->at += s->request;
  s->begun++;
  if (s->write)
    fg_io_write_begin(s->io, r);
  else
    fg_io_read_begin(s->io, r);
}

static fg_status end_one(stream *s, fg_error *err) {
  fg_status status = fg_io_read_wait(s->io, &s->ring[s->ended % s->depth], err);
  s->ended++;
  return status;
}

static fg_status end_all(stream *s, fg_error *err) {
  fg_status status = FG_OK;
  while (s->ended < s->begun) {
    fg_status one = end_one(s, status ? NULL : err);
    if (!status) status = one;
  }
  return status;
}

static void fill_queue(stream *s) {
  while (s->begun - s->ended < s->depth) begin_one(s);
}

// One request after the other for `ns`; bytes that came.
static fg_status stream_for(stream *s, uint64_t ns, uint64_t *bytes, fg_error *err) {
  const uint64_t begin = fg_now_ns(), before = s->ended;
  fg_status status = FG_OK;
  do {
    fill_queue(s);
    status = end_one(s, err);
  } while (!status && fg_now_ns() - begin < ns);
  *bytes = (s->ended - before) * s->request;
  return status;
}

static fg_status open_io(const disk *d, uint64_t request, uint32_t depth, fg_io **io, fg_error *err) {
  const uint64_t piece = request < ENGINE_PIECE ? request : ENGINE_PIECE;
  // A request larger than a piece is several pieces in flight.
  const uint64_t pieces = depth * (request / piece);
  fg_io_options options = {.backend = d->t->options->backend,
                           .depth = (uint32_t)pieces,
                           .piece_bytes = (uint32_t)piece,
                           .budget = d->t->budget};
  return fg_io_create(io, &options, err);
}

// ---- the file --------------------------------------------------------------------------------------------

// A quarter of what is free at most.
static uint64_t file_size(const disk *d) {
  struct statvfs fs;
  uint64_t most = (uint64_t)(d->t->options->quick ? QUICK_FILE_MIB : MOST_FILE_MIB) * MIB;
  if (statvfs(d->t->options->offload_dir, &fs) != 0) return 0;
  uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize / 4;
  return (free_bytes < most ? free_bytes : most) / MIB * MIB;
}

// Bytes that no disk can shrink.
static void fill_random(uint8_t *bytes, uint64_t count) {
  uint64_t state = 88172645463325252u, *words = (uint64_t *)(void *)bytes;
  for (uint64_t i = 0; i < count / sizeof *words; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    words[i] = state;
  }
}

// Writes the file from its beginning, for WRITE_SECONDS at most: its size is how far that went.
static fg_status write_file(disk *d, fg_io *io, fg_error *err) {
  stream s = {.d = d, .io = io, .write = true, .request = 4 * MIB, .depth = 32};
  const uint64_t begin = fg_now_ns(), limit = (uint64_t)WRITE_SECONDS * 1000000000;
  fg_status status = FG_OK;
  while (!status && (s.begun + 1) * s.request <= d->bytes && fg_now_ns() - begin < limit) {
    begin_one(&s);
    if (s.begun - s.ended == s.depth) status = end_one(&s, err);
  }
  fg_status rest = end_all(&s, status ? NULL : err);
  if (!status) status = rest;
  if (!status) status = fg_file_sync(d->file, err);
  d->bytes = s.begun * s.request;
  d->t->out->disk_write = (double)d->bytes / (1e-9 * (double)(fg_now_ns() - begin));
  return status;
}

// ---- what lasts ------------------------------------------------------------------------------------------

static double cpu_seconds(void) {
  struct rusage u;
  if (getrusage(RUSAGE_SELF, &u) != 0) return 0;
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

// Bytes/s of the last `count` of `seconds`.
static double last_of(const double *rates, uint32_t seconds, uint32_t count) {
  double sum = 0;
  for (uint32_t i = 0; i < count; i++) sum += rates[seconds - 1 - i];
  return sum / count;
}

// Reads as the engine does, second by second, and goes on while the rate lies below that of the beginning and
// still falls: a disk with credit is slower when that is used up.
static fg_status read_long(disk *d, fg_io *io, fg_error *err) {
  enum { LAST = 2 };
  const bool quick = d->t->options->quick;
  const uint32_t least = quick ? 2 : 5, most = quick ? 4 : MOST_SECONDS;
  stream s = {.d = d, .io = io, .request = ENGINE_PIECE, .depth = ENGINE_DEPTH};
  double rates[MOST_SECONDS], cpu = cpu_seconds(), wall = 0;
  uint32_t n = 0;
  fg_status status = FG_OK;
  while (!status && n < most) {
    uint64_t bytes, begin = fg_now_ns();
    status = stream_for(&s, 1000000000, &bytes, err);
    double seconds = 1e-9 * (double)(fg_now_ns() - begin);
    rates[n++] = (double)bytes / seconds;
    wall += seconds;
    if (!status) status = fg_taker_tell(d->t, "the disk", 0.7 + 0.2 * n / most, err);
    if (n >= least && last_of(rates, n, LAST) >= 0.95 * rates[0]) break;
  }
  cpu = cpu_seconds() - cpu;
  fg_status rest = end_all(&s, status ? NULL : err);
  if (status || rest) return status ? status : rest;
  bool throttled = last_of(rates, n, LAST) < 0.95 * rates[0];
  d->t->out->disk_burst = rates[0];
  d->t->out->disk_read = last_of(rates, n, throttled ? LAST : n);
  double share = cpu / (wall * fg_threads_count(d->t->threads));
  d->t->out->read_cost = share < 1 ? share : 1;
  return FG_OK;
}

// ---- beside a product
// --------------------------------------------------------------------------------------

static void keep_reading(void *user) {
  stream *s = user;
  while (s->ended < s->begun && fg_io_read_poll(s->io, &s->ring[s->ended % s->depth])) {
    fg_status status = end_one(s, NULL);
    if (!s->failed) s->failed = status;
    begin_one(s);
  }
}

// Turns of product alone and product beside reads, one after the other, so that a disturbance falls on both.
static fg_status measure_slowdown(disk *d, fg_io *io, fg_error *err) {
  enum { TURNS = 3 };
  const uint64_t slice = (d->t->options->quick ? 100 : 400) * 1000000ull;
  double alone[TURNS], beside[TURNS], read = 0;
  fg_status status = FG_OK;
  for (uint32_t i = 0; !status && i < TURNS; i++) {
    stream s = {.d = d, .io = io, .request = ENGINE_PIECE, .depth = ENGINE_DEPTH};
    status = fg_measure_product_rate(d->t, slice, NULL, NULL, &alone[i], err);
    if (status) break;
    fill_queue(&s);
    uint64_t begin = fg_now_ns();
    status = fg_measure_product_rate(d->t, slice, keep_reading, &s, &beside[i], err);
    read += (double)(s.ended * s.request) / (1e-9 * (double)(fg_now_ns() - begin)) / TURNS;
    fg_status rest = end_all(&s, status ? NULL : err);
    if (!status) status = rest;
    if (!status && s.failed) status = fg_fail(err, s.failed, "%s: a read failed beside a product", d->path);
  }
  if (status || read <= 0) return status;
  double best = 0, best_beside = 0;
  for (uint32_t i = 0; i < TURNS; i++) {
    if (alone[i] > best) best = alone[i];
    if (beside[i] > best_beside) best_beside = beside[i];
  }
  double loss = 1 - best_beside / best;
  // As if it had read at that rate; where the product held reading up a lot, that would be a guess.
  const double more = d->t->out->disk_read / read;
  loss *= more < 2 ? more : 2;
  d->t->out->read_slowdown = loss < 0 ? 0 : loss > 1 ? 1 : loss;
  return FG_OK;
}

// ---- sizes and depths
// --------------------------------------------------------------------------------------

static const uint64_t sizes[] = {256 << 10, 1 << 20, 4 << 20};
static const struct {
  uint32_t depth;
  bool quick;
} depths[] = {{1, true}, {4, false}, {32, true}, {128, false}};
enum { SIZES = sizeof sizes / sizeof *sizes, DEPTHS = sizeof depths / sizeof *depths };

static_assert(SIZES * DEPTHS <= FG_PROFILE_MAX_DISKS, "a profile has room for every size and depth");

static fg_status take_once(stream *s, uint64_t ns, double *rate, fg_error *err) {
  uint64_t bytes = 0, before = s->ended, begin = fg_now_ns();
  fg_status status = stream_for(s, ns, &bytes, err);
  fg_status rest = end_all(s, status ? NULL : err);
  // All of them, the last ones too: else those in flight at the end would count as nothing.
  *rate = (double)((s->ended - before) * s->request) / (1e-9 * (double)(fg_now_ns() - begin));
  return status ? status : rest;
}

// The better of two takes: others' requests may hold one of them up.
static fg_status take_rate(const disk *d, uint64_t size, uint32_t depth, bool write, double *rate,
                           fg_error *err) {
  enum { TURNS = 2 };
  fg_io *io = NULL;
  fg_status status = open_io(d, size, depth, &io, err);
  if (status) return status;
  stream s = {.d = d, .io = io, .write = write, .request = size, .depth = depth};
  *rate = 0;
  for (uint32_t i = 0; !status && i < TURNS; i++) {
    double one = 0;
    status = take_once(&s, (d->t->options->quick ? 40 : 125) * 1000000ull, &one, err);
    if (one > *rate) *rate = one;
  }
  fg_io_destroy(io);
  return status;
}

static fg_status measure_grid(const disk *d, fg_error *err) {
  fg_profile *out = d->t->out;
  fg_status status = FG_OK;
  for (uint32_t i = 0; !status && i < SIZES; i++)
    for (uint32_t j = 0; !status && j < DEPTHS; j++) {
      if (d->t->options->quick && !depths[j].quick) continue;
      fg_profile_disk e = {.bytes = sizes[i], .depth = depths[j].depth};
      status = fg_taker_tell(d->t, "the disk", 0.9 + 0.1 * (i * DEPTHS + j) / (SIZES * DEPTHS), err);
      if (!status) status = take_rate(d, e.bytes, e.depth, false, &e.read, err);
      if (!status) status = take_rate(d, e.bytes, e.depth, true, &e.write, err);
      if (!status) out->disks[out->disk_count++] = e;
    }
  return status;
}

// ---- all of it -------------------------------------------------------------------------------------------

static fg_status measure_file(disk *d, fg_error *err) {
  fg_io *io = NULL;
  fg_status status = open_io(d, ENGINE_PIECE, ENGINE_DEPTH, &io, err);
  if (status) return status;
  // As the engine does with its ring, before anything touches it.
  fg_io_register(io, d->buffers, d->buffer_bytes);
  fill_random(d->buffers, d->buffer_bytes);
  status = write_file(d, io, err);
  if (!status) status = read_long(d, io, err);
  if (!status) status = measure_slowdown(d, io, err);
  fg_io_destroy(io);
  if (!status) status = measure_grid(d, err);
  d->t->out->disk_direct = fg_file_is_direct(d->file);
  return status;
}

fg_status fg_measure_disk(fg_taker *t, fg_error *err) {
  disk d = {.t = t};
  char size[16];
  d.bytes = file_size(&d);
  if (d.bytes < (uint64_t)LEAST_FILE_MIB * MIB) {
    fg_log_line(t->options->log, FG_LOG_WARN,
                "%s has no room for a file of %s and three times as much: the disk is not measured",
                t->options->offload_dir, fg_size_format((uint64_t)LEAST_FILE_MIB * MIB, size));
    return FG_OK;
  }
  if ((size_t)snprintf(d.path, sizeof d.path, "%s/profile-%ld.tmp", t->options->offload_dir,
                       (long)getpid()) >= sizeof d.path)
    return fg_fail(err, FG_INVALID, "the offload dir's path is too long; choose another with --offload-dir");
  fg_status status = fg_taker_tell(t, "the disk", 0.62, err);
  if (!status) status = fg_file_open(&d.file, d.path, FG_FILE_CREATE, err);
  if (status) return status;
  // Its blocks in a run, as a store has them; file systems that cannot are written to all the same.
  (void)fg_reserve_blocks(fg_file_descriptor(d.file), (off_t)d.bytes);
  // Without its name it is gone even if this process is killed.
  (void)unlink(d.path);
  d.buffer_bytes =
      t->pool_bytes / 4 < (uint64_t)BUFFER_MIB * MIB ? t->pool_bytes / 4 : (uint64_t)BUFFER_MIB * MIB;
  void *buffers = NULL;
  status = fg_budget_alloc(t->budget, d.buffer_bytes, "measuring", &buffers, err);
  d.buffers = buffers;
  if (!status) status = measure_file(&d, err);
  fg_file_close(d.file);
  fg_budget_free(t->budget, buffers);
  return status;
}
