#include "serve/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "job/safe_file.h"

fg_status fg_write_whole(int fd, const void *bytes, size_t count, const char *what, fg_error *err) {
  for (const char *from = bytes; count > 0;) {
    const ssize_t written = write(fd, from, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fg_fail(err, FG_IO, "cannot write %s: %s", what, strerror(errno));
    from += written;
    count -= (size_t)written;
  }
  return FG_OK;
}

fg_status fg_state_write(const json_t *object, const char *path, fg_error *err) {
  char part[PATH_MAX];
  if ((size_t)snprintf(part, sizeof part, "%s.part", path) >= sizeof part)
    return fg_fail(err, FG_INVALID, "%.80s...: the path is too long", path);
  char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
  if (!text) return fg_fail(err, FG_NO_SPACE, "no memory for %s", path);
  const int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  fg_status status = fd < 0 ? fg_fail(err, FG_IO, "cannot write %s: %s", part, strerror(errno)) : FG_OK;
  if (status == FG_OK) status = fg_write_whole(fd, text, strlen(text), part, err);
  if (status == FG_OK && fsync(fd) != 0)
    status = fg_fail(err, FG_IO, "cannot write %s: %s", part, strerror(errno));
  if (fd >= 0) close(fd);
  free(text);
  if (status == FG_OK && rename(part, path) != 0)
    status = fg_fail(err, FG_IO, "cannot write %s: %s", path, strerror(errno));
  if (status != FG_OK && fd >= 0) unlink(part);
  if (status == FG_OK) fg_safe_file_sync_name(path);
  return status;
}
