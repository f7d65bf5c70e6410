// io_rig.h: what tests of files stand on: a folder, a budget without a limit, and reads and writes.
#ifndef FG_TESTS_IO_RIG_H
#define FG_TESTS_IO_RIG_H

#include "scratch_folder.h"

#include "base/budget.h"
#include "io/io.h"

typedef struct io_rig {
  scratch_folder folder;
  fg_budget *budget;
  fg_io *io;
} io_rig;

static inline void io_rig_make(io_rig *rig) {
  fg_error err;
  scratch_make(&rig->folder);
  if (fg_budget_create(&rig->budget, "host memory", "--host-memory", 0, &err) ||
      fg_io_create(&rig->io, &(fg_io_options){.budget = rig->budget}, &err))
    fail_msg("%s", err.message);
}

// 0: all is gone.
static inline int io_rig_remove(io_rig *rig) {
  fg_io_destroy(rig->io);
  fg_budget_destroy(rig->budget);
  return scratch_remove(&rig->folder);
}

#endif
