// whole_file.h: a small file as one block of memory.
#ifndef FG_FORMAT_WHOLE_FILE_H
#define FG_FORMAT_WHOLE_FILE_H

#include <stddef.h>

#include "flexgen/error.h"

// The first bytes of a regular file, at most `max_bytes`, in a malloc'd block with a NUL behind them.
// FG_NOT_FOUND if there is no such file. The page cache is told to forget what was read.
fg_status fg_read_beginning(const char *path, size_t max_bytes, void **data, size_t *bytes, fg_error *err);
// The whole file; FG_UNSUPPORTED if it is larger than max_bytes.
fg_status fg_read_whole(const char *path, size_t max_bytes, void **data, size_t *bytes, fg_error *err);

#endif
