// safe_file.h: a file that grows at its end by whole pieces. A piece that could not be written whole is cut
// off again, so that the file ends with the last whole one; the error says so.
#ifndef FG_JOB_SAFE_FILE_H
#define FG_JOB_SAFE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_safe_file {
  int fd;           // a regular file is opened with O_APPEND
  const char *path; // for messages
  uint64_t size;    // whole pieces
  bool regular;     // can be cut and synced
  bool dirty;
} fg_safe_file;

// One write(2) where the system takes it whole.
fg_status fg_safe_file_append(fg_safe_file *file, const void *bytes, size_t count, fg_error *err);
fg_status fg_safe_file_read(const fg_safe_file *file, uint64_t offset, void *bytes, size_t count,
                            fg_error *err);
fg_status fg_safe_file_cut(fg_safe_file *file, uint64_t size, fg_error *err);
fg_status fg_safe_file_sync(fg_safe_file *file, fg_error *err); // fdatasync, if anything was written
// The system need not keep in memory what was synced: it is not read again soon.
void fg_safe_file_uncache(const fg_safe_file *file);
// Makes the file's name last: syncs the folder that holds it.
void fg_safe_file_sync_name(const char *path);

#endif
