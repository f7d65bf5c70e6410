// store_fixture.h: a folder for a store, and what writes and reads one.
#ifndef FG_TESTS_STORE_FIXTURE_H
#define FG_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/store.h"

enum { BLOCK_BYTES = 1 << 20 };

typedef struct fixture {
  char dir[64], path[192], tmp[224];
  fg_budget *budget;
  fg_io *io;
  char *block; // [BLOCK_BYTES], aligned
  fg_error err;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  strcpy(f->dir, "/tmp/fg-store-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  snprintf(f->path, sizeof f->path, "%s/tiny.fgstore", f->dir);
  snprintf(f->tmp, sizeof f->tmp, "%s.tmp", f->path);
  assert_int_equal(fg_budget_create(&f->budget, "host memory", "--host-memory", 0, &f->err), FG_OK);
  fg_io_options options = {.budget = f->budget};
  assert_int_equal(fg_io_create(&f->io, &options, &f->err), FG_OK);
  f->block = aligned_alloc(4096, BLOCK_BYTES);
  assert_non_null(f->block);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  char command[128];
  fg_io_destroy(f->io);
  fg_budget_destroy(f->budget);
  free(f->block);
  snprintf(command, sizeof command, "rm -r %s", f->dir);
  int failed = system(command);
  free(f);
  return failed;
}

#endif
