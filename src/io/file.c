#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/system.h"
#include "io/direct.h"

static fg_status open_failed(const char *path, int error, fg_error *err) {
  fg_status status = error == ENOENT                      ? FG_NOT_FOUND
                     : error == ENOSPC || error == EDQUOT ? FG_DISK_FULL
                                                          : FG_IO;
  return fg_fail(err, status, "%s: cannot open: %s", path, strerror(error));
}

fg_status fg_file_open(fg_file **out, const char *path, fg_file_mode mode, fg_error *err) {
  struct stat st;
  // Looked at before opening: opening a pipe would wait for its other end.
  if (stat(path, &st) == 0) {
    if (!S_ISREG(st.st_mode)) return fg_fail(err, FG_INVALID, "%s: not a regular file", path);
  } else if (mode == FG_FILE_READ) {
    return open_failed(path, errno, err);
  }
  int flags = mode == FG_FILE_READ ? O_RDONLY : O_RDWR | O_CREAT | O_TRUNC;
  bool direct;
  int fd = fg_direct_open(path, flags, &direct);
  if (fd < 0) return open_failed(path, errno, err);
  fg_file *file = malloc(sizeof *file);
  char *copy = strdup(path);
  if (!file || !copy || fstat(fd, &st) != 0) {
    free(file);
    free(copy);
    close(fd);
    return fg_fail(err, FG_NO_SPACE, "%s: no memory to open it", path);
  }
  *file = (fg_file){.fd = fd, .direct = direct, .size = (uint64_t)st.st_size, .path = copy};
  *out = file;
  return FG_OK;
}

void fg_file_close(fg_file *file) {
  if (!file) return;
  close(file->fd);
  free(file->path);
  free(file);
}

uint64_t fg_file_size(const fg_file *file) {
  return file->size;
}
const char *fg_file_path(const fg_file *file) {
  return file->path;
}
bool fg_file_is_direct(const fg_file *file) {
  return file->direct;
}
int fg_file_descriptor(const fg_file *file) {
  return file->fd;
}

fg_status fg_file_sync(fg_file *file, fg_error *err) {
  if (fg_sync_data(file->fd) == 0) return FG_OK;
  fg_status status = errno == ENOSPC || errno == EDQUOT ? FG_DISK_FULL : FG_IO;
  return fg_fail(err, status, "%s: cannot flush to the disk: %s", file->path, strerror(errno));
}

bool fg_file_make_buffered(fg_file *file) {
  if (!file->direct || !fg_direct_leave(file->fd)) return false;
  file->direct = false;
  return true;
}

int fg_file_forget(const fg_file *file, uint64_t offset, uint64_t bytes, bool written) {
  return file->direct ? 0 : fg_cache_leave(file->fd, (off_t)offset, (off_t)bytes, written);
}
