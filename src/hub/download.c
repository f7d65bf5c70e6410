#include "hub/download.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/system.h"
#include "hub/digest.h"

// ---- requests that are tried again ----------------------------------------------------------------------

fg_status fg_hub_line_open(fg_hub_line *line, fg_error *err) {
  const fg_http_options options = {.token = line->settings->token,
                                   .stall_s = line->settings->stall_s,
                                   .stopped = line->stopped,
                                   .user = line->user};
  return fg_http_create(&line->http, &options, err);
}

void fg_hub_line_close(fg_hub_line *line) {
  fg_http_destroy(line->http);
  line->http = NULL;
}

static fg_status pause_ms(const fg_hub_line *line, int64_t ms, fg_error *err) {
  enum { SLICE_MS = 50 };
  const struct timespec slice = {.tv_nsec = SLICE_MS * 1000 * 1000};
  for (; ms > 0; ms -= SLICE_MS) {
    if (line->stopped(line->user)) break;
    nanosleep(&slice, NULL);
  }
  return line->stopped(line->user) ? fg_fail(err, FG_CANCELLED, "interrupted") : FG_OK;
}

static fg_status explain(const fg_hub_line *line, const char *file, const fg_http_answer *answer,
                         fg_error *err) {
  const fg_hub_subject subject = {.repo = line->repo,
                                  .file = file,
                                  .endpoint = line->settings->endpoint,
                                  .has_token = line->settings->token[0] != 0};
  return fg_hub_explain(&subject, answer, err);
}

// After a request that did not do what it should: waits if another try may help, else fails. `status` and err
// say how the request ended; FG_OK: with an answer that is not wanted.
static fg_status again(const fg_hub_line *line, const char *file, fg_status status,
                       const fg_http_answer *answer, unsigned *tried, fg_error *err) {
  if (status != FG_OK && !answer->cut) return status;
  int64_t wait = fg_hub_wait_ms(answer, ++*tried);
  bool answered = status == FG_OK;
  if (wait < 0 && answered) return explain(line, file, answer, err);
  if (wait < 0)
    return fg_fail(err, FG_IO, "%s (%u tries); is the network there, and HF_ENDPOINT right?", err->message,
                   *tried);
  if (answered)
    fg_log_line(line->log, FG_LOG_INFO, "%s answers with %ld; next try in %.2f s", file ? file : "the Hub",
                answer->status, (double)wait * 1e-3);
  else
    fg_log_line(line->log, FG_LOG_INFO, "%s; next try in %.2f s", err->message, (double)wait * 1e-3);
  return pause_ms(line, wait, err);
}

fg_status fg_hub_head(fg_hub_line *line, const char *url, const char *file, fg_http_answer *out,
                      fg_error *err) {
  const fg_http_request request = {.url = url, .head = true};
  for (unsigned tried = 0;;) {
    fg_status status = fg_http_do(line->http, &request, out, err);
    bool said = out->status == 200 || (out->status >= 300 && out->status < 400);
    if (status == FG_OK && said) return FG_OK;
    status = again(line, file, status, out, &tried, err);
    if (status != FG_OK) return status;
  }
}

typedef struct text_sink {
  fg_text *text;
  size_t max_bytes;
} text_sink;

static fg_status take_text(void *user, const fg_http_answer *answer, const void *data, size_t count,
                           fg_error *err) {
  text_sink *sink = user;
  (void)answer;
  if (count > sink->max_bytes - sink->text->length)
    return fg_fail(err, FG_UNSUPPORTED, "the Hub's list of files has more than %zu bytes", sink->max_bytes);
  fg_text_append(sink->text, data, count);
  return fg_text_failed(sink->text) ? fg_fail(err, FG_NO_SPACE, "no memory for the Hub's list of files")
                                    : FG_OK;
}

fg_status fg_hub_get_text(fg_hub_line *line, const char *url, size_t max_bytes, fg_text *out, fg_error *err) {
  text_sink sink = {out, max_bytes};
  const fg_http_request request = {.url = url, .take = take_text, .user = &sink};
  for (unsigned tried = 0;;) {
    fg_http_answer answer;
    fg_text_clear(out);
    fg_status status = fg_http_do(line->http, &request, &answer, err);
    if (status == FG_OK && answer.status == 200) return FG_OK;
    status = again(line, NULL, status, &answer, &tried, err);
    if (status != FG_OK) return status;
  }
}

// ---- a blob under way -----------------------------------------------------------------------------------

typedef struct partial {
  fg_hub_line *line;
  const fg_hub_blob *blob;
  char path[PATH_MAX], whole_path[PATH_MAX];
  int fd;
  uint64_t have;         // bytes of it, all of which went through the digest
  uint64_t most;         // the most that there ever were
  bool resumed;          // part of it was there before this process
  bool first;            // the next piece is the first one of its answer
  fg_hub_digest *digest; // of these bytes
} partial;

static fg_status fail_disk(const partial *p, const char *what, fg_error *err) {
  int reason = errno;
  bool full = reason == ENOSPC || reason == EDQUOT;
  return fg_fail(err, full ? FG_DISK_FULL : FG_IO, "cannot %s %s: %s%s", what, p->path, strerror(reason),
                 full ? "; what came is kept: free some space, or set HF_HUB_CACHE to another disk" : "");
}

static void tell_moved(const partial *p, uint64_t more) {
  p->line->moved(p->line->user, p->have, more);
}

static fg_status new_digest(partial *p, fg_error *err) {
  fg_hub_digest_destroy(p->digest);
  return fg_hub_digest_create(&p->digest, p->blob->etag, p->blob->bytes, err);
}

static fg_status start_over(partial *p, fg_error *err) {
  p->have = 0;
  p->resumed = false;
  if (ftruncate(p->fd, 0) != 0 || lseek(p->fd, 0, SEEK_SET) != 0) return fail_disk(p, "cut", err);
  tell_moved(p, 0);
  return new_digest(p, err);
}

static fg_status digest_file(partial *p, uint64_t bytes, char *buffer, size_t capacity, fg_error *err) {
  while (p->have < bytes) {
    ssize_t n = read(p->fd, buffer, capacity);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_disk(p, "read", err);
    if (n == 0) break;
    fg_hub_digest_add(p->digest, buffer, (size_t)n);
    p->have += (uint64_t)n;
    tell_moved(p, 0);
    if (p->line->stopped(p->line->user)) return fg_fail(err, FG_CANCELLED, "interrupted");
  }
  return FG_OK;
}

// Takes up what an earlier process left; more than the file has cannot be of it.
static fg_status take_up(partial *p, fg_error *err) {
  enum { PIECE = 1 << 20 };
  struct stat st;
  if (fstat(p->fd, &st) != 0) return fail_disk(p, "stat", err);
  if ((uint64_t)st.st_size > p->blob->bytes) return start_over(p, err);
  fg_status status = new_digest(p, err);
  if (status != FG_OK || st.st_size == 0) return status;
  char *buffer = malloc(PIECE);
  if (!buffer) return fg_fail(err, FG_NO_SPACE, "no memory to read %s", p->path);
  p->resumed = true;
  status = digest_file(p, (uint64_t)st.st_size, buffer, PIECE, err);
  free(buffer);
  return status;
}

// The first piece of an answer tells whether it is of this file and begins where it should.
static fg_status check_begin(partial *p, const fg_http_answer *answer, fg_error *err) {
  if (answer->bytes != FG_HTTP_UNKNOWN_SIZE && answer->bytes != p->blob->bytes)
    return fg_fail(err, FG_CORRUPT, "%s: %" PRIu64 " bytes come, the Hub's list says %" PRIu64, p->blob->file,
                   answer->bytes, p->blob->bytes);
  if (answer->status == 200) return p->have ? start_over(p, err) : FG_OK; // Range was passed over
  if (answer->from == p->have) return FG_OK;
  return fg_fail(err, FG_CORRUPT, "%s: the server sends another part than was asked for", p->blob->file);
}

static fg_status take_piece(void *user, const fg_http_answer *answer, const void *data, size_t count,
                            fg_error *err) {
  partial *p = user;
  fg_status status = p->first ? check_begin(p, answer, err) : FG_OK;
  p->first = false;
  if (status == FG_OK && count > p->blob->bytes - p->have)
    status = fg_fail(err, FG_CORRUPT, "%s: more comes than the %" PRIu64 " bytes of the Hub's list",
                     p->blob->file, p->blob->bytes);
  if (status != FG_OK) return status;
  for (size_t done = 0; done < count;) {
    ssize_t n = write(p->fd, (const char *)data + done, count - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_disk(p, "write", err);
    done += (size_t)n;
  }
  fg_hub_digest_add(p->digest, data, count);
  p->have += count;
  tell_moved(p, count);
  return FG_OK;
}

static fg_status transfer(partial *p, fg_error *err) {
  enum { RESTARTS = 2 };
  unsigned tried = 0, restarts = 0;
  p->most = p->have;
  while (p->have < p->blob->bytes) {
    fg_http_answer answer;
    const fg_http_request request = {.url = p->blob->url, .from = p->have, .take = take_piece, .user = p};
    p->first = true;
    fg_status status = fg_http_do(p->line->http, &request, &answer, err);
    if (p->have == p->blob->bytes) break;
    if (p->have > p->most) { // it goes forward: as many tries again
      p->most = p->have;
      tried = 0;
    }
    if (status == FG_OK && answer.status == 416 && p->have && restarts++ < RESTARTS)
      status = start_over(p, err);
    else
      status = again(p->line, p->blob->file, status, &answer, &tried, err);
    if (status != FG_OK) return status;
  }
  return FG_OK;
}

// ---- a blob as a whole ----------------------------------------------------------------------------------

static fg_status complete(partial *p, fg_error *err) {
  fg_status status = transfer(p, err);
  if (status != FG_OK || fg_hub_digest_matches(p->digest)) return status;
  if (p->resumed) {
    fg_log_line(p->line->log, FG_LOG_WARN, "%s: what was left of it is damaged; it is downloaded again",
                p->blob->file);
    status = start_over(p, err);
    if (status == FG_OK) status = transfer(p, err);
    if (status != FG_OK || fg_hub_digest_matches(p->digest)) return status;
  }
  unlink(p->path);
  return fg_fail(err, FG_CORRUPT,
                 "%s: what came is not what the Hub's hash says (%.16s...); it is removed, try again",
                 p->blob->file, p->blob->etag);
}

static fg_status fetch_locked(partial *p, fg_error *err) {
  p->fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (p->fd < 0) return fail_disk(p, "open", err);
  fg_status status = take_up(p, err);
  if (status == FG_OK) status = complete(p, err);
  if (status == FG_OK && fg_sync_data(p->fd) != 0) status = fail_disk(p, "write", err);
  if (status == FG_OK && rename(p->path, p->whole_path) != 0) status = fail_disk(p, "rename", err);
  close(p->fd);
  fg_hub_digest_destroy(p->digest);
  return status;
}

static fg_status wait_for_lock(int *fd, const partial *p, const fg_hub_cache *cache, fg_error *err) {
  enum { POLL_MS = 200 };
  fg_status status = fg_hub_lock_try(fd, cache, p->blob->etag, err);
  if (status == FG_OK && *fd < 0)
    fg_log_line(p->line->log, FG_LOG_INFO, "%s: another process downloads it; waiting", p->blob->file);
  while (status == FG_OK && *fd < 0) {
    status = pause_ms(p->line, POLL_MS, err);
    if (status == FG_OK) status = fg_hub_lock_try(fd, cache, p->blob->etag, err);
  }
  return status;
}

static uint64_t size_of(const fg_hub_cache *cache, const char *etag, const char *suffix, bool *there) {
  char path[PATH_MAX];
  struct stat st;
  *there = fg_hub_cache_path(path, cache, "blobs", etag, suffix, NULL) == FG_OK && stat(path, &st) == 0 &&
           S_ISREG(st.st_mode);
  return *there ? (uint64_t)st.st_size : 0;
}

uint64_t fg_hub_blob_have(const fg_hub_cache *cache, const fg_hub_blob *blob, bool *whole) {
  bool there;
  uint64_t bytes = size_of(cache, blob->etag, "", whole);
  *whole = *whole && bytes == blob->bytes;
  if (*whole) return bytes;
  bytes = size_of(cache, blob->etag, ".incomplete", &there);
  return bytes < blob->bytes ? bytes : blob->bytes;
}

fg_status fg_hub_blob_fetch(fg_hub_line *line, const fg_hub_cache *cache, const fg_hub_blob *blob,
                            fg_error *err) {
  partial p = {.line = line, .blob = blob};
  int lock = -1;
  bool whole;
  fg_hub_blob_have(cache, blob, &whole);
  if (whole) return FG_OK; // needs no lock, which a cache that cannot be written to would not give
  fg_status status = fg_hub_cache_path(p.path, cache, "blobs", blob->etag, ".incomplete", err);
  if (status == FG_OK) status = fg_hub_cache_path(p.whole_path, cache, "blobs", blob->etag, "", err);
  if (status == FG_OK) status = wait_for_lock(&lock, &p, cache, err);
  if (status != FG_OK) return status;
  fg_hub_blob_have(cache, blob, &whole);
  if (!whole) status = fetch_locked(&p, err);
  fg_hub_lock_release(lock);
  return status;
}
