#include "job/safe_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/system.h"

static fg_status refused(const fg_safe_file *file, const char *what, fg_error *err) {
  bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
  return fg_fail(err, full ? FG_DISK_FULL : FG_IO, "%s: cannot %s: %s%s", file->path, what, strerror(errno),
                 file->regular ? "; all rows before are safe, run the same command again to go on" : "");
}

fg_status fg_safe_file_append(fg_safe_file *file, const void *bytes, size_t count, fg_error *err) {
  size_t done = 0;
  while (done < count) {
    ssize_t wrote = write(file->fd, (const char *)bytes + done, count - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      fg_status status = refused(file, "write", err);
      if (file->regular && done && ftruncate(file->fd, (off_t)file->size) != 0)
        return status; // torn: cut at resume
      return status;
    }
    done += (size_t)wrote;
    file->dirty = true;
  }
  file->size += count;
  return FG_OK;
}

fg_status fg_safe_file_read(const fg_safe_file *file, uint64_t offset, void *bytes, size_t count,
                            fg_error *err) {
  size_t done = 0;
  while (done < count) {
    ssize_t got = pread(file->fd, (char *)bytes + done, count - done, (off_t)(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refused(file, "read", err);
    if (got == 0)
      return fg_fail(err, FG_CORRUPT, "%s: ends at byte %" PRIu64 ", somebody else has cut it", file->path,
                     offset + done);
    done += (size_t)got;
  }
  return FG_OK;
}

fg_status fg_safe_file_cut(fg_safe_file *file, uint64_t size, fg_error *err) {
  if (ftruncate(file->fd, (off_t)size) != 0) return refused(file, "cut", err);
  file->size = size;
  file->dirty = true;
  return FG_OK;
}

fg_status fg_safe_file_sync(fg_safe_file *file, fg_error *err) {
  if (!file->regular || !file->dirty) return FG_OK;
  if (fg_sync_data(file->fd) != 0) return refused(file, "sync", err);
  file->dirty = false;
  return FG_OK;
}

void fg_safe_file_uncache(const fg_safe_file *file) {
  if (file->regular) fg_forget_cached(file->fd, 0, 0);
}

void fg_safe_file_sync_name(const char *path) {
  char copy[PATH_MAX];
  if ((size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy) return;
  int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return; // the folder cannot be read: its file system decides when the name is safe
  (void)fsync(fd);
  close(fd);
}
