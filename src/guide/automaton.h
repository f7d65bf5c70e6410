// automaton.h: a grammar read byte by byte, deterministically.
//
// A state is the set of all places of the grammar where a reader may stand, each with the calls that it has
// to return from. States are made when they are first reached and kept, with what follows each byte, so that
// a way gone before costs one look; the ways of different answers to the same grammar are mostly the same.
// Where there is no memory for more, all may be forgotten (fg_automaton_forget); numbers of states are new
// ones from then on.
//
// Threads: one owner.
#ifndef FG_GUIDE_AUTOMATON_H
#define FG_GUIDE_AUTOMATON_H

#include "guide/grammar.h"
#include "guide/pool.h"

typedef uint32_t fg_guide_state;
enum { FG_STATE_DEAD = 0, FG_STATE_NONE = UINT32_MAX }; // nothing may follow, not even the end; no state

typedef struct fg_automaton fg_automaton;

// The grammar and the pool must outlive it.
fg_status fg_automaton_create(fg_automaton **out, const fg_grammar *grammar, fg_guide_pool *pool,
                              fg_error *err);
void fg_automaton_destroy(fg_automaton *a); // NULL is allowed
void fg_automaton_forget(fg_automaton *a);

// FG_NO_SPACE: the pool is empty. FG_UNSUPPORTED: too many places at once.
fg_status fg_automaton_start(fg_automaton *a, fg_guide_state *out, fg_error *err);
fg_status fg_automaton_step(fg_automaton *a, fg_guide_state from, uint8_t byte, fg_guide_state *out,
                            fg_error *err);
bool fg_automaton_accepts(const fg_automaton *a, fg_guide_state state); // what was read may be all
// How many bytes may follow (2: more than one); *byte: the only one.
fg_status fg_automaton_choices(fg_automaton *a, fg_guide_state state, uint32_t *count, uint8_t *byte,
                               fg_error *err);
uint32_t fg_automaton_states(const fg_automaton *a);

#endif
