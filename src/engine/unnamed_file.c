#include "engine/unnamed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "base/system.h"

static fg_status no_space(const fg_unnamed_file *wanted, int error, fg_error *err) {
  char size[16];
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return fg_fail(err, full ? FG_DISK_FULL : FG_IO, "%s: no %s on disk for %s: %s; %s", wanted->folder,
                 fg_size_format(wanted->bytes, size), wanted->what, strerror(error), wanted->advice);
}

// Where a file system cannot reserve, the size alone is set, and a full disk shows when a page is written.
static int reserve(int fd, uint64_t bytes) {
  int result;
  do {
    result = fg_reserve_blocks(fd, (off_t)bytes);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno == EOPNOTSUPP) result = ftruncate(fd, (off_t)bytes);
  return result == 0 ? 0 : errno;
}

fg_status fg_unnamed_file_create(fg_file **out, const fg_unnamed_file *wanted, fg_error *err) {
  char path[PATH_MAX];
  *out = NULL;
  if ((size_t)snprintf(path, sizeof path, "%s/%s-XXXXXX", wanted->folder, wanted->prefix) >= sizeof path)
    return fg_fail(err, FG_INVALID, "%s: the path is too long", wanted->folder);
  if (wanted->bytes > INT64_MAX) return no_space(wanted, EFBIG, err);
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0)
    return fg_fail(err, FG_IO, "%s: cannot make a file for %s: %s", wanted->folder, wanted->what,
                   strerror(errno));
  close(fd);
  fg_status status = fg_file_open(out, path, FG_FILE_CREATE, err);
  unlink(path);
  int error = status == FG_OK ? reserve(fg_file_descriptor(*out), wanted->bytes) : 0;
  if (!error) return status;
  fg_file_close(*out);
  *out = NULL;
  return no_space(wanted, error, err);
}
