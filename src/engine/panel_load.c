#include "engine/panel_load.h"

#include <stdatomic.h>

#include "base/checked.h"
#include "base/hash.h"

enum { BATCH = 8, BATCHES = 2 }; // panels of a batch; two batches are on their way

typedef struct loading {
  const fg_panel_loader *loader;
  const fg_panel_load *loads;
  uint32_t count;
  fg_io_read reads[BATCH * BATCHES];
  uint32_t begun, waited;        // loads
  uint32_t check_from, check_to; // what threads check now
  uint32_t touch_from;           // and from where they touch
  _Atomic uint32_t bad;
} loading;

static uint32_t batch_end(const loading *l, uint32_t from) {
  return l->count - from < BATCH ? l->count : from + BATCH;
}

static uint64_t padded(const fg_panel_load *load) {
  return fg_align_up(load->panel->bytes, FG_IO_ALIGN);
}

static void check(loading *l, uint32_t index) {
  const fg_panel *panel = l->loads[index].panel;
  if (fg_hash(l->loads[index].to, panel->bytes) == panel->hash) return;
  uint32_t bad = atomic_load(&l->bad);
  while (index < bad && !atomic_compare_exchange_weak(&l->bad, &bad, index)) {
  }
}

static void touch(const fg_panel_load *load) {
  volatile char *to = load->to;
  for (uint64_t at = 0; at < padded(load); at += FG_IO_ALIGN) to[at] = 0;
}

static void prepare(void *arg, uint32_t item, uint32_t thread) {
  (void)thread;
  loading *l = arg;
  uint32_t checks = l->check_to - l->check_from;
  if (item < checks)
    check(l, l->check_from + item);
  else
    touch(&l->loads[l->touch_from + item - checks]);
}

// Checks loads up to `to` and touches the batch that will be begun next.
static void run(loading *l, uint32_t to) {
  l->check_to = to;
  l->touch_from = l->begun;
  uint32_t items = l->check_to - l->check_from + batch_end(l, l->begun) - l->begun;
  fg_threads_run(l->loader->threads, items, prepare, l);
  l->check_from = to;
}

static void begin_batch(loading *l) {
  for (uint32_t end = batch_end(l, l->begun); l->begun < end; l->begun++) {
    const fg_panel_load *load = &l->loads[l->begun];
    fg_io_read *read = &l->reads[l->begun % (BATCH * BATCHES)];
    *read = (fg_io_read){.file = l->loader->file,
                         .buffer = load->to,
                         .offset = load->panel->offset,
                         .bytes = padded(load),
                         .layer = load->layer};
    fg_io_read_begin(l->loader->io, read);
  }
}

// Waits for all of the batch, even after a failure.
static fg_status wait_batch(loading *l, fg_status status, fg_error *err) {
  for (uint32_t end = batch_end(l, l->waited); l->waited < end; l->waited++) {
    fg_io_read *read = &l->reads[l->waited % (BATCH * BATCHES)];
    fg_status one = fg_io_read_wait(l->loader->io, read, status ? NULL : err);
    if (!status) status = one;
  }
  return status;
}

fg_status fg_panels_load(const fg_panel_loader *loader, const fg_panel_load *loads, uint32_t count,
                         uint32_t *bad, fg_error *err) {
  loading l = {.loader = loader, .loads = loads, .count = count, .bad = UINT32_MAX};
  fg_status status = FG_OK;
  run(&l, 0);
  begin_batch(&l);
  while (l.waited < l.begun && !status && l.bad == UINT32_MAX) {
    run(&l, l.waited);
    begin_batch(&l);
    status = wait_batch(&l, status, err);
  }
  while (l.waited < l.begun) status = wait_batch(&l, status, err);
  if (status) return status;
  run(&l, l.waited);
  *bad = l.bad;
  return *bad == UINT32_MAX ? FG_OK : FG_CORRUPT;
}
