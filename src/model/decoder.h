// decoder.h: the graph of a decoder whose layers are attention, then feed-forward, one after the other.
//
// Which norm, which positions, which feed-forward, norms before or behind: columns of the family's row
// and numbers of its configuration.
#ifndef FG_MODEL_DECODER_H
#define FG_MODEL_DECODER_H

#include "model/arch.h"

fg_status fg_decoder_build(fg_graph *graph, const fg_config *config, fg_error *err);

#endif
