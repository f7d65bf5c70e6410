// pack.h: the rows of a checkpoint become the panels of a store.
//
// First a plan: for every weight of the graph, in the order of use, its tensors are found and checked, and
// its type, layout and panels are chosen. Then the plan is written, a panel at a time, through a few
// buffers that the budget pays for: a panel of plain rows, the same packed, and pieces of about a MiB where
// rows change their type or order on the way. The size of the model does not matter.
#ifndef FG_MODEL_PACK_H
#define FG_MODEL_PACK_H

#include "model/arch.h"
#include "model/model.h"

// One weight as it will be packed.
typedef struct fg_pack_item {
  fg_weight weight; // panels: how many there will be
  const fg_slot *slot;
  const fg_layout *layout; // matrices
  uint32_t panel_rows;
  uint64_t bytes;                                      // on disk, padded
  bool per_row;                                        // one scale for a whole row of codes
  const fg_calibration_item *seen;                     // its inputs; NULL: all channels count the same
  const fg_checkpoint_tensor *tensors[FG_MAX_SOURCES]; // NULL: an optional one that is absent
  const fg_checkpoint_tensor *
      *heads; // those of a vector that is stored head by head; tensors[0] is the first
  uint32_t head_count;
} fg_pack_item;

typedef struct fg_pack_plan {
  fg_pack_item *items;
  uint32_t count;
  fg_slot *slots; // of the experts
  uint32_t slot_count;
  uint64_t bytes;    // that are written
  uint64_t apparent; // the same with what layers share counted for each of them
} fg_pack_plan;

typedef struct fg_pack_source {
  const fg_graph *graph;
  const fg_names *names;
  fg_checkpoint *checkpoint; // NULL: only a configuration is known; every weight is of type `assumed`
  fg_dtype assumed;
} fg_pack_source;

// FG_NOT_FOUND and FG_INVALID name a tensor that is missing or has another shape.
fg_status fg_pack_plan_create(fg_pack_plan *out, const fg_pack_source *source,
                              const fg_model_options *options, fg_error *err);
void fg_pack_plan_free(fg_pack_plan *plan);

// Of layers of equal shape the first `kept` are written, and each of the others shares the extents of one of
// them in turn; 0: all are written. The `layers` layers of a model stand between its first and last weights.
void fg_pack_plan_alias(fg_pack_plan *plan, uint32_t layers, uint32_t kept);
// The most layers that can be kept so that the store takes no more than `room` and they no more than a size
// beyond which more of them would not make any cache colder; at least 1. Leaves the plan with them.
uint32_t fg_pack_plan_alias_into(fg_pack_plan *plan, uint32_t layers, uint64_t room);

// The largest panel: the wish, or by default a 128th of the model's matrices at 16 bits, between 512 KiB and
// 8 MiB in powers of two: a ring of a few panels then fits any budget that a model of this size is run with,
// and large models are read in pieces that keep a disk busy. A function of the graph alone, as the store is.
uint64_t fg_pack_panel_bytes(const fg_graph *graph, uint64_t wish);

// Rows of a panel of this matrix: panels of nearly equal size, none above panel_bytes if a single block of
// rows is not; whole segments where the matrix has some, at least one.
uint32_t fg_pack_panel_rows(const fg_layout *layout, const fg_weight *weight, uint64_t panel_bytes);

// Bytes on disk of one weight with such panels, padded.
uint64_t fg_pack_weight_bytes(const fg_weight *weight, const fg_layout *layout, uint32_t panel_rows);

// Writes all weights. *content is a hash of their names, types and rows, whatever the layout.
fg_status fg_pack_write(const fg_pack_plan *plan, const fg_pack_source *source,
                        const fg_model_options *options, fg_store_writer *writer, uint64_t *content,
                        fg_error *err);

#endif
