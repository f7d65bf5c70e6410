// unnamed_file.h: a file for a run's own use that goes with the process, however it ends.
#ifndef FG_APPS_UNNAMED_FILE_H
#define FG_APPS_UNNAMED_FILE_H

#include <stdio.h>

#include "flexgen/error.h"

typedef struct fg_unnamed_file {
  FILE *file;    // read and write
  char path[40]; // by which this process can open it again; "" where there is none
} fg_unnamed_file;

// On the disk on which `beside` stands ("-": that of $TMPDIR).
fg_status fg_unnamed_open(fg_unnamed_file *out, const char *beside, fg_error *err);
// What was written is on the disk and can be read from the beginning; it does not stay in the system's cache,
// which counts as the process's memory.
fg_status fg_unnamed_finish(fg_unnamed_file *file, fg_error *err);
void fg_unnamed_close(fg_unnamed_file *file);

#endif
