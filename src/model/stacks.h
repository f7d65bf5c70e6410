// stacks.h: products whose matrix is stacked from several tensors, so that a step runs fewer and larger ones.
//
// A matrix has one type. Where the tensors of a stack have different ones (a GGUF's q and k often have fewer
// bits than its v), it is kept apart: each tensor is a matrix of its own, in its own bits. A stack is
// apart in all layers or in none. It is a fact of the checkpoint (config.h).
#ifndef FG_MODEL_STACKS_H
#define FG_MODEL_STACKS_H

#include "model/arch.h"

// The names of the slots that the stack's parts become; NULL: they are stacked.
const char *const *fg_stack_parts(const fg_config *config, const char *slot);

// The fact "apart", which is there if some stack is.
fg_status fg_stacks_gather(json_t *facts, const fg_checkpoint *checkpoint, const fg_config *config,
                           fg_error *err);
fg_status fg_stacks_apply(fg_config *config, const json_t *facts, fg_error *err);

#endif
