// prefix_folder_internal.h: a folder's parts, for prefix_folder.c, which reads and writes pages, and
// prefix_room.c, which knows what else is there and makes room.
#ifndef FG_FORMAT_PREFIX_FOLDER_INTERNAL_H
#define FG_FORMAT_PREFIX_FOLDER_INTERNAL_H

#include <limits.h>

#include "format/prefix_folder.h"
#include "format/prefix_list.h"

enum { FG_PREFIX_SLOTS = 8 }; // pieces in flight: so many keep a disk busy

struct fg_prefix_folder {
  fg_prefix_folder_options options;
  char path[PATH_MAX], pages[PATH_MAX]; // the folder; its part of this identity
  char identity[FG_PREFIX_MOST_IDENTITY + 1];
  uint64_t folder_hash; // of the identity, as its folder is called
  fg_io *io;
  fg_prefix_names names;
  uint64_t names_bytes; // reserved
  char *slots;          // [FG_PREFIX_SLOTS][slot_bytes]
  uint64_t slot_bytes;
  uint64_t *checksums; // [pieces]
  uint32_t pieces;
  int lock;         // -1: not held
  uint64_t total;   // bytes of all files, while the lock is held
  int64_t begun_ns; // by which what this job uses is told from what was used before
  bool writes, told_damage, told_busy;
  fg_prefix_counts counts;
};

// Whether this job may write: takes the lock where nobody has it, removes what dead writers left and what is
// beyond the limit.
bool fg_prefix_folder_lock(fg_prefix_folder *f);
// Removes files until there is room for `bytes` more; the lock is held.
bool fg_prefix_folder_make_room(fg_prefix_folder *f, uint64_t bytes);
// The names of this identity's pages. FG_IO, FG_NO_SPACE.
fg_status fg_prefix_folder_list(fg_prefix_folder *f, fg_error *err);
// A name more, charged to the budget. False: there is no memory.
bool fg_prefix_folder_know(fg_prefix_folder *f, uint64_t hash);

#endif
