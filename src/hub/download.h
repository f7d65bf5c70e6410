// download.h: talking to one Hub: requests that are tried again, and one file of it as a blob of the cache.
//
// A blob grows at the end of ETAG.incomplete. Whatever ends the process leaves a beginning there, and the
// next attempt asks for the rest. Only a file whose size and hash are right gets the blob's name.
#ifndef FG_HUB_DOWNLOAD_H
#define FG_HUB_DOWNLOAD_H

#include "base/log.h"
#include "base/text_buffer.h"
#include "hub/answers.h"
#include "hub/cache.h"
#include "hub/settings.h"

typedef struct fg_hub_line {
  const fg_hub_settings *settings;
  const fg_hub_repo *repo;
  const fg_log *log;
  bool (*stopped)(void *user);
  // `have` bytes of the file at hand are on disk; `more` of them are new from the network (0 after a
  // restart).
  void (*moved)(void *user, uint64_t have, uint64_t more);
  void *user;
  fg_http *http; // of fg_hub_line_open
} fg_hub_line;

fg_status fg_hub_line_open(fg_hub_line *line, fg_error *err);
void fg_hub_line_close(fg_hub_line *line);

// The body of a URL, at most `max_bytes`. `file` NULL: the list of files.
fg_status fg_hub_get_text(fg_hub_line *line, const char *url, size_t max_bytes, fg_text *out, fg_error *err);
// What the Hub says about a file without sending it.
fg_status fg_hub_head(fg_hub_line *line, const char *url, const char *file, fg_http_answer *out,
                      fg_error *err);

typedef struct fg_hub_blob {
  const char *url, *file; // the file's name is for messages
  const char *etag;
  uint64_t bytes;
} fg_hub_blob;

// Bytes of it that are in the cache already, whole or in part.
uint64_t fg_hub_blob_have(const fg_hub_cache *cache, const fg_hub_blob *blob, bool *whole);
// Waits while another process downloads the same blob. FG_CORRUPT: what came is not what the hash says, and
// is gone again.
fg_status fg_hub_blob_fetch(fg_hub_line *line, const fg_hub_cache *cache, const fg_hub_blob *blob,
                            fg_error *err);

#endif
