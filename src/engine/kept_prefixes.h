// kept_prefixes.h: beginnings of prompts that an engine keeps for jobs to come, and finds again.
//
// The engine shares pages of the KV cache among the rows of a job (sharing.h). Here they go beyond it: pages
// that a second row has found are written to a folder (format/prefix_folder.h) after the step in which it
// did, where the user wants it those of all prompts; and before a step is planned the texts of waiting rows
// are looked for there, and what is found is put into free pages, as if a row that has ended had left them.
// The scheduler shares them like any others.
//
// A page counts only with its identity: a line of words that names all that changes a bit of keys and values
// (weights and configuration by their checksums, arithmetic, form of the cache, device, kernels, CPU,
// version). So results are the same bits with and without. What a text's kind means is sharing.h's business;
// pages of rows that want the log-probabilities of their whole prompt are kept with what is noted of it.
//
// For steps of an open engine; all functions take it, and do nothing where its user named no folder.
#ifndef FG_ENGINE_KEPT_PREFIXES_H
#define FG_ENGINE_KEPT_PREFIXES_H

#include "engine/engine_state.h"
#include "format/prefix_folder.h"

typedef struct fg_kept_prefixes fg_kept_prefixes;

// After the model is open, before memory is planned: takes its buffers from the host budget. plan_only: the
// folder is looked at, and stays as it is.
fg_status fg_kept_prefixes_open(fg_engine *engine, bool plan_only, fg_error *err);
void fg_kept_prefixes_close(fg_engine *engine);

// Of the first tokens of a request's prompt, those that are kept, in whole pages. The folder's list of names
// says so: it is not read.
uint32_t fg_kept_prefixes_tokens(const fg_engine *engine, const fg_request *request);
// Host memory for each page of the KV cache, as the plan counts it.
uint64_t fg_kept_prefixes_page_bytes(const fg_engine *engine);
// A runner of so many pages is opened, or closed.
void fg_kept_prefixes_open_runner(fg_engine *engine, uint32_t pages);
void fg_kept_prefixes_close_runner(fg_engine *engine);

// ---- a step ---------------------------------------------------------------------------------------------

// Before it is planned: puts what is kept of waiting rows' texts into pages.
void fg_kept_prefixes_load(fg_engine *engine);
// It is planned.
void fg_kept_prefixes_begin_step(fg_engine *engine, const fg_step *step);
// It has run, and what its rows share is not counted yet: holds what is worth keeping.
void fg_kept_prefixes_hold(fg_engine *engine, const fg_step *step);
// Its results are delivered: writes what is held, and lets it go.
void fg_kept_prefixes_save(fg_engine *engine);

// ---- figures --------------------------------------------------------------------------------------------

fg_prefix_counts fg_kept_prefixes_counts(const fg_engine *engine); // all 0 without a folder
double fg_kept_prefixes_seconds(const fg_engine *engine);          // of reading and writing, beside the steps

#endif
