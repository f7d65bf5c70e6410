// shared_library.h: libraries that are loaded when they are first needed, so that whoever never needs one can
// do without it.
#ifndef FG_BASE_SHARED_LIBRARY_H
#define FG_BASE_SHARED_LIBRARY_H

#include <stddef.h>

#include "flexgen/error.h"

// A function, and where its address goes in a struct of pointers to functions.
typedef struct fg_shared_function {
  const char *name;
  size_t offset;
} fg_shared_function;

typedef struct fg_shared_library {
  const char *file;   // FG_SHARED_LIBRARY (system.h)
  const char *name;   // for people
  const char *advice; // where it is missing: "on Debian: apt install ..."
  const char *wanted; // where a function is: "7.85 or newer"
  const fg_shared_function *functions;
  size_t count;
} fg_shared_library;

// Fills the pointers of `out`. FG_NOT_FOUND: it is not installed; FG_UNSUPPORTED: a function is missing.
fg_status fg_shared_library_open(void **handle, const fg_shared_library *library, void *out, fg_error *err);
void fg_shared_library_close(void *handle); // NULL is allowed

#endif
