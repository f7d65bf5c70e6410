#include "engine/speculation.h"

#include <math.h>

static const double STEPS_KEPT = 0.99;   // weight of a step when the next is measured: some 100 of them count
static const double TRIES_KEPT = 0.9;    // the same of a row's tries
static const double MATCHES_KEPT = 0.99; // and of those of all rows
static const double RESTED = 0.97;       // a row is tried again, if little pays, after some 30 steps
static const double PRIOR_TRIES = 4;     // that a guess of a kind not seen yet is taken for
static const double ROW_PRIOR = 2;       // tries of all rows that count beside the row's own
// In tokens squared, of all steps: until their numbers of tokens vary by so much they say little of what one
// costs.
static const double SLOPE_PRIOR = 16;
static const double LEAST_SLOPE = 1.0 / 256; // of a step: drawing a token and looking one up are not free
static const double LEAST_CHANCE = 0.05;
static const double MEMORY_ROWS =
    16; // up to which products take about as long as their weights' way from memory

static const double MAKING_KEPT = 0.8; // of the seconds that a token took to make

// By the length of the match, before anything was tried; that of no match is a draft model's.
static const double PRIORS[FG_LOOKUP_LONGEST + 1] = {0.6, 0.25, 0.45, 0.6, 0.7, 0.75, 0.8, 0.8, 0.85};

void fg_speculation_begin(fg_speculation *s) {
  *s = (fg_speculation){0};
  for (uint32_t i = 0; i <= FG_LOOKUP_LONGEST; i++)
    s->matches[i] = (fg_draft_record){PRIORS[i] * PRIOR_TRIES, PRIOR_TRIES};
}

// ---- what a token costs ----------------------------------------------------------------------------------

void fg_speculation_timed(fg_speculation *s, double tokens, double seconds, double expected) {
  s->steps = STEPS_KEPT * s->steps + 1;
  s->tokens = STEPS_KEPT * s->tokens + tokens;
  s->seconds = STEPS_KEPT * s->seconds + seconds;
  s->tokens_tokens = STEPS_KEPT * s->tokens_tokens + tokens * tokens;
  s->tokens_seconds = STEPS_KEPT * s->tokens_seconds + tokens * seconds;
  s->slope = s->slope ? STEPS_KEPT * s->slope + (1 - STEPS_KEPT) * expected : expected;
}

double fg_speculation_plain_cost(double tokens, double computing) {
  return computing / fmax(tokens, MEMORY_ROWS);
}

typedef struct line {
  double tokens, seconds, slope; // through this point
} line;

static double at(const line *l, double tokens) {
  return fmax(l->seconds + l->slope * (tokens - l->tokens), l->slope * tokens);
}

// Least squares, drawn towards the expected slope as far as the steps are alike.
static line line_of(const fg_speculation *s) {
  line l = {.tokens = s->tokens / s->steps, .seconds = s->seconds / s->steps};
  const double spread = s->tokens_tokens / s->steps - l.tokens * l.tokens,
               together = s->tokens_seconds / s->steps - l.tokens * l.seconds;
  const double prior = SLOPE_PRIOR / s->steps;
  l.slope = (together + prior * s->slope) / (fmax(spread, 0) + prior);
  l.slope = fmin(fmax(l.slope, LEAST_SLOPE * l.seconds), l.seconds / l.tokens);
  return l;
}

// ---- what it is worth ------------------------------------------------------------------------------------

static void note(fg_draft_record *r, double kept, double hits, double tries) {
  r->hits = kept * r->hits + hits;
  r->tries = kept * r->tries + tries;
}

void fg_speculation_tried(fg_speculation *s, fg_draft_record *row, fg_guess guess, uint32_t right) {
  // What comes behind the first wrong token was no try.
  const double tries = right < guess.count ? right + 1.0 : right;
  note(row, TRIES_KEPT, right, tries);
  note(&s->matches[guess.match], MATCHES_KEPT, right, tries);
}

void fg_speculation_rested(fg_draft_record *row) {
  note(row, RESTED, 0, 0);
}

double fg_speculation_chance(const fg_speculation *s, const fg_draft_record *row, uint32_t match) {
  const fg_draft_record *all = &s->matches[match];
  return (row->hits + ROW_PRIOR * all->hits / all->tries) / (row->tries + ROW_PRIOR);
}

// ---- how many --------------------------------------------------------------------------------------------

bool fg_speculation_may_pay(const fg_speculation *s, uint32_t tokens) {
  if (s->steps == 0) return false;
  const line l = line_of(s);
  return at(&l, tokens) > l.slope * tokens;
}

void fg_speculation_made(fg_speculation *s, double seconds) {
  s->making = s->making ? MAKING_KEPT * s->making + (1 - MAKING_KEPT) * seconds : seconds;
}

void fg_speculation_choose(const fg_speculation *s, fg_draft_offer *offers, uint32_t count, uint32_t tokens,
                           uint32_t room) {
  for (uint32_t i = 0; i < count; i++) offers[i].taken = 0;
  if (s->steps == 0) return;
  const line l = line_of(s);
  double expected = tokens, making = 0;
  // Later tokens of a draft are worth less than earlier ones: so all first ones, then all second ones.
  for (uint32_t depth = 0; depth < FG_DRAFT_LONGEST; depth++) {
    for (uint32_t i = 0; i < count && room; i++) {
      fg_draft_offer *o = &offers[i];
      const double worth = pow(o->chance, depth + 1.0);
      if (o->taken < depth || o->guess.count <= depth || o->chance < LEAST_CHANCE) continue;
      if (worth * (at(&l, tokens) + making) <= expected * (l.slope + o->cost)) continue;
      making += o->cost;
      o->taken++;
      expected += worth;
      tokens++;
      room--;
    }
  }
}
