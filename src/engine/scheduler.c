// scheduler.c: one list in order of submission, of which the front part is running.
//
// Admission takes the first waiting sequence and preemption the last running one, so the boundary
// between the two parts only moves by one place and the order never changes. Three promises follow.
// The oldest sequence always runs, and whoever runs gets at least one token in every step (there are
// never more running sequences than tokens in a step), so nothing starves. A step takes pages from a
// younger sequence only. And at most one prompt is in progress, the youngest running one: another is
// admitted only when all before it got everything they asked for.
#include "engine/scheduler.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/checked.h"

#define NONE UINT32_MAX

typedef struct sequence {
  uint32_t known, computed;
  uint32_t previous, next; // slots; `next` also links free slots
  uint32_t table;          // row of the page tables while running, else NONE
  uint32_t pages;          // held
} sequence;

struct fg_scheduler {
  fg_scheduler_limits limits;
  uint32_t max_running; // rows and tokens of a step, whichever is less
  uint32_t table_pages; // length of one page table

  sequence *sequences; // [capacity]
  uint32_t capacity, free_slot;
  uint32_t first, last;  // the list
  uint32_t last_running; // NONE: nothing runs
  uint32_t running, waiting;

  uint32_t *tables;      // [max_running, table_pages]
  uint32_t *free_tables; // stack
  uint32_t *free_pages;  // stack
  uint32_t free_table_count, free_page_count;
  fg_chunk *chunks;  // [max_running]
  uint32_t *dropped; // [pages]
  bool *is_dropped;  // [pages]
  uint32_t dropped_count;
};

static uint32_t min_u32(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

static uint32_t pages_for(const fg_scheduler_limits *limits, uint32_t tokens) {
  return tokens / limits->page_tokens + (tokens % limits->page_tokens != 0);
}

static uint32_t initial_capacity(const fg_scheduler_limits *limits) {
  return 2 * min_u32(min_u32(limits->max_seqs, limits->max_tokens), 1u << 20);
}

uint64_t fg_scheduler_bytes(const fg_scheduler_limits *limits) {
  uint64_t rows = min_u32(limits->max_seqs, limits->max_tokens);
  uint64_t table_pages = min_u32(limits->pages, pages_for(limits, limits->max_len));
  return sizeof(fg_scheduler) + initial_capacity(limits) * sizeof(sequence) +
         rows * (table_pages * sizeof(uint32_t) + sizeof(uint32_t) + sizeof(fg_chunk)) +
         (uint64_t)limits->pages * (2 * sizeof(uint32_t) + sizeof(bool));
}

// ---- slots and the list ---------------------------------------------------------------------------

static fg_status grow(fg_scheduler *s, uint32_t capacity, fg_error *err) {
  sequence *grown = realloc(s->sequences, (size_t)capacity * sizeof *grown);
  if (!grown) return fg_fail(err, FG_NO_SPACE, "no memory for a queue of %u sequences", capacity);
  for (uint32_t i = s->capacity; i < capacity; i++)
    grown[i] = (sequence){.next = i + 1 < capacity ? i + 1 : s->free_slot, .table = NONE};
  s->free_slot = s->capacity;
  s->sequences = grown;
  s->capacity = capacity;
  return FG_OK;
}

static void link_last(fg_scheduler *s, uint32_t slot) {
  s->sequences[slot].previous = s->last;
  s->sequences[slot].next = NONE;
  if (s->last != NONE)
    s->sequences[s->last].next = slot;
  else
    s->first = slot;
  s->last = slot;
}

static void unlink_slot(fg_scheduler *s, uint32_t slot) {
  sequence *q = &s->sequences[slot];
  if (q->previous != NONE)
    s->sequences[q->previous].next = q->next;
  else
    s->first = q->next;
  if (q->next != NONE)
    s->sequences[q->next].previous = q->previous;
  else
    s->last = q->previous;
}

// The running sequences in order: from NONE to the first, from the last to NONE.
static uint32_t next_running(const fg_scheduler *s, uint32_t slot) {
  if (slot == NONE) return s->running ? s->first : NONE;
  return slot == s->last_running ? NONE : s->sequences[slot].next;
}

static uint32_t first_waiting(const fg_scheduler *s) {
  return s->last_running == NONE ? s->first : s->sequences[s->last_running].next;
}

// ---- create, add, remove --------------------------------------------------------------------------

fg_status fg_scheduler_create(fg_scheduler **out, const fg_scheduler_limits *limits, fg_error *err) {
  *out = NULL;
  if (!limits->max_tokens || !limits->max_seqs || !limits->pages || !limits->page_tokens || !limits->max_len)
    return fg_fail(err, FG_INVALID, "a scheduler needs at least one token, sequence and page");
  fg_scheduler *s = calloc(1, sizeof *s);
  if (!s) return fg_fail(err, FG_NO_SPACE, "no memory for the scheduler");
  s->limits = *limits;
  s->max_running = min_u32(limits->max_seqs, limits->max_tokens);
  s->table_pages = min_u32(limits->pages, pages_for(limits, limits->max_len));
  s->free_slot = s->first = s->last = s->last_running = NONE;
  s->free_tables = malloc(s->max_running * sizeof *s->free_tables);
  s->tables = calloc(s->max_running, s->table_pages * sizeof *s->tables);
  s->chunks = malloc(s->max_running * sizeof *s->chunks);
  s->free_pages = malloc(limits->pages * sizeof *s->free_pages);
  s->dropped = malloc(limits->pages * sizeof *s->dropped);
  s->is_dropped = calloc(limits->pages, sizeof *s->is_dropped);
  if (!s->tables || !s->free_tables || !s->free_pages || !s->chunks || !s->dropped || !s->is_dropped ||
      grow(s, initial_capacity(limits), NULL) != FG_OK) {
    fg_scheduler_destroy(s);
    return fg_fail(err, FG_NO_SPACE, "no memory for a scheduler of %u sequences and %u pages",
                   limits->max_seqs, limits->pages);
  }
  for (uint32_t i = 0; i < s->max_running; i++) s->free_tables[i] = s->max_running - 1 - i;
  for (uint32_t i = 0; i < limits->pages; i++) s->free_pages[i] = limits->pages - 1 - i;
  s->free_table_count = s->max_running;
  s->free_page_count = limits->pages;
  *out = s;
  return FG_OK;
}

void fg_scheduler_destroy(fg_scheduler *s) {
  if (!s) return;
  free(s->sequences);
  free(s->tables);
  free(s->free_tables);
  free(s->free_pages);
  free(s->dropped);
  free(s->is_dropped);
  free(s->chunks);
  free(s);
}

bool fg_scheduler_fits(const fg_scheduler *s, uint32_t tokens) {
  return tokens > 0 && tokens <= s->limits.max_len && pages_for(&s->limits, tokens) <= s->limits.pages;
}

fg_status fg_scheduler_add(fg_scheduler *s, uint32_t known, fg_seq *seq, fg_error *err) {
  if (!fg_scheduler_fits(s, known))
    return fg_fail(err, FG_INVALID,
                   "a sequence of %u tokens does not fit: longest is %u tokens, cache holds %llu", known,
                   s->limits.max_len, (unsigned long long)s->limits.pages * s->limits.page_tokens);
  if (s->free_slot == NONE) {
    if (s->capacity > UINT32_MAX / 4)
      return fg_fail(err, FG_NO_SPACE, "%u sequences are queued", s->capacity);
    fg_status status = grow(s, s->capacity * 2, err);
    if (status != FG_OK) return status;
  }
  uint32_t slot = s->free_slot;
  s->free_slot = s->sequences[slot].next;
  s->sequences[slot] = (sequence){.known = known, .table = NONE};
  link_last(s, slot);
  s->waiting++;
  *seq = slot;
  return FG_OK;
}

static void drop_page(fg_scheduler *s, uint32_t page) {
  s->free_pages[s->free_page_count++] = page;
  if (s->is_dropped[page]) return;
  s->is_dropped[page] = true;
  s->dropped[s->dropped_count++] = page;
}

// Takes the table and the pages away; the sequence is not running any more.
static void release(fg_scheduler *s, sequence *q) {
  const uint32_t *table = s->tables + (size_t)q->table * s->table_pages;
  while (q->pages) drop_page(s, table[--q->pages]);
  s->free_tables[s->free_table_count++] = q->table;
  q->table = NONE;
  q->computed = 0;
  s->running--;
}

void fg_scheduler_remove(fg_scheduler *s, fg_seq seq) {
  sequence *q = &s->sequences[seq];
  if (q->table == NONE) {
    s->waiting--;
  } else {
    if (s->last_running == seq) s->last_running = q->previous;
    release(s, q);
  }
  unlink_slot(s, seq);
  *q = (sequence){.next = s->free_slot, .table = NONE};
  s->free_slot = seq;
}

// ---- a step ---------------------------------------------------------------------------------------

static void preempt_last(fg_scheduler *s) {
  sequence *q = &s->sequences[s->last_running];
  s->last_running = q->previous;
  release(s, q);
  s->waiting++;
}

// Takes free pages until the first `tokens` positions have them or none is free; returns the positions
// that have pages now, at most `tokens`.
static uint32_t take_pages(fg_scheduler *s, sequence *q, uint32_t tokens) {
  uint32_t *table = s->tables + (size_t)q->table * s->table_pages;
  uint32_t wanted = min_u32(pages_for(&s->limits, tokens), s->table_pages);
  while (q->pages < wanted && s->free_page_count) table[q->pages++] = s->free_pages[--s->free_page_count];
  return q->pages < pages_for(&s->limits, tokens) ? q->pages * s->limits.page_tokens : tokens;
}

static void put_chunk(fg_scheduler *s, fg_step *step, uint32_t slot, uint32_t end) {
  const sequence *q = &s->sequences[slot];
  if (end <= q->computed) return;
  s->chunks[step->chunk_count++] =
      (fg_chunk){.seq = slot, .begin = q->computed, .count = end - q->computed, .last = end == q->known};
  step->tokens += end - q->computed;
}

// Every sequence that lacks its last token only. The oldest come first, so a page is taken from a
// sequence that has no chunk in this step yet.
static void plan_decodes(fg_scheduler *s, fg_step *step) {
  for (uint32_t slot = NONE; (slot = next_running(s, slot)) != NONE;) {
    sequence *q = &s->sequences[slot];
    if (!q->computed || q->computed + 1 != q->known) continue;
    while (take_pages(s, q, q->known) < q->known) {
      uint32_t victim = s->last_running;
      preempt_last(s);
      step->preempted++;
      if (victim == slot) return;
    }
    put_chunk(s, step, slot, q->known);
  }
}

// As much as the step's tokens and the free pages allow.
static void plan_chunk(fg_scheduler *s, fg_step *step, uint32_t slot) {
  sequence *q = &s->sequences[slot];
  uint32_t end = q->computed + min_u32(q->known - q->computed, s->limits.max_tokens - step->tokens);
  put_chunk(s, step, slot, take_pages(s, q, end));
}

// Pages that the running sequences still lack for what they know, and one more for each to grow: the room
// that keeps a new sequence from being thrown out again right after its prefill.
static uint64_t pages_owed(const fg_scheduler *s) {
  uint64_t owed = 0;
  for (uint32_t slot = NONE; (slot = next_running(s, slot)) != NONE;) {
    const sequence *q = &s->sequences[slot];
    owed += pages_for(&s->limits, q->known) + 1 - q->pages;
  }
  return owed;
}

static void plan_admissions(fg_scheduler *s, fg_step *step) {
  uint64_t owed = pages_owed(s);
  while (s->waiting && s->running < s->max_running && step->tokens < s->limits.max_tokens) {
    uint32_t slot = first_waiting(s);
    sequence *q = &s->sequences[slot];
    uint32_t needed = pages_for(&s->limits, q->known);
    if (s->running && owed + needed + 1 > s->free_page_count) return;
    q->table = s->free_tables[--s->free_table_count];
    s->last_running = slot;
    s->running++;
    s->waiting--;
    plan_chunk(s, step, slot);
    owed += needed + 1 - q->pages;
  }
}

void fg_scheduler_plan(fg_scheduler *s, fg_step *step) {
  *step = (fg_step){.chunks = s->chunks};
  plan_decodes(s, step);
  for (uint32_t slot = NONE; (slot = next_running(s, slot)) != NONE;) {
    const sequence *q = &s->sequences[slot];
    if (!q->computed || q->computed + 1 < q->known) plan_chunk(s, step, slot);
  }
  if (!step->preempted) plan_admissions(s, step);
  step->dropped = s->dropped;
  step->dropped_count = s->dropped_count;
}

void fg_scheduler_done(fg_scheduler *s, const fg_step *step) {
  while (s->dropped_count) s->is_dropped[s->dropped[--s->dropped_count]] = false;
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    sequence *q = &s->sequences[step->chunks[i].seq];
    if (q->table != NONE) q->computed = step->chunks[i].begin + step->chunks[i].count;
  }
}

void fg_scheduler_append(fg_scheduler *s, fg_seq seq) {
  s->sequences[seq].known++;
}

void fg_scheduler_restart(fg_scheduler *s, fg_seq seq) {
  s->sequences[seq].computed = 0;
}

// ---- questions ------------------------------------------------------------------------------------

const uint32_t *fg_scheduler_pages(const fg_scheduler *s, fg_seq seq, uint32_t *count) {
  const sequence *q = &s->sequences[seq];
  *count = q->pages;
  return q->table == NONE ? NULL : s->tables + (size_t)q->table * s->table_pages;
}

uint32_t fg_scheduler_computed(const fg_scheduler *s, fg_seq seq) {
  return s->sequences[seq].computed;
}
uint32_t fg_scheduler_known(const fg_scheduler *s, fg_seq seq) {
  return s->sequences[seq].known;
}
uint32_t fg_scheduler_running(const fg_scheduler *s) {
  return s->running;
}
uint32_t fg_scheduler_waiting(const fg_scheduler *s) {
  return s->waiting;
}
uint32_t fg_scheduler_free_pages(const fg_scheduler *s) {
  return s->free_page_count;
}
