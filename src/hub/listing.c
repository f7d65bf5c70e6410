#include "hub/listing.h"

#include <stdlib.h>
#include <string.h>

#include "format/json_scan.h"

enum { MAX_FILES = 200000 };

// Object members are read by rows: a value of the kind that a row wants is kept, any other (null) is not.
typedef struct member {
  const char *key;
  const char **text; // one of the two
  uint64_t *number;
} member;

static fg_status read_member(fg_json_scan *scan, const member *m, fg_error *err) {
  char next = fg_scan_peek(scan);
  if (m->text && next == '"') {
    char *text;
    fg_status status = fg_scan_string(scan, &text, err);
    if (status == FG_OK) *m->text = text;
    return status;
  }
  if (m->number && next >= '0' && next <= '9') return fg_scan_u64(scan, m->number, err);
  return fg_scan_skip(scan, err);
}

// The value of `key` if one of the rows wants it; *known says whether.
static fg_status read_known(fg_json_scan *scan, const char *key, const member *rows, bool *known,
                            fg_error *err) {
  for (; rows->key; rows++) {
    *known = strcmp(rows->key, key) == 0;
    if (*known) return read_member(scan, rows, err);
  }
  return FG_OK;
}

// The members of an object that `rows` name; `other`, which may be NULL, takes or skips any other one.
static fg_status read_members(fg_json_scan *scan, const member *rows,
                              fg_status (*other)(fg_json_scan *scan, const char *key, void *user,
                                                 fg_error *err),
                              void *user, fg_error *err) {
  bool more = false;
  fg_status status = fg_scan_take(scan, '{', err);
  for (size_t i = 0; status == FG_OK; i++) {
    char *key;
    bool known = false;
    status = fg_scan_next(scan, i, '}', &more, err);
    if (status != FG_OK || !more) break;
    status = fg_scan_key(scan, &key, err);
    if (status == FG_OK) status = read_known(scan, key, rows, &known, err);
    if (status != FG_OK || known) continue;
    status = other ? other(scan, key, user, err) : fg_scan_skip(scan, err);
  }
  return status;
}

typedef struct large_file {
  const char *sha256;
  uint64_t bytes;
} large_file;

static fg_status read_lfs(fg_json_scan *scan, const char *key, void *user, fg_error *err) {
  large_file *lfs = user;
  const member rows[] = {{"sha256", &lfs->sha256, NULL}, {"size", NULL, &lfs->bytes}, {NULL, NULL, NULL}};
  if (strcmp(key, "lfs") != 0 || fg_scan_peek(scan) != '{') return fg_scan_skip(scan, err);
  return read_members(scan, rows, NULL, NULL, err);
}

static fg_status push(fg_hub_listing *out, const fg_hub_file *file, size_t *capacity, const char *where,
                      fg_error *err) {
  if (!file->path) return fg_fail(err, FG_CORRUPT, "%s: a file without a name", where);
  if (!fg_hub_path_is_safe(file->path)) {
    if (out->refused++ == 0) out->refused_name = file->path;
    return FG_OK;
  }
  if (out->count == MAX_FILES)
    return fg_fail(err, FG_UNSUPPORTED, "%s: more than %d files", where, MAX_FILES);
  if (out->count == *capacity) {
    size_t grown = *capacity ? 2 * *capacity : 32;
    fg_hub_file *files = realloc(out->files, grown * sizeof *files);
    if (!files) return fg_fail(err, FG_NO_SPACE, "%s: no memory for %zu files", where, grown);
    out->files = files;
    *capacity = grown;
  }
  out->files[out->count++] = *file;
  return FG_OK;
}

static fg_status read_file(fg_json_scan *scan, fg_hub_file *file, fg_error *err) {
  const char *git = NULL;
  large_file lfs = {.bytes = FG_HUB_UNKNOWN_SIZE};
  *file = (fg_hub_file){.bytes = FG_HUB_UNKNOWN_SIZE};
  const member rows[] = {{"rfilename", &file->path, NULL},
                         {"size", NULL, &file->bytes},
                         {"blobId", &git, NULL},
                         {NULL, NULL, NULL}};
  fg_status status = read_members(scan, rows, read_lfs, &lfs, err);
  if (lfs.bytes != FG_HUB_UNKNOWN_SIZE) file->bytes = lfs.bytes;
  if (lfs.sha256 && fg_hub_is_hex(lfs.sha256, 64))
    file->etag = lfs.sha256;
  else if (!lfs.sha256 && git && fg_hub_is_hex(git, 40))
    file->etag = git;
  return status;
}

static fg_status read_files(fg_json_scan *scan, fg_hub_listing *out, fg_error *err) {
  size_t capacity = 0;
  bool more = false;
  if (out->files) return fg_fail(err, FG_CORRUPT, "%s: two lists of files", scan->where);
  fg_status status = fg_scan_take(scan, '[', err);
  for (size_t i = 0; status == FG_OK; i++) {
    fg_hub_file file;
    status = fg_scan_next(scan, i, ']', &more, err);
    if (status != FG_OK || !more) break;
    status = read_file(scan, &file, err);
    if (status == FG_OK) status = push(out, &file, &capacity, scan->where, err);
  }
  return status;
}

typedef struct answer {
  fg_hub_listing *listing;
  bool listed;
} answer;

static fg_status read_siblings(fg_json_scan *scan, const char *key, void *user, fg_error *err) {
  answer *a = user;
  if (strcmp(key, "siblings") != 0) return fg_scan_skip(scan, err);
  a->listed = true;
  return read_files(scan, a->listing, err);
}

static fg_status read_all(fg_json_scan *scan, fg_hub_listing *out, fg_error *err) {
  const char *commit = NULL;
  answer a = {.listing = out};
  const member rows[] = {{"sha", &commit, NULL}, {NULL, NULL, NULL}};
  fg_status status = read_members(scan, rows, read_siblings, &a, err);
  if (status == FG_OK) status = fg_scan_end(scan, err);
  if (status != FG_OK) return status;
  if (!commit || !fg_hub_is_commit(commit) || !a.listed)
    return fg_fail(err, FG_CORRUPT, "%s: this is no answer of a Hub (no commit or no files in it)",
                   scan->where);
  strcpy(out->commit, commit);
  return FG_OK;
}

static int by_path(const void *a, const void *b) {
  const fg_hub_file *x = a, *y = b;
  return strcmp(x->path, y->path);
}

static fg_status sort(fg_hub_listing *out, const char *where, fg_error *err) {
  if (out->count) qsort(out->files, out->count, sizeof *out->files, by_path);
  for (size_t i = 1; i < out->count; i++)
    if (by_path(&out->files[i - 1], &out->files[i]) == 0)
      return fg_fail(err, FG_CORRUPT, "%s: the file %.200s is listed twice", where, out->files[i].path);
  return FG_OK;
}

fg_status fg_hub_listing_read(fg_hub_listing *out, char *text, size_t length, const char *where,
                              fg_error *err) {
  *out = (fg_hub_listing){.text = text};
  fg_json_scan scan = {.text = text, .length = length, .where = where};
  fg_status status = read_all(&scan, out, err);
  if (status == FG_OK) status = sort(out, where, err);
  if (status != FG_OK) fg_hub_listing_free(out);
  return status;
}

void fg_hub_listing_free(fg_hub_listing *listing) {
  free(listing->files);
  free(listing->text);
  *listing = (fg_hub_listing){0};
}
