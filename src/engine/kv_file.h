// kv_file.h: the file in which pages of the KV cache live that have no room in memory.
//
// An unnamed file (unnamed_file.h).
#ifndef FG_ENGINE_KV_FILE_H
#define FG_ENGINE_KV_FILE_H

#include "io/io.h"

// FG_DISK_FULL where `folder` has no room for it. `*out` is closed with fg_file_close.
fg_status fg_kv_file_create(fg_file **out, const char *folder, uint64_t bytes, fg_error *err);

#endif
