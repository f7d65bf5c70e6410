// cgroup.h: the control group that holds this process, as a directory of small text files.
//
// Limits of version 1 and version 2 stand in different files, and any group on the way up may be the
// tightest. So: find the group of a controller, read a file, go to the parent, until there is none.
#ifndef FG_BASE_CGROUP_H
#define FG_BASE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fg_cgroup {
  char directory[4096];
  size_t mount_length; // length of the part that is the mount point: the way up ends there
  bool unified;        // version 2
} fg_cgroup;

// The group of `controller` ("memory", "cpu"); false if there is none to be seen.
bool fg_cgroup_find(fg_cgroup *out, const char *controller);
bool fg_cgroup_parent(fg_cgroup *group);

// The start of a small file, NUL-terminated; false if it is not there.
bool fg_cgroup_read(const fg_cgroup *group, const char *file, char *text, size_t size);

// fg_cgroup_find on given texts of /proc/self/cgroup and /proc/self/mountinfo.
bool fg_cgroup_locate(fg_cgroup *out, const char *controller, const char *cgroup_text,
                      const char *mount_text);

#endif
