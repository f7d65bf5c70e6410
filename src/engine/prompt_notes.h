// prompt_notes.h: what the model said of a prompt's tokens, kept with the pages of the KV cache that hold
// them.
//
// A sequence that shares pages does not compute their tokens, so it has no logits there. Where it wants the
// log-probabilities of its prompt all the same, they are those that the page's writer was told. A note stands
// at the position that gave the logits and is of the token behind it, which of a page's last position is in
// another page: so it names its token, and holds for that one alone. All notes have room for as many
// candidates as the job's requests are expected to want with a token, each 8 bytes; of requests for more
// nothing is noted, so they compute what they score.
#ifndef FG_ENGINE_PROMPT_NOTES_H
#define FG_ENGINE_PROMPT_NOTES_H

#include "base/budget.h"
#include "flexgen/engine.h"
#include "format/prefix_page.h"

typedef struct fg_prompt_notes fg_prompt_notes;

// Candidates for which there is always room. Five is what OpenAI's API knows.
enum { FG_NOTED_TOP = 5 };

// What is kept of each page: tokens, and candidates with each at most.
typedef struct fg_notes_shape {
  uint32_t page_tokens, top;
} fg_notes_shape;

fg_status fg_prompt_notes_create(fg_prompt_notes **out, uint32_t pages, fg_notes_shape shape,
                                 fg_budget *budget, fg_error *err);
void fg_prompt_notes_destroy(fg_prompt_notes *notes);      // NULL is allowed
uint64_t fg_prompt_notes_page_bytes(fg_notes_shape shape); // of each page, charged to the budget

// Position `offset` of a page, and what was asked there: candidates with each token.
typedef struct fg_note_place {
  uint32_t page, offset, top;
} fg_note_place;

// The page is written from its first token on: what was noted of it is of another text.
void fg_prompt_notes_begin(fg_prompt_notes *notes, uint32_t page);
// Positions come in their order, from any of the page on; one that does not follow those that are there is
// not kept.
void fg_prompt_notes_put(fg_prompt_notes *notes, fg_note_place at, const fg_token_info *info);
// What is noted of the first `count` positions of a page is noted of those of another one, which was begun.
void fg_prompt_notes_copy(fg_prompt_notes *notes, uint32_t from, uint32_t to, uint32_t count);
// What is noted of `token` behind the position; NULL: nothing, or not with so many candidates. info->top
// stays until the page begins anew.
bool fg_prompt_notes_get(const fg_prompt_notes *notes, fg_note_place at, int32_t token, fg_token_info *info);

// What is noted of a page from its first position on, in the form in which it is kept: `room` has one for
// each token of a page. None where more candidates were asked for than are kept.
fg_prefix_notes fg_prompt_notes_of(const fg_prompt_notes *notes, uint32_t page, fg_prefix_note *room);
// The page holds what was kept, and this was noted of it.
void fg_prompt_notes_fill(fg_prompt_notes *notes, uint32_t page, const fg_prefix_notes *kept);

#endif
