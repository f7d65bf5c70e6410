// synthetic.h: models of a known shape with random weights, for benchmarks without a download.
//
// A shape is a name and the config.json that a model of it would have; the tensors follow from the graph.
// A weight's values are a function of (shape, tensor, element), so any rows can be made at any time and a
// store packed twice is the same twice. A matrix's rows are runs of a pool of half a million values with
// signs of their own: random enough for a benchmark, whose time does not depend on values, and made as fast
// as a disk takes them.
#ifndef FG_MODEL_SYNTHETIC_H
#define FG_MODEL_SYNTHETIC_H

#include "format/checkpoint.h"
#include "model/graph.h"

// The config.json of a shape, NULL if there is none of this name.
const char *fg_shape_config(const char *name);
// The i-th shape's name, NULL behind the last.
const char *fg_shape_name(uint32_t i);

// Part of a store's key: to be raised when a shape gets other values.
enum { FG_SYNTHETIC_VALUES = 2 };

// All tensors of a graph, bfloat16.
fg_status fg_synthetic_create(fg_checkpoint **out, const fg_graph *graph, const char *shape, fg_error *err);

#endif
