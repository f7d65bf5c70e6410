// batches.h: batches that clients make, answered in the room that the requests of others leave.
//
// One batch runs at a time, the oldest first, as the same job that `flexgen batch` is: its rows and its
// journal are files of the server's folder. A server that is stopped, or killed, goes on with them when it is
// started again; nothing that was finished is computed twice.
//
// Threads: fill, stepped, sleep_ms and stop are the engine's owner's (service.h calls them), the others
// anybody's.
#ifndef FG_SERVE_BATCHES_H
#define FG_SERVE_BATCHES_H

#include "base/log.h"
#include "flexgen/engine.h"
#include "serve/batch_record.h"

typedef struct fg_batches fg_batches;

typedef struct fg_batches_options {
  fg_engine *engine;
  fg_file_store *files;
  const char *folder;      // of records, and of rows while a batch runs
  uint64_t seed;           // of sampling, for rows that bring none
  uint32_t expiry_seconds; // after a batch was made; what was not answered by then is not
  const fg_log *log;       // by the owner; may be NULL
} fg_batches_options;

fg_status fg_batches_open(fg_batches **out, const fg_batches_options *options, fg_error *err);
// After the engine's last step. What was under way goes on at the next start.
void fg_batches_close(fg_batches *batches);

// The functions of a fg_background.
void fg_batches_fill(void *batches, uint32_t room);
void fg_batches_stepped(void *batches);
int fg_batches_sleep_ms(void *batches);
void fg_batches_stop(void *batches);

// A batch of this wish (fg_batch_wish_read), which it takes over; *object is how it stands. FG_NOT_FOUND: its
// input is no file of the store. Its owner is to be woken.
fg_status fg_batches_create(fg_batches *batches, fg_batch_record *wish, json_t **object, fg_error *err);
// FG_NOT_FOUND; FG_INVALID: it is over, or nearly.
fg_status fg_batches_cancel(fg_batches *batches, const char *id, json_t **object, fg_error *err);
// New references: NULL: there is none. All of them, the youngest first.
json_t *fg_batches_get(fg_batches *batches, const char *id);
json_t *fg_batches_list(fg_batches *batches);
uint32_t fg_batches_count(fg_batches *batches);
// FG_NOT_FOUND; FG_BUSY: a batch that is not over still reads it.
fg_status fg_batches_remove_file(fg_batches *batches, const char *file_id, fg_error *err);

#endif
