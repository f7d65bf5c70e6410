// draft.h: how an engine's rows bring tokens that were guessed.
//
// In a step in which every row decodes, the rows' texts are looked up for what may come next (lookup.h), or a
// small model is asked (draft_model.h), as
// much of it is taken as pays (speculation.h) and has room, and written behind the row's known tokens. The
// step computes and draws all of these positions as if the guess were right, with the random number, the
// penalties and the ends that each position has: what is drawn as far as the guess agrees is what steps of
// one token would have drawn. A step with prompts has other work for what room it has, and is left alone.
//
// For steps of an open runner; all functions take the engine.
#ifndef FG_ENGINE_DRAFT_H
#define FG_ENGINE_DRAFT_H

#include "engine/engine_state.h"

// Draws of a step beyond one for each sequence, for which there is memory.
uint32_t fg_draft_room(const fg_engine *engine);

// Drafts for the step that was just planned. Sets the draft of each sequence in it; the caller ends it.
void fg_draft_plan(fg_engine *engine, fg_step *step);
// Of a sequence's draft, so many tokens were right.
void fg_draft_end(fg_engine *engine, fg_sequence *sequence, uint32_t right);

// How long a step took, and for how much of that it waited for reads.
typedef struct fg_draft_time {
  double seconds, waited;
} fg_draft_time;

// The step is over, its sequences may be gone.
void fg_draft_end_step(fg_engine *engine, const fg_step *step, fg_draft_time time, const fg_step_work *work,
                       const fg_step_pages *pages);

#endif
