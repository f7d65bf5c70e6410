// What budget.h says of the process and of the machine: each system tells it in its own way.
#include "base/budget.h"

#if defined(__APPLE__)

#include <mach/mach.h>

static mach_task_basic_info_data_t task(void) {
  mach_task_basic_info_data_t info = {0};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &count) != KERN_SUCCESS)
    return (mach_task_basic_info_data_t){0};
  return info;
}

uint64_t fg_process_rss(void) {
  return task().resident_size;
}
uint64_t fg_process_peak_rss(void) {
  return task().resident_size_max;
}

// Free pages and those that the system gives away before it swaps.
uint64_t fg_machine_memory_available(void) {
  vm_statistics64_data_t s;
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  if (host_statistics64(mach_host_self(), HOST_VM_INFO64, (host_info64_t)&s, &count) != KERN_SUCCESS)
    return 0;
  return ((uint64_t)s.free_count + s.inactive_count + s.purgeable_count) * vm_page_size;
}

#else

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cgroup.h"

// A line "key:   number kB" of a file under /proc, in bytes; 0 if it is not there.
static uint64_t proc_kilobytes(const char *path, const char *key) {
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  char line[256];
  uint64_t kilobytes = 0;
  size_t length = strlen(key);
  while (fgets(line, sizeof line, file)) {
    if (strncmp(line, key, length) == 0 && line[length] == ':' &&
        sscanf(line + length + 1, "%" SCNu64, &kilobytes) == 1)
      break;
  }
  fclose(file);
  return kilobytes * 1024;
}

uint64_t fg_process_rss(void) {
  return proc_kilobytes("/proc/self/status", "VmRSS");
}
uint64_t fg_process_peak_rss(void) {
  return proc_kilobytes("/proc/self/status", "VmHWM");
}

typedef struct memory_files {
  const char *limit, *usage, *cache_line;
} memory_files;

static const memory_files cgroup_v1 = {"memory.limit_in_bytes", "memory.usage_in_bytes",
                                       "\ntotal_inactive_file "};
static const memory_files cgroup_v2 = {"memory.max", "memory.current", "\ninactive_file "};

// What one group has left; UINT64_MAX if it sets no limit. Page cache not used of late counts as
// usage but gives way before anything is refused, so it is added back.
static uint64_t group_left(const fg_cgroup *group) {
  const memory_files *files = group->unified ? &cgroup_v2 : &cgroup_v1;
  char text[64], stat[8192];
  uint64_t limit, usage, cache = 0;
  if (!fg_cgroup_read(group, files->limit, text, sizeof text) || sscanf(text, "%" SCNu64, &limit) != 1)
    return UINT64_MAX;
  if (!fg_cgroup_read(group, files->usage, text, sizeof text) || sscanf(text, "%" SCNu64, &usage) != 1)
    return UINT64_MAX;
  if (fg_cgroup_read(group, "memory.stat", stat, sizeof stat)) {
    const char *line = strstr(stat, files->cache_line);
    if (line) sscanf(line + strlen(files->cache_line), "%" SCNu64, &cache);
  }
  usage -= cache < usage ? cache : usage;
  return limit > usage ? limit - usage : 0;
}

uint64_t fg_machine_memory_available(void) {
  uint64_t available = proc_kilobytes("/proc/meminfo", "MemAvailable");
  fg_cgroup group;
  if (fg_cgroup_find(&group, "memory")) {
    do {
      uint64_t left = group_left(&group);
      if (left < available) available = left;
    } while (fg_cgroup_parent(&group));
  }
  return available;
}

#endif
