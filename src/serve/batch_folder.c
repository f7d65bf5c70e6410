#include "serve/batch_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/folders.h"
#include "base/json.h"

enum { RECORD_BYTES = 64 << 10 }; // at most; metadata take half of it

void fg_batch_path(const char *folder, const char *id, const char *suffix, char out[static PATH_MAX]) {
  snprintf(out, PATH_MAX, "%s/%s%s", folder, id, suffix);
}

void fg_batch_remove_files(const char *folder, const char *id, bool record) {
  static const char *const suffixes[] = {".jsonl", ".jsonl.journal", ".json"};
  char path[PATH_MAX];
  for (size_t i = 0; i < 2u + record; i++) {
    fg_batch_path(folder, id, suffixes[i], path);
    unlink(path);
  }
}

static bool has_suffix(const char *name, const char *suffix) {
  const size_t a = strlen(name), b = strlen(suffix);
  return a > b && strcmp(name + a - b, suffix) == 0;
}

fg_status fg_batch_folder_read(const char *folder,
                               fg_status (*take)(void *user, json_t *object, fg_error *err), void *user,
                               fg_error *err) {
  fg_status status = fg_folders_make(folder, err);
  DIR *dir = status == FG_OK ? opendir(folder) : NULL;
  if (status != FG_OK) return status;
  if (!dir) return fg_fail(err, FG_IO, "%s: cannot read it: %s", folder, strerror(errno));
  for (const struct dirent *entry; status == FG_OK && (entry = readdir(dir));) {
    if (!has_suffix(entry->d_name, ".json")) continue;
    char path[PATH_MAX];
    fg_batch_path(folder, entry->d_name, "", path);
    json_t *object = fg_json_read_file(path, RECORD_BYTES, NULL);
    if (object) status = take(user, object, err);
    json_decref(object);
  }
  closedir(dir);
  return status;
}

void fg_batch_folder_clear(const char *folder, bool (*is_under_way)(void *user, const char *id), void *user) {
  static const char *const suffixes[] = {".jsonl.journal", ".jsonl", ".part"};
  DIR *dir = opendir(folder);
  if (!dir) return;
  for (const struct dirent *entry; (entry = readdir(dir));) {
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
      if (!has_suffix(entry->d_name, suffixes[i])) continue;
      char id[NAME_MAX + 1], path[PATH_MAX];
      snprintf(id, sizeof id, "%.*s", (int)(strlen(entry->d_name) - strlen(suffixes[i])), entry->d_name);
      fg_batch_path(folder, entry->d_name, "", path);
      if (i == 2 || !is_under_way(user, id)) unlink(path);
      break;
    }
  }
  closedir(dir);
}
