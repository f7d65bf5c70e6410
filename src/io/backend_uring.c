// Pieces handed to the kernel through io_uring: no thread, no copy, one system call for many.
#include "io/backend.h"

#ifdef FG_HAVE_URING

#include <errno.h>
#include <liburing.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_REGIONS = 1024 };                       // as many as kernels before 5.13 take
static const size_t REGION_BYTES = (size_t)1 << 30; // the most that one registered buffer may have

typedef struct uring {
  struct io_uring ring;
  struct iovec regions[MOST_REGIONS]; // registered, in this order
  unsigned region_count;
} uring;

// A kernel may set up a ring and then refuse every read (a filter, or a feature not there), so one
// read is tried.
static int probe(struct io_uring *ring) {
  char byte = 1;
  int fd = memfd_create("flexgen-io-probe", MFD_CLOEXEC);
  if (fd < 0) return errno;
  int error = ftruncate(fd, 1) == 0 ? 0 : errno;
  struct io_uring_sqe *sqe = error ? NULL : io_uring_get_sqe(ring);
  struct io_uring_cqe *cqe;
  if (sqe) {
    io_uring_prep_read(sqe, fd, &byte, 1, 0);
    int rc = io_uring_submit(ring);
    if (rc == 1) rc = io_uring_wait_cqe(ring, &cqe);
    error = rc < 0 ? -rc : cqe->res < 0 ? -cqe->res : cqe->res == 1 && byte == 0 ? 0 : EIO;
    if (rc >= 0) io_uring_cqe_seen(ring, cqe);
  }
  close(fd);
  return error;
}

static fg_status uring_create(void **state, uint32_t depth, fg_error *err) {
  uring *u = calloc(1, sizeof *u);
  if (!u) return fg_fail(err, FG_NO_SPACE, "no memory for io_uring");
  int error = -io_uring_queue_init(depth, &u->ring, 0);
  if (error == 0) {
    error = probe(&u->ring);
    if (error) io_uring_queue_exit(&u->ring);
  }
  if (error) {
    free(u);
    return fg_fail(err, FG_UNSUPPORTED, "the kernel refuses io_uring: %s; try the threads", strerror(error));
  }
  *state = u;
  return FG_OK;
}

static void uring_destroy(void *state) {
  uring *u = state;
  io_uring_queue_exit(&u->ring);
  free(u);
}

// Index of the registered region that holds all of the piece, or -1.
static int region_of(const uring *u, const fg_io_piece *piece) {
  const char *begin = piece->address;
  for (unsigned i = 0; i < u->region_count; i++) {
    const char *base = u->regions[i].iov_base;
    if (begin >= base && begin + piece->bytes <= base + u->regions[i].iov_len) return (int)i;
  }
  return -1;
}

static void uring_submit(void *state, fg_io_piece *piece) {
  uring *u = state;
  struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
  int region = region_of(u, piece);
  if (piece->write && region >= 0)
    io_uring_prep_write_fixed(sqe, piece->fd, piece->address, piece->bytes, piece->offset, region);
  else if (piece->write)
    io_uring_prep_write(sqe, piece->fd, piece->address, piece->bytes, piece->offset);
  else if (region >= 0)
    io_uring_prep_read_fixed(sqe, piece->fd, piece->address, piece->bytes, piece->offset, region);
  else
    io_uring_prep_read(sqe, piece->fd, piece->address, piece->bytes, piece->offset);
  io_uring_sqe_set_data(sqe, piece);
}

// What the kernel does not take now it takes at the next call.
static void uring_kick(void *state) {
  uring *u = state;
  io_uring_submit(&u->ring);
}

static fg_io_piece *seen(uring *u, struct io_uring_cqe *cqe) {
  fg_io_piece *piece = io_uring_cqe_get_data(cqe);
  piece->result = cqe->res;
  io_uring_cqe_seen(&u->ring, cqe);
  return piece;
}

static fg_io_piece *uring_poll(void *state) {
  uring *u = state;
  struct io_uring_cqe *cqe;
  return io_uring_peek_cqe(&u->ring, &cqe) == 0 ? seen(u, cqe) : NULL;
}

static fg_io_piece *uring_wait(void *state) {
  uring *u = state;
  struct io_uring_cqe *cqe;
  while (io_uring_peek_cqe(&u->ring, &cqe) != 0) {
    if (io_uring_submit_and_wait(&u->ring, 1) < 0) sched_yield(); // interrupted, or short of memory
  }
  return seen(u, cqe);
}

static uint64_t registered_bytes(const uring *u) {
  uint64_t bytes = 0;
  for (unsigned i = 0; i < u->region_count; i++) bytes += u->regions[i].iov_len;
  return bytes;
}

// All regions are registered together, so adding one means to register anew; if the kernel refuses
// (RLIMIT_MEMLOCK), those of before stay.
static int add_regions(uring *u, char *base, size_t bytes) {
  unsigned before = u->region_count;
  if (bytes > (MOST_REGIONS - before) * REGION_BYTES) return E2BIG;
  for (size_t at = 0; at < bytes; at += REGION_BYTES) {
    size_t length = bytes - at < REGION_BYTES ? bytes - at : REGION_BYTES;
    u->regions[u->region_count++] = (struct iovec){base + at, length};
  }
  if (u->region_count == before) return 0;
  if (before) io_uring_unregister_buffers(&u->ring);
  int error = -io_uring_register_buffers(&u->ring, u->regions, u->region_count);
  if (error == 0) return 0;
  u->region_count = before;
  if (before && io_uring_register_buffers(&u->ring, u->regions, before) != 0) u->region_count = 0;
  return error;
}

static int uring_enroll(void *state, void *base, size_t bytes, uint64_t *registered) {
  uring *u = state;
  int error = add_regions(u, base, bytes);
  *registered = registered_bytes(u);
  return error;
}

static void uring_dismiss(void *state, const void *base, size_t bytes, uint64_t *registered) {
  uring *u = state;
  const char *begin = base;
  unsigned kept = 0;
  for (unsigned i = 0; i < u->region_count; i++) {
    const char *region = u->regions[i].iov_base;
    if (region < begin || region >= begin + bytes) u->regions[kept++] = u->regions[i];
  }
  if (kept < u->region_count) {
    io_uring_unregister_buffers(&u->ring);
    if (kept && io_uring_register_buffers(&u->ring, u->regions, kept) != 0) kept = 0;
    u->region_count = kept;
  }
  *registered = registered_bytes(u);
}

const fg_io_backend fg_io_uring = {
    .name = "io_uring",
    .create = uring_create,
    .destroy = uring_destroy,
    .submit = uring_submit,
    .kick = uring_kick,
    .poll = uring_poll,
    .wait = uring_wait,
    .enroll = uring_enroll,
    .dismiss = uring_dismiss,
};

#else

static fg_status uring_create(void **state, uint32_t depth, fg_error *err) {
  (void)state, (void)depth;
  return fg_fail(err, FG_UNSUPPORTED, "this build has no io_uring; try the threads");
}

const fg_io_backend fg_io_uring = {.name = "io_uring", .create = uring_create};

#endif
