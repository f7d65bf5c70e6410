// speculation.h: how many tokens it pays to guess. Pure: figures in, numbers out.
//
// A step whose time goes by what it reads has room for more rows: a decoding row may bring, beside its
// missing token, tokens that were *drafted* for the positions behind it. Each position's token is drawn as
// ever; as far as it is the drafted one, the next position was computed rightly, and counts. What a draft
// changes is time.
//
// So a drafted token is worth its chance of being right, and costs what one row more costs the step. Both are
// learned: the chance from what became of earlier drafts, of the row and of guesses as good as this one
// (lookup.h); the cost from the times of the steps so far, as a line over their tokens, which begins at what
// the profile of the machine or else the first steps say. Tokens are drafted as long as each makes the step's
// tokens a second more. Where computing bounds the step, a row more costs as much as it can give, and none is
// drafted.
#ifndef FG_ENGINE_SPECULATION_H
#define FG_ENGINE_SPECULATION_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/lookup.h"

enum { FG_DRAFT_LONGEST = 16 }; // tokens that are drafted for a row in a step, at most

// Of drafted tokens, those that were right, recent ones first.
typedef struct fg_draft_record {
  double hits, tries;
} fg_draft_record;

typedef struct fg_speculation {
  fg_draft_record matches[FG_LOOKUP_LONGEST + 1]; // of all rows, by the length of the match
  // Over the steps that decode and do nothing else, recent ones first.
  double steps, tokens, seconds;        // sums
  double tokens_tokens, tokens_seconds; // of products
  double slope;                         // seconds of one token more, where steps do not tell
  double making;                        // seconds of making a token by a draft model, of late
} fg_speculation;

void fg_speculation_begin(fg_speculation *s);

// A step of `tokens` was measured. expected: seconds that one token more is expected to take in such a step.
void fg_speculation_timed(fg_speculation *s, double tokens, double seconds, double expected);
// What one token more takes where the machine was not measured: a step of few tokens reads its weights from
// memory and takes `computing` seconds with any number up to some 16.
double fg_speculation_plain_cost(double tokens, double computing);

// A row's draft was tried: the first `right` of its `count` tokens were.
void fg_speculation_tried(fg_speculation *s, fg_draft_record *row, fg_guess guess, uint32_t right);
// A step passed without a draft for the row: what is known of it grows old.
void fg_speculation_rested(fg_draft_record *row);
// That a drafted token is right if those before it are.
double fg_speculation_chance(const fg_speculation *s, const fg_draft_record *row, uint32_t match);

// What a row has to offer, and what is taken of it.
typedef struct fg_draft_offer {
  uint32_t chunk; // of the step
  double cost;    // seconds that making a token of it takes; 0 of what was looked up
  fg_guess guess;
  double chance;
  uint32_t taken;
} fg_draft_offer;

// Whether any draft can pay in a step of `tokens` decoding rows.
bool fg_speculation_may_pay(const fg_speculation *s, uint32_t tokens);
// A drafted token of those that cost something to make took so long.
void fg_speculation_made(fg_speculation *s, double seconds);
// Sets `taken` of each, `room` tokens in all, in a step of `tokens` decoding rows.
void fg_speculation_choose(const fg_speculation *s, fg_draft_offer *offers, uint32_t count, uint32_t tokens,
                           uint32_t room);

#endif
