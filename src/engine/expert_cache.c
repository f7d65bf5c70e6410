#include "engine/expert_cache.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"

enum { NONE = -1, FADING_STEPS = 64, NEEDED_PER_WRONG = 10 };

typedef enum slot_state { SLOT_EMPTY, SLOT_READING, SLOT_LOADED } slot_state;

typedef struct slot {
  slot_state state;
  uint32_t unit;
  uint64_t used;     // when, in acquisitions
  bool wanted;       // by the layer at hand, and not yet used
  bool guessed;      // read for the next layer
  bool ahead;        // read as a guess
  bool fresh;        // read for a use that is still to come
  int staging;       // buffer that its reads go to; NONE: straight into the slot
  fg_event loaded;   // its bytes are on the device
  fg_event passed;   // its last use
  fg_io_read *reads; // [most panels of a unit]
} slot;

struct fg_expert_cache {
  fg_expert_cache_options options;
  fg_memory *memory; // slots
  char *reach;       // where the host sees them, or NULL
  uint64_t slot_bytes;
  uint32_t slot_count, most_panels;
  slot *slots;
  fg_io_read *reads; // [slot_count, most_panels]
  int32_t *slot_of;  // [units]
  uint32_t *hits;    // [units]
  uint64_t *step_of; // [units] in which it was wanted last; 0: never
  uint64_t *place;   // [panels of the store] in the slot
  bool *verified;    // [panels of the store]
  char *staging;     // [FG_EXPERT_SLOTS, slot_bytes]
  fg_event staging_free[FG_EXPERT_SLOTS];
  bool staging_taken[FG_EXPERT_SLOTS];
  uint32_t *wanted;            // [most units of a layer]
  uint32_t wanted_count, next; // next: the first that may still have to be started
  int32_t acquired;            // slot
  uint64_t clock, steps;
  fg_expert_counts counts; // but open_bytes
  uint32_t track;
};

static uint64_t padded(const fg_panel *panel) {
  return fg_align_up(panel->bytes, FG_IO_ALIGN);
}

uint64_t fg_expert_unit_bytes(const fg_store *store, const fg_expert_unit *unit) {
  uint64_t bytes = 0;
  for (uint32_t p = unit->panel; p < unit->panel + unit->panels; p++) bytes += padded(&store->panels[p]);
  return bytes;
}

static fg_status damaged(const fg_expert_cache *c, const fg_expert_unit *unit, uint32_t index,
                         fg_error *err) {
  const fg_store *store = c->options.store;
  const fg_weight *w = store->weights;
  while (index >= w->panel + w->panels) w++;
  return fg_fail(err, FG_CORRUPT,
                 "%s: weight %s of layer %" PRId32 " (rows %" PRIu32 " to %" PRIu32
                 ") does not match its checksum; remove the store "
                 "(flexgen store clear) and run again to pack it anew",
                 fg_file_path(store->file), w->name, unit->layer, store->panels[index].row,
                 store->panels[index].row + store->panels[index].rows - 1);
}

static uint64_t unit_bytes(const fg_expert_cache *c, uint32_t unit) {
  return fg_expert_unit_bytes(c->options.store, &c->options.units[unit]);
}

// ---- slots ---------------------------------------------------------------------------------------------

static char *staging_at(const fg_expert_cache *c, int buffer) {
  return c->staging + (uint64_t)buffer * c->slot_bytes;
}

static uint64_t slot_offset(const fg_expert_cache *c, const slot *s) {
  return (uint64_t)(s - c->slots) * c->slot_bytes;
}

// Whether a slot with this unit goes rather than the other: one that is not wanted, then one that was not
// read for a use to come, then that with fewer hits, then that which was used longer ago.
static bool goes_first(const fg_expert_cache *c, const slot *a, const slot *b) {
  if (a->state != b->state) return a->state == SLOT_EMPTY;
  if (a->state == SLOT_EMPTY) return false;
  if (a->wanted != b->wanted) return !a->wanted;
  if (a->guessed != b->guessed) return !a->guessed;
  if (a->fresh != b->fresh) return !a->fresh;
  if (c->hits[a->unit] != c->hits[b->unit]) return c->hits[a->unit] < c->hits[b->unit];
  return a->used < b->used;
}

// The slot to be filled next, or NULL. In need also one that is wanted later, or whose last use is still to
// come: then that is waited for.
static slot *find_victim(fg_expert_cache *c, bool need) {
  fg_device *d = c->options.device;
  slot *best = NULL;
  for (uint32_t i = 0; i < c->slot_count; i++) {
    slot *s = &c->slots[i];
    if (s->state == SLOT_READING || (int32_t)i == c->acquired) continue;
    if (!need && (s->wanted || s->guessed || (s->state == SLOT_LOADED && !d->ops->reached(d, s->passed))))
      continue;
    if (!best || goes_first(c, s, best)) best = s;
  }
  return best;
}

static int find_staging(fg_expert_cache *c, bool need, fg_error *err) {
  fg_device *d = c->options.device;
  for (int i = 0; i < FG_EXPERT_SLOTS; i++)
    if (!c->staging_taken[i] && d->ops->reached(d, c->staging_free[i])) return i;
  for (int i = 0; need && i < FG_EXPERT_SLOTS; i++)
    if (!c->staging_taken[i] && d->ops->host_wait(d, c->staging_free[i], err) == FG_OK) return i;
  return NONE;
}

static void begin_reads(fg_expert_cache *c, slot *s, uint32_t unit) {
  const fg_expert_unit *u = &c->options.units[unit];
  char *to = s->staging == NONE ? c->reach + slot_offset(c, s) : staging_at(c, s->staging);
  for (uint32_t i = 0; i < u->panels; i++) {
    const fg_panel *panel = &c->options.store->panels[u->panel + i];
    s->reads[i] = (fg_io_read){.file = c->options.store->file,
                               .buffer = to + c->place[u->panel + i],
                               .offset = panel->offset,
                               .bytes = padded(panel),
                               .layer = u->layer};
    fg_io_read_begin(c->options.io, &s->reads[i]);
  }
}

// Starts to read a unit. *started false: there is no slot or no staging yet.
static fg_status start(fg_expert_cache *c, uint32_t unit, bool need, bool *started, fg_error *err) {
  fg_device *d = c->options.device;
  slot *s = find_victim(c, need);
  int staging = NONE;
  *started = false;
  if (s && !c->reach) {
    staging = find_staging(c, need, err);
    if (staging == NONE) s = NULL;
  }
  if (!s) return need ? fg_fail(err, FG_INTERNAL, "no slot for expert unit %" PRIu32, unit) : FG_OK;
  if (s->state == SLOT_LOADED) {
    fg_status status = d->ops->host_wait(d, s->passed, err);
    if (status != FG_OK) return status;
    c->slot_of[s->unit] = NONE;
    if (s->fresh) c->counts.wrong_bytes += unit_bytes(c, s->unit);
  }
  s->state = SLOT_READING;
  s->unit = unit;
  s->wanted = true;
  s->guessed = s->ahead = false;
  s->fresh = true;
  s->staging = staging;
  if (staging != NONE) c->staging_taken[staging] = true;
  c->slot_of[unit] = (int32_t)(s - c->slots);
  begin_reads(c, s, unit);
  *started = true;
  return FG_OK;
}

static fg_status start_wanted(fg_expert_cache *c, fg_error *err) {
  for (; c->next < c->wanted_count; c->next++) {
    const uint32_t unit = c->wanted[c->next];
    bool started;
    if (c->slot_of[unit] != NONE) continue;
    fg_status status = start(c, unit, false, &started, err);
    if (status != FG_OK || !started) return status;
  }
  return FG_OK;
}

// ---- guesses -------------------------------------------------------------------------------------------

// The first unit of the layer behind that of the unit; behind the last comes the first.
static uint32_t next_layer(const fg_expert_cache *c, uint32_t unit) {
  const fg_expert_unit *units = c->options.units;
  uint32_t next = unit;
  while (next < c->options.unit_count && units[next].layer == units[unit].layer) next++;
  return next < c->options.unit_count ? next : 0;
}

// What the layer used when it was run last, of what is not there; the one with most hits.
static int64_t best_guess(const fg_expert_cache *c, uint32_t first) {
  const fg_expert_unit *units = c->options.units;
  int64_t best = NONE;
  for (uint32_t u = first; u < c->options.unit_count && units[u].layer == units[first].layer; u++) {
    if (c->slot_of[u] != NONE || c->step_of[u] == 0 || c->step_of[u] + 1 < c->steps) continue;
    if (best == NONE || c->hits[u] > c->hits[best]) best = u;
  }
  return best;
}

// Whether one more wrong guess, and all that are still open, would be few beside the reads that were needed.
static bool may_guess(const fg_expert_cache *c, uint32_t unit) {
  uint64_t open = 0;
  for (uint32_t i = 0; i < c->slot_count; i++)
    if (c->slots[i].state != SLOT_EMPTY && c->slots[i].guessed) open += unit_bytes(c, c->slots[i].unit);
  const uint64_t wrong = c->counts.wrong_bytes + open, read = c->counts.read_bytes;
  const uint64_t needed = read > wrong ? read - wrong : 0;
  return (wrong + unit_bytes(c, unit)) * NEEDED_PER_WRONG <= needed;
}

static fg_status guess(fg_expert_cache *c, fg_error *err) {
  // Earlier, a unit that was just used would go for the guess instead of one with fewer hits, still wanted.
  for (uint32_t i = 0; i < c->slot_count; i++)
    if (c->slots[i].wanted) return FG_OK;
  if (c->wanted_count == 0 || c->next < c->wanted_count) return FG_OK;
  const uint32_t first = next_layer(c, c->wanted[0]);
  for (int64_t unit = best_guess(c, first); unit != NONE; unit = best_guess(c, first)) {
    bool started;
    // One slot is left for what is used before the guesses are: else one of them would go for it.
    if (!may_guess(c, (uint32_t)unit) || fg_expert_cache_guesses(c) + 1 >= c->slot_count) return FG_OK;
    const slot *victim = find_victim(c, false);
    // With the hit that it may be about to have, the guess must be worth its place.
    if (!victim || (victim->state == SLOT_LOADED &&
                    (c->options.units[victim->unit].layer == c->options.units[first].layer ||
                     c->hits[victim->unit] > c->hits[unit] + 1)))
      return FG_OK;
    fg_status status = start(c, (uint32_t)unit, false, &started, err);
    if (status != FG_OK || !started) return status;
    slot *s = &c->slots[c->slot_of[unit]];
    s->wanted = false;
    s->guessed = s->ahead = true;
  }
  return FG_OK;
}

// ---- what has been read --------------------------------------------------------------------------------

typedef struct checking {
  fg_expert_cache *cache;
  const slot *slot;
} checking;

static void check_panel(void *arg, uint32_t item, uint32_t thread) {
  (void)thread;
  const checking *k = arg;
  const uint32_t index = k->cache->options.units[k->slot->unit].panel + item;
  const fg_panel *panel = &k->cache->options.store->panels[index];
  if (!k->cache->verified[index])
    k->cache->verified[index] = fg_hash(k->slot->reads[item].buffer, panel->bytes) == panel->hash;
}

static fg_status check(fg_expert_cache *c, const slot *s, fg_error *err) {
  const fg_expert_unit *u = &c->options.units[s->unit];
  checking k = {c, s};
  bool all = true;
  for (uint32_t p = u->panel; p < u->panel + u->panels; p++) all &= c->verified[p];
  if (all) return FG_OK;
  fg_threads_run(c->options.device->options.threads, u->panels, check_panel,
                 &k); // idle: the owner starts jobs
  for (uint32_t p = u->panel; p < u->panel + u->panels; p++)
    if (!c->verified[p]) return damaged(c, u, p, err);
  return FG_OK;
}

// Waits for a slot's reads, all of them even after a failure, and passes them on to the device.
static fg_status finish(fg_expert_cache *c, slot *s, fg_error *err) {
  fg_device *d = c->options.device;
  const fg_expert_unit *u = &c->options.units[s->unit];
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < u->panels; i++) {
    fg_status one = fg_io_read_wait(c->options.io, &s->reads[i], status ? NULL : err);
    if (status == FG_OK) status = one;
    c->counts.read_bytes += s->reads[i].bytes;
    if (s->ahead) c->counts.ahead_bytes += s->reads[i].bytes;
  }
  s->state = SLOT_LOADED;
  s->loaded = s->passed = (fg_event){0};
  if (status == FG_OK) status = check(c, s, err);
  if (status != FG_OK || s->staging == NONE) return status;
  status = d->ops->upload(d, FG_QUEUE_LOAD, c->memory, slot_offset(c, s), staging_at(c, s->staging),
                          fg_expert_unit_bytes(c->options.store, u), err);
  s->loaded = s->passed = d->ops->record(d, FG_QUEUE_LOAD);
  c->staging_free[s->staging] = s->loaded;
  c->staging_taken[s->staging] = false;
  return status;
}

static fg_status finish_all(fg_expert_cache *c, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; status == FG_OK && i < c->slot_count; i++)
    if (c->slots[i].state == SLOT_READING) status = finish(c, &c->slots[i], err);
  return status;
}

static bool has_arrived(fg_expert_cache *c, slot *s) {
  const uint32_t panels = c->options.units[s->unit].panels;
  for (uint32_t i = 0; i < panels; i++)
    if (!fg_io_read_poll(c->options.io, &s->reads[i])) return false;
  return true;
}

// Passes finished reads on and starts those that there is room for.
static fg_status pump(fg_expert_cache *c, fg_error *err) {
  for (uint32_t i = 0; c->staging && i < c->slot_count; i++) {
    slot *s = &c->slots[i];
    fg_status status = s->state == SLOT_READING && has_arrived(c, s) ? finish(c, s, err) : FG_OK;
    if (status != FG_OK) return status;
  }
  fg_status status = start_wanted(c, err);
  return status == FG_OK ? guess(c, err) : status;
}

// The guesses were for this layer: what it does not want was wrong. Such a read is waited for: else the slot
// of another unit, which may be worth more, would have to go for what is wanted.
static fg_status judge_guesses(fg_expert_cache *c, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; i < c->slot_count; i++) {
    slot *s = &c->slots[i];
    const bool wrong = s->state != SLOT_EMPTY && s->guessed && !s->wanted;
    s->guessed = false;
    if (!wrong) continue;
    s->fresh = false;
    c->counts.wrong_bytes += unit_bytes(c, s->unit);
    if (s->state == SLOT_READING && status == FG_OK) status = finish(c, s, err);
  }
  return status;
}

// ---- for the executor ----------------------------------------------------------------------------------

void fg_expert_cache_begin(fg_expert_cache *c) {
  if (++c->steps % FADING_STEPS) return;
  for (uint32_t i = 0; i < c->options.unit_count; i++) c->hits[i] /= 2;
}

fg_status fg_expert_cache_want(fg_expert_cache *c, const uint32_t *units, uint32_t count, fg_error *err) {
  c->wanted_count = count;
  c->next = 0;
  for (uint32_t i = 0; i < count; i++) {
    c->wanted[i] = units[i];
    c->hits[units[i]]++;
    c->step_of[units[i]] = c->steps;
    if (c->slot_of[units[i]] != NONE) c->slots[c->slot_of[units[i]]].wanted = true;
  }
  fg_status status = judge_guesses(c, err);
  return status == FG_OK ? pump(c, err) : status;
}

fg_status fg_expert_cache_acquire(fg_expert_cache *c, uint32_t unit, fg_error *err) {
  fg_device *d = c->options.device;
  fg_status status = FG_OK;
  bool started = c->slot_of[unit] != NONE;
  if (!started) status = finish_all(c, err);
  if (status == FG_OK && !started) status = start(c, unit, true, &started, err);
  if (status != FG_OK) return status;
  slot *s = &c->slots[c->slot_of[unit]];
  if (s->state == SLOT_READING) {
    uint64_t begin = fg_trace_now(c->options.trace);
    status = finish(c, s, err);
    fg_trace_span(c->options.trace, c->track, FG_SPAN_WAIT_READ, NULL, c->options.units[unit].layer,
                  fg_expert_unit_bytes(c->options.store, &c->options.units[unit]), begin,
                  fg_trace_now(c->options.trace));
  }
  if (status == FG_OK) status = d->ops->queue_wait(d, FG_QUEUE_COMPUTE, s->loaded, err);
  s->used = ++c->clock;
  c->counts.used++;
  if (s->fresh) c->counts.absent_bytes += unit_bytes(c, unit);
  if (!s->fresh) c->counts.hits++;
  s->fresh = false;
  c->acquired = c->slot_of[unit];
  return status;
}

fg_view fg_expert_cache_panel(const fg_expert_cache *c, uint32_t panel) {
  return (fg_view){.memory = c->memory, .offset = slot_offset(c, &c->slots[c->acquired]) + c->place[panel]};
}

fg_status fg_expert_cache_release(fg_expert_cache *c, fg_error *err) {
  slot *s = &c->slots[c->acquired];
  s->passed = c->options.device->ops->record(c->options.device, FG_QUEUE_COMPUTE);
  s->wanted = false;
  c->acquired = NONE;
  return pump(c, err);
}

fg_expert_counts fg_expert_counts_sum(fg_expert_counts a, fg_expert_counts b) {
  return (fg_expert_counts){.used = a.used + b.used,
                            .hits = a.hits + b.hits,
                            .read_bytes = a.read_bytes + b.read_bytes,
                            .absent_bytes = a.absent_bytes + b.absent_bytes,
                            .ahead_bytes = a.ahead_bytes + b.ahead_bytes,
                            .wrong_bytes = a.wrong_bytes + b.wrong_bytes,
                            .open_bytes = a.open_bytes + b.open_bytes};
}

fg_expert_counts fg_expert_cache_counts(const fg_expert_cache *c) {
  fg_expert_counts counts = c->counts;
  for (uint32_t i = 0; i < c->slot_count; i++) {
    const slot *s = &c->slots[i];
    if (s->state == SLOT_LOADED && s->guessed) counts.open_bytes += unit_bytes(c, s->unit);
  }
  return counts;
}

uint32_t fg_expert_cache_guesses(const fg_expert_cache *c) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < c->slot_count; i++)
    count += c->slots[i].state != SLOT_EMPTY && c->slots[i].guessed;
  return count;
}

uint64_t fg_expert_cache_bytes(const fg_expert_cache *c) {
  return c->slot_bytes * c->slot_count;
}

// ---- life ----------------------------------------------------------------------------------------------

static fg_status measure(fg_expert_cache *c, fg_error *err) {
  const fg_expert_cache_options *o = &c->options;
  for (uint32_t i = 0; i < o->unit_count; i++) {
    const fg_expert_unit *u = &o->units[i];
    const uint64_t bytes = fg_expert_unit_bytes(o->store, u);
    if (bytes > c->slot_bytes) c->slot_bytes = bytes;
    if (u->panels > c->most_panels) c->most_panels = u->panels;
  }
  const uint64_t slots = c->slot_bytes ? o->bytes / c->slot_bytes : 0;
  c->slot_count = (uint32_t)(slots < o->unit_count ? slots : o->unit_count);
  if (slots >= FG_EXPERT_SLOTS) return FG_OK;
  return fg_fail(err, FG_INTERNAL, "%" PRIu64 " bytes for experts of %" PRIu64, o->bytes, c->slot_bytes);
}

static fg_status allocate_tables(fg_expert_cache *c, fg_error *err) {
  const fg_expert_cache_options *o = &c->options;
  const size_t units = o->unit_count, panels = (size_t)o->store->panel_count + 1;
  c->slots = calloc(c->slot_count, sizeof *c->slots);
  c->reads = calloc((size_t)c->slot_count * c->most_panels, sizeof *c->reads);
  c->slot_of = calloc(units, sizeof *c->slot_of);
  c->hits = calloc(units, sizeof *c->hits);
  c->step_of = calloc(units, sizeof *c->step_of);
  c->wanted = calloc(units, sizeof *c->wanted);
  c->place = calloc(panels, sizeof *c->place);
  c->verified = calloc(panels, sizeof *c->verified);
  if (!c->slots || !c->reads || !c->slot_of || !c->hits || !c->step_of || !c->wanted || !c->place ||
      !c->verified)
    return fg_fail(err, FG_NO_SPACE, "out of memory for a table of %zu experts", units);
  for (uint32_t i = 0; i < c->slot_count; i++) c->slots[i].reads = c->reads + (size_t)i * c->most_panels;
  for (uint32_t i = 0; i < units; i++) {
    uint64_t at = 0;
    c->slot_of[i] = NONE;
    for (uint32_t p = o->units[i].panel; p < o->units[i].panel + o->units[i].panels; p++) {
      c->place[p] = at;
      at += padded(&o->store->panels[p]);
    }
  }
  return FG_OK;
}

static fg_status allocate_slots(fg_expert_cache *c, fg_error *err) {
  fg_device *d = c->options.device;
  fg_status status =
      d->ops->memory_create(d, fg_expert_cache_bytes(c), "experts of the moment", &c->memory, err);
  if (status != FG_OK) return status;
  c->reach = fg_device_host_pointer(d, c->memory);
  if (c->reach) return FG_OK;
  return fg_device_host_create(d, FG_EXPERT_SLOTS * c->slot_bytes, "staging of experts", (void **)&c->staging,
                               err);
}

fg_status fg_expert_cache_create(fg_expert_cache **out, const fg_expert_cache_options *options,
                                 fg_error *err) {
  *out = NULL;
  fg_expert_cache *c = calloc(1, sizeof *c);
  if (!c) return fg_fail(err, FG_NO_SPACE, "out of memory for experts");
  c->options = *options;
  c->acquired = NONE;
  c->track = fg_trace_track(options->trace, "wait for experts");
  fg_status status = measure(c, err);
  if (status == FG_OK) status = allocate_tables(c, err);
  if (status == FG_OK) status = allocate_slots(c, err);
  if (status != FG_OK) {
    fg_expert_cache_destroy(c);
    return status;
  }
  *out = c;
  return FG_OK;
}

void fg_expert_cache_destroy(fg_expert_cache *c) {
  if (!c) return;
  fg_device *d = c->options.device;
  for (uint32_t i = 0; c->slots && i < c->slot_count; i++) { // nobody may write into memory that is freed now
    slot *s = &c->slots[i];
    for (uint32_t j = 0; s->state == SLOT_READING && j < c->options.units[s->unit].panels; j++)
      (void)fg_io_read_wait(c->options.io, &s->reads[j], NULL);
  }
  for (int q = 0; q < FG_QUEUE_COUNT; q++) (void)d->ops->host_wait(d, d->ops->record(d, (fg_queue)q), NULL);
  if (c->memory) d->ops->memory_destroy(d, c->memory);
  fg_device_host_destroy(d, c->staging);
  free(c->slots);
  free(c->reads);
  free(c->slot_of);
  free(c->hits);
  free(c->step_of);
  free(c->wanted);
  free(c->place);
  free(c->verified);
  free(c);
}
