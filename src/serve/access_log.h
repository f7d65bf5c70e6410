// access_log.h: a line for each request, for whoever runs the server: who asked for what, when, and what
// came of it.
//
// It is the Common Log Format, which tools for logs read, with one number more behind it:
//
//     127.0.0.1 - - [30/Nov/2026:17:25:03 +0000] "POST /v1/completions HTTP/1.1" 200 412 1734
//
// address, two fields that are not known here, time of the request in local time, its first line, status,
// bytes of the answer's body, milliseconds until it was sent. What stands in quotes came from a client:
// quotes, backslashes and whatever is not printable ASCII are written \xHH, so a line is one line.
//
// A line is one write to a file that is open for appending: lines of several threads stay whole, and a log
// that is copied and then cut off goes on.
//
// Threads: put from any.
#ifndef FG_SERVE_ACCESS_LOG_H
#define FG_SERVE_ACCESS_LOG_H

#include <stdint.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"

// The client was gone before there was an answer; nginx writes the same.
enum { FG_STATUS_GONE = 499 };

typedef struct fg_access_entry {
  const char *address;                 // of the client
  const char *method, *path, *version; // of its first line; the path without escapes and what stands behind ?
  int64_t time;                        // seconds since 1970
  int status;
  uint64_t bytes, milliseconds;
} fg_access_entry;

// Appends the line, with its end.
void fg_access_entry_put(fg_text *out, const fg_access_entry *entry);

typedef struct fg_access_log fg_access_log;

// "-" is standard output.
fg_status fg_access_log_open(fg_access_log **out, const char *path, fg_error *err);
void fg_access_log_close(fg_access_log *log); // NULL is allowed
void fg_access_log_put(fg_access_log *log, const fg_access_entry *entry);
// Lines that could not be written; *reason is the errno of the last one.
uint64_t fg_access_log_lost(const fg_access_log *log, int *reason);

#endif
