// file_store.h: what clients upload and what batches answer, in a folder that outlives the server.
//
// A file is its bytes and a note beside it, under a name that the store chooses. The note is written last,
// and both are on the disk before anybody hears of the file: after a kill each file is whole or not there.
// What a kill left is cleared at the next start. One process at a time: the folder is locked.
//
// Threads: all functions may be called from any thread; a draft belongs to one of them.
#ifndef FG_SERVE_FILE_STORE_H
#define FG_SERVE_FILE_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

enum { FG_ID_BYTES = 40, FG_FILE_NAME = 256, FG_FILE_PURPOSE = 32 };

typedef struct fg_file_store fg_file_store;
typedef struct fg_file_draft fg_file_draft;

typedef struct fg_file_info {
  char id[FG_ID_BYTES];
  char name[FG_FILE_NAME]; // as the client called it, UTF-8
  char purpose[FG_FILE_PURPOSE];
  uint64_t bytes;
  int64_t created; // seconds since 1970
} fg_file_info;

typedef struct fg_file_limits {
  uint64_t file_bytes, total_bytes; // of an upload; of all files
  uint32_t files;
} fg_file_limits;

// "PREFIX" and 24 hexadecimal digits, which grow with time: they put what has the same second into its order.
void fg_new_id(char out[static FG_ID_BYTES], const char *prefix);

// FG_BUSY: another process has the folder.
fg_status fg_file_store_open(fg_file_store **out, const char *folder, fg_file_limits limits, fg_error *err);
void fg_file_store_close(fg_file_store *store);

// An upload while it comes. FG_NO_SPACE: it is too large, or the store is full; the message says what to do.
fg_status fg_file_draft_begin(fg_file_store *store, fg_file_draft **out, fg_error *err);
fg_status fg_file_draft_append(fg_file_draft *draft, const void *bytes, size_t count, fg_error *err);
// Whole: it is a file now, and the draft is gone. The same when it fails.
fg_status fg_file_draft_commit(fg_file_draft *draft, const char *name, const char *purpose, fg_file_info *out,
                               fg_error *err);
void fg_file_draft_drop(fg_file_draft *draft); // NULL is allowed

// What a batch answered, under an id that was chosen before: done again after a kill it takes the place of
// what it made then. No limit holds it back.
fg_status fg_file_draft_begin_as(fg_file_store *store, const char *id, fg_file_draft **out, fg_error *err);

bool fg_file_store_find(fg_file_store *store, const char *id, fg_file_info *out);
uint32_t fg_file_store_count(fg_file_store *store);
// The files, oldest first; *out is the caller's to free.
fg_status fg_file_store_list(fg_file_store *store, fg_file_info **out, uint32_t *count, fg_error *err);
// A file that is not there: FG_NOT_FOUND.
fg_status fg_file_store_get(fg_file_store *store, const char *id, int *fd, fg_file_info *out, fg_error *err);
fg_status fg_file_store_remove(fg_file_store *store, const char *id, fg_error *err);
// Where its bytes are, for who reads them by name.
fg_status fg_file_store_path(const fg_file_store *store, const char *id, char *out, size_t size,
                             fg_error *err);

// As OpenAI's API shows it; new reference, NULL without memory.
json_t *fg_file_info_json(const fg_file_info *info);

#endif
