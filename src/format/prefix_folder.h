// prefix_folder.h: a folder that keeps pages of KV caches from one job to the next.
//
// A page is a file (prefix_page.h), found by the hash of its text and compared with it; so pages of any
// number of models and settings live beside each other, each identity's in a folder of its own:
//
//     FOLDER/lock                        held (flock) by the one job that writes
//     FOLDER/IDENTITY/HASH-BLOCK.page    and .page.tmp while it is written; renamed when it is whole
//
// All jobs read, at any time; one at a time writes and removes, and another begins to when that one has
// ended. A file is whole or not there, whatever kills its writer; what a dead one left unfinished is removed
// by the next. Nothing is flushed to the disk: what a loss of power tears its checksums tell. A file that is
// not what it says is told once, removed, and its page computed. The files together are at most so many
// bytes: those go first that were used longest ago, never those that this job used or wrote. Where the disk
// is full or refuses to write, the job goes on and writes no more.
//
// Threads: one owner.
#ifndef FG_FORMAT_PREFIX_FOLDER_H
#define FG_FORMAT_PREFIX_FOLDER_H

#include "base/budget.h"
#include "base/log.h"
#include "format/prefix_page.h"
#include "io/io.h"

typedef struct fg_prefix_folder fg_prefix_folder;

typedef struct fg_prefix_folder_options {
  const char *path;
  uint64_t limit;       // bytes of all files
  const char *identity; // at most FG_PREFIX_MOST_IDENTITY bytes
  fg_prefix_shape shape;
  uint32_t longest; // tokens of a text; what is longer is not kept
  bool read_only;   // nothing is made, written or removed; a folder that is not there is empty
  fg_io_backend_id backend;
  fg_budget *host; // pays for buffers and the list of names
  const fg_log *log;
} fg_prefix_folder_options;

// Makes the folder if it may. FG_IO where it cannot be made or read.
fg_status fg_prefix_folder_create(fg_prefix_folder **out, const fg_prefix_folder_options *options,
                                  fg_error *err);
void fg_prefix_folder_destroy(fg_prefix_folder *folder); // NULL is allowed

// Blocks of a text, from `first` on and below `end`, one behind the other, of which there are pages by their
// names.
uint32_t fg_prefix_folder_find(const fg_prefix_folder *folder, const fg_prefix_text *text, uint32_t first,
                               uint32_t end);

// Where pages go that are read: a block's layers [layer, layer + layers), one behind the other; what is noted
// comes before them. A block counts only when it has been read to its end.
typedef struct fg_prefix_sink {
  void *user;
  void (*notes)(void *user, uint32_t block, const fg_prefix_notes *notes);
  fg_status (*put)(void *user, uint32_t block, uint32_t layer, uint32_t layers, const void *bytes,
                   fg_error *err);
} fg_prefix_sink;
// Reads blocks [first, end) of a text. Returns how many of them, the first ones, are there whole and as they
// were written.
uint32_t fg_prefix_folder_load(fg_prefix_folder *folder, const fg_prefix_text *text, uint32_t first,
                               uint32_t end, const fg_prefix_sink *sink);

// Where the bytes of a page come from.
typedef struct fg_prefix_source {
  void *user;
  fg_status (*get)(void *user, uint32_t layer, uint32_t layers, void *bytes, fg_error *err);
} fg_prefix_source;
// Keeps the last page of the text, whose tokens end with it. False: it is not kept, for a reason that was
// told where it is one to be told.
bool fg_prefix_folder_save(fg_prefix_folder *folder, const fg_prefix_text *text, const fg_prefix_notes *notes,
                           const fg_prefix_source *source);

typedef struct fg_prefix_counts {
  uint64_t loaded_pages, loaded_bytes; // whole ones; all that was read
  uint64_t saved_pages, saved_bytes;
  uint64_t removed_pages, damaged_pages; // for room; of those that were read
} fg_prefix_counts;
fg_prefix_counts fg_prefix_folder_counts(const fg_prefix_folder *folder);

#endif
