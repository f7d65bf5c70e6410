// A disk that fails on schedule, for tests: everything else is passed on to a real backend.
#include <stdlib.h>

#include "io/backend.h"

typedef struct faulty {
  const fg_io_backend *inner;
  void *inner_state;
  fg_io_fault fault;
  uint64_t pieces;
  fg_io_piece *failed; // pieces that never reached the inner backend
} faulty;

fg_status fg_io_faulty_create(void **state, const fg_io_backend *inner, void *inner_state,
                              const fg_io_fault *fault, fg_error *err) {
  faulty *f = malloc(sizeof *f);
  if (!f) return fg_fail(err, FG_NO_SPACE, "no memory for the faults of the I/O test");
  *f = (faulty){.inner = inner, .inner_state = inner_state, .fault = *fault};
  *state = f;
  return FG_OK;
}

static void faulty_destroy(void *state) {
  faulty *f = state;
  f->inner->destroy(f->inner_state);
  free(f);
}

static void faulty_submit(void *state, fg_io_piece *piece) {
  faulty *f = state;
  uint64_t number = ++f->pieces;
  bool strikes = f->fault.every && number > f->fault.after && (number - f->fault.after) % f->fault.every == 0;
  if (strikes && f->fault.os_error) {
    piece->result = -f->fault.os_error;
    piece->next = f->failed;
    f->failed = piece;
    return;
  }
  // Cut behind the middle, not at a multiple of FG_IO_ALIGN; what is left is always a whole block at
  // least, so that the reader above gets on.
  if (strikes && piece->bytes >= 2 * FG_IO_ALIGN) piece->bytes = piece->bytes / 2 / 512 * 512 + 512;
  f->inner->submit(f->inner_state, piece);
}

static void faulty_kick(void *state) {
  faulty *f = state;
  f->inner->kick(f->inner_state);
}

static fg_io_piece *take_failed(faulty *f) {
  fg_io_piece *piece = f->failed;
  if (piece) f->failed = piece->next;
  return piece;
}

static fg_io_piece *faulty_poll(void *state) {
  faulty *f = state;
  fg_io_piece *piece = take_failed(f);
  return piece ? piece : f->inner->poll(f->inner_state);
}

static fg_io_piece *faulty_wait(void *state) {
  faulty *f = state;
  fg_io_piece *piece = take_failed(f);
  return piece ? piece : f->inner->wait(f->inner_state);
}

static int faulty_enroll(void *state, void *base, size_t bytes, uint64_t *registered) {
  faulty *f = state;
  return f->inner->enroll(f->inner_state, base, bytes, registered);
}

static void faulty_dismiss(void *state, const void *base, size_t bytes, uint64_t *registered) {
  faulty *f = state;
  f->inner->dismiss(f->inner_state, base, bytes, registered);
}

const fg_io_backend fg_io_faulty = {
    .name = "faulty", // fg_io_create shows the inner one's
    .destroy = faulty_destroy,
    .submit = faulty_submit,
    .kick = faulty_kick,
    .poll = faulty_poll,
    .wait = faulty_wait,
    .enroll = faulty_enroll,
    .dismiss = faulty_dismiss,
};
