#include "base/cgroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Whether the comma-separated `list` of `length` bytes names `word`.
static bool list_has(const char *list, size_t length, const char *word) {
  size_t want = strlen(word);
  for (size_t at = 0; at <= length;) {
    const char *comma = memchr(list + at, ',', length - at);
    size_t end = comma ? (size_t)(comma - list) : length;
    if (end - at == want && memcmp(list + at, word, want) == 0) return true;
    at = end + 1;
  }
  return false;
}

// Lines are "id:controllers:path"; version 2 has the one line "0::path". A controller that is bound
// to version 1 is not in version 2, so version 1 is looked for first.
static bool group_path(const char *text, const char *controller, char *path, size_t size, bool *unified) {
  bool found = false;
  for (const char *line = text; *line;) {
    const char *end = line + strcspn(line, "\n");
    const char *list = memchr(line, ':', (size_t)(end - line));
    const char *tail = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
    if (tail && tail[1] == '/') {
      size_t list_length = (size_t)(tail - list - 1), length = (size_t)(end - tail - 1);
      bool v2 = list_length == 0;
      if ((v2 ? !found : list_has(list + 1, list_length, controller)) && length > 0 && length < size) {
        memcpy(path, tail + 1, length);
        path[length] = '\0';
        *unified = v2;
        found = true;
        if (!v2) return true;
      }
    }
    line = *end ? end + 1 : end;
  }
  return found;
}

// Lines are "id parent major:minor root mount-point options... - type source super-options".
static bool mount_of(const char *text, const char *controller, bool unified, char root[4096],
                     char point[4096]) {
  for (const char *line = text; *line;) {
    const char *end = line + strcspn(line, "\n");
    char copy[8192];
    size_t length = (size_t)(end - line);
    if (length < sizeof copy) {
      memcpy(copy, line, length);
      copy[length] = '\0';
      char type[32], options[1024];
      const char *dash = strstr(copy, " - ");
      if (dash && sscanf(dash, " - %31s %*s %1023s", type, options) == 2 &&
          sscanf(copy, "%*s %*s %*s %4095s %4095s", root, point) == 2 &&
          (unified ? strcmp(type, "cgroup2") == 0
                   : strcmp(type, "cgroup") == 0 && list_has(options, strlen(options), controller)))
        return true;
    }
    line = *end ? end + 1 : end;
  }
  return false;
}

bool fg_cgroup_locate(fg_cgroup *out, const char *controller, const char *cgroup_text,
                      const char *mount_text) {
  char path[4096], root[4096], point[4096];
  if (!group_path(cgroup_text, controller, path, sizeof path, &out->unified)) return false;
  if (!mount_of(mount_text, controller, out->unified, root, point)) return false;
  // In a container the mount shows a subtree, and the path may be told from the host's root or not.
  size_t root_length = strcmp(root, "/") == 0 ? 0 : strlen(root);
  const char *below = path;
  if (strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == '\0'))
    below = path + root_length;
  if (strcmp(below, "/") == 0 || strstr(below, "/..")) below = "";
  int length = snprintf(out->directory, sizeof out->directory, "%s%s", point, below);
  if (length < 0 || (size_t)length >= sizeof out->directory) return false;
  out->mount_length = strlen(point);
  return true;
}

// Files under /proc have no size to ask for.
static char *read_proc(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  enum { MOST = 1 << 20 }; // far beyond any real mount table
  char *text = NULL;
  size_t length = 0, capacity = 0;
  for (;;) {
    if (length + 1 >= capacity) {
      if (capacity >= MOST) break;
      capacity = capacity ? capacity * 2 : 8192;
      char *more = realloc(text, capacity);
      if (!more) break;
      text = more;
    }
    ssize_t got = read(fd, text + length, capacity - length - 1);
    if (got <= 0) break;
    length += (size_t)got;
  }
  close(fd);
  if (text) text[length] = '\0';
  return text;
}

bool fg_cgroup_find(fg_cgroup *out, const char *controller) {
  char *cgroup_text = read_proc("/proc/self/cgroup");
  char *mount_text = read_proc("/proc/self/mountinfo");
  bool found = cgroup_text && mount_text && fg_cgroup_locate(out, controller, cgroup_text, mount_text);
  free(cgroup_text);
  free(mount_text);
  return found;
}

bool fg_cgroup_parent(fg_cgroup *group) {
  char *slash = strrchr(group->directory + group->mount_length, '/');
  if (!slash) return false;
  *slash = '\0';
  return true;
}

bool fg_cgroup_read(const fg_cgroup *group, const char *file, char *text, size_t size) {
  char path[sizeof group->directory + 64];
  snprintf(path, sizeof path, "%s/%s", group->directory, file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t got = read(fd, text, size - 1);
  close(fd);
  if (got < 0) return false;
  text[got] = '\0';
  return true;
}
