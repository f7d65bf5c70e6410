// layer_pass.h: a step whose sequences begin and end in it, layer by layer over batches of their rows.
//
// Nobody asks for the keys and values of such sequences again once their layer is computed. So all layers use
// the same cache memory, and a step may take as many tokens as find room otherwise: its weights are read once
// for all of them. The rows are cut into *batches* of whole sequences. Of all rows the residual stream is
// kept (hidden_state.h), which is what one layer leaves to the next; of a batch all the other registers, and
// its pages, which are numbered from 0 on in each. A layer's panels stay acquired while its batches are gone
// through.
//
// At the end each batch keeps of its rows what the head multiplies, for those that were selected, and the
// head goes over these panel by panel.
//
// Threads: one owner, the executor.
#ifndef FG_ENGINE_LAYER_PASS_H
#define FG_ENGINE_LAYER_PASS_H

#include "engine/executor_state.h"

// Whether a graph can run so: its layers leave nothing to the next one but register 0, and what the head
// multiplies has room there. If not, `why` says it.
bool fg_layer_pass_possible(const fg_graph *graph, const char **why);
// Adds what it charges to the numbers of a plan (fg_pass_costs), where it is possible.
void fg_layer_pass_costs(const fg_graph *graph, const fg_store *store, struct fg_plan_input *plan);

// For the executor's policy, which is one of layer passes.
fg_status fg_layer_pass_create(fg_layer_pass **out, const fg_executor_options *options, fg_error *err);
void fg_layer_pass_destroy(fg_layer_pass *pass); // NULL is allowed

void fg_layer_pass_begin(fg_layer_pass *pass);
// A sequence, all of it. *number: of its chunk in its batch; *row: first row of the batch. The numbers of its
// pages are written to `table`.
fg_status fg_layer_pass_add(fg_layer_pass *pass, const fg_kv_chunk *chunk, int32_t *table, uint32_t *number,
                            uint32_t *row, fg_error *err);
// A row of the sequence that was added last is selected. Returns the first row of its batch.
uint32_t fg_layer_pass_select(fg_layer_pass *pass);

fg_status fg_layer_pass_run(fg_layer_pass *pass, fg_executor *x, fg_logits_fn *logits, void *user,
                            fg_error *err);

fg_hidden_counts fg_layer_pass_counts(const fg_layer_pass *pass);

#endif
