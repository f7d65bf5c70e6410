// store_file.h: the bytes of a packed store, shared by its reader, its writer and the listing.
//
// A store is head | panels | assets | manifest, each piece beginning at a multiple of 4096
// (docs/store.md). The head says where the manifest is and carries hashes of both, so whoever has
// parsed the two knows that nothing of them was changed by accident; every number in them is
// checked all the same.
#ifndef FG_FORMAT_STORE_FILE_H
#define FG_FORMAT_STORE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "format/store.h"

#define FG_STORE_MAGIC      "FGSTORE" // with its NUL: eight bytes
#define FG_STORE_SUFFIX     ".fgstore"
#define FG_STORE_TMP_SUFFIX ".tmp"

enum { FG_STORE_HEAD_BYTES = 4096 };

typedef struct fg_store_head {
  char magic[8];
  uint32_t version, zero;
  uint64_t manifest_offset, manifest_bytes, manifest_hash;
  uint64_t head_hash; // of all bytes before it
} fg_store_head;

// Where an asset stands in the file.
typedef struct fg_store_asset {
  char *name;
  uint64_t offset, bytes, hash;
} fg_store_asset;

// What a manifest holds; the arrays and strings are owned by whoever holds this.
typedef struct fg_store_manifest {
  fg_weight *weights;
  uint32_t weight_count;
  fg_panel *panels;
  uint32_t panel_count;
  fg_store_asset *assets;
  uint32_t asset_count;
  char *source, *target, *origin;
} fg_store_manifest;

void fg_store_manifest_free(fg_store_manifest *manifest);

// Bytes of panels, padded: of all, or of those that are no weight's but their own.
uint64_t fg_store_panel_bytes(const fg_weight *weights, uint32_t count, const fg_panel *panels, bool own);
// Layers with a weight that shares another one's extents.
uint32_t fg_store_count_aliased(const fg_weight *weights, uint32_t count);
// Whether `w` can share the extents of `of`: the same shape, type and layout, and `of` has its own.
bool fg_store_may_share(const fg_weight *w, const fg_weight *of);

// The manifest as JSON text, malloc'd; NULL when memory is short.
char *fg_store_manifest_render(const fg_store_manifest *manifest, size_t *bytes);
// Parses and checks: after FG_OK panels and assets lie one after the other in [4096, data_end), their
// sizes fit their shapes, rows are covered without a gap, and names are unique.
fg_status fg_store_manifest_parse(fg_store_manifest *out, const char *text, size_t bytes, uint64_t data_end,
                                  const char *where, fg_error *err);

// Reads and checks head and manifest of an open file of `size` bytes.
fg_status fg_store_manifest_read(fg_store_manifest *out, int fd, uint64_t size, const char *where,
                                 fg_error *err);
// Reads a range into a malloc'd block aligned for direct access; a NUL follows the bytes.
fg_status fg_store_read_range(int fd, uint64_t offset, uint64_t bytes, const char *where, void **out,
                              fg_error *err);

#endif
