#include "text/pretokenizer.h"

#include <string.h>

#include "text/unicode.h"
#include "text/vocabulary.h"

typedef struct run {
  const fg_pretokenizer *pretokenizer;
  fg_pretoken_work *work;
  fg_pretoken_sink *sink;
  void *user;
  fg_error *err;
} run;

static fg_status run_step(const run *r, size_t index, fg_piece piece);

// ---- changes ------------------------------------------------------------------------------------------

void fg_change_prefix_space(const fg_pretoken_step *step, fg_piece piece, fg_text *out) {
  (void)step;
  if (piece.text[0] != ' ') fg_text_append(out, " ", 1);
  fg_text_append(out, piece.text, piece.length);
}

void fg_change_metaspace(const fg_pretoken_step *step, fg_piece piece, fg_text *out) {
  size_t mark = strlen(step->replacement);
  bool marked =
      piece.text[0] == ' ' || (piece.length >= mark && memcmp(piece.text, step->replacement, mark) == 0);
  bool wanted = step->prepend == FG_PREPEND_ALWAYS || (step->prepend == FG_PREPEND_FIRST && piece.at_start);
  if (wanted && !marked) fg_text_append(out, step->replacement, mark);
  for (size_t i = 0; i < piece.length; i++) {
    if (piece.text[i] == ' ') {
      fg_text_append(out, step->replacement, mark);
    } else {
      fg_text_append(out, piece.text + i, 1);
    }
  }
}

void fg_change_spell_bytes(const fg_pretoken_step *step, fg_piece piece, fg_text *out) {
  (void)step;
  fg_bytes_to_text(piece.text, piece.length, out);
}

static fg_status change(const run *r, size_t index, fg_piece piece) {
  const fg_pretoken_step *step = &r->pretokenizer->steps[index];
  fg_text *out = &r->work->changed[index];
  fg_text_clear(out);
  step->change(step, piece, out);
  if (fg_text_failed(out))
    return fg_fail(r->err, FG_NO_SPACE, "out of memory for splitting %zu bytes", piece.length);
  return run_step(r, index + 1, (fg_piece){out->data, out->length, piece.at_start});
}

// ---- splits -------------------------------------------------------------------------------------------

// Matches and the gaps between them come in from the left; the last part is held back until it is sure
// that nothing joins it.
typedef struct splitter {
  const run *run;
  size_t next_step;
  fg_piece piece;
  const fg_pretoken_step *step;
  size_t begin, end; // held
  bool holding, last_was_match;
} splitter;

static fg_status release(splitter *s) {
  if (!s->holding) return FG_OK;
  s->holding = false;
  if (s->begin == s->end) return FG_OK;
  fg_piece part = {s->piece.text + s->begin, s->end - s->begin, s->piece.at_start && s->begin == 0};
  return run_step(s->run, s->next_step, part);
}

static bool joins(const splitter *s, bool match) {
  switch (s->step->behavior) {
  case FG_SPLIT_CONTIGUOUS: return match == s->last_was_match;
  case FG_SPLIT_MERGED_WITH_PREVIOUS: return match && !s->last_was_match;
  case FG_SPLIT_MERGED_WITH_NEXT: return !match && s->last_was_match;
  default: return false;
  }
}

static fg_status part(splitter *s, size_t begin, size_t end, bool match) {
  match = match != s->step->invert;
  fg_status status = FG_OK;
  if (s->holding && joins(s, match)) {
    s->end = end;
  } else {
    status = release(s);
    s->holding = !(match && s->step->behavior == FG_SPLIT_REMOVED);
    s->begin = begin;
    s->end = end;
  }
  s->last_was_match = match;
  return status;
}

// A matcher that finds isolated matches one behind the other needs none of the above.
static fg_status split_by_matcher(const run *r, size_t index, fg_piece piece) {
  fg_matcher *matcher = r->pretokenizer->steps[index].pattern.matcher;
  fg_status status = FG_OK;
  for (size_t at = 0, gap = 0; gap < piece.length && status == FG_OK;) {
    size_t end = at < piece.length ? matcher(piece.text, piece.length, at) : at;
    if (end == at && at < piece.length) {
      at += fg_utf8_length(piece.text[at]);
      continue;
    }
    if (at > gap)
      status = run_step(r, index + 1, (fg_piece){piece.text + gap, at - gap, piece.at_start && gap == 0});
    if (end > at && status == FG_OK) {
      status = run_step(r, index + 1, (fg_piece){piece.text + at, end - at, piece.at_start && at == 0});
    }
    at = gap = end;
  }
  return status;
}

static fg_status split(const run *r, size_t index, fg_piece piece) {
  const fg_pretoken_step *step = &r->pretokenizer->steps[index];
  if (step->pattern.matcher && step->behavior == FG_SPLIT_ISOLATED) return split_by_matcher(r, index, piece);
  splitter s = {.run = r, .next_step = index + 1, .piece = piece, .step = step};
  fg_pattern_walk walk = fg_pattern_start(&step->pattern, r->work->regex, piece.text, piece.length);
  size_t done = 0;
  for (;;) {
    bool found;
    fg_status status = fg_pattern_next(&walk, &found, r->err);
    if (status == FG_OK && !found) break;
    if (status == FG_OK && walk.begin > done) status = part(&s, done, walk.begin, false);
    if (status == FG_OK) status = part(&s, walk.begin, walk.end, true);
    if (status) return status;
    done = walk.end;
  }
  fg_status status = done < piece.length ? part(&s, done, piece.length, false) : FG_OK;
  return status ? status : release(&s);
}

static fg_status run_step(const run *r, size_t index, fg_piece piece) {
  if (index == r->pretokenizer->count) return r->sink(r->user, piece.text, piece.length, r->err);
  return r->pretokenizer->steps[index].change ? change(r, index, piece) : split(r, index, piece);
}

fg_status fg_pretokenize(const fg_pretokenizer *pretokenizer, fg_pretoken_work *work, fg_piece piece,
                         fg_pretoken_sink *sink, void *user, fg_error *err) {
  if (piece.length == 0) return FG_OK;
  run r = {pretokenizer, work, sink, user, err};
  return run_step(&r, 0, piece);
}
