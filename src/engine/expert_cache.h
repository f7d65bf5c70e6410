// expert_cache.h: experts that do not all fit: those that are used most stay, the others come from disk when
// they are wanted.
//
// The matrices of one expert of one layer are a *unit*. The cache has room for some units, in slots of the
// size of the largest. When a layer's routes are known, the executor says which of its units it wants, in the
// order of use; those that are not there are read, as many at once as there are slots for, while the others
// are computed. What is not wanted is not read. A unit takes the slot of the one with the fewest hits, which
// fade with time, so that a unit of small use does not displace one of large use for long.
//
// When all that a layer wants has been used, what the next layer used in the step before is read ahead, if it
// is not there: a guess. Reads that were guessed wrong stay below a tenth of those that were needed.
//
// A panel is compared with the store's hash before its first use in a run.
//
// Threads: one owner, the executor.
#ifndef FG_ENGINE_EXPERT_CACHE_H
#define FG_ENGINE_EXPERT_CACHE_H

#include "base/budget.h"
#include "base/trace.h"
#include "device/device.h"
#include "format/store.h"
#include "io/io.h"

typedef struct fg_expert_cache fg_expert_cache;

// Panels [panel, panel + panels) of the store.
typedef struct fg_expert_unit {
  uint32_t panel, panels;
  int32_t layer;
} fg_expert_unit;

typedef struct fg_expert_cache_options {
  fg_store *store;
  fg_device *device;
  fg_io *io;
  fg_budget *host;
  fg_trace *trace;
  const fg_expert_unit *units; // [unit_count], kept
  uint32_t unit_count;
  uint64_t bytes; // of slots, on the device; FG_EXPERT_SLOTS of the largest unit at least
} fg_expert_cache_options;

enum { FG_EXPERT_SLOTS = 2 }; // one is computed while the next is read; as many are staged in host memory

uint64_t fg_expert_unit_bytes(const fg_store *store, const fg_expert_unit *unit);

fg_status fg_expert_cache_create(fg_expert_cache **out, const fg_expert_cache_options *options,
                                 fg_error *err);
void fg_expert_cache_destroy(fg_expert_cache *cache); // NULL is allowed

// Before each step.
void fg_expert_cache_begin(fg_expert_cache *cache);
// The units that are acquired next, in this order, each once. The list is kept until the next.
fg_status fg_expert_cache_want(fg_expert_cache *cache, const uint32_t *units, uint32_t count, fg_error *err);
// The next unit, for calls that are enqueued on the compute queue from now on.
fg_status fg_expert_cache_acquire(fg_expert_cache *cache, uint32_t unit, fg_error *err);
// Where a panel of the acquired unit is.
fg_view fg_expert_cache_panel(const fg_expert_cache *cache, uint32_t panel);
// After the last call that uses the unit has been enqueued.
fg_status fg_expert_cache_release(fg_expert_cache *cache, fg_error *err);

// What has happened until now: read_bytes = absent_bytes + wrong_bytes + open_bytes.
typedef struct fg_expert_counts {
  uint64_t used, hits;   // units that layers have used; those of them that were there
  uint64_t read_bytes;   // from disk
  uint64_t absent_bytes; // of used units that were not there: read ahead, or when they were wanted
  uint64_t ahead_bytes;  // read as guesses
  uint64_t wrong_bytes; // read in vain: guesses that the layer did not want, units that went before their use
  uint64_t open_bytes;  // of guesses: for the layer that comes next
} fg_expert_counts;

fg_expert_counts fg_expert_counts_sum(fg_expert_counts a, fg_expert_counts b);
fg_expert_counts fg_expert_cache_counts(const fg_expert_cache *cache);
// Units that are there or on their way for the next layer.
uint32_t fg_expert_cache_guesses(const fg_expert_cache *cache);
uint64_t fg_expert_cache_bytes(const fg_expert_cache *cache); // of slots

#endif
