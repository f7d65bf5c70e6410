// model.h: from what a user names to something the engine can run.
//
// MODEL is a Hugging Face folder, a .gguf file, a packed store, or a shape name with `synthetic`. Opening
// reads its configuration, finds its architecture (a row of the table in arch.c), builds the graph, and
// finds or makes the packed store in the offload dir. The table's row and, where a family needs one, a
// small builder are all that a new architecture adds.
#ifndef FG_MODEL_MODEL_H
#define FG_MODEL_MODEL_H

#include <stdbool.h>

#include "base/budget.h"
#include "base/log.h"
#include "base/reasons.h"
#include "base/threads.h"
#include "format/assets.h"
#include "format/store.h"
#include "kernels/layout.h"
#include "model/calibration.h"
#include "model/graph.h"
#include "model/weight_type.h"

typedef struct fg_model_options {
  const char *model; // path or shape name
  bool synthetic;
  // Of a synthetic model: how many layers of each shape are written, while the others share their extents
  // (pack.h); 0 = all of them, or as many as fit where the disk has less than 1.2 times the store free.
  uint32_t alias_layers;
  const char *adapter; // folder of a LoRA adapter that is merged while packing; NULL = none
  const char *offload_dir;
  const fg_layout_family *family; // of the device that will read the store; inspect: NULL = plain
  fg_weight_wish weights;
  const fg_calibration *calibration; // codes of 4 bits are rounded by it; NULL = all inputs count the same
  uint64_t store_cap;                // bytes, 0 = none
  uint64_t panel_bytes;              // largest panel; 0 = by the size of the model (pack.h)
  fg_io *io;                         // inspect: NULL = read no weights' headers
  fg_budget *host;
  fg_threads *threads; // may be NULL
  const fg_log *log;
  // Called while packing; returning false interrupts (FG_CANCELLED). May be NULL.
  bool (*progress)(void *user, uint64_t bytes_done, uint64_t bytes_total);
  void *user;
  fg_reasons *reasons; // inspect: all that speaks against the model; NULL = the first of it will do
} fg_model_options;

enum { FG_MAX_EOS = 16 };

typedef struct fg_model {
  fg_assets assets;
  fg_graph *graph;
  fg_store *store;          // NULL after fg_model_inspect, and perhaps after fg_model_look
  char *name;               // for people and for `model` in responses
  const char *architecture; // the table row's name
  uint32_t max_positions;   // context of the model, 0 = unlimited
  int32_t eos[FG_MAX_EOS];  // generation_config over config over tokenizer; first is the primary
  uint32_t eos_count;
  int32_t bos;         // -1 = none
  uint64_t parameters; // values in matrices and vectors; a tied head counts once
  char *fingerprint;   // of weights, configuration and tokenizer, for journals; NULL without a store
  fg_weight *weights;  // as packed, or as they would be
  uint32_t weight_count;
} fg_model;

// Opens and packs if no fitting store is there. While another process packs the same model, waits for it.
fg_status fg_model_open(fg_model **out, const fg_model_options *options, fg_error *err);
// The same, but nothing is packed or written: where no fitting store is there, model->store is NULL.
fg_status fg_model_look(fg_model **out, const fg_model_options *options, fg_error *err);
// Configuration, graph and assets only; nothing is packed or written. For `inspect` and planning. With a list
// of reasons, a failure that added to it is of the first of them.
fg_status fg_model_inspect(fg_model **out, const fg_model_options *options, fg_error *err);
void fg_model_close(fg_model *model);

// Bytes on disk of all weights as packed, or as they would be for options' family and panels.
uint64_t fg_model_weight_bytes(const fg_model *model, const fg_model_options *options);
// A store as packing would make it, without a file; fg_store_close frees it.
fg_status fg_model_expected_store(fg_store **out, const fg_model *model, const fg_model_options *options,
                                  fg_error *err);
// Bytes as above by type. // out: [FG_DTYPE_COUNT]
void fg_model_type_bytes(const fg_model *model, const fg_model_options *options, uint64_t *out);

#endif
