// panel_load.h: many panels into memory, before the first step.
//
// Three things go on at once: panels are read, all threads check the ones that are there against their
// hashes, and touch the memory that the next ones go to, so that the kernel's clearing of fresh pages is not
// in front of every read.
#ifndef FG_ENGINE_PANEL_LOAD_H
#define FG_ENGINE_PANEL_LOAD_H

#include "base/threads.h"
#include "format/store.h"

typedef struct fg_panel_load {
  const fg_panel *panel;
  char *to; // aligned to FG_IO_ALIGN, room for the panel and its padding
  int32_t layer;
} fg_panel_load;

typedef struct fg_panel_loader {
  fg_io *io;
  fg_file *file;
  fg_threads *threads; // may be NULL
} fg_panel_loader;

// FG_CORRUPT: *bad is the first of the loads that does not match its checksum; the caller says so.
fg_status fg_panels_load(const fg_panel_loader *loader, const fg_panel_load *loads, uint32_t count,
                         uint32_t *bad, fg_error *err);

#endif
