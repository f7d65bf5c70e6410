#include "serve/file_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/folders.h"
#include "base/json.h"
#include "base/size.h"
#include "base/system.h"
#include "serve/state_file.h"

enum { NOTE_BYTES = 8 << 10 }; // of a note at most

struct fg_file_store {
  char folder[PATH_MAX - 64]; // with room for a name
  fg_file_limits limits;
  int lock_fd;
  pthread_mutex_t lock;
  fg_file_info *files; // in order of time
  uint32_t count, capacity;
  uint32_t drafts;      // of uploads
  uint64_t total_bytes; // of files, and of drafts so far
};

struct fg_file_draft {
  fg_file_store *store;
  fg_file_info info;
  int fd;
  bool upload;      // limits hold
  uint64_t counted; // of the store's total
};

// ---- names -----------------------------------------------------------------------------------------------

void fg_new_id(char out[static FG_ID_BYTES], const char *prefix) {
  struct timespec now;
  uint32_t random = 0;
  clock_gettime(CLOCK_REALTIME, &now);
  if (!fg_random_bytes(&random, sizeof random)) random = (uint32_t)getpid();
  const uint64_t nanoseconds = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
  snprintf(out, FG_ID_BYTES, "%.10s%016" PRIx64 "%08" PRIx32, prefix, nanoseconds, random);
}

// Names that the store gives, and no others: an id that stands in a note becomes a path.
static bool is_id(const char *id) {
  const size_t length = strlen(id);
  return length > 0 && length < FG_ID_BYTES && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-_") == length;
}

fg_status fg_file_store_path(const fg_file_store *s, const char *id, char *out, size_t size, fg_error *err) {
  const int length = snprintf(out, size, "%s/%s", s->folder, id);
  return length > 0 && (size_t)length < size ? FG_OK
                                             : fg_fail(err, FG_INVALID, "the path of %s is too long", id);
}

static void path_of(const fg_file_store *s, const char *id, const char *suffix, char out[static PATH_MAX]) {
  snprintf(out, PATH_MAX, "%s/%s%s", s->folder, id, suffix);
}

// ---- notes -----------------------------------------------------------------------------------------------

json_t *fg_file_info_json(const fg_file_info *f) {
  return json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:s}", "id", f->id, "object", "file", "bytes",
                   (json_int_t)f->bytes, "created_at", (json_int_t)f->created, "filename", f->name, "purpose",
                   f->purpose, "status", "processed");
}

static bool copy_text(char *out, size_t size, const json_t *note, const char *key) {
  const json_t *value = json_object_get(note, key);
  const size_t length = json_string_length(value);
  if (!json_is_string(value) || length >= size || strlen(json_string_value(value)) != length) return false;
  memcpy(out, json_string_value(value), length + 1);
  return true;
}

static bool read_note(fg_file_info *f, const json_t *note) {
  const json_t *bytes = json_object_get(note, "bytes"), *created = json_object_get(note, "created_at");
  if (!json_is_integer(bytes) || json_integer_value(bytes) < 0 || !json_is_integer(created)) return false;
  f->bytes = (uint64_t)json_integer_value(bytes);
  f->created = json_integer_value(created);
  return copy_text(f->id, sizeof f->id, note, "id") && is_id(f->id) &&
         copy_text(f->name, sizeof f->name, note, "filename") &&
         copy_text(f->purpose, sizeof f->purpose, note, "purpose");
}

// ---- the list --------------------------------------------------------------------------------------------

static fg_file_info *find(fg_file_store *s, const char *id) {
  for (uint32_t i = 0; i < s->count; i++)
    if (strcmp(s->files[i].id, id) == 0) return &s->files[i];
  return NULL;
}

static fg_status make_room(fg_file_store *s, fg_error *err) {
  if (s->count < s->capacity) return FG_OK;
  const uint32_t capacity = s->capacity ? 2 * s->capacity : 32;
  fg_file_info *grown = realloc(s->files, capacity * sizeof *grown);
  if (!grown) return fg_fail(err, FG_NO_SPACE, "no memory for the list of files");
  s->files = grown;
  s->capacity = capacity;
  return FG_OK;
}

// ---- start -----------------------------------------------------------------------------------------------

static bool ends_with(const char *name, const char *end) {
  const size_t a = strlen(name), b = strlen(end);
  return a >= b && strcmp(name + a - b, end) == 0;
}

// A file whose note is there and true; anything else is what a kill left.
static fg_status load_note(fg_file_store *s, const char *name, fg_error *err) {
  char path[PATH_MAX];
  path_of(s, name, "", path);
  json_t *note = fg_json_read_file(path, NOTE_BYTES, NULL);
  fg_file_info info;
  struct stat st;
  const bool whole = note && read_note(&info, note) && strlen(info.id) + 5 == strlen(name) &&
                     strncmp(info.id, name, strlen(info.id)) == 0;
  json_decref(note);
  if (!whole) {
    unlink(path);
    return FG_OK;
  }
  char data[PATH_MAX];
  path_of(s, info.id, "", data);
  if (stat(data, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != info.bytes) {
    unlink(path);
    return FG_OK;
  }
  fg_status status = make_room(s, err);
  if (status != FG_OK) return status;
  s->files[s->count++] = info;
  s->total_bytes += info.bytes;
  return FG_OK;
}

typedef fg_status name_visitor(fg_file_store *s, const char *name, fg_error *err);

static fg_status visit_names(fg_file_store *s, name_visitor *visit, fg_error *err) {
  DIR *dir = opendir(s->folder);
  if (!dir) return fg_fail(err, FG_IO, "%s: cannot read it: %s", s->folder, strerror(errno));
  fg_status status = FG_OK;
  for (const struct dirent *entry; status == FG_OK && (entry = readdir(dir));)
    if (entry->d_name[0] != '.' && strcmp(entry->d_name, "lock") != 0) status = visit(s, entry->d_name, err);
  closedir(dir);
  return status;
}

static fg_status visit_note(fg_file_store *s, const char *name, fg_error *err) {
  return ends_with(name, ".json") ? load_note(s, name, err) : FG_OK;
}

static fg_status clear_leftover(fg_file_store *s, const char *name, fg_error *err) {
  (void)err;
  if (ends_with(name, ".json") || find(s, name)) return FG_OK;
  char path[PATH_MAX];
  path_of(s, name, "", path);
  unlink(path);
  return FG_OK;
}

static int by_time(const void *a, const void *b) {
  const fg_file_info *left = a, *right = b;
  if (left->created != right->created) return left->created < right->created ? -1 : 1;
  return strcmp(left->id, right->id);
}

static fg_status take_lock(fg_file_store *s, fg_error *err) {
  char path[PATH_MAX];
  path_of(s, "lock", "", path);
  s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (s->lock_fd < 0) return fg_fail(err, FG_IO, "%s: cannot open: %s", path, strerror(errno));
  if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0) return FG_OK;
  return fg_fail(err, errno == EWOULDBLOCK ? FG_BUSY : FG_IO, "%s: %s", s->folder,
                 errno == EWOULDBLOCK ? "another server keeps its files there" : strerror(errno));
}

fg_status fg_file_store_open(fg_file_store **out, const char *folder, fg_file_limits limits, fg_error *err) {
  fg_file_store *s = calloc(1, sizeof *s);
  if (!s) return fg_fail(err, FG_NO_SPACE, "no memory for the list of files");
  s->limits = limits;
  s->lock_fd = -1;
  pthread_mutex_init(&s->lock, NULL);
  fg_status status = FG_OK;
  if ((size_t)snprintf(s->folder, sizeof s->folder, "%s", folder) >= sizeof s->folder)
    status = fg_fail(err, FG_INVALID, "%.80s...: the path is too long", folder);
  if (status == FG_OK) status = fg_folders_make(s->folder, err);
  if (status == FG_OK) status = take_lock(s, err);
  if (status == FG_OK) status = visit_names(s, visit_note, err);
  if (status == FG_OK) status = visit_names(s, clear_leftover, err);
  if (status != FG_OK) {
    fg_file_store_close(s);
    return status;
  }
  if (s->count) qsort(s->files, s->count, sizeof *s->files, by_time);
  *out = s;
  return FG_OK;
}

void fg_file_store_close(fg_file_store *s) {
  if (!s) return;
  if (s->lock_fd >= 0) close(s->lock_fd);
  pthread_mutex_destroy(&s->lock);
  free(s->files);
  free(s);
}

// ---- uploads ---------------------------------------------------------------------------------------------

static fg_status begin(fg_file_store *s, const char *id, bool upload, fg_file_draft **out, fg_error *err) {
  fg_file_draft *d = calloc(1, sizeof *d);
  if (!d) return fg_fail(err, FG_NO_SPACE, "no memory for a file");
  d->store = s;
  d->upload = upload;
  snprintf(d->info.id, sizeof d->info.id, "%s", id);
  char path[PATH_MAX];
  path_of(s, id, ".part", path);
  d->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (d->fd < 0) {
    const int reason = errno;
    free(d);
    return fg_fail(err, FG_IO, "cannot write a file: %s", strerror(reason));
  }
  pthread_mutex_lock(&s->lock);
  s->drafts += upload;
  pthread_mutex_unlock(&s->lock);
  *out = d;
  return FG_OK;
}

fg_status fg_file_draft_begin(fg_file_store *s, fg_file_draft **out, fg_error *err) {
  char id[FG_ID_BYTES];
  fg_new_id(id, "file-");
  pthread_mutex_lock(&s->lock);
  const bool full = s->count + s->drafts >= s->limits.files;
  pthread_mutex_unlock(&s->lock);
  if (full)
    return fg_fail(err, FG_NO_SPACE,
                   "there are %" PRIu32 " files, the most that this server keeps; delete some",
                   s->limits.files);
  return begin(s, id, true, out, err);
}

fg_status fg_file_draft_begin_as(fg_file_store *s, const char *id, fg_file_draft **out, fg_error *err) {
  return begin(s, id, false, out, err);
}

static fg_status count_bytes(fg_file_draft *d, uint64_t count, fg_error *err) {
  fg_file_store *s = d->store;
  char most[16];
  if (d->upload && count > s->limits.file_bytes - d->info.bytes)
    return fg_fail(err, FG_NO_SPACE, "the file is larger than the %s that this server takes",
                   fg_size_format(s->limits.file_bytes, most));
  pthread_mutex_lock(&s->lock);
  const bool fits = !d->upload || (s->total_bytes <= s->limits.total_bytes &&
                                   count <= s->limits.total_bytes - s->total_bytes);
  if (fits) s->total_bytes += count;
  pthread_mutex_unlock(&s->lock);
  if (!fits)
    return fg_fail(err, FG_NO_SPACE,
                   "with this file there would be more than the %s that this server keeps; delete some",
                   fg_size_format(s->limits.total_bytes, most));
  d->counted += count;
  return FG_OK;
}

fg_status fg_file_draft_append(fg_file_draft *d, const void *bytes, size_t count, fg_error *err) {
  fg_status status = count_bytes(d, count, err);
  if (status == FG_OK) status = fg_write_whole(d->fd, bytes, count, "a file", err);
  if (status == FG_OK) d->info.bytes += count;
  return status;
}

static void end_draft(fg_file_draft *d, bool kept) {
  fg_file_store *s = d->store;
  if (d->fd >= 0) close(d->fd);
  if (!kept) {
    char path[PATH_MAX];
    path_of(s, d->info.id, ".part", path);
    unlink(path);
  }
  pthread_mutex_lock(&s->lock);
  s->drafts -= d->upload;
  if (!kept) s->total_bytes -= d->counted;
  pthread_mutex_unlock(&s->lock);
  free(d);
}

void fg_file_draft_drop(fg_file_draft *d) {
  if (d) end_draft(d, false);
}

// The bytes have their name on the disk before there is a note.
static fg_status keep_bytes(fg_file_draft *d, fg_error *err) {
  char part[PATH_MAX], whole[PATH_MAX];
  path_of(d->store, d->info.id, ".part", part);
  path_of(d->store, d->info.id, "", whole);
  bool ok = fsync(d->fd) == 0;
  ok = close(d->fd) == 0 && ok;
  d->fd = -1;
  if (!ok || rename(part, whole) != 0) return fg_fail(err, FG_IO, "cannot keep a file: %s", strerror(errno));
  return FG_OK;
}

static fg_status write_note(fg_file_store *s, const fg_file_info *info, fg_error *err) {
  char path[PATH_MAX];
  path_of(s, info->id, ".json", path);
  json_t *note = fg_file_info_json(info);
  const fg_status status = fg_state_write(note, path, err);
  json_decref(note);
  return status;
}

// In the list, in the place of one of the same id.
static fg_status put_in_list(fg_file_store *s, const fg_file_info *info, fg_error *err) {
  pthread_mutex_lock(&s->lock);
  fg_file_info *old = find(s, info->id);
  fg_status status = old ? FG_OK : make_room(s, err);
  if (status == FG_OK && old) {
    s->total_bytes -= old->bytes;
    *old = *info;
  } else if (status == FG_OK) {
    s->files[s->count++] = *info;
  }
  pthread_mutex_unlock(&s->lock);
  return status;
}

fg_status fg_file_draft_commit(fg_file_draft *d, const char *name, const char *purpose, fg_file_info *out,
                               fg_error *err) {
  fg_file_store *s = d->store;
  d->info.created = (int64_t)time(NULL);
  snprintf(d->info.name, sizeof d->info.name, "%s", name);
  snprintf(d->info.purpose, sizeof d->info.purpose, "%s", purpose);
  fg_status status = keep_bytes(d, err);
  if (status == FG_OK) status = write_note(s, &d->info, err);
  if (status == FG_OK) status = put_in_list(s, &d->info, err);
  if (status == FG_OK) *out = d->info;
  end_draft(d, status == FG_OK);
  return status;
}

// ---- files -----------------------------------------------------------------------------------------------

bool fg_file_store_find(fg_file_store *s, const char *id, fg_file_info *out) {
  pthread_mutex_lock(&s->lock);
  const fg_file_info *info = find(s, id);
  if (info) *out = *info;
  pthread_mutex_unlock(&s->lock);
  return info;
}

uint32_t fg_file_store_count(fg_file_store *s) {
  pthread_mutex_lock(&s->lock);
  const uint32_t count = s->count;
  pthread_mutex_unlock(&s->lock);
  return count;
}

fg_status fg_file_store_list(fg_file_store *s, fg_file_info **out, uint32_t *count, fg_error *err) {
  pthread_mutex_lock(&s->lock);
  *count = s->count;
  *out = malloc(s->count ? s->count * sizeof **out : 1);
  if (*out && s->count) memcpy(*out, s->files, s->count * sizeof **out);
  pthread_mutex_unlock(&s->lock);
  return *out ? FG_OK : fg_fail(err, FG_NO_SPACE, "no memory for a list of %" PRIu32 " files", *count);
}

static fg_status not_found(const char *id, fg_error *err) {
  return fg_fail(err, FG_NOT_FOUND, "there is no file \"%.60s\"", id);
}

fg_status fg_file_store_get(fg_file_store *s, const char *id, int *fd, fg_file_info *out, fg_error *err) {
  if (!fg_file_store_find(s, id, out)) return not_found(id, err);
  char path[PATH_MAX];
  path_of(s, out->id, "", path);
  *fd = open(path, O_RDONLY | O_CLOEXEC);
  return *fd >= 0 ? FG_OK : fg_fail(err, FG_IO, "cannot read the file %s: %s", id, strerror(errno));
}

fg_status fg_file_store_remove(fg_file_store *s, const char *id, fg_error *err) {
  char note[PATH_MAX], data[PATH_MAX];
  pthread_mutex_lock(&s->lock);
  fg_file_info *info = find(s, id);
  if (info) {
    path_of(s, info->id, ".json", note);
    path_of(s, info->id, "", data);
    s->total_bytes -= info->bytes;
    s->count--;
    memmove(info, info + 1, (size_t)(s->files + s->count - info) * sizeof *info);
  }
  pthread_mutex_unlock(&s->lock);
  if (!info) return not_found(id, err);
  // Without its note it is not there any more, whatever happens next.
  if (unlink(note) != 0) return fg_fail(err, FG_IO, "cannot delete the file %s: %s", id, strerror(errno));
  unlink(data);
  return FG_OK;
}
