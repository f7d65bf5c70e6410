// What stands in a folder of prefixes beside the pages that are read and written: the lock, other identities,
// what dead writers left; and which files go when there is no room.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/size.h"
#include "base/system.h"
#include "format/prefix_folder_internal.h"

static const char TMP[] = ".tmp";

// Of the limit, the part that is made free beyond what is needed, so that the folder is not listed for each
// page.
enum { SPARE_PART = 16 };

// ---- names of this identity -----------------------------------------------------------------------------

bool fg_prefix_folder_know(fg_prefix_folder *f, uint64_t hash) {
  if (!fg_prefix_names_add(&f->names, hash)) return false;
  const uint64_t bytes = fg_prefix_names_bytes(&f->names);
  if (bytes > f->names_bytes) {
    if (fg_budget_reserve(f->options.host, bytes - f->names_bytes, "names of kept prefixes", NULL) != FG_OK)
      return false;
    f->names_bytes = bytes;
  }
  return true;
}

fg_status fg_prefix_folder_list(fg_prefix_folder *f, fg_error *err) {
  DIR *dir = opendir(f->pages);
  if (!dir) {
    if (errno == ENOENT) return FG_OK;
    return fg_fail(err, FG_IO, "--prefix-cache %s: cannot be read: %s", f->pages, strerror(errno));
  }
  fg_status status = FG_OK;
  for (struct dirent *d; status == FG_OK && (d = readdir(dir));) {
    uint64_t hash;
    uint32_t block;
    if (fg_prefix_page_parse_name(d->d_name, &hash, &block) && !fg_prefix_folder_know(f, hash))
      status = fg_fail(err, FG_NO_SPACE, "--prefix-cache %s: no memory for the list of its files", f->path);
  }
  closedir(dir);
  return status;
}

// ---- all files ------------------------------------------------------------------------------------------

// What is looked for in all folders.
typedef struct search {
  uint64_t total;
  int64_t before, now; // files that were used before; a use in the future is none
  fg_prefix_oldest *oldest;
} search;

static int64_t ns_of(struct timespec t) {
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return ns_of(now);
}

static bool is_unfinished(const char *name) {
  const size_t length = strlen(name), tail = sizeof TMP - 1;
  return length > tail && strcmp(name + length - tail, TMP) == 0;
}

static void look_at(search *s, int dir, const char *name, uint64_t folder) {
  fg_prefix_file file = {.folder = folder};
  struct stat st;
  if (is_unfinished(name)) unlinkat(dir, name, 0); // nobody else writes
  if (!fg_prefix_page_parse_name(name, &file.hash, &file.block) ||
      fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
    return;
  file.bytes = (uint64_t)st.st_size;
  file.used_ns = ns_of(FG_CHANGED(st));
  if (file.used_ns > s->now) file.used_ns = 0;
  s->total += file.bytes;
  if (s->oldest && file.used_ns < s->before) fg_prefix_oldest_offer(s->oldest, &file);
}

static void look_into(search *s, int parent, const char *name, uint64_t folder) {
  const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (!dir) {
    if (fd >= 0) close(fd);
    return;
  }
  for (struct dirent *d; (d = readdir(dir));) look_at(s, fd, d->d_name, folder);
  closedir(dir);
}

static search look(const fg_prefix_folder *f, fg_prefix_oldest *oldest) {
  search s = {.before = f->begun_ns, .now = now_ns(), .oldest = oldest};
  DIR *dir = opendir(f->path);
  for (struct dirent *d; dir && (d = readdir(dir));) {
    uint64_t folder;
    if (fg_prefix_page_parse_folder(d->d_name, &folder)) look_into(&s, dirfd(dir), d->d_name, folder);
  }
  if (dir) closedir(dir);
  return s;
}

// ---- room -----------------------------------------------------------------------------------------------

static void remove_file(fg_prefix_folder *f, const fg_prefix_file *file) {
  char name[FG_PREFIX_NAME_BYTES], path[PATH_MAX];
  fg_prefix_page_name(name, file->hash, file->block);
  const int length =
      snprintf(path, sizeof path, "%s/%016llx/%s", f->path, (unsigned long long)file->folder, name);
  if (length < 0 || (size_t)length >= sizeof path || unlink(path) != 0) return;
  f->total -= file->bytes < f->total ? file->bytes : f->total;
  f->counts.removed_pages++;
  if (file->folder == f->folder_hash) {
    fg_prefix_names_remove(&f->names, file->hash);
    return;
  }
  path[length - (int)strlen(name) - 1] = '\0';
  rmdir(path); // the last one of its model and settings
}

bool fg_prefix_folder_make_room(fg_prefix_folder *f, uint64_t bytes) {
  const uint64_t limit = f->options.limit, spared = limit - limit / SPARE_PART;
  const uint64_t goal = bytes > spared ? limit : spared;
  if (bytes > limit) return false;
  if (f->total <= limit - bytes) return true;
  fg_prefix_oldest *oldest = malloc(sizeof *oldest);
  for (bool more = oldest != NULL; more && f->total > goal - bytes;) {
    oldest->count = 0;
    f->total = look(f, oldest).total;
    fg_prefix_oldest_sort(oldest);
    const uint64_t removed = f->counts.removed_pages;
    for (uint32_t i = 0; i < oldest->count && f->total > goal - bytes; i++) remove_file(f, &oldest->files[i]);
    more = f->counts.removed_pages > removed;
  }
  free(oldest);
  return f->total <= limit - bytes;
}

// ---- who writes -----------------------------------------------------------------------------------------

static void refuse(fg_prefix_folder *f, int error) {
  f->writes = false;
  fg_log_line(f->options.log, FG_LOG_WARN, "--prefix-cache %s: nothing is written to it: %s", f->path,
              strerror(error));
}

bool fg_prefix_folder_lock(fg_prefix_folder *f) {
  if (f->lock >= 0 || !f->writes) return f->writes;
  char path[PATH_MAX];
  if ((size_t)snprintf(path, sizeof path, "%s/lock", f->path) >= sizeof path) return false;
  const int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd < 0) {
    refuse(f, errno);
    return false;
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) refuse(f, errno);
    if (f->writes && !f->told_busy)
      fg_log_line(f->options.log, FG_LOG_INFO,
                  "--prefix-cache %s: another job writes to it; this one reads, and writes when that one has "
                  "ended",
                  f->path);
    f->told_busy = true;
    close(fd);
    return false;
  }
  f->lock = fd;
  f->total = look(f, NULL).total;
  (void)fg_prefix_folder_make_room(f, 0);
  return true;
}
