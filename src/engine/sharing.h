// sharing.h: how an engine's requests share the pages of what they have in common.
//
// The scheduler finds pages by tokens; here is decided what of a request may be shared and what a request
// that shares hears of tokens it does not compute. Keys and values of a token are a function of the text up
// to it, but for what depends on the request as well: with some rotary scalings the length of the prompt,
// with sparse attention whether a token was given or generated.
//
// For steps of an open runner; all functions take the engine.
#ifndef FG_ENGINE_SHARING_H
#define FG_ENGINE_SHARING_H

#include "engine/engine_state.h"

// Host memory for each page of the KV cache, as the plan counts it, with notes on the engine's requests.
uint64_t fg_sharing_page_bytes(const fg_engine *engine);

// Sets the limits' part of sharing, and reserves its memory; off where the user does not want it, or that
// memory is not left.
void fg_sharing_open(fg_engine *engine, fg_scheduler_limits *limits);
void fg_sharing_close(fg_engine *engine);

// Of a request's text, as the scheduler hears it. False: it shares nothing.
bool fg_sharing_kind(const fg_engine *engine, const fg_request *request, uint64_t *kind);
// Whether texts of the kind want the log-probabilities of all tokens, which stand in their pages' notes.
bool fg_sharing_kind_is_noted(uint64_t kind);
// Blocks of the request's text that pages of its kind can stand for if nothing but what such a kind needs is
// noted of them, and positions before `reported` are told or not wanted.
uint32_t fg_sharing_unnoted_blocks(const fg_engine *engine, const fg_request *request, uint32_t reported);

// A sequence that was just added to the scheduler.
void fg_sharing_tell(fg_engine *engine, const fg_sequence *sequence);
// The step that was planned is put together.
void fg_sharing_begin_step(fg_engine *engine, const fg_step *step);
// A step's chunks in their order: takes over what is noted of tokens that the chunk's page got from another
// one, where the sequence's own notes follow upon it or it makes none, and reports what is noted of prompt
// tokens before the chunk that the sequence does not compute. FG_INTERNAL: the scheduler shared what it may
// not.
fg_status fg_sharing_report(fg_engine *engine, fg_sequence *sequence, const fg_chunk *chunk, fg_error *err);
// The token behind a prompt position was scored; for those that will share it.
void fg_sharing_note(fg_engine *engine, const fg_sequence *sequence, uint32_t position,
                     const fg_token_info *info);

#endif
