// scheduler.c: one list in order of submission, of which the front part is running.
//
// Admission takes the first waiting sequence and preemption the last running one, so the boundary
// between the two parts only moves by one place and the order never changes. Three promises follow.
// The oldest sequence always runs, and whoever runs gets at least one token in every step (there are
// never more running sequences than tokens in a step), so nothing starves. A step takes pages from a
// younger sequence only. And at most one prompt is cut by a step's end, the youngest running one: another is
// admitted only when all before it got everything they asked for.
//
// A sequence that waits for what a step computes is admitted in that step, with all its pages, and begins in
// the next. So it keeps its place, nobody takes away what it waits for, and those behind it are admitted too.
#include "engine/scheduler.h"

#include <stddef.h>
#include <stdlib.h>

#include "engine/page_pool.h"

#define NONE UINT32_MAX

typedef struct sequence {
  uint32_t known, computed;
  uint32_t admitted;       // known when it began to run: for these tokens pages were looked for
  uint32_t previous, next; // slots; `next` also links free slots
  uint32_t table;          // row of the page tables while running, else NONE
  uint32_t pages;          // held
  fg_seq_text text;        // tokens NULL: it does not share
  uint32_t published;      // of its pages, the first ones, which others find; it owns all that they follow
  uint32_t end;            // positions before it are computed when the step is done; or `computed`, if more
  uint32_t copied, source; // as of its chunk in this step
  bool drawn;              // fg_scheduler_mark_drawn
  uint32_t brought;        // fg_scheduler_bring
} sequence;

struct fg_scheduler {
  fg_scheduler_limits limits;
  bool block_full;      // until its last sequence has ended
  bool whole;           // fg_scheduler_admit_whole
  uint32_t draws;       // of a step then
  uint32_t max_running; // rows and tokens of a step, whichever is less
  uint32_t table_pages; // length of one page table

  sequence *sequences; // [capacity]
  uint32_t capacity, free_slot;
  uint32_t first, last;  // the list
  uint32_t last_running; // NONE: nothing runs
  uint32_t running, waiting;

  uint32_t *tables;      // [max_running, table_pages]
  uint32_t *free_tables; // stack
  uint32_t free_table_count;
  fg_chunk *chunks; // [max_running]
  fg_page_pool *pool;
  fg_seq *writers; // [pages]; NULL: nothing is shared
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

static fg_page_pool_limits pool_limits(const fg_scheduler_limits *limits) {
  return (fg_page_pool_limits){.pages = limits->pages,
                               .page_tokens = limits->page_tokens,
                               .shares = limits->share != FG_SHARING_OFF,
                               .cached = limits->cached_pages};
}

uint64_t fg_scheduler_bytes(const fg_scheduler_limits *limits) {
  const fg_page_pool_limits pool = pool_limits(limits);
  uint64_t rows = min_u32(limits->max_seqs, limits->max_tokens);
  uint64_t table_pages = min_u32(limits->pages, pages_for(limits, limits->max_len));
  return sizeof(fg_scheduler) + initial_capacity(limits) * sizeof(sequence) +
         rows * (table_pages * sizeof(uint32_t) + sizeof(uint32_t) + sizeof(fg_chunk)) +
         fg_page_pool_bytes(&pool) + (pool.shares ? limits->pages * sizeof(fg_seq) : 0);
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
  const fg_page_pool_limits pool = pool_limits(limits);
  if (pool.shares) s->writers = malloc(limits->pages * sizeof *s->writers);
  if (!s->tables || !s->free_tables || !s->chunks || (pool.shares && !s->writers) ||
      grow(s, initial_capacity(limits), NULL) != FG_OK ||
      fg_page_pool_create(&s->pool, &pool, NULL) != FG_OK) {
    fg_scheduler_destroy(s);
    return fg_fail(err, FG_NO_SPACE, "no memory for a scheduler of %u sequences and %u pages",
                   limits->max_seqs, limits->pages);
  }
  for (uint32_t i = 0; i < s->max_running; i++) s->free_tables[i] = s->max_running - 1 - i;
  for (uint32_t i = 0; pool.shares && i < limits->pages; i++) s->writers[i] = FG_NO_SEQ;
  s->free_table_count = s->max_running;
  *out = s;
  return FG_OK;
}

void fg_scheduler_destroy(fg_scheduler *s) {
  if (!s) return;
  free(s->sequences);
  free(s->tables);
  free(s->free_tables);
  free(s->chunks);
  free(s->writers);
  fg_page_pool_destroy(s->pool);
  free(s);
}

void fg_scheduler_admit_whole(fg_scheduler *s, uint32_t draws) {
  s->whole = true;
  s->draws = draws ? draws : 1;
}

void fg_scheduler_mark_drawn(fg_scheduler *s, fg_seq seq) {
  s->sequences[seq].drawn = true;
}

void fg_scheduler_bring(fg_scheduler *s, fg_seq seq, uint32_t tokens) {
  s->sequences[seq].brought = tokens;
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

void fg_scheduler_share(fg_scheduler *s, fg_seq seq, const fg_seq_text *text) {
  if (s->limits.share != FG_SHARING_OFF) s->sequences[seq].text = *text;
}

// Takes the table and the pages away; the sequence is not running any more.
static void release(fg_scheduler *s, sequence *q) {
  const uint32_t *table = s->tables + (size_t)q->table * s->table_pages;
  while (q->pages) fg_page_pool_leave(s->pool, table[--q->pages]);
  s->free_tables[s->free_table_count++] = q->table;
  q->table = NONE;
  q->computed = q->published = q->end = 0;
  s->running--;
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
  for (uint32_t page; q->pages < wanted && (page = fg_page_pool_take(s->pool)) != FG_NO_PAGE;)
    table[q->pages++] = page;
  return q->pages < pages_for(&s->limits, tokens) ? q->pages * s->limits.page_tokens : tokens;
}

// Block i of the sequence's text, behind the page of the block before.
static fg_prefix_block block_of(const fg_scheduler *s, const sequence *q, uint32_t i, uint32_t before) {
  return (fg_prefix_block){
      .before = before, .kind = q->text.kind, .tokens = q->text.tokens + (size_t)i * s->limits.page_tokens};
}

// The tokens [begin, end) of the sequence come to stand in its pages.
static void note_writer(fg_scheduler *s, uint32_t slot, fg_seq writer, uint32_t begin, uint32_t end) {
  const uint32_t *table = s->tables + (size_t)s->sequences[slot].table * s->table_pages;
  const uint32_t page = s->limits.page_tokens;
  for (uint32_t i = begin / page; s->writers && i <= (end - 1) / page; i++) s->writers[table[i]] = writer;
}

static uint32_t full_pages(const fg_scheduler *s, const sequence *q, uint32_t end) {
  return q->text.tokens ? min_u32(end, q->text.most) / s->limits.page_tokens : 0;
}

// The chunk that ends here fills pages: others may find them from now on. One whose content another page
// holds stays as it is until the step is done.
static void publish(fg_scheduler *s, uint32_t slot, uint32_t end) {
  sequence *q = &s->sequences[slot];
  const uint32_t *table = s->tables + (size_t)q->table * s->table_pages, full = full_pages(s, q, end);
  for (; q->published < full; q->published++) {
    const uint32_t i = q->published;
    const fg_prefix_block block = block_of(s, q, i, i ? table[i - 1] : FG_NO_PAGE);
    if (!fg_page_pool_publish(s->pool, table[i], &block)) return;
  }
}

static void put_chunk(fg_scheduler *s, fg_step *step, uint32_t slot, uint32_t end) {
  sequence *q = &s->sequences[slot];
  if (end <= q->computed) return;
  s->chunks[step->chunk_count++] = (fg_chunk){.seq = slot,
                                              .begin = q->computed,
                                              .count = end - q->computed,
                                              .last = end == q->known,
                                              .copied = q->copied,
                                              .source = q->source};
  step->tokens += end - q->computed;
  q->end = end;
  note_writer(s, slot, slot, q->computed, end);
  publish(s, slot, end);
}

// Whether all that a sequence lacks is generated: one token, or several that were known at once.
static bool decodes(const sequence *q) {
  return q->computed && (q->computed + 1 == q->known || q->computed >= q->admitted);
}

// Every sequence that decodes gets a token. The oldest come first, so a page is taken from a sequence that
// has no chunk in this step yet.
static void plan_decodes(fg_scheduler *s, fg_step *step) {
  for (uint32_t slot = NONE; (slot = next_running(s, slot)) != NONE;) {
    sequence *q = &s->sequences[slot];
    const uint32_t end = q->computed + 1;
    if (!decodes(q)) continue;
    while (take_pages(s, q, end) < end) {
      uint32_t victim = s->last_running;
      preempt_last(s);
      step->preempted++;
      if (victim == slot) return;
    }
    put_chunk(s, step, slot, end);
  }
}

// What a step has to spare for sequences that decode, beyond a token for each.
typedef struct spare {
  uint32_t tokens, pages;
} spare;

// A prompt in progress keeps a token of the step, and the pages that it lacks.
static spare left_by_prompts(const fg_scheduler *s, const fg_step *step) {
  spare left = {s->limits.max_tokens - step->tokens, fg_page_pool_available(s->pool)};
  for (uint32_t slot = NONE; (slot = next_running(s, slot)) != NONE;) {
    const sequence *q = &s->sequences[slot];
    const uint32_t wanted = pages_for(&s->limits, q->known);
    if (decodes(q)) continue;
    left.tokens -= left.tokens > 0;
    if (wanted > q->pages) left.pages -= min_u32(wanted - q->pages, left.pages);
  }
  return left;
}

// What a sequence lacks beyond that one token, as far as the step's tokens and the free pages go.
static void extend_decodes(fg_scheduler *s, fg_step *step) {
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    fg_chunk *c = &s->chunks[i];
    sequence *q = &s->sequences[c->seq];
    if (c->last) continue;
    const spare left = left_by_prompts(s, step);
    const uint64_t room = ((uint64_t)q->pages + left.pages) * s->limits.page_tokens;
    uint32_t end = c->begin + 1 + min_u32(q->known - c->begin - 1, left.tokens);
    if (end > room) end = (uint32_t)room;
    end = take_pages(s, q, end);
    c->count = end - c->begin;
    c->last = end == q->known;
    step->tokens += c->count - 1;
    q->end = end;
    note_writer(s, c->seq, c->seq, c->begin, end);
    publish(s, c->seq, end);
  }
}

// As much as the step's tokens and the free pages allow.
static void plan_chunk(fg_scheduler *s, fg_step *step, uint32_t slot) {
  sequence *q = &s->sequences[slot];
  uint32_t end = q->computed + min_u32(q->known - q->computed, s->limits.max_tokens - step->tokens);
  put_chunk(s, step, slot, take_pages(s, q, end));
}

// Pages of what a running sequence knows, and one more to grow, if it ever can: the room that keeps a new
// sequence from being thrown out again right after its prefill.
static uint32_t pages_to_run(const fg_scheduler *s, uint32_t known) {
  return min_u32(pages_for(&s->limits, known) + 1, s->table_pages);
}

// What the running sequences still lack of these.
static uint64_t pages_owed(const fg_scheduler *s) {
  uint64_t owed = 0;
  for (uint32_t slot = NONE; (slot = next_running(s, slot)) != NONE;) {
    const sequence *q = &s->sequences[slot];
    owed += pages_to_run(s, q->known) - q->pages;
  }
  return owed;
}

// What is there of a waiting sequence's text.
typedef struct found {
  uint32_t pages;
  uint32_t later;         // pages behind them that this step computes, for the next one to share
  uint32_t part, source;  // tokens behind the pages that can be copied, from a page
  uint32_t without_owner; // of all these pages
} found;

static uint32_t count_same(const int32_t *a, const int32_t *b, uint32_t most) {
  uint32_t i = 0;
  while (i < most && a[i] == b[i]) i++;
  return i;
}

// Of block i of the sequence's text, whose blocks before are in `table`: tokens that the youngest running
// sequence has.
static uint32_t find_part_before(const fg_scheduler *s, const sequence *q, const uint32_t *table, uint32_t i,
                                 uint32_t most, uint32_t *source) {
  if (s->last_running == NONE) return 0;
  const sequence *p = &s->sequences[s->last_running];
  const uint32_t *theirs = s->tables + (size_t)p->table * s->table_pages, begin = i * s->limits.page_tokens;
  const uint32_t there = min_u32(p->end > p->computed ? p->end : p->computed, p->text.most);
  if (!p->text.tokens || there <= begin) return 0;
  if (i ? theirs[i - 1] != table[i - 1] : p->text.kind != q->text.kind) return 0;
  const uint32_t same =
      count_same(q->text.tokens + begin, p->text.tokens + begin, min_u32(most, there - begin));
  const bool is_copy = p->copied >= same && p->computed / s->limits.page_tokens == i;
  *source = is_copy ? p->source : theirs[i];
  return same;
}

// Of block i, at most `most` tokens, fewer than it has.
static uint32_t find_part(const fg_scheduler *s, const sequence *q, const uint32_t *table, uint32_t i,
                          uint32_t most, uint32_t *source) {
  const uint32_t before = i ? table[i - 1] : FG_NO_PAGE;
  const fg_prefix_block block = block_of(s, q, i, before);
  if ((uint64_t)(i + 1) * s->limits.page_tokens <= q->known) {
    *source = fg_page_pool_find(s->pool, &block);
    if (*source != FG_NO_PAGE) return most;
  }
  uint32_t page;
  const uint32_t same = find_part_before(s, q, table, i, most, source);
  const uint32_t more = i ? fg_page_pool_find_part(s->pool, before, block.tokens, most, &page) : 0;
  if (more <= same) return same;
  *source = page;
  return more;
}

// Writes the pages into the table that the sequence will get.
static found find_pages(const fg_scheduler *s, uint32_t slot, uint32_t *table) {
  const sequence *q = &s->sequences[slot];
  const uint32_t page = s->limits.page_tokens;
  found f = {0};
  if (!q->text.tokens) return f;
  const bool within = s->limits.share == FG_SHARING_WITHIN;
  const uint32_t most = min_u32(q->known - 1, q->text.most);
  uint32_t all = 0;
  for (; all < most / page; all++) {
    const fg_prefix_block block = block_of(s, q, all, all ? table[all - 1] : FG_NO_PAGE);
    table[all] = fg_page_pool_find(s->pool, &block);
    if (table[all] == FG_NO_PAGE) break;
    const bool now = s->writers[table[all]] != FG_NO_SEQ && !within;
    *(now || f.later ? &f.later : &f.pages) += 1;
  }
  const uint32_t left = min_u32(most - all * page, page - 1);
  uint32_t tokens = all * page + (within && left ? find_part(s, q, table, all, left, &table[all]) : 0);
  if (tokens && s->limits.may_share) tokens = s->limits.may_share(s->limits.user, slot, table, tokens);
  f.pages = min_u32(f.pages, tokens / page);
  f.later = tokens / page - f.pages;
  f.part = within ? tokens % page : 0;
  f.source = table[tokens / page];
  for (uint32_t i = 0; i < f.pages + (f.part > 0); i++)
    f.without_owner += !fg_page_pool_owners(s->pool, table[i]);
  return f;
}

// Whether a step's wait saves the larger part of what the sequence has to compute.
static bool should_wait(const fg_scheduler *s, const sequence *q, const found *f) {
  const uint64_t later = (uint64_t)f->later * s->limits.page_tokens;
  return 2 * later > q->known - (uint64_t)f->pages * s->limits.page_tokens;
}

// The page that is copied from belongs to the sequence too until the step is done. If there is none to copy
// to, the tokens are computed.
static void copy_part(fg_scheduler *s, sequence *q, const found *f) {
  fg_page_pool_share(s->pool, f->source);
  const uint32_t page = fg_page_pool_take(s->pool);
  if (page == FG_NO_PAGE) {
    fg_page_pool_leave(s->pool, f->source);
    return;
  }
  s->tables[(size_t)q->table * s->table_pages + q->pages++] = page;
  q->computed += f->part;
  q->copied = f->part;
  q->source = f->source;
}

// The first waiting sequence runs, behind the first pages of its table.
static void admit(fg_scheduler *s, uint32_t slot, uint32_t shared, const found *f) {
  sequence *q = &s->sequences[slot];
  q->table = s->free_tables[--s->free_table_count];
  q->admitted = q->known;
  const uint32_t *table = s->tables + (size_t)q->table * s->table_pages;
  for (uint32_t i = 0; i < shared; i++) fg_page_pool_share(s->pool, table[i]);
  q->pages = q->published = shared;
  q->computed = shared * s->limits.page_tokens;
  if (f->part) copy_part(s, q, f);
  if (q->brought > q->computed) q->computed = take_pages(s, q, q->brought);
  s->last_running = slot;
  s->running++;
  s->waiting--;
}

// Where sequences are admitted whole: there is room in the step for all of it.
static bool has_room(const fg_scheduler *s, const fg_step *step, const sequence *q, uint32_t drawn) {
  return !s->whole || (q->known <= s->limits.max_tokens - step->tokens && drawn + q->drawn <= s->draws);
}

static void plan_admissions(fg_scheduler *s, fg_step *step) {
  if (s->limits.blocks && s->block_full) return;
  uint64_t owed = pages_owed(s);
  uint32_t drawn = 0;
  while (s->waiting && s->running < s->max_running && step->tokens < s->limits.max_tokens) {
    const uint32_t slot = first_waiting(s), row = s->free_tables[s->free_table_count - 1];
    sequence *q = &s->sequences[slot];
    const found f = find_pages(s, slot, s->tables + (size_t)row * s->table_pages);
    const bool waits = should_wait(s, q, &f);
    const uint32_t shared = waits ? f.pages + f.later : f.pages;
    const uint32_t needed = pages_to_run(s, q->known) - shared;
    if (s->running && owed + needed > fg_page_pool_available(s->pool) - f.without_owner) {
      s->block_full = true;
      return;
    }
    if (!has_room(s, step, q, drawn)) return;
    admit(s, slot, shared, &f);
    drawn += q->drawn;
    if (waits)
      (void)take_pages(s, q, q->known);
    else
      plan_chunk(s, step, slot);
    owed += pages_to_run(s, q->known) - q->pages;
  }
  s->block_full = s->running == s->max_running;
}

static bool can_admit(const fg_scheduler *s) {
  if (!s->waiting || s->running == s->max_running || (s->limits.blocks && s->block_full)) return false;
  const uint32_t needed = pages_to_run(s, s->sequences[first_waiting(s)].known);
  return !s->running || pages_owed(s) + needed <= fg_page_pool_available(s->pool);
}

// Where steps are of one kind: whether this one reads prompts.
static bool reads_prompts(const fg_scheduler *s) {
  if (!s->limits.apart) return false;
  for (uint32_t slot = NONE; (slot = next_running(s, slot)) != NONE;)
    if (!decodes(&s->sequences[slot])) return true;
  return can_admit(s);
}

void fg_scheduler_plan(fg_scheduler *s, fg_step *step) {
  *step = (fg_step){.chunks = s->chunks};
  if (!s->running) s->block_full = false;
  const bool reads = reads_prompts(s);
  if (!reads) plan_decodes(s, step);
  if (!reads) extend_decodes(s, step);
  for (uint32_t slot = NONE; (slot = next_running(s, slot)) != NONE;)
    if (!decodes(&s->sequences[slot])) plan_chunk(s, step, slot);
  if (!step->preempted && (reads || !s->limits.apart)) plan_admissions(s, step);
  if (reads && !step->chunk_count) plan_decodes(s, step);
  step->dropped = fg_page_pool_dropped(s->pool, &step->dropped_count);
}

uint32_t fg_scheduler_draft(fg_scheduler *s, fg_step *step, uint32_t chunk, uint32_t drafts) {
  fg_chunk *c = &s->chunks[chunk];
  sequence *q = &s->sequences[c->seq];
  const uint32_t page = s->limits.page_tokens, begin = c->begin + c->count;
  uint32_t room = min_u32(s->limits.max_tokens - step->tokens, s->limits.max_len - begin);
  if (s->limits.writes_once) room = min_u32(room, begin % page ? page - 1 - begin % page : 0);
  if (s->waiting) room = min_u32(room, q->pages * page - begin);
  drafts = take_pages(s, q, begin + min_u32(drafts, room)) - begin;
  c->count += drafts;
  c->drafts += drafts;
  step->tokens += drafts;
  step->dropped = fg_page_pool_dropped(s->pool, &step->dropped_count);
  return drafts;
}

// What the chunk wrote is there now, and nothing is copied any more.
static void end_writing(fg_scheduler *s, const fg_chunk *c) {
  note_writer(s, c->seq, FG_NO_SEQ, c->begin, c->begin + c->count);
  if (c->copied) fg_page_pool_leave(s->pool, c->source);
  s->sequences[c->seq].copied = 0;
}

// Full pages that were not published because others held the same: these take their place, so that what
// follows them can be found too.
static void adopt(fg_scheduler *s, sequence *q) {
  uint32_t *table = s->tables + (size_t)q->table * s->table_pages;
  const uint32_t full = full_pages(s, q, q->computed);
  for (; q->published < full; q->published++) {
    const uint32_t i = q->published;
    const fg_prefix_block block = block_of(s, q, i, i ? table[i - 1] : FG_NO_PAGE);
    if (fg_page_pool_publish(s->pool, table[i], &block)) continue; // those others have gone
    const uint32_t page = fg_page_pool_find(s->pool, &block);
    fg_page_pool_share(s->pool, page);
    fg_page_pool_leave(s->pool, table[i]);
    table[i] = page;
  }
}

void fg_scheduler_remove(fg_scheduler *s, fg_seq seq) {
  sequence *q = &s->sequences[seq];
  if (q->table == NONE) {
    s->waiting--;
  } else {
    if (s->last_running == seq) s->last_running = q->previous;
    if (s->writers) adopt(s, q); // so that who looks at the pages sees that two had them
    release(s, q);
  }
  unlink_slot(s, seq);
  *q = (sequence){.next = s->free_slot, .table = NONE};
  s->free_slot = seq;
}

void fg_scheduler_done(fg_scheduler *s, const fg_step *step) {
  fg_page_pool_forget_dropped(s->pool);
  for (uint32_t i = 0; i < step->chunk_count; i++) {
    const fg_chunk *c = &step->chunks[i];
    s->sequences[c->seq].computed = c->begin + c->count - c->drafts;
    if (s->writers) end_writing(s, c);
  }
}

void fg_scheduler_settle(fg_scheduler *s, const fg_step *step) {
  for (uint32_t i = 0; s->writers && i < step->chunk_count; i++) {
    sequence *q = &s->sequences[step->chunks[i].seq];
    if (q->table != NONE)
      adopt(s, q); // otherwise it was removed meanwhile, and perhaps another has its place
  }
}

void fg_scheduler_append(fg_scheduler *s, fg_seq seq) {
  s->sequences[seq].known++;
}

void fg_scheduler_append_drafted(fg_scheduler *s, fg_seq seq) {
  sequence *q = &s->sequences[seq];
  q->known++;
  q->computed++;
  if (s->writers) adopt(s, q);
}

void fg_scheduler_restart(fg_scheduler *s, fg_seq seq) {
  s->sequences[seq].computed = 0;
}

// ---- pages from elsewhere -------------------------------------------------------------------------

fg_seq fg_scheduler_next_waiting(const fg_scheduler *s, fg_seq seq) {
  if (!s->waiting) return FG_NO_SEQ;
  return seq == FG_NO_SEQ ? first_waiting(s) : s->sequences[seq].next;
}

uint32_t fg_scheduler_free_rows(const fg_scheduler *s) {
  return s->max_running - s->running;
}

uint32_t fg_scheduler_fill_room(const fg_scheduler *s) {
  return min_u32(s->limits.cached_pages, fg_page_pool_available(s->pool));
}

// The table that the sequence would get.
static uint32_t *next_table(const fg_scheduler *s) {
  return s->tables + (size_t)s->free_tables[s->free_table_count - 1] * s->table_pages;
}

fg_text_blocks fg_scheduler_blocks(const fg_scheduler *s, fg_seq seq) {
  const sequence *q = &s->sequences[seq];
  fg_text_blocks b = {0};
  if (!q->text.tokens) return b;
  uint32_t *table = next_table(s);
  b.most = min_u32(q->known - 1, q->text.most) / s->limits.page_tokens;
  for (; b.held < b.most; b.held++) {
    const fg_prefix_block block = block_of(s, q, b.held, b.held ? table[b.held - 1] : FG_NO_PAGE);
    table[b.held] = fg_page_pool_find(s->pool, &block);
    if (table[b.held] == FG_NO_PAGE) break;
  }
  return b;
}

void fg_scheduler_fill(fg_scheduler *s, fg_seq seq, uint32_t count, fg_filling *f) {
  uint32_t *table = next_table(s);
  const fg_text_blocks b = fg_scheduler_blocks(s, seq);
  const uint32_t kept = s->limits.cached_pages, most = min_u32(b.most, b.held + count);
  *f = (fg_filling){.pages = table, .held = b.held, .end = b.held};
  for (uint32_t i = 0; i < b.held; i++) fg_page_pool_share(s->pool, table[i]); // or they might be taken
  for (uint32_t page; f->end < min_u32(most, kept) && (page = fg_page_pool_take(s->pool)) != FG_NO_PAGE;)
    table[f->end++] = page;
  f->dropped = fg_page_pool_dropped(s->pool, &f->dropped_count);
}

void fg_scheduler_filled(fg_scheduler *s, fg_seq seq, const fg_filling *f, uint32_t good) {
  fg_page_pool_forget_dropped(s->pool);
  for (uint32_t i = f->held; i < good; i++) {
    const fg_prefix_block block = block_of(s, &s->sequences[seq], i, i ? f->pages[i - 1] : FG_NO_PAGE);
    fg_page_pool_publish(s->pool, f->pages[i], &block);
  }
  for (uint32_t i = f->end; i-- > 0;) fg_page_pool_leave(s->pool, f->pages[i]);
}

bool fg_scheduler_hold(fg_scheduler *s, uint32_t page) {
  uint64_t kind;
  if (!fg_page_pool_text(s->pool, page, NULL, 0, &kind)) return false;
  fg_page_pool_share(s->pool, page);
  return true;
}

void fg_scheduler_let_go(fg_scheduler *s, uint32_t page) {
  fg_page_pool_leave(s->pool, page);
}

uint32_t fg_scheduler_text(const fg_scheduler *s, uint32_t page, int32_t *tokens, uint32_t room,
                           uint64_t *kind) {
  return fg_page_pool_text(s->pool, page, tokens, room, kind);
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
  return fg_page_pool_available(s->pool);
}
fg_seq fg_scheduler_writer(const fg_scheduler *s, uint32_t page) {
  return s->writers ? s->writers[page] : FG_NO_SEQ;
}
uint32_t fg_scheduler_copied(const fg_scheduler *s, uint32_t page, uint32_t *source) {
  const fg_seq writer = fg_scheduler_writer(s, page);
  if (writer == FG_NO_SEQ) return 0;
  const sequence *q = &s->sequences[writer];
  const uint32_t *table = s->tables + (size_t)q->table * s->table_pages;
  if (!q->copied || table[q->computed / s->limits.page_tokens] != page) return 0;
  *source = q->source;
  return q->copied;
}
