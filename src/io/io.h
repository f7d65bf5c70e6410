// io.h: disk reads and writes that run beside the computation.
//
// An fg_io is a queue of requests to the disk. A request is handed over, goes on by itself, and is
// waited for when its bytes are needed; large requests are cut into pieces that are in flight
// together. Reads are direct (O_DIRECT), so what is read once is not kept twice; where the file
// system refuses that, they are buffered and the cache is told to forget. Behind it is one row of a
// table of backends: io_uring, or threads with pread where io_uring is refused; a third row wraps
// another one and injects faults, for tests.
//
// Threads: one owner. Short reads and interrupted calls are continued here; nobody above sees them.
#ifndef FG_IO_IO_H
#define FG_IO_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/trace.h"
#include "flexgen/error.h"
#include "machine/simulation.h"

enum { FG_IO_ALIGN = 4096 }; // address, offset and length of a direct request are multiples of it

typedef struct fg_io fg_io;
typedef struct fg_file fg_file;

typedef enum fg_io_backend_id { FG_IO_AUTO, FG_IO_URING, FG_IO_THREADS } fg_io_backend_id;

// What goes wrong, and when: every `every`-th piece (0 = never) fails with os_error, or is cut short
// if os_error is 0; counting begins after the first `after` pieces.
typedef struct fg_io_fault {
  uint32_t after, every;
  int os_error;
} fg_io_fault;

typedef struct fg_io_options {
  fg_io_backend_id backend;
  uint32_t depth;           // pieces in flight; 0 = 32
  uint32_t piece_bytes;     // 0 = 1 MiB; multiple of FG_IO_ALIGN
  const fg_io_fault *fault; // NULL = none
  fg_budget *budget;        // pays for the bounce buffer (one piece, at its first use)
  fg_trace *trace;          // may be NULL
  // Requests take the simulated disk's time, whatever their file is, and their buffers stay as they are:
  // files may be NULL. NULL: a real disk.
  fg_simulation *simulation;
} fg_io_options;

fg_status fg_io_create(fg_io **out, const fg_io_options *options, fg_error *err);
void fg_io_destroy(fg_io *io);                   // waits for what is in flight
const char *fg_io_backend_name(const fg_io *io); // "io_uring", "threads", "simulated"
bool fg_io_is_simulated(const fg_io *io);
// Bytes moved to and from the disk so far.
uint64_t fg_io_bytes_read(const fg_io *io);
uint64_t fg_io_bytes_written(const fg_io *io);

// Tells that many requests will use this memory: it should be in huge pages (tell before its first use) and
// known to the kernel (registered buffers). Failing to register is not an error: requests then go
// unregistered. The kernel holds its pages, all of which become resident, until it is unregistered or the
// fg_io destroyed; memory is unmapped after that, or requests into what is mapped there next go astray.
void fg_io_register(fg_io *io, void *base, size_t bytes);
// Nothing into or from this memory, which was registered as a whole or not at all, is in flight.
void fg_io_unregister(fg_io *io, const void *base, size_t bytes);
uint64_t fg_io_bytes_registered(const fg_io *io); // 0 with threads: they know no registered memory
int fg_io_register_error(const fg_io *io); // errno of the last memory that the kernel refused; 0 = none

typedef enum fg_file_mode {
  FG_FILE_READ,
  FG_FILE_CREATE, // made or emptied, for writing and reading back
} fg_file_mode;

// Opens for direct access if the file system allows it, else buffered with DONTNEED.
fg_status fg_file_open(fg_file **out, const char *path, fg_file_mode mode, fg_error *err);
void fg_file_close(fg_file *file);
uint64_t fg_file_size(const fg_file *file); // as of opening, grown by writes
const char *fg_file_path(const fg_file *file);
bool fg_file_is_direct(const fg_file *file);          // may become false when the first request is refused
int fg_file_descriptor(const fg_file *file);          // for locks and fsync
fg_status fg_file_sync(fg_file *file, fg_error *err); // fdatasync

// A read in flight. The caller owns it and the buffer and leaves both alone until the wait.
typedef struct fg_io_read {
  fg_file *file;
  void *buffer;
  uint64_t offset;
  size_t bytes;
  int layer; // for the trace; -1 = none
  // private to the backend
  size_t done, submitted;
  uint32_t in_flight;
  int os_error;
  uint64_t begin_ns, end_ns; // first piece handed to the disk; last piece seen to be there
  uint32_t lane;
  bool write;
  struct fg_io_read *next;
} fg_io_read;

// Hands a read over. buffer, offset and bytes are multiples of FG_IO_ALIGN. A read that reaches past
// the end of the file is FG_CORRUPT at the wait, except for the padding of its last block.
void fg_io_read_begin(fg_io *io, fg_io_read *read);
// True when its bytes are there (or it has failed); lets other requests go on, does not block.
bool fg_io_read_poll(fg_io *io, fg_io_read *read);
fg_status fg_io_read_wait(fg_io *io, fg_io_read *read, fg_error *err);
// The same thing the other way; waited for like a read. FG_DISK_FULL on ENOSPC and EDQUOT.
void fg_io_write_begin(fg_io *io, fg_io_read *write);

// Reads any range to any address and waits (through an aligned bounce buffer where needed).
fg_status fg_io_read_now(fg_io *io, fg_file *file, uint64_t offset, void *buffer, size_t bytes,
                         fg_error *err);
// Writes and waits. With a direct file all three are multiples of FG_IO_ALIGN.
fg_status fg_io_write_now(fg_io *io, fg_file *file, uint64_t offset, const void *buffer, size_t bytes,
                          fg_error *err);

#endif
