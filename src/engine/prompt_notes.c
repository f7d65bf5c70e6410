#include "engine/prompt_notes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct note {
  int32_t token;
  float logprob;
  uint32_t rank, top_count;
  fg_candidate top[]; // [shape.top]
} note;

typedef struct page_notes {
  uint32_t first, end, top; // positions; candidates that were asked for there
} page_notes;

struct fg_prompt_notes {
  fg_budget *budget;
  fg_notes_shape shape;
  page_notes *pages; // [pages]
  char *notes;       // [pages, page_tokens] of note_bytes
};

static uint64_t note_bytes(fg_notes_shape shape) {
  return sizeof(note) + shape.top * sizeof(fg_candidate);
}

uint64_t fg_prompt_notes_page_bytes(fg_notes_shape shape) {
  return sizeof(page_notes) + shape.page_tokens * note_bytes(shape);
}

fg_status fg_prompt_notes_create(fg_prompt_notes **out, uint32_t pages, fg_notes_shape shape,
                                 fg_budget *budget, fg_error *err) {
  *out = NULL;
  fg_prompt_notes *n = calloc(1, sizeof *n);
  if (!n) return fg_fail(err, FG_NO_SPACE, "no memory for notes on prompts");
  n->budget = budget;
  n->shape = shape;
  static const char what[] = "log-probabilities of prompts that are shared";
  fg_status status = fg_budget_alloc(budget, pages * sizeof *n->pages, what, (void **)&n->pages, err);
  if (status == FG_OK)
    status = fg_budget_alloc(budget, (uint64_t)pages * shape.page_tokens * note_bytes(shape), what,
                             (void **)&n->notes, err);
  if (status != FG_OK) {
    fg_prompt_notes_destroy(n);
    return status;
  }
  *out = n;
  return FG_OK;
}

void fg_prompt_notes_destroy(fg_prompt_notes *n) {
  if (!n) return;
  fg_budget_free(n->budget, n->pages);
  fg_budget_free(n->budget, n->notes);
  free(n);
}

static note *note_at(const fg_prompt_notes *n, fg_note_place at) {
  const uint64_t number = (uint64_t)at.page * n->shape.page_tokens + at.offset;
  return (note *)(n->notes + number * note_bytes(n->shape));
}

void fg_prompt_notes_begin(fg_prompt_notes *n, uint32_t page) {
  n->pages[page] = (page_notes){0};
}

void fg_prompt_notes_put(fg_prompt_notes *n, fg_note_place at, const fg_token_info *info) {
  page_notes *p = &n->pages[at.page];
  if (at.top > n->shape.top) return;
  if (p->first == p->end) *p = (page_notes){at.offset, at.offset, at.top};
  if (at.offset != p->end || at.top != p->top) return;
  note *to = note_at(n, at);
  *to = (note){
      .token = info->token, .logprob = info->logprob, .rank = info->rank, .top_count = info->top_count};
  if (info->top_count) memcpy(to->top, info->top, info->top_count * sizeof *to->top);
  p->end++;
}

void fg_prompt_notes_copy(fg_prompt_notes *n, uint32_t from, uint32_t to, uint32_t count) {
  page_notes p = n->pages[from];
  if (p.end > count) p.end = count;
  if (p.first > p.end) p.first = p.end;
  n->pages[to] = p;
  memcpy(note_at(n, (fg_note_place){.page = to, .offset = p.first}),
         note_at(n, (fg_note_place){.page = from, .offset = p.first}),
         (p.end - p.first) * note_bytes(n->shape));
}

bool fg_prompt_notes_get(const fg_prompt_notes *n, fg_note_place at, int32_t token, fg_token_info *info) {
  const page_notes *p = &n->pages[at.page];
  if (at.offset < p->first || at.offset >= p->end || at.top != p->top) return false;
  const note *from = note_at(n, at);
  if (from->token != token) return false;
  *info = (fg_token_info){.token = from->token,
                          .logprob = from->logprob,
                          .rank = from->rank,
                          .top = from->top_count ? from->top : NULL,
                          .top_count = from->top_count};
  return true;
}

fg_prefix_notes fg_prompt_notes_of(const fg_prompt_notes *n, uint32_t page, fg_prefix_note *room) {
  const page_notes *p = &n->pages[page];
  fg_prefix_notes kept = {.notes = room, .top = p->top};
  if (p->first || p->top > FG_PREFIX_NOTE_TOP) return (fg_prefix_notes){0};
  for (; kept.count < p->end; kept.count++) {
    const note *from = note_at(n, (fg_note_place){.page = page, .offset = kept.count});
    fg_prefix_note *to = &room[kept.count];
    *to = (fg_prefix_note){from->token, from->logprob, from->rank, from->top_count, {{0}}};
    memcpy(to->top, from->top, from->top_count * sizeof *to->top);
  }
  return kept;
}

void fg_prompt_notes_fill(fg_prompt_notes *n, uint32_t page, const fg_prefix_notes *kept) {
  fg_prompt_notes_begin(n, page);
  for (uint32_t i = 0; i < kept->count; i++) {
    const fg_prefix_note *from = &kept->notes[i];
    const fg_token_info info = {.token = from->token,
                                .logprob = from->logprob,
                                .rank = from->rank,
                                .top = from->top,
                                .top_count = from->top_count};
    fg_prompt_notes_put(n, (fg_note_place){page, i, kept->top}, &info);
  }
}
