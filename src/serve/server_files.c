// The server's folder: files of clients, and batches that are made of them.
#include <limits.h>
#include <stdio.h>

#include "serve/batches.h"
#include "serve/server_internal.h"

static fg_status open_store(fg_server *s, fg_error *err) {
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%s/files", s->options.data_folder);
  return fg_file_store_open(&s->files, folder, s->options.file_limits, err);
}

static fg_status open_batches(fg_server *s, fg_error *err) {
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%s/batches", s->options.data_folder);
  const fg_batches_options options = {.engine = s->engine,
                                      .files = s->files,
                                      .folder = folder,
                                      .seed = s->options.seed,
                                      .expiry_seconds = s->options.batch_expiry_seconds,
                                      .log = &s->log};
  return fg_batches_open(&s->batches, &options, err);
}

fg_status fg_server_open_files(fg_server *s, fg_error *err) {
  if (!s->options.data_folder) return FG_OK;
  fg_status status = open_store(s, err);
  if (status == FG_OK) status = open_batches(s, err);
  if (status != FG_OK) fg_server_close_files(s);
  return status;
}

void fg_server_close_files(fg_server *s) {
  fg_batches_close(s->batches);
  fg_file_store_close(s->files);
  s->batches = NULL;
  s->files = NULL;
}
