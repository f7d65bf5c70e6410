// store_list.c: the offload dir: names of stores, what is there, and taking it away.
#include "format/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "format/store_file.h"

// Longest part of a model's name in the name of its store; file names end at 255 bytes.
enum { NAME_MAX_PART = 120 };

fg_status fg_store_path(char *out, size_t out_bytes, const char *dir, const char *origin, const char *key,
                        fg_error *err) {
  size_t end = strlen(origin);
  while (end > 0 && origin[end - 1] == '/') end--;
  size_t begin = end;
  while (begin > 0 && origin[begin - 1] != '/') begin--;
  char name[NAME_MAX_PART + 1];
  size_t length = end - begin < NAME_MAX_PART ? end - begin : NAME_MAX_PART;
  for (size_t i = 0; i < length; i++) {
    char c = origin[begin + i];
    bool plain =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("._-", c);
    name[i] = plain && !(i == 0 && c == '.') ? c : '_';
  }
  name[length] = 0;
  int written = snprintf(out, out_bytes, "%s/%s-%016" PRIx64 FG_STORE_SUFFIX, dir, length ? name : "model",
                         fg_hash(key, strlen(key)));
  if (written < 0 || (size_t)written >= out_bytes) {
    return fg_fail(err, FG_INVALID, "%s: this path is too long for a store; choose a shorter --offload-dir",
                   dir);
  }
  return FG_OK;
}

static bool ends_with(const char *text, const char *suffix) {
  size_t n = strlen(text), m = strlen(suffix);
  return n > m && strcmp(text + n - m, suffix) == 0;
}

// Whether somebody holds a lock on the file. Takes it for a moment (fg_store_open waits for that).
static bool locked(int fd) {
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) return true;
  flock(fd, LOCK_UN);
  return false;
}

static bool entry_fill(fg_store_entry *e, const char *dir, const char *name) {
  *e = (fg_store_entry){.temporary = ends_with(name, FG_STORE_TMP_SUFFIX)};
  if (asprintf(&e->path, "%s/%s", dir, name) < 0) {
    e->path = NULL;
    return false;
  }
  struct stat st;
  int fd = open(e->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    if (fd >= 0) close(fd);
    return false; // gone since the directory was read, or no file at all
  }
  e->bytes = (uint64_t)st.st_size;
  e->modified = st.st_mtime;
  e->in_use = locked(fd);
  fg_store_manifest m = {0};
  if (!e->temporary && !fg_store_manifest_read(&m, fd, e->bytes, e->path, NULL)) {
    e->origin = m.origin;
    e->target = m.target;
    e->aliased_layers = fg_store_count_aliased(m.weights, m.weight_count);
    e->apparent = e->bytes + fg_store_panel_bytes(m.weights, m.weight_count, m.panels, false) -
                  fg_store_panel_bytes(m.weights, m.weight_count, m.panels, true);
    m.origin = m.target = NULL;
  }
  fg_store_manifest_free(&m);
  close(fd);
  return true;
}

static void entry_free(fg_store_entry *e) {
  free(e->path);
  free(e->origin);
  free(e->target);
}

static int compare_entries(const void *a, const void *b) {
  return strcmp(((const fg_store_entry *)a)->path, ((const fg_store_entry *)b)->path);
}

fg_status fg_store_list(const char *dir, fg_store_entry **entries, size_t *count, fg_error *err) {
  *entries = NULL;
  *count = 0;
  DIR *stream = opendir(dir);
  if (!stream) {
    return errno == ENOENT ? FG_OK
                           : fg_fail(err, FG_IO, "%s: cannot read the directory: %s", dir, strerror(errno));
  }
  size_t capacity = 0;
  fg_status status = FG_OK;
  for (struct dirent *d; !status && (d = readdir(stream));) {
    if (!ends_with(d->d_name, FG_STORE_SUFFIX) &&
        !ends_with(d->d_name, FG_STORE_SUFFIX FG_STORE_TMP_SUFFIX)) {
      continue;
    }
    if (*count == capacity) {
      capacity = capacity ? capacity * 2 : 16;
      fg_store_entry *more = realloc(*entries, capacity * sizeof *more);
      if (!more) {
        status = fg_fail(err, FG_NO_SPACE, "%s: no memory for a list of %zu stores", dir, capacity);
        break;
      }
      *entries = more;
    }
    fg_store_entry *e = &(*entries)[*count];
    if (entry_fill(e, dir, d->d_name)) {
      (*count)++;
    } else {
      entry_free(e);
    }
  }
  closedir(stream);
  if (status) {
    fg_store_list_free(*entries, *count);
    *entries = NULL;
    *count = 0;
  } else if (*count) {
    qsort(*entries, *count, sizeof **entries, compare_entries);
  }
  return status;
}

void fg_store_list_free(fg_store_entry *entries, size_t count) {
  for (size_t i = 0; i < count; i++) entry_free(&entries[i]);
  free(entries);
}

static bool still_named(int fd, const char *path) {
  struct stat mine, named;
  return fstat(fd, &mine) == 0 && stat(path, &named) == 0 && mine.st_ino == named.st_ino &&
         mine.st_dev == named.st_dev;
}

fg_status fg_store_remove(const char *path, fg_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return fg_fail(err, errno == ENOENT ? FG_NOT_FOUND : FG_IO, "%s: cannot open: %s", path, strerror(errno));
  }
  fg_status status = FG_OK;
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    status = errno == EWOULDBLOCK ? fg_fail(err, FG_BUSY, "%s: in use by a running process", path)
                                  : fg_fail(err, FG_IO, "%s: cannot lock: %s", path, strerror(errno));
  } else if (!still_named(fd, path)) {
    status = fg_fail(err, FG_BUSY, "%s: another process has just replaced it", path);
  } else if (unlink(path) != 0) {
    status = fg_fail(err, FG_IO, "%s: cannot remove: %s", path, strerror(errno));
  }
  close(fd);
  return status;
}
