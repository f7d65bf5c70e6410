#include "profile/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/folders.h"
#include "base/hash.h"
#include "base/system.h"
#include "plan/profile_json.h"

fg_status fg_profile_folder(char *out, size_t size, fg_error *err) {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  int length = -1;
  if (cache && cache[0] == '/') // relative paths are invalid (XDG)
    length = snprintf(out, size, "%s/flexgen/profiles", cache);
  else if (home && home[0])
    length = snprintf(out, size, "%s/.cache/flexgen/profiles", home);
  if (length > 0 && (size_t)length < size) return FG_OK;
  return fg_fail(err, FG_INVALID, "neither XDG_CACHE_HOME nor HOME says where to keep the machine's profile");
}

fg_status fg_profile_path(char *out, size_t size, const fg_profile *machine, fg_error *err) {
  char folder[PATH_MAX];
  fg_status status = fg_profile_folder(folder, sizeof folder, err);
  if (status) return status;
  const char *const parts[] = {machine->machine, machine->kernels, machine->version, machine->disk};
  uint64_t hash = 0;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    hash = fg_hash_more(hash, parts[i], strlen(parts[i]) + 1);
  if ((size_t)snprintf(out, size, "%s/%016" PRIx64 ".json", folder, hash) < size) return FG_OK;
  return fg_fail(err, FG_INVALID, "%.300s: this path is too long for a profile", folder);
}

fg_status fg_profile_find(fg_profile *out, const fg_profile *machine, fg_error *err) {
  char path[PATH_MAX];
  fg_error cause = {FG_OK, ""};
  fg_status status = fg_profile_path(path, sizeof path, machine, err);
  if (status) return status;
  status = fg_profile_read(out, path, &cause);
  if (status == FG_NOT_FOUND || (status == FG_OK && !fg_profile_fits(out, machine)))
    return fg_fail(err, FG_NOT_FOUND,
                   "this machine (%s, disk %s) has no profile; flexgen profile makes one in about a minute",
                   machine->machine, machine->disk);
  return status ? fg_fail(err, status, "%s", cause.message) : FG_OK;
}

// ---- writing ---------------------------------------------------------------------------------------------

static bool write_all(int fd, const char *text, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t wrote = write(fd, text + done, length - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    done += (size_t)wrote;
  }
  return true;
}

static fg_status write_whole(const char *path, const char *text, fg_error *err) {
  char temporary[PATH_MAX];
  if ((size_t)snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid()) >= sizeof temporary)
    return fg_fail(err, FG_INVALID, "%.300s: this path is too long for a profile", path);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return fg_fail(err, FG_IO, "%.300s: cannot be made: %s", temporary, strerror(errno));
  bool written = write_all(fd, text, strlen(text)) && fg_sync_data(fd) == 0;
  int error = errno;
  if (close(fd) != 0 && written) written = false, error = errno;
  if (written && rename(temporary, path) == 0) return FG_OK;
  if (written) error = errno;
  (void)unlink(temporary);
  return fg_fail(err, error == ENOSPC ? FG_DISK_FULL : FG_IO, "%.300s: cannot be written: %s", path,
                 strerror(error));
}

fg_status fg_profile_keep(const fg_profile *profile, fg_error *err) {
  char folder[PATH_MAX], path[PATH_MAX];
  fg_status status = fg_profile_folder(folder, sizeof folder, err);
  if (!status) status = fg_folders_make(folder, err);
  if (!status) status = fg_profile_path(path, sizeof path, profile, err);
  if (status) return status;
  json_t *json = fg_profile_to_json(profile);
  char *text = json ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
  json_decref(json);
  if (!text) return fg_fail(err, FG_NO_SPACE, "no memory to write a profile");
  status = write_whole(path, text, err);
  free(text);
  return status;
}

fg_status fg_profile_load_or_measure(fg_profile *out, const fg_profile_options *options, fg_profile_wish wish,
                                     bool *measured, fg_error *err) {
  fg_profile machine;
  fg_status status = fg_profile_describe(&machine, options, err);
  if (measured) *measured = false;
  if (status) return status;
  if (wish != FG_PROFILE_MEASURE) {
    fg_error cause = {FG_OK, ""};
    status = fg_profile_find(out, &machine, &cause);
    if (status == FG_OK) return FG_OK;
    if (wish == FG_PROFILE_KEPT) return fg_fail(err, status, "%s", cause.message);
    if (status != FG_NOT_FOUND) fg_log_line(options->log, FG_LOG_WARN, "%s", cause.message);
  }
  status = fg_profile_measure(out, options, err);
  if (status) return status;
  if (measured) *measured = true;
  fg_error why = {FG_OK, ""};
  if (fg_profile_keep(out, &why) != FG_OK)
    fg_log_line(options->log, FG_LOG_WARN, "the profile is not kept: %s", why.message);
  return FG_OK;
}
