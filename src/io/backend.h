// backend.h: what runs single system calls beside the owner's thread.
//
// The queue above (io.c) cuts requests into pieces, hands over at most `depth` of them at a time and
// gets each back once, with the bytes moved or an error. What that result means - the end of a file,
// a short read, a fault to report - is decided above; a backend only moves bytes. One row each.
#ifndef FG_IO_BACKEND_H
#define FG_IO_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"
#include "io/io.h"

typedef struct fg_io_piece {
  int fd;
  bool write;
  void *address;
  uint64_t offset;
  uint32_t bytes;
  int32_t result;           // set by the backend: bytes moved, or minus errno
  struct fg_io_piece *next; // the backend's, while it holds the piece; the free list's otherwise
  // The queue's own.
  fg_io_read *read;
  uint32_t left;   // bytes of the piece that are still to come
  uint32_t stalls; // calls in a row that brought it no further
  bool direct;     // how the file was when the piece was submitted
} fg_io_piece;

typedef struct fg_io_backend {
  const char *name;
  fg_status (*create)(void **state, uint32_t depth, fg_error *err);
  void (*destroy)(void *state); // nothing is in flight
  void (*submit)(void *state, fg_io_piece *piece);
  void (*kick)(void *state);         // the pieces submitted so far may start
  fg_io_piece *(*poll)(void *state); // a finished piece, or NULL
  fg_io_piece *(*wait)(void *state); // a finished piece; at least one is in flight
  // fg_io_register: an errno if the memory was refused. *registered: bytes that are registered now, in all.
  int (*enroll)(void *state, void *base, size_t bytes, uint64_t *registered);
  void (*dismiss)(void *state, const void *base, size_t bytes, uint64_t *registered); // fg_io_unregister
} fg_io_backend;

extern const fg_io_backend fg_io_uring, fg_io_threads;

// Wraps `inner`, which it owns from then on, in faults.
extern const fg_io_backend fg_io_faulty;
fg_status fg_io_faulty_create(void **state, const fg_io_backend *inner, void *inner_state,
                              const fg_io_fault *fault, fg_error *err);

#endif
