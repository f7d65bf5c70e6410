#include "hub/pull.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/size.h"
#include "hub/download.h"

enum { MAX_LISTING_BYTES = 64 << 20 };

typedef struct pull {
  const fg_hub_pull_options *options;
  fg_hub_result *out;
  fg_hub_cache cache;
  fg_hub_line line;
  fg_hub_file **chosen; // files[i] of the result is of chosen[i]
  size_t at;            // the file under way
  uint64_t before;      // bytes of the files before it
} pull;

// ---- addresses ------------------------------------------------------------------------------------------

// A malloc'd URL: the endpoint, `prefix`, the repository, `middle`, `name` quoted, `suffix`.
static fg_status make_url(char **out, const pull *p, const char *const parts[3], const char *name,
                          const char *keep, fg_error *err) {
  fg_text url = {0};
  fg_text_append_string(&url, p->options->settings->endpoint);
  fg_text_append_string(&url, parts[0]);
  fg_hub_quote(&url, p->options->repo->id, "/");
  fg_text_append_string(&url, parts[1]);
  fg_hub_quote(&url, name, keep);
  fg_text_append_string(&url, parts[2]);
  *out = url.data;
  if (!fg_text_failed(&url)) return FG_OK;
  fg_text_free(&url);
  return fg_fail(err, FG_NO_SPACE, "no memory for an address");
}

static fg_status listing_url(char **out, const pull *p, fg_error *err) {
  static const char *const parts[] = {"/api/models/", "/revision/", "?blobs=true"};
  return make_url(out, p, parts, p->options->repo->revision, "", err);
}

static fg_status file_url(char **out, const pull *p, const char *path, fg_error *err) {
  char resolve[FG_HUB_COMMIT_BYTES + 16];
  snprintf(resolve, sizeof resolve, "/resolve/%s/", p->out->commit);
  const char *const parts[] = {"/", resolve, ""};
  return make_url(out, p, parts, path, "/", err);
}

// ---- what there is --------------------------------------------------------------------------------------

static fg_status get_listing(pull *p, fg_error *err) {
  char *url;
  fg_text text = {0};
  fg_status status = listing_url(&url, p, err);
  if (status != FG_OK) return status;
  status = fg_hub_get_text(&p->line, url, MAX_LISTING_BYTES, &text, err);
  if (status == FG_OK && !text.data) status = fg_fail(err, FG_CORRUPT, "%s: the answer is empty", url);
  if (status == FG_OK)
    status = fg_hub_listing_read(&p->out->listing, text.data, text.length, url, err);
  else
    fg_text_free(&text);
  free(url);
  if (status != FG_OK) return status;
  strcpy(p->out->commit, p->out->listing.commit);
  if (p->out->listing.refused)
    fg_log_line(p->options->log, FG_LOG_WARN, "%zu files whose names cannot be used here are passed over: %s",
                p->out->listing.refused, p->out->listing.refused_name);
  return FG_OK;
}

static fg_status collect(pull *p, fg_error *err) {
  const fg_hub_listing *listing = &p->out->listing;
  if (listing->count == 0) return fg_fail(err, FG_NOT_FOUND, "%s holds no files", p->options->repo->id);
  fg_status status = fg_hub_choose(&p->out->listing, &p->options->wish, p->options->repo->id, err);
  if (status != FG_OK) return status;
  p->chosen = calloc(listing->count, sizeof *p->chosen);
  p->out->files = calloc(listing->count, sizeof *p->out->files);
  p->out->etags = calloc(listing->count, sizeof *p->out->etags);
  if (!p->chosen || !p->out->files || !p->out->etags)
    return fg_fail(err, FG_NO_SPACE, "no memory for %zu files", listing->count);
  for (size_t i = 0; i < listing->count; i++)
    if (listing->files[i].chosen) p->chosen[p->out->count++] = &listing->files[i];
  return FG_OK;
}

// A list without hash or size: the file's own answer has them.
static fg_status ask_about(pull *p, size_t i, fg_error *err) {
  fg_hub_file *file = p->chosen[i];
  char *url;
  fg_http_answer answer;
  if (file->etag && file->bytes != FG_HUB_UNKNOWN_SIZE) return FG_OK;
  fg_status status = file_url(&url, p, file->path, err);
  if (status != FG_OK) return status;
  status = fg_hub_head(&p->line, url, file->path, &answer, err);
  free(url);
  if (status != FG_OK) return status;
  if (answer.commit[0] && strcmp(answer.commit, p->out->commit) != 0)
    return fg_fail(err, FG_CORRUPT, "%s: the Hub answers with commit %s, not %s", file->path, answer.commit,
                   p->out->commit);
  if (!fg_hub_etag_is_safe(answer.etag) || answer.bytes == FG_HTTP_UNKNOWN_SIZE)
    return fg_fail(err, FG_UNSUPPORTED,
                   "%s: the server says neither hash nor size; does HF_ENDPOINT name a Hub?", file->path);
  if (!file->etag) file->etag = p->out->etags[i] = strdup(answer.etag);
  if (!file->etag) return fg_fail(err, FG_NO_SPACE, "no memory for %s", file->path);
  file->bytes = answer.bytes;
  return FG_OK;
}

static fg_hub_blob blob_of(const fg_hub_file *file, const char *url) {
  return (fg_hub_blob){.url = url, .file = file->path, .etag = file->etag, .bytes = file->bytes};
}

static fg_status find_out(pull *p, fg_error *err) {
  fg_status status = get_listing(p, err);
  if (status == FG_OK) status = collect(p, err);
  for (size_t i = 0; status == FG_OK && i < p->out->count; i++) {
    status = ask_about(p, i, err);
    if (status != FG_OK) break;
    const fg_hub_file *file = p->chosen[i];
    const fg_hub_blob blob = blob_of(file, NULL);
    bool whole;
    p->out->files[i] = (fg_hub_pulled){file->path, file->bytes, fg_hub_blob_have(&p->cache, &blob, &whole)};
    if (__builtin_add_overflow(p->out->bytes, file->bytes, &p->out->bytes))
      status = fg_fail(err, FG_CORRUPT, "%s: the Hub's sizes are more than 64 bits hold", file->path);
  }
  return status;
}

// ---- getting it -----------------------------------------------------------------------------------------

static uint64_t sum_of_have(const fg_hub_result *r) {
  uint64_t sum = 0;
  for (size_t i = 0; i < r->count; i++) sum += r->files[i].have;
  return sum;
}

static fg_status check_room(const pull *p, fg_error *err) {
  struct statvfs disk;
  char need[16], free_bytes[16];
  uint64_t missing = p->out->bytes - sum_of_have(p->out);
  if (statvfs(p->cache.root, &disk) != 0)
    return fg_fail(err, FG_IO, "cannot look at %s: %s", p->cache.root, strerror(errno));
  uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
  if (missing <= room) return FG_OK;
  return fg_fail(err, FG_DISK_FULL,
                 "%s more are needed and %s are free in %s; free some, or set HF_HUB_CACHE to another disk",
                 fg_size_format(missing, need), fg_size_format(room, free_bytes), p->cache.root);
}

static void on_moved(void *user, uint64_t have, uint64_t more) {
  pull *p = user;
  p->out->fetched += more;
  p->out->files[p->at].have = have;
  const fg_hub_progress progress = {.file = p->chosen[p->at]->path,
                                    .index = p->at + 1,
                                    .count = p->out->count,
                                    .done = p->before + have,
                                    .total = p->out->bytes,
                                    .fetched = p->out->fetched};
  p->options->progress(p->options->user, &progress);
}

static bool on_stopped(void *user) {
  const pull *p = user;
  return p->options->stopped(p->options->user);
}

static fg_status get_file(pull *p, fg_error *err) {
  const fg_hub_file *file = p->chosen[p->at];
  char *url;
  fg_status status = file_url(&url, p, file->path, err);
  if (status != FG_OK) return status;
  const fg_hub_blob blob = blob_of(file, url);
  status = fg_hub_blob_fetch(&p->line, &p->cache, &blob, err);
  free(url);
  if (status == FG_OK) status = fg_hub_cache_link(&p->cache, p->out->commit, file->path, file->etag, err);
  return status;
}

static fg_status get_files(pull *p, fg_error *err) {
  fg_hub_result *r = p->out;
  fg_status status = fg_hub_cache_make(&p->cache, err);
  if (status == FG_OK) status = check_room(p, err);
  for (p->at = 0; status == FG_OK && p->at < r->count; p->at++) {
    status = get_file(p, err);
    if (status != FG_OK) break;
    r->files[p->at].have = r->files[p->at].bytes;
    p->before += r->files[p->at].bytes;
  }
  if (status == FG_OK)
    status = fg_hub_cache_set_commit(&p->cache, p->options->repo->revision, r->commit, err);
  return status;
}

fg_status fg_hub_pull(fg_hub_result *out, const fg_hub_pull_options *options, fg_error *err) {
  *out = (fg_hub_result){0};
  pull p = {.options = options, .out = out};
  p.line = (fg_hub_line){.settings = options->settings,
                         .repo = options->repo,
                         .log = options->log,
                         .stopped = on_stopped,
                         .moved = on_moved,
                         .user = &p};
  if (options->settings->offline)
    return fg_fail(err, FG_INVALID, "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set; unset it to download");
  fg_status status = fg_hub_cache_init(&p.cache, options->settings->cache, options->repo, err);
  if (status == FG_OK) status = fg_hub_line_open(&p.line, err);
  if (status == FG_OK) status = find_out(&p, err);
  if (status == FG_OK) status = fg_hub_cache_path(out->snapshot, &p.cache, "snapshots", out->commit, "", err);
  if (status == FG_OK && !options->dry_run) status = get_files(&p, err);
  out->have = sum_of_have(out);
  fg_hub_line_close(&p.line);
  free(p.chosen);
  return status;
}

void fg_hub_result_free(fg_hub_result *result) {
  for (size_t i = 0; result->etags && i < result->count; i++) free(result->etags[i]);
  free(result->etags);
  free(result->files);
  fg_hub_listing_free(&result->listing);
  *result = (fg_hub_result){0};
}

fg_status fg_hub_find(char out[PATH_MAX], const char *cache_folder, const fg_hub_repo *repo, fg_error *err) {
  fg_hub_cache cache;
  char commit[FG_HUB_COMMIT_BYTES];
  fg_status status = fg_hub_cache_init(&cache, cache_folder, repo, err);
  if (status == FG_OK) status = fg_hub_cache_commit(commit, &cache, repo->revision, err);
  return status ? status : fg_hub_cache_path(out, &cache, "snapshots", commit, "", err);
}
