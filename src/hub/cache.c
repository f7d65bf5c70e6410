#include "hub/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/folders.h"
#include "format/whole_file.h"

// ---- paths ----------------------------------------------------------------------------------------------

__attribute__((format(printf, 3, 4))) static fg_status make_path(char out[PATH_MAX], fg_error *err,
                                                                 const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = vsnprintf(out, PATH_MAX, format, args);
  va_end(args);
  if (length > 0 && length < PATH_MAX) return FG_OK;
  return fg_fail(err, FG_INVALID, "%.200s...: path too long; give a shorter HF_HUB_CACHE", out);
}

fg_status fg_hub_cache_init(fg_hub_cache *out, const char *root, const fg_hub_repo *repo, fg_error *err) {
  const char *slash = strchr(repo->id, '/');
  if (slash)
    snprintf(out->folder, sizeof out->folder, "models--%.*s--%s", (int)(slash - repo->id), repo->id,
             slash + 1);
  else
    snprintf(out->folder, sizeof out->folder, "models--%s", repo->id);
  return make_path(out->root, err, "%s", root);
}

fg_status fg_hub_cache_path(char out[PATH_MAX], const fg_hub_cache *cache, const char *kind, const char *name,
                            const char *suffix, fg_error *err) {
  return make_path(out, err, "%s/%s/%s/%s%s", cache->root, cache->folder, kind, name, suffix);
}

static fg_status make_parent(const char *path, fg_error *err) {
  char folder[PATH_MAX];
  fg_status status = make_path(folder, err, "%.*s", (int)(strrchr(path, '/') - path), path);
  return status ? status : fg_folders_make(folder, err);
}

// ---- reading --------------------------------------------------------------------------------------------

static bool is_folder(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static fg_status read_ref(char out[static FG_HUB_COMMIT_BYTES], const fg_hub_cache *cache,
                          const char *revision, fg_error *err) {
  enum { MAX_REF = 64 };
  char path[PATH_MAX];
  void *text;
  size_t bytes;
  fg_status status = fg_hub_cache_path(path, cache, "refs", revision, "", err);
  if (status == FG_OK) status = fg_read_whole(path, MAX_REF, &text, &bytes, err);
  if (status != FG_OK) return status;
  char *commit = text;
  commit[strcspn(commit, "\r\n")] = 0;
  if (fg_hub_is_commit(commit))
    strcpy(out, commit);
  else
    status = fg_fail(err, FG_CORRUPT, "%s holds no commit; remove it", path);
  free(text);
  return status;
}

fg_status fg_hub_cache_commit(char out[static FG_HUB_COMMIT_BYTES], const fg_hub_cache *cache,
                              const char *revision, fg_error *err) {
  char path[PATH_MAX];
  fg_status status = FG_OK;
  if (fg_hub_is_commit(revision))
    strcpy(out, revision);
  else
    status = read_ref(out, cache, revision, err);
  if (status == FG_OK) status = fg_hub_cache_path(path, cache, "snapshots", out, "", err);
  if (status == FG_OK && !is_folder(path)) status = fg_fail(err, FG_NOT_FOUND, "%s is not there", path);
  return status;
}

// ---- writing --------------------------------------------------------------------------------------------

// A file that appears whole or not at all.
static fg_status write_file(const char *path, const char *text, fg_error *err) {
  char temporary[PATH_MAX];
  fg_status status = make_path(temporary, err, "%s.%ld.tmp", path, (long)getpid());
  if (status != FG_OK) return status;
  FILE *file = fopen(temporary, "we");
  bool written = file && fputs(text, file) >= 0;
  int reason = errno;
  if (file && fclose(file) != 0 && written) written = false, reason = errno;
  if (written && rename(temporary, path) == 0) return FG_OK;
  if (written) reason = errno;
  unlink(temporary);
  return fg_fail(err, reason == ENOSPC ? FG_DISK_FULL : FG_IO, "cannot write %s: %s", path, strerror(reason));
}

fg_status fg_hub_cache_make(const fg_hub_cache *cache, fg_error *err) {
  static const char *const kinds[] = {"blobs", "refs", "snapshots"};
  static const char tag[] =
      "Signature: 8a477f597d28d172789f06886806bc55\n"
      "# A cache of files from the Hugging Face Hub; see https://bford.info/cachedir/\n";
  char path[PATH_MAX];
  fg_status status = FG_OK;
  for (size_t i = 0; status == FG_OK && i < sizeof kinds / sizeof *kinds; i++) {
    status = make_path(path, err, "%s/%s/%s", cache->root, cache->folder, kinds[i]);
    if (status == FG_OK) status = fg_folders_make(path, err);
  }
  if (status == FG_OK) status = make_path(path, err, "%s/.locks/%s", cache->root, cache->folder);
  if (status == FG_OK) status = fg_folders_make(path, err);
  if (status == FG_OK) status = make_path(path, err, "%s/CACHEDIR.TAG", cache->root);
  if (status == FG_OK && access(path, F_OK) != 0) status = write_file(path, tag, err);
  return status;
}

static bool points_at(const char *path, const char *target) {
  char is[PATH_MAX];
  ssize_t length = readlink(path, is, sizeof is - 1);
  if (length < 0) return false;
  is[length] = 0;
  return strcmp(is, target) == 0;
}

fg_status fg_hub_cache_link(const fg_hub_cache *cache, const char *commit, const char *path, const char *etag,
                            fg_error *err) {
  char place[PATH_MAX], target[PATH_MAX] = "../../", temporary[PATH_MAX];
  size_t depth = strlen(target);
  for (const char *c = path; *c; c++) {
    if (*c != '/') continue;
    if (depth + 4 + FG_HUB_ETAG_BYTES + 8 > sizeof target)
      return fg_fail(err, FG_INVALID, "%.200s: too many folders", path);
    memcpy(target + depth, "../", 4);
    depth += 3;
  }
  snprintf(target + depth, sizeof target - depth, "blobs/%s", etag);
  fg_status status = make_path(place, err, "%s/%s/snapshots/%s/%s", cache->root, cache->folder, commit, path);
  if (status == FG_OK && points_at(place, target)) return FG_OK;
  if (status == FG_OK) status = make_parent(place, err);
  if (status == FG_OK) status = make_path(temporary, err, "%s.%ld.tmp", place, (long)getpid());
  if (status != FG_OK) return status;
  unlink(temporary);
  if (symlink(target, temporary) == 0 && rename(temporary, place) == 0) return FG_OK;
  int reason = errno;
  unlink(temporary);
  return fg_fail(err, reason == ENOSPC ? FG_DISK_FULL : FG_IO, "cannot make the link %s: %s", place,
                 strerror(reason));
}

fg_status fg_hub_cache_set_commit(const fg_hub_cache *cache, const char *revision, const char *commit,
                                  fg_error *err) {
  char path[PATH_MAX], was[FG_HUB_COMMIT_BYTES];
  if (strcmp(revision, commit) == 0) return FG_OK;
  if (fg_hub_cache_commit(was, cache, revision, NULL) == FG_OK && strcmp(was, commit) == 0) return FG_OK;
  fg_status status = fg_hub_cache_path(path, cache, "refs", revision, "", err);
  if (status == FG_OK) status = make_parent(path, err);
  return status ? status : write_file(path, commit, err);
}

// ---- locks ----------------------------------------------------------------------------------------------

// Whether the open file is still the one of that name: a holder may remove it when it lets go.
static bool is_current(int fd, const char *path) {
  struct stat ours, named;
  return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_dev == named.st_dev &&
         ours.st_ino == named.st_ino;
}

fg_status fg_hub_lock_try(int *fd, const fg_hub_cache *cache, const char *etag, fg_error *err) {
  char path[PATH_MAX];
  fg_status status = make_path(path, err, "%s/.locks/%s/%s.lock", cache->root, cache->folder, etag);
  if (status != FG_OK) return status;
  *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0664);
  if (*fd < 0) return fg_fail(err, FG_IO, "cannot open the lock %s: %s", path, strerror(errno));
  bool locked = flock(*fd, LOCK_EX | LOCK_NB) == 0;
  if (locked ? is_current(*fd, path) : errno == ENOSYS || errno == EOPNOTSUPP || errno == ENOLCK)
    return FG_OK;
  bool held = locked || errno == EWOULDBLOCK || errno == EINTR;
  int reason = errno;
  close(*fd);
  *fd = -1;
  return held ? FG_OK : fg_fail(err, FG_IO, "cannot lock %s: %s", path, strerror(reason));
}

void fg_hub_lock_release(int fd) {
  if (fd >= 0) close(fd);
}
