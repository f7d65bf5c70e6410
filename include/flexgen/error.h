// error.h: how a call of this library says that it failed.
//
// A function that can fail returns an fg_status and, where the caller gives an fg_error, writes one
// line into it: what failed, where, with the numbers, and what a user can do about it. The library
// prints nothing of its own accord and never ends the process. An fg_error may be NULL everywhere.
#ifndef FLEXGEN_ERROR_H
#define FLEXGEN_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fg_status {
  FG_OK = 0,
  FG_INVALID,     // an argument or an option makes no sense
  FG_NOT_FOUND,   // a file, tensor or name does not exist
  FG_IO,          // the operating system refused a read or a write
  FG_CORRUPT,     // a file is not what its format says
  FG_UNSUPPORTED, // well-formed, but nothing here can use it
  FG_NO_SPACE,    // a memory budget is exhausted
  FG_DISK_FULL,   // a disk or its cap is exhausted
  FG_BUSY,        // somebody else holds a lock
  FG_CANCELLED,   // the caller asked to stop
  FG_INTERNAL,    // a bug here
} fg_status;

typedef struct fg_error {
  fg_status status;
  char message[512];
} fg_error;

// Writes `status` and the message into `err` (if not NULL) and returns `status`.
fg_status fg_fail(fg_error *err, fg_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Puts "prefix: " in front of the message in `err`; returns the status that stands there (with a NULL
// err nothing stands anywhere, and it is FG_INTERNAL).
fg_status fg_fail_prefix(fg_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
