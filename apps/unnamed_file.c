#include "unnamed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/system.h"

static fg_status refused(const char *what, fg_error *err) {
  return fg_fail(err, errno == ENOSPC || errno == EDQUOT ? FG_DISK_FULL : FG_IO, "%s: %s", what,
                 strerror(errno));
}

static bool find_folder(char *out, size_t bytes, const char *beside) {
  char copy[PATH_MAX];
  const char *folder = getenv("TMPDIR");
  if (!folder || !*folder) folder = "/tmp";
  if (strcmp(beside, "-") != 0) {
    if (snprintf(copy, sizeof copy, "%s", beside) >= (int)sizeof copy) return false;
    folder = dirname(copy);
  }
  return snprintf(out, bytes, "%s/.flexgen-XXXXXX", folder) < (int)bytes;
}

fg_status fg_unnamed_open(fg_unnamed_file *out, const char *beside, fg_error *err) {
  char name[PATH_MAX];
  *out = (fg_unnamed_file){0};
  if (!find_folder(name, sizeof name, beside))
    return fg_fail(err, FG_INVALID, "%.80s...: too long a path", beside);
  const int fd = mkostemp(name, O_CLOEXEC);
  if (fd < 0) return refused("cannot make a file beside the output", err);
  unlink(name);
  out->file = fdopen(fd, "w+b");
  if (!out->file) {
    close(fd);
    return refused("cannot make a file beside the output", err);
  }
  snprintf(out->path, sizeof out->path, FG_OPEN_FILE_PATH, fd);
  return FG_OK;
}

fg_status fg_unnamed_finish(fg_unnamed_file *f, fg_error *err) {
  if (fflush(f->file) != 0 || fg_sync_data(fileno(f->file)) != 0)
    return refused("cannot write the rows that are asked", err);
  fg_forget_cached(fileno(f->file), 0, 0);
  rewind(f->file);
  return FG_OK;
}

void fg_unnamed_close(fg_unnamed_file *f) {
  if (f->file) fclose(f->file);
  *f = (fg_unnamed_file){0};
}
