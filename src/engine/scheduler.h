// scheduler.h: which tokens the next step computes. Pure: no I/O, no clock, no allocation in a step.
//
// A sequence is a list of known tokens (its prompt and what was generated) of which the first `computed`
// have their keys and values in pages. A step takes, up to a token budget: first the one missing token
// of every decoding sequence, then chunks of prompts in progress, then new sequences in the order of
// submission, as long as rows and pages last. When a decoding sequence needs a page and none is free,
// the sequence that was admitted last gives up its pages and waits again from its first token (its
// tokens are kept; sampling is keyed, so its results do not change).
//
// Pages are only numbers here: the scheduler owns each sequence's table, and a pool says who owns which page
// (page_pool.h). Where a page's bytes are is somebody else's business, who is told which pages nobody needs.
//
// A sequence whose tokens are told *shares*: full pages that hold the beginning of its text, which another
// sequence computed or computes, are its own too when it is admitted, and it begins to compute behind them.
// At least its last token is computed, whose logits are wanted. Where two sequences computed the same page
// all the same, one of both is given up after the step.
//
// A text that leaves another within a page gets a page of its own there. With FG_SHARING_WITHIN the tokens up
// to that place are *copied* into it, of the sequence before it in the list or of the full page that was
// computed last behind those that are shared: in each layer, when all keys of the step are stored and before
// any query meets them, in the order of the chunks, for what is copied may be a copy itself. The page that is
// copied from stays until the step is done.
//
// Several tokens may be appended to a sequence at once, where they need not be drawn. A decoding sequence
// that lacks more than one gets one as every other does, and then what the step and the pages leave.
//
// A decoding sequence's chunk may be made longer by *drafted* tokens, which are not known: they are computed
// as if they were. Those that turn out to be right are appended as computed; what the others wrote lies
// behind what is computed, and is written over. Drafts take what a planned step leaves, and nobody gives way
// for them; pages that they reach into belong to nobody else, and are found by nobody before they are known.
//
// Invariants: a sequence in a step has pages for every token up to the end of its chunk; pages in which the
// step writes have one owner that writes; a sequence that fits alone is never starved: the oldest always
// runs, and each running sequence gets at least one token of every step unless it waits for pages of older
// ones, or for their tokens, where several wait for what one step computes.
#ifndef FG_ENGINE_SCHEDULER_H
#define FG_ENGINE_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>

#include "flexgen/error.h"

enum { FG_READY_FACTOR = 2 }; // waiting sequences per running one that keep the batch full

typedef struct fg_scheduler fg_scheduler;

typedef uint32_t fg_seq; // a slot; reused after fg_scheduler_remove
enum { FG_NO_SEQ = UINT32_MAX };

typedef enum fg_sharing {
  FG_SHARING_OFF,
  FG_SHARING_AFTER,  // pages of steps that are over
  FG_SHARING_WITHIN, // also those that others compute in the same step: all keys of a layer are stored before
                     // any query meets them
} fg_sharing;

// How many of the first `tokens` tokens of a sequence, found in `pages`, may stand for computing them. Pages
// of the step that is being planned have a writer (fg_scheduler_writer).
typedef uint32_t fg_may_share(void *user, fg_seq seq, const uint32_t *pages, uint32_t tokens);

typedef struct fg_scheduler_limits {
  uint32_t max_tokens; // of a step
  uint32_t max_seqs;   // running at once
  uint32_t pages, page_tokens;
  uint32_t max_len; // longest sequence, in tokens
  fg_sharing share;
  uint32_t cached_pages; // kept at most when their last owner has left
  bool writes_once;      // a page that is full is written to a slower tier: it must hold what is known only
  // To compare with: sequences begin only when all before them have ended; a step reads prompts or decodes,
  // not both.
  bool blocks, apart;
  fg_may_share *may_share; // NULL: all of them
  void *user;
} fg_scheduler_limits;

// One run of consecutive tokens of one sequence in a step.
typedef struct fg_chunk {
  fg_seq seq;
  uint32_t begin, count; // positions [begin, begin + count)
  uint32_t drafts;       // of them, the last ones: not known
  bool last;             // reaches the last known token: its logits give the next one
  uint32_t copied;       // tokens before `begin` in its page, which are copied
  uint32_t source;       // from this page
} fg_chunk;

typedef struct fg_step {
  const fg_chunk *chunks; // decodes of running sequences first
  uint32_t chunk_count, tokens;
  uint32_t preempted; // sequences that lost their pages for this step
  // Each page whose content nobody needs any more since the step before was done, once. It may have a new
  // owner already.
  const uint32_t *dropped;
  uint32_t dropped_count;
} fg_step;

fg_status fg_scheduler_create(fg_scheduler **out, const fg_scheduler_limits *limits, fg_error *err);
void fg_scheduler_destroy(fg_scheduler *s);
// From now on sequences are admitted with all their tokens or not at all, so that each begins and ends in one
// step if it gets no token. One of more tokens than a step takes is never admitted. Of those that are marked
// as drawn a step admits no more than `draws`, and at least one.
void fg_scheduler_admit_whole(fg_scheduler *s, uint32_t draws);

// A new sequence of `known` tokens at the end of the queue. It must satisfy fg_scheduler_fits.
fg_status fg_scheduler_add(fg_scheduler *s, uint32_t known, fg_seq *seq, fg_error *err);
bool fg_scheduler_fits(const fg_scheduler *s, uint32_t tokens); // could ever run to this length, alone
void fg_scheduler_mark_drawn(fg_scheduler *s, fg_seq seq);      // fg_scheduler_admit_whole
// The first `tokens` of a sequence that was added, fewer than all, need pages but are not computed: they are
// there when it is admitted. For whoever goes through a job without computing it.
void fg_scheduler_bring(fg_scheduler *s, fg_seq seq, uint32_t tokens);

// What a sequence that shares tells of itself.
typedef struct fg_seq_text {
  const int32_t *tokens; // known ones, in their order; stay until the sequence is removed, and grow with it
  uint32_t most;         // tokens before this position can be shared
  uint64_t kind;         // texts of different kinds share nothing
} fg_seq_text;
// A sequence that was added shares from now on. It must never be begun again by fg_scheduler_restart.
void fg_scheduler_share(fg_scheduler *s, fg_seq seq, const fg_seq_text *text);
// Leaves the step that is being planned next; its pages are free at once.
void fg_scheduler_remove(fg_scheduler *s, fg_seq seq);

// Plans a step and takes its pages. No chunks: nothing is left to do. The step is valid until the next plan,
// and must be done before it.
void fg_scheduler_plan(fg_scheduler *s, fg_step *step);
// Adds up to `drafts` drafted tokens behind the last known one of a chunk that reaches it, before the step is
// put together; returns how many there is room for. While others wait, a draft takes no page; where pages are
// written once, it neither fills its page nor begins another.
uint32_t fg_scheduler_draft(fg_scheduler *s, fg_step *step, uint32_t chunk, uint32_t drafts);
// After the step, before anything is added or removed: its known tokens are computed.
void fg_scheduler_done(fg_scheduler *s, const fg_step *step);
// When all that the step gave was taken, by the pages that computed it: of pages that hold the same, one
// stays.
void fg_scheduler_settle(fg_scheduler *s, const fg_step *step);
// A token was generated for a sequence; the longer sequence must fit.
void fg_scheduler_append(fg_scheduler *s, fg_seq seq);
// The same, and it is the next one of those that were drafted: it is computed as well.
void fg_scheduler_append_drafted(fg_scheduler *s, fg_seq seq);

// What is computed of a running sequence does not hold any more: it begins again from its first token, in the
// pages it has. Not of one that shares.
void fg_scheduler_restart(fg_scheduler *s, fg_seq seq);

// ---- pages from elsewhere, between two steps
// ---------------------------------------------------------------
//
// Somebody may have kept what pages of a waiting sequence's text held. He takes pages for its next blocks and
// fills them; from then on they are as if their last owner had just left, and the sequence finds them when it
// is admitted.

// The waiting sequence behind `seq`, the first one behind FG_NO_SEQ; FG_NO_SEQ: there is none.
fg_seq fg_scheduler_next_waiting(const fg_scheduler *s, fg_seq seq);
uint32_t fg_scheduler_free_rows(const fg_scheduler *s); // more sequences that can run

uint32_t
fg_scheduler_fill_room(const fg_scheduler *s); // pages that can be filled and stay until they are wanted

// Of a waiting sequence's text: the first blocks, which pages hold, and those that it shares if pages hold
// them.
typedef struct fg_text_blocks {
  uint32_t held, most;
} fg_text_blocks;
fg_text_blocks fg_scheduler_blocks(const fg_scheduler *s, fg_seq seq); // a row is free

// Pages [held, end) of a text, which are to be filled, behind those that hold what is before.
typedef struct fg_filling {
  const uint32_t *pages; // [end]
  uint32_t held, end;
  const uint32_t *dropped; // as in fg_step
  uint32_t dropped_count;
} fg_filling;
// Takes pages for at most `count` blocks behind those that are held: no more than are kept without owner.
// Nothing else may be asked of the scheduler until they are filled.
void fg_scheduler_fill(fg_scheduler *s, fg_seq seq, uint32_t count, fg_filling *filling);
// Pages before `good` hold their blocks; those behind are free again.
void fg_scheduler_filled(fg_scheduler *s, fg_seq seq, const fg_filling *filling, uint32_t good);

// A page that others find stays as it is until it is let go. False: nobody finds it.
bool fg_scheduler_hold(fg_scheduler *s, uint32_t page);
void fg_scheduler_let_go(fg_scheduler *s, uint32_t page);
// The text that such a page ends: fg_prefix_index_text.
uint32_t fg_scheduler_text(const fg_scheduler *s, uint32_t page, int32_t *tokens, uint32_t room,
                           uint64_t *kind);

const uint32_t *fg_scheduler_pages(const fg_scheduler *s, fg_seq seq,
                                   uint32_t *count); // table, in order of position
uint32_t fg_scheduler_computed(const fg_scheduler *s, fg_seq seq);
uint32_t fg_scheduler_known(const fg_scheduler *s, fg_seq seq);
uint32_t fg_scheduler_running(const fg_scheduler *s);
uint32_t fg_scheduler_waiting(const fg_scheduler *s);
uint32_t fg_scheduler_free_pages(const fg_scheduler *s); // without owner
// Who computes some of the page's content in the step that is planned; FG_NO_SEQ: it is there.
fg_seq fg_scheduler_writer(const fg_scheduler *s, uint32_t page);
// How many of the page's first tokens are copied in that step, and from which page.
uint32_t fg_scheduler_copied(const fg_scheduler *s, uint32_t page, uint32_t *source);
uint64_t fg_scheduler_bytes(const fg_scheduler_limits *limits); // what create allocates

#endif
