// unnamed_file.h: a file for what has no room in memory.
//
// It has no name: it is unlinked as soon as it is open, so that whatever ends the process leaves nothing
// behind. All of its space is taken at once: a job that would run out of disk fails before it starts.
#ifndef FG_ENGINE_UNNAMED_FILE_H
#define FG_ENGINE_UNNAMED_FILE_H

#include "io/io.h"

typedef struct fg_unnamed_file {
  const char *folder, *prefix; // of the name, for the moment in which it has one
  uint64_t bytes;
  const char *what, *advice; // for messages: what it is for, and the way out
} fg_unnamed_file;

// FG_DISK_FULL where the folder has no room for it. `*out` is closed with fg_file_close.
fg_status fg_unnamed_file_create(fg_file **out, const fg_unnamed_file *wanted, fg_error *err);

#endif
