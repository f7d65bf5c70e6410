// How the system names its processor and a folder's file system.
#include <stdio.h>
#include <string.h>

#include "profile/measure_internal.h"

#if defined(__APPLE__)

#include <sys/mount.h>
#include <sys/param.h>
#include <sys/sysctl.h>

void fg_profile_cpu_name(char *out, size_t size) {
  size_t room = size;
  if (sysctlbyname("machdep.cpu.brand_string", out, &room, NULL, 0) != 0) snprintf(out, size, "unknown CPU");
}

bool fg_file_system_of(const char *folder, fg_file_system *out) {
  struct statfs fs;
  if (statfs(folder, &fs) != 0) return false;
  snprintf(out->name, sizeof out->name, "%s", fs.f_fstypename);
  out->bytes = (uint64_t)fs.f_blocks * fs.f_bsize;
  return true;
}

#else

#include <sys/statfs.h>

enum { CPU_LINE = 512 };

// "model name : ..." as the kernel has it; some processors have no name.
void fg_profile_cpu_name(char *out, size_t size) {
  char line[CPU_LINE];
  snprintf(out, size, "unknown CPU");
  FILE *file = fopen("/proc/cpuinfo", "re");
  if (!file) return;
  while (fgets(line, sizeof line, file)) {
    char *colon = strchr(line, ':');
    if (strncmp(line, "model name", strlen("model name")) != 0 || !colon) continue;
    colon[strcspn(colon, "\n")] = 0;
    snprintf(out, size, "%.*s", (int)size - 1, colon + 1 + strspn(colon + 1, " \t"));
    break;
  }
  (void)fclose(file);
}

static const char *file_system_name(long type) {
  static const struct {
    unsigned long type;
    const char *name;
  } known[] = {{0xef53, "ext4"},        {0x58465342, "xfs"}, {0x9123683e, "btrfs"}, {0x01021994, "tmpfs"},
               {0x794c7630, "overlay"}, {0x6969, "nfs"},     {0x2fc12fc1, "zfs"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].type == (unsigned long)type) return known[i].name;
  return "other";
}

bool fg_file_system_of(const char *folder, fg_file_system *out) {
  struct statfs fs;
  if (statfs(folder, &fs) != 0) return false;
  snprintf(out->name, sizeof out->name, "%s", file_system_name((long)fs.f_type));
  out->bytes = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
  return true;
}

#endif
