// packed.h: the store that belongs to a model: found in the offload dir, or made there.
//
// Processes that want the same store at the same time make it once: one packs, the others wait for it.
#ifndef FG_MODEL_PACKED_H
#define FG_MODEL_PACKED_H

#include "model/pack.h"

// In a store's assets: the hash of all rows as they were before they were laid out for a device.
#define FG_ASSET_CONTENT "content-hash"

typedef struct fg_packed_job {
  const fg_pack_source *source;
  fg_pack_plan *plan; // layers of it may come to share extents, where the disk is small
  fg_assets *assets;  // go into the store; FG_ASSET_CONTENT is added
  const fg_model_options *options;
} fg_packed_job;

fg_status fg_packed_open(fg_store **out, const fg_packed_job *job, fg_error *err);
// The same of one that is there already; *out NULL: there is none.
fg_status fg_packed_find(fg_store **out, const fg_packed_job *job, fg_error *err);

// Whether every weight of the graph is there, in the form that the family's kernels read. FG_CORRUPT.
fg_status fg_packed_check(const fg_store *store, const fg_graph *graph, const fg_layout_family *family,
                          fg_error *err);

#endif
