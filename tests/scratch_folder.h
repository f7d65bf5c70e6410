// scratch_folder.h: a folder of a test's own, which goes with all that is in it.
#ifndef FG_TESTS_SCRATCH_FOLDER_H
#define FG_TESTS_SCRATCH_FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct scratch_folder {
  char path[64];
} scratch_folder;

static inline void scratch_make(scratch_folder *folder) {
  strcpy(folder->path, "/tmp/flexgen-test-XXXXXX");
  if (!mkdtemp(folder->path)) fail_msg("no temporary folder");
}

// 0: it is gone.
static inline int scratch_remove(const scratch_folder *folder) {
  char command[96];
  snprintf(command, sizeof command, "rm -rf %s", folder->path);
  return system(command);
}

#endif
