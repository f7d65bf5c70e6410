// store.h: the packed store, one file that holds a model in the form that a device's kernels read.
//
// A checkpoint is packed once. A store holds *weights* in the order in which a step uses them; a
// matrix is cut into *panels* (blocks of output rows), each a 4096-aligned extent in a named layout
// (kernels/layout.h), so that a panel is one direct read and is used as it comes from the disk. The
// layers of a model are contiguous. Small vectors are panels of one piece. Token and position tables
// are plain rows (kind TABLE), so that single rows can be gathered. Beside them: the model's assets,
// what the store was made from, and a checksum of every panel.
//
// File: a 4096-byte head (magic, version, place and hash of the manifest), panels, the manifest
// (JSON) at the end. It is written under a temporary name and renamed when whole; a reader sees a
// whole store or none. docs/store.md has the format. Open stores hold a shared lock, packing and
// clearing an exclusive one.
//
// A weight may share the extents of an earlier one of its shape. That is how a synthetic model that is
// larger than the disk is read as if it were there: every layer moves its bytes, though they are not its own.
#ifndef FG_FORMAT_STORE_H
#define FG_FORMAT_STORE_H

#include <stdbool.h>

#include "flexgen/error.h"
#include "format/assets.h"
#include "io/io.h"
#include "tensor/dtype.h"

// A store in which weights share extents says version 2, so that a program that does not know them refuses
// it.
enum { FG_STORE_VERSION = 1, FG_STORE_VERSION_SHARED = 2 };

typedef enum fg_weight_kind {
  FG_WEIGHT_VECTOR, // [n] float32, always resident
  FG_WEIGHT_MATRIX, // [n, k], out[t, n] = sum over k of x[t, k] w[n, k]; cut in panels along n
  FG_WEIGHT_TABLE,  // [n, k] rows in `dtype`, gathered by row number; one panel, row-contiguous
} fg_weight_kind;

typedef struct fg_panel {
  uint64_t offset;    // in the file, multiple of 4096
  uint64_t bytes;     // without padding; the next panel starts at the next multiple of 4096
  uint64_t hash;      // fg_hash of the bytes; tables: chained over blocks of 4096 bytes
  uint32_t row, rows; // output rows [row, row + rows)
} fg_panel;

typedef struct fg_weight {
  char name[64]; // "layers.3.qkv", "embed", "head"
  fg_weight_kind kind;
  fg_dtype dtype;         // how values are held
  char layout[24];        // matrices: name of the layout (kernels/layout.h); else "rows"
  uint32_t n, k;          // vectors: k = 1
  uint32_t segments;      // matrices: equal runs of rows of which a panel holds whole ones; 0 = cut anywhere
  int32_t layer;          // -1 = before the layers, layer count = after them
  uint32_t panel, panels; // range in fg_store.panels
  uint32_t same_as;       // 1 + the number of an earlier weight whose extents it shares; 0 = it has its own
} fg_weight;

typedef struct fg_store {
  fg_weight *weights;
  uint32_t weight_count;
  fg_panel *panels;
  uint32_t panel_count;
  fg_assets assets;
  char *source; // key of what it was made from: see fg_store_key
  char *target; // layouts' family: "cpu-avx512", "plain"
  char *origin; // for people: path or name of the model
  fg_file *file;
} fg_store;

// Opens a finished store and takes a shared lock. FG_CORRUPT when it is damaged, FG_UNSUPPORTED
// when its version is not ours, FG_BUSY when another process keeps it locked for longer than a second.
fg_status fg_store_open(fg_store **out, const char *path, fg_error *err);
void fg_store_close(fg_store *store);
// Whether the file says of itself that it is a packed store, of whatever version.
bool fg_store_is(const char *path);
// Index of the weight with this name, or UINT32_MAX.
uint32_t fg_store_find(const fg_store *store, const char *name);
// The same; looked for from number `near` on, for who asks in about the store's order.
uint32_t fg_store_find_near(const fg_store *store, const char *name, uint32_t near);
// Reads panel by panel and compares hashes; FG_CORRUPT names the weight and the panel. `buffer` holds
// at least fg_store_largest_panel bytes, aligned; tables are read through it in pieces.
fg_status fg_store_verify(fg_store *store, fg_io *io, void *buffer, size_t bytes, fg_error *err);
uint64_t fg_store_largest_panel(const fg_store *store); // padded to 4096
uint64_t fg_store_bytes(const fg_store *store);         // of all panels, padded; shared ones count each time
uint64_t fg_store_own_bytes(const fg_store *store);     // the same with shared ones counted once: on the disk
uint32_t fg_store_aliased_layers(const fg_store *store); // layers with a weight that shares another's extents

// ---- writing -------------------------------------------------------------------------------------

typedef struct fg_store_writer fg_store_writer;

// Starts PATH.tmp (locked; one that a dead process left behind is replaced; FG_BUSY if another
// process is packing). cap_bytes: refuse to grow beyond (0 = none).
fg_status fg_store_writer_create(fg_store_writer **out, const char *path, const char *source,
                                 const char *target, const char *origin, uint64_t cap_bytes, fg_io *io,
                                 fg_error *err);
// Takes the disk space of `bytes` of panels at once, where the file system can: then nothing grows while
// writes are on their way, which would let one wait for the other (1.5, not 2.3 GB/s). FG_DISK_FULL.
fg_status fg_store_writer_reserve(fg_store_writer *writer, uint64_t bytes, fg_error *err);
// Weights are written in order; panels of one weight in order. `data` is 4096-aligned and its
// allocation reaches to the next multiple of 4096 (the rest is written as zeros).
fg_status fg_store_writer_weight(fg_store_writer *writer, const fg_weight *weight, fg_error *err);
fg_status fg_store_writer_panel(fg_store_writer *writer, uint32_t row, uint32_t rows, void *data,
                                uint64_t bytes, fg_error *err);
// A whole weight that shares the extents of weight number `of`, which is of the same shape and has its own.
fg_status fg_store_writer_same(fg_store_writer *writer, const fg_weight *weight, uint32_t of, fg_error *err);
// A table's one panel may come in pieces; all but the last are multiples of 4096 bytes.
fg_status fg_store_writer_table_piece(fg_store_writer *writer, void *data, uint64_t bytes, fg_error *err);

// The same for writers that do not wait: several pieces are on their way at once. The caller fills what
// stands first and leaves it and the data alone until the wait.
typedef struct fg_store_piece {
  uint32_t row, rows; // of the panel; tables: not used
  void *data;
  uint64_t bytes;
  uint64_t hash; // of a panel: fg_hash; of a table: fg_store_table_hash of all its pieces so far
  fg_io_read write;
} fg_store_piece;

fg_status fg_store_writer_begin(fg_store_writer *writer, fg_store_piece *piece, fg_error *err);
fg_status fg_store_writer_wait(fg_store_writer *writer, fg_store_piece *piece, fg_error *err);

// The hash of a table goes on over blocks of 4096 bytes (the last may be shorter), so that whoever
// reads it in other pieces gets the same. Starts at 0.
uint64_t fg_store_table_hash(uint64_t hash, const void *data, uint64_t bytes);

uint64_t fg_store_writer_bytes(const fg_store_writer *writer);
// Writes assets and manifest, syncs, renames to PATH. The writer is gone in any case; after a failure
// so is the temporary file.
fg_status fg_store_writer_finish(fg_store_writer *writer, const fg_assets *assets, fg_error *err);
void fg_store_writer_abandon(fg_store_writer *writer); // removes the temporary file

// ---- the offload dir ---------------------------------------------------------------------------------

// PATH of the store for a key in a directory: DIR/<origin's last component>-<hash of key>.fgstore
fg_status fg_store_path(char *out, size_t out_bytes, const char *dir, const char *origin, const char *key,
                        fg_error *err);

typedef struct fg_store_entry {
  char *path, *origin, *target; // origin and target are NULL for a broken or temporary file
  uint64_t bytes;
  uint64_t apparent;       // bytes with shared extents counted each time; 0: not known
  uint32_t aliased_layers; // that share another one's extents
  int64_t modified;        // Unix seconds
  bool in_use, temporary;
} fg_store_entry;

fg_status fg_store_list(const char *dir, fg_store_entry **entries, size_t *count, fg_error *err);
void fg_store_list_free(fg_store_entry *entries, size_t count);
// Removes a store or a leftover unless it is in use (FG_BUSY).
fg_status fg_store_remove(const char *path, fg_error *err);

#endif
