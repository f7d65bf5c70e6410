// Files: uploaded as forms, listed, read, deleted.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve/batches.h"
#include "serve/listing.h"
#include "serve/multipart.h"
#include "serve/server_internal.h"

enum {
  LISTED = 10000,
  ENTRY_BYTES = 2048, // of a list, about: as JSON, and its text
};

// Of what a store or a batch says, to a client.
void fg_server_refuse(fg_exchange *x, const fg_error *err) {
  static const struct {
    fg_status status;
    int http;
  } known[] = {{FG_INVALID, 400}, {FG_NOT_FOUND, 404}, {FG_BUSY, 409}, {FG_NO_SPACE, 413}};
  int http = 500;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].status == err->status) http = known[i].http;
  fg_exchange_refuse(x, http, NULL, "%s", err->message);
}

bool fg_server_keeps_files(const fg_server *s, fg_exchange *x) {
  if (s->files) return true;
  fg_exchange_refuse(x, 501, NULL,
                     "this server keeps no files; its owner can give it a folder for them (--data-dir)");
  return false;
}

bool fg_server_take(fg_exchange *x, uint64_t bytes) {
  fg_error err;
  if (fg_exchange_take(x, bytes, "an answer", &err) == FG_OK) return true;
  fg_exchange_refuse_for_now(x);
  return false;
}

// ---- uploads ---------------------------------------------------------------------------------------------

typedef enum part { PART_NONE, PART_PURPOSE, PART_FILE } part;

typedef struct upload {
  fg_file_store *files;
  fg_multipart *form;
  fg_file_draft *draft;
  part part;
  char purpose[FG_FILE_PURPOSE], name[FG_FILE_NAME];
  size_t purpose_length;
  bool has_purpose;
  fg_error error; // why the sink stopped
} upload;

static void destroy_upload(void *kept) {
  upload *u = kept;
  fg_multipart_destroy(u->form);
  fg_file_draft_drop(u->draft);
  free(u);
}

static bool begin_file(upload *u, const char *name) {
  if (u->draft) {
    fg_fail(&u->error, FG_INVALID, "the form has more than one file");
    return false;
  }
  json_t *text = json_string(name); // NULL where it is no UTF-8
  json_decref(text);
  strncpy(u->name, text && *name ? name : "upload.jsonl", sizeof u->name - 1);
  u->part = PART_FILE;
  return fg_file_draft_begin(u->files, &u->draft, &u->error) == FG_OK;
}

static bool begin_part(void *user, const fg_multipart_part *p) {
  upload *u = user;
  if (strcmp(p->name, "file") == 0 && p->filename) return begin_file(u, p->filename);
  if (strcmp(p->name, "purpose") == 0 && !u->has_purpose) {
    u->has_purpose = true;
    u->part = PART_PURPOSE;
    return true;
  }
  fg_fail(&u->error, FG_INVALID, "the form's field \"%.60s\" is not known here, or comes again", p->name);
  return false;
}

static bool take_data(void *user, const char *bytes, size_t count) {
  upload *u = user;
  if (u->part == PART_FILE) return fg_file_draft_append(u->draft, bytes, count, &u->error) == FG_OK;
  if (count >= sizeof u->purpose - u->purpose_length) {
    fg_fail(&u->error, FG_INVALID, "purpose must be \"batch\"");
    return false;
  }
  memcpy(u->purpose + u->purpose_length, bytes, count);
  u->purpose_length += count;
  return true;
}

static bool end_part(void *user) {
  upload *u = user;
  u->part = PART_NONE;
  return true;
}

static upload *begin_upload(fg_server *s, fg_exchange *x, fg_error *err) {
  upload *u = calloc(1, sizeof *u);
  if (!u) {
    fg_fail(err, FG_IO, "out of memory for an upload");
    return NULL;
  }
  const fg_multipart_sink sink = {begin_part, take_data, end_part, u};
  u->files = s->files;
  if (fg_multipart_create(&u->form, fg_exchange_header(x, "Content-Type"), &sink, err) == FG_OK) return u;
  free(u);
  return NULL;
}

// The upload that this exchange is; NULL: it was refused.
static upload *upload_of(fg_server *s, fg_exchange *x) {
  fg_error err;
  upload *u = fg_exchange_kept(x);
  if (u || !fg_server_keeps_files(s, x)) return u;
  u = begin_upload(s, x, &err);
  if (u)
    fg_exchange_keep(x, u, destroy_upload);
  else
    fg_server_refuse(x, &err);
  return u;
}

// What was written is gone, and its space free for others, before the client hears.
static void refuse_upload(fg_exchange *x, upload *u, const fg_error *err) {
  fg_file_draft_drop(u->draft);
  u->draft = NULL;
  fg_server_refuse(x, err);
}

void fg_handle_upload_piece(void *server, fg_exchange *x, const char *bytes, size_t count) {
  fg_error err;
  upload *u = upload_of(server, x);
  if (!u) return;
  const fg_status status = fg_multipart_feed(u->form, bytes, count, &err);
  if (status != FG_OK) refuse_upload(x, u, status == FG_CANCELLED ? &u->error : &err);
}

static fg_status check_upload(const upload *u, fg_error *err) {
  fg_status status = fg_multipart_finish(u->form, err);
  if (status != FG_OK) return status;
  if (!u->draft)
    return fg_fail(err, FG_INVALID, "the form has no file: a part named \"file\" with a filename");
  if (strcmp(u->purpose, "batch") != 0) return fg_fail(err, FG_INVALID, "purpose must be \"batch\"");
  return FG_OK;
}

void fg_handle_upload(void *server, fg_exchange *x) {
  fg_error err;
  fg_file_info info;
  upload *u = upload_of(server, x);
  if (!u) return;
  fg_status status = check_upload(u, &err);
  if (status == FG_OK) {
    fg_file_draft *draft = u->draft;
    u->draft = NULL; // whatever comes of it, the draft is gone
    status = fg_file_draft_commit(draft, u->name, u->purpose, &info, &err);
  }
  if (status == FG_OK)
    fg_exchange_answer_json(x, 200, fg_file_info_json(&info));
  else
    refuse_upload(x, u, &err);
}

// ---- files -----------------------------------------------------------------------------------------------

// The youngest first; NULL without memory.
static json_t *list_files(fg_server *s, const char *purpose) {
  fg_file_info *files;
  uint32_t count;
  if (fg_file_store_list(s->files, &files, &count, NULL) != FG_OK) return NULL;
  json_t *list = json_array();
  for (uint32_t i = count; i-- > 0;)
    if (!purpose || strcmp(purpose, files[i].purpose) == 0)
      json_array_append_new(list, fg_file_info_json(&files[i]));
  free(files);
  return list;
}

void fg_handle_files(void *server, fg_exchange *x) {
  fg_server *s = server;
  if (!fg_server_keeps_files(s, x) ||
      !fg_server_take(x, (uint64_t)ENTRY_BYTES * (1 + fg_file_store_count(s->files))))
    return;
  fg_listing_answer(x, list_files(s, fg_exchange_query(x, "purpose")), LISTED, LISTED);
}

void fg_handle_file(void *server, fg_exchange *x) {
  fg_server *s = server;
  fg_file_info info;
  if (!fg_server_keeps_files(s, x)) return;
  if (fg_file_store_find(s->files, fg_exchange_part(x, 0), &info))
    fg_exchange_answer_json(x, 200, fg_file_info_json(&info));
  else
    fg_exchange_refuse(x, 404, NULL, "there is no file \"%.60s\"", fg_exchange_part(x, 0));
}

void fg_handle_file_content(void *server, fg_exchange *x) {
  fg_server *s = server;
  fg_file_info info;
  fg_error err;
  int fd;
  if (!fg_server_keeps_files(s, x)) return;
  if (fg_file_store_get(s->files, fg_exchange_part(x, 0), &fd, &info, &err) == FG_OK)
    fg_exchange_answer_file(x, "application/octet-stream", fd, info.bytes);
  else
    fg_server_refuse(x, &err);
}

void fg_handle_file_delete(void *server, fg_exchange *x) {
  fg_server *s = server;
  fg_error err;
  const char *id = fg_exchange_part(x, 0);
  if (!fg_server_keeps_files(s, x)) return;
  if (fg_batches_remove_file(s->batches, id, &err) == FG_OK)
    fg_exchange_answer_json(x, 200, json_pack("{s:s,s:s,s:b}", "id", id, "object", "file", "deleted", 1));
  else
    fg_server_refuse(x, &err);
}
