// store_fixture.h: a folder for a store, and what writes and reads one.
#ifndef FG_TESTS_STORE_FIXTURE_H
#define FG_TESTS_STORE_FIXTURE_H

#include "../io_rig.h"

#include <unistd.h>

#include "format/store.h"

enum { BLOCK_BYTES = 1 << 20 };

typedef struct fixture {
  io_rig rig;
  char path[192], tmp[224];
  char *block; // [BLOCK_BYTES], aligned
  fg_error err;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  io_rig_make(&f->rig);
  snprintf(f->path, sizeof f->path, "%s/tiny.fgstore", f->rig.folder.path);
  snprintf(f->tmp, sizeof f->tmp, "%s.tmp", f->path);
  f->block = aligned_alloc(4096, BLOCK_BYTES);
  assert_non_null(f->block);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  free(f->block);
  int failed = io_rig_remove(&f->rig);
  free(f);
  return failed;
}

#endif
