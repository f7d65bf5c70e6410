// guided.h: sequences whose answers must have a certain form.
//
// Of what a guide leaves no choice about (guide/guide.h), nothing is drawn: those tokens are known as soon as
// they come next, and a step computes them as it does a prompt's, all at once. A token that ends the answer
// needs no computing at all; only where its log-probability is wanted it is drawn, from its set of one.
//
// A sequence whose guide fails (no memory, no token in the vocabulary) ends with that error; the others go
// on.
#ifndef FG_ENGINE_GUIDED_H
#define FG_ENGINE_GUIDED_H

#include "engine/engine_state.h"

void fg_guided_free(fg_sequence *sequence);
// Appends the token that comes next without a draw; false: none does. sequence->complete: it is the last one.
bool fg_guided_force(const fg_engine *engine, fg_sequence *sequence);
// The last known token was drawn, and the answer goes on.
void fg_guided_advance(fg_sequence *sequence);
// What may come behind the first `drafted` of the tokens that are drafted for the sequence.
void fg_guided_allowed(const fg_engine *engine, fg_sequence *sequence, uint32_t drafted, uint64_t *bits);
// How many of the `count` tokens behind the known ones the guide takes.
uint32_t fg_guided_prefix(fg_sequence *sequence, uint32_t count);

#endif
