#include "base/folders.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

fg_status fg_folders_make(const char *path, fg_error *err) {
  char part[PATH_MAX];
  int length = snprintf(part, sizeof part, "%s", path);
  if (length <= 0 || (size_t)length >= sizeof part)
    return fg_fail(err, FG_INVALID, "%.200s: no path of a folder", path);
  for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
    if (slash) *slash = 0;
    if (mkdir(part, 0777) != 0 && errno != EEXIST)
      return fg_fail(err, errno == ENOSPC ? FG_DISK_FULL : FG_IO, "cannot make the folder %s: %s", part,
                     strerror(errno));
    if (!slash) return FG_OK;
    *slash = '/';
  }
}
