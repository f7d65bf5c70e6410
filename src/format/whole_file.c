#include "format/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/system.h"

static fg_status fail_errno(const char *path, const char *what, fg_error *err) {
  fg_status status = errno == ENOENT || errno == ENOTDIR ? FG_NOT_FOUND : FG_IO;
  return fg_fail(err, status, "%s: cannot %s: %s", path, what, strerror(errno));
}

// The descriptor of a regular file and its size; -1 on failure. Non-blocking, as a FIFO in the place
// of a file would otherwise wait for its writer.
static int open_regular(const char *path, size_t *size, fg_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail_errno(path, "open", err), -1;
  struct stat st;
  if (fstat(fd, &st) != 0) {
    fail_errno(path, "stat", err);
  } else if (!S_ISREG(st.st_mode)) {
    fg_fail(err, FG_INVALID, "%s is not a regular file", path);
  } else {
    *size = (size_t)st.st_size;
    return fd;
  }
  close(fd);
  return -1;
}

static fg_status read_fully(int fd, char *data, size_t count, size_t *done, const char *path, fg_error *err) {
  for (*done = 0; *done < count;) {
    ssize_t n = read(fd, data + *done, count - *done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(path, "read", err);
    if (n == 0) break; // it has become shorter: what is missing will be missed by the parser
    *done += (size_t)n;
  }
  return FG_OK;
}

static fg_status read_up_to(const char *path, size_t max_bytes, size_t *size, void **data, size_t *bytes,
                            fg_error *err) {
  fg_error local;
  if (!err) err = &local;
  int fd = open_regular(path, size, err);
  if (fd < 0) return err->status;
  size_t count = *size < max_bytes ? *size : max_bytes;
  char *block = malloc(count + 1);
  fg_status status = block ? read_fully(fd, block, count, bytes, path, err)
                           : fg_fail(err, FG_NO_SPACE, "%s: no memory for %zu bytes", path, count);
  fg_forget_cached(fd, 0, 0);
  close(fd);
  if (status) {
    free(block);
    return status;
  }
  block[*bytes] = 0;
  *data = block;
  return FG_OK;
}

fg_status fg_read_beginning(const char *path, size_t max_bytes, void **data, size_t *bytes, fg_error *err) {
  size_t size;
  return read_up_to(path, max_bytes, &size, data, bytes, err);
}

fg_status fg_read_whole(const char *path, size_t max_bytes, void **data, size_t *bytes, fg_error *err) {
  size_t size;
  fg_status status = read_up_to(path, max_bytes, &size, data, bytes, err);
  if (status || size <= max_bytes) return status;
  free(*data);
  *data = NULL;
  return fg_fail(err, FG_UNSUPPORTED, "%s has %zu bytes; at most %zu are read", path, size, max_bytes);
}
