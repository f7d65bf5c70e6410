// batch_record.h: what is known of a batch that a client made, and what may become of it.
//
// OpenAI's states: a batch is looked at (validating), runs (in_progress), its answers become files
// (finalizing), and it is completed; or it fails; or somebody cancels it (cancelling, cancelled); or its day
// is over (expired). A record is written at each change as the object that clients see, and read back after
// a restart: what stands in it decides what is done next.
//
// Pure but for the clock that its caller reads.
#ifndef FG_SERVE_BATCH_RECORD_H
#define FG_SERVE_BATCH_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "serve/file_store.h"

typedef enum fg_batch_state {
  FG_BATCH_VALIDATING,
  FG_BATCH_FAILED,
  FG_BATCH_IN_PROGRESS,
  FG_BATCH_FINALIZING,
  FG_BATCH_COMPLETED,
  FG_BATCH_EXPIRED,
  FG_BATCH_CANCELLING,
  FG_BATCH_CANCELLED,
  FG_BATCH_STATES
} fg_batch_state;

enum { FG_BATCH_SECONDS = 24 * 3600 }; // completion_window "24h", the only one that is taken

typedef struct fg_batch_record {
  char id[FG_ID_BYTES], input[FG_ID_BYTES];
  char output[FG_ID_BYTES], errors[FG_ID_BYTES]; // ids of files; "": none
  char endpoint[32];
  fg_batch_state state;
  int64_t since[FG_BATCH_STATES]; // when it came to each state, seconds since 1970; 0: it did not
  int64_t expires;
  uint64_t total, completed, failed; // rows
  char why[256];                     // it failed
  json_t *metadata;                  // an object, or NULL; owned
} fg_batch_record;

const char *fg_batch_state_name(fg_batch_state state);
// Nothing becomes of it any more.
bool fg_batch_is_over(fg_batch_state state);
// Whether a batch in this state can come to that one.
bool fg_batch_may(fg_batch_state from, fg_batch_state to);
// Comes to `state` if it may.
bool fg_batch_enter(fg_batch_record *record, fg_batch_state state, int64_t now);

// As OpenAI's API shows it; new reference, NULL without memory.
json_t *fg_batch_json(const fg_batch_record *record);
// The record that such an object was made of. FG_CORRUPT: of none.
fg_status fg_batch_read(fg_batch_record *out, const json_t *object, fg_error *err);
void fg_batch_record_free(fg_batch_record *record);

// What a client asked for: {"input_file_id", "endpoint", "completion_window", "metadata"}. A new record in
// the first state; NULL in `wrong` says that it is fine, otherwise the message, with the field in *param.
const char *fg_batch_wish_read(fg_batch_record *out, const json_t *body, const char **param);

#endif
