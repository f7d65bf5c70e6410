// store_writer.c: a store as it grows, under a temporary name, until it is whole.
//
// The lock is on a descriptor of its own, taken before the file is emptied: so a second packer never
// empties the first one's file.
#include "format/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/size.h"
#include "base/system.h"
#include "format/store_file.h"

enum { SCRATCH_BYTES = 256 * 1024 };

struct fg_store_writer {
  fg_io *io;
  fg_file *file;
  int lock;
  char *path, *tmp;
  uint64_t cap, end;
  fg_store_manifest m;
  uint32_t weight_capacity, panel_capacity;
  bool table_ended; // the table's last piece was no multiple of a block
  char *scratch;    // aligned, for what comes from anywhere
};

// ---- the temporary file --------------------------------------------------------------------------------

// Opens and locks, and makes sure that the file locked is the one that has the name now: the owner
// before us may have renamed or removed it while we opened it.
static fg_status lock_temporary(fg_store_writer *w, fg_error *err) {
  for (int tries = 0; tries < 100; tries++) {
    w->lock = open(w->tmp, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (w->lock < 0) return fg_fail(err, FG_IO, "%s: cannot create: %s", w->tmp, strerror(errno));
    struct stat mine, named;
    if (flock(w->lock, LOCK_EX | LOCK_NB) != 0) {
      int reason = errno;
      close(w->lock);
      w->lock = -1;
      if (reason == EINTR) continue;
      if (reason == EWOULDBLOCK)
        return fg_fail(err, FG_BUSY, "%s: another process is packing this model", w->tmp);
      return fg_fail(err, FG_IO, "%s: cannot lock: %s", w->tmp, strerror(reason));
    }
    if (fstat(w->lock, &mine) == 0 && stat(w->tmp, &named) == 0 && mine.st_ino == named.st_ino &&
        mine.st_dev == named.st_dev) {
      return FG_OK;
    }
    close(w->lock);
    w->lock = -1;
  }
  return fg_fail(err, FG_BUSY, "%s: other processes keep replacing this file", w->tmp);
}

static void writer_free(fg_store_writer *w) {
  if (w->file) fg_file_close(w->file);
  if (w->lock >= 0) close(w->lock);
  fg_store_manifest_free(&w->m);
  free(w->scratch);
  free(w->path);
  free(w->tmp);
  free(w);
}

void fg_store_writer_abandon(fg_store_writer *w) {
  if (!w) return;
  if (w->lock >= 0) unlink(w->tmp); // ours as long as we hold the lock
  writer_free(w);
}

fg_status fg_store_writer_create(fg_store_writer **out, const char *path, const char *source,
                                 const char *target, const char *origin, uint64_t cap_bytes, fg_io *io,
                                 fg_error *err) {
  *out = NULL;
  fg_store_writer *w = calloc(1, sizeof *w);
  if (!w) return fg_fail(err, FG_NO_SPACE, "%s: no memory", path);
  w->lock = -1;
  w->io = io;
  w->cap = cap_bytes;
  w->end = FG_STORE_HEAD_BYTES;
  w->path = strdup(path);
  w->tmp = malloc(strlen(path) + sizeof FG_STORE_TMP_SUFFIX);
  w->scratch = aligned_alloc(FG_IO_ALIGN, SCRATCH_BYTES);
  w->m.source = strdup(source);
  w->m.target = strdup(target);
  w->m.origin = strdup(origin);
  fg_status status = FG_OK;
  if (!w->path || !w->tmp || !w->scratch || !w->m.source || !w->m.target || !w->m.origin) {
    status = fg_fail(err, FG_NO_SPACE, "%s: no memory", path);
  } else {
    sprintf(w->tmp, "%s%s", path, FG_STORE_TMP_SUFFIX);
    status = lock_temporary(w, err);
  }
  if (!status) status = fg_file_open(&w->file, w->tmp, FG_FILE_CREATE, err);
  if (status) {
    fg_store_writer_abandon(w);
    return status;
  }
  *out = w;
  return FG_OK;
}

fg_status fg_store_writer_reserve(fg_store_writer *w, uint64_t bytes, fg_error *err) {
  char size[16];
  if (fg_reserve_blocks(fg_file_descriptor(w->file), (off_t)(w->end + bytes)) == 0) return FG_OK;
  if (errno != ENOSPC && errno != EDQUOT) return FG_OK; // writes will take it as they come
  return fg_fail(err, FG_DISK_FULL, "%s: no room for %s: %s; free some space or choose another directory",
                 w->tmp, fg_size_format(bytes, size), strerror(errno));
}

// ---- contents ------------------------------------------------------------------------------------------

// Begins to append whole blocks; `data` is aligned and reaches to the end of its last block.
static fg_status append_begin(fg_store_writer *w, void *data, uint64_t bytes, fg_io_read *write,
                              fg_error *err) {
  uint64_t padded = fg_align_up(bytes, FG_IO_ALIGN);
  if (w->cap && w->end + padded > w->cap) {
    char cap[16];
    return fg_fail(err, FG_DISK_FULL, "%s: the store would grow beyond its cap of %s", w->path,
                   fg_size_format(w->cap, cap));
  }
  memset((char *)data + bytes, 0, padded - bytes);
  *write = (fg_io_read){.file = w->file, .buffer = data, .offset = w->end, .bytes = padded, .layer = -1};
  fg_io_write_begin(w->io, write);
  w->end += padded;
  return FG_OK;
}

static fg_status append(fg_store_writer *w, void *data, uint64_t bytes, fg_error *err) {
  fg_io_read write;
  fg_status status = append_begin(w, data, bytes, &write, err);
  return status ? status : fg_io_read_wait(w->io, &write, err);
}

// The same for bytes that lie anywhere.
static fg_status append_copy(fg_store_writer *w, const void *data, uint64_t bytes, fg_error *err) {
  for (uint64_t at = 0; at < bytes; at += SCRATCH_BYTES) {
    uint64_t part = bytes - at < SCRATCH_BYTES ? bytes - at : SCRATCH_BYTES;
    memcpy(w->scratch, (const char *)data + at, part);
    fg_status status = append(w, w->scratch, part, err);
    if (status) return status;
  }
  return FG_OK;
}

static bool grow(void **items, uint32_t count, uint32_t *capacity, size_t size) {
  if (count < *capacity) return true;
  uint32_t more = *capacity ? *capacity * 2 : 64;
  void *moved = more > *capacity ? realloc(*items, more * size) : NULL;
  if (!moved) return false;
  *items = moved;
  *capacity = more;
  return true;
}

// The rows of the last weight that panels cover so far.
static uint32_t rows_written(const fg_store_writer *w, const fg_weight *weight) {
  if (weight->panels == 0) return 0;
  const fg_panel *last = &w->m.panels[weight->panel + weight->panels - 1];
  return last->row + last->rows;
}

static fg_status check_last_whole(const fg_store_writer *w, fg_error *err) {
  if (w->m.weight_count == 0) return FG_OK;
  const fg_weight *last = &w->m.weights[w->m.weight_count - 1];
  const fg_panel *panel = last->panels ? &w->m.panels[last->panel] : NULL;
  uint64_t row_bytes = 0;
  if (last->kind == FG_WEIGHT_TABLE) fg_dtype_bytes(last->dtype, last->k, &row_bytes);
  if (rows_written(w, last) != last->n || (panel && row_bytes && panel->bytes != row_bytes * last->n)) {
    return fg_fail(err, FG_INTERNAL, "%s: weight %s ends before its last row", w->tmp, last->name);
  }
  return FG_OK;
}

fg_status fg_store_writer_weight(fg_store_writer *w, const fg_weight *weight, fg_error *err) {
  fg_status status = check_last_whole(w, err);
  if (status) return status;
  if (!grow((void **)&w->m.weights, w->m.weight_count, &w->weight_capacity, sizeof *weight)) {
    return fg_fail(err, FG_NO_SPACE, "%s: no memory for %u weights", w->tmp, w->m.weight_count);
  }
  fg_weight *mine = &w->m.weights[w->m.weight_count++];
  *mine = *weight;
  mine->panel = w->m.panel_count;
  mine->panels = 0;
  mine->same_as = 0;
  w->table_ended = false;
  return FG_OK;
}

fg_status fg_store_writer_same(fg_store_writer *w, const fg_weight *weight, uint32_t of, fg_error *err) {
  if (of >= w->m.weight_count || !fg_store_may_share(weight, &w->m.weights[of])) {
    return fg_fail(err, FG_INTERNAL, "%s: weight %s cannot share the extents of weight %u", w->tmp,
                   weight->name, of);
  }
  fg_status status = fg_store_writer_weight(w, weight, err);
  if (status) return status;
  fg_weight *mine = &w->m.weights[w->m.weight_count - 1];
  const fg_weight owner = w->m.weights[of];
  mine->same_as = of + 1;
  for (uint32_t i = 0; i < owner.panels; i++) {
    if (!grow((void **)&w->m.panels, w->m.panel_count, &w->panel_capacity, sizeof *w->m.panels)) {
      return fg_fail(err, FG_NO_SPACE, "%s: no memory for %u panels", w->tmp, w->m.panel_count);
    }
    w->m.panels[w->m.panel_count] = w->m.panels[owner.panel + i];
    w->m.panel_count++;
    mine->panels++;
  }
  return FG_OK;
}

static fg_status add_panel(fg_store_writer *w, uint32_t row, uint32_t rows, fg_panel **panel, fg_error *err) {
  fg_weight *weight = w->m.weight_count ? &w->m.weights[w->m.weight_count - 1] : NULL;
  if (!weight || row != rows_written(w, weight) || rows == 0 || rows > weight->n - row) {
    return fg_fail(err, FG_INTERNAL, "%s: rows %u to %u of %s do not follow the last panel", w->tmp, row,
                   row + rows, weight ? weight->name : "nothing");
  }
  if (!grow((void **)&w->m.panels, w->m.panel_count, &w->panel_capacity, sizeof **panel)) {
    return fg_fail(err, FG_NO_SPACE, "%s: no memory for %u panels", w->tmp, w->m.panel_count);
  }
  weight->panels++;
  *panel = &w->m.panels[w->m.panel_count++];
  **panel = (fg_panel){.offset = w->end, .row = row, .rows = rows};
  return FG_OK;
}

// A table's one panel grows with each piece.
static fg_status extend_table(fg_store_writer *w, const fg_weight *weight, const fg_store_piece *piece,
                              fg_error *err) {
  fg_panel *panel;
  if (w->table_ended) {
    return fg_fail(err, FG_INTERNAL, "%s: a piece of a table where none is open", w->tmp);
  }
  fg_status status = weight->panels ? FG_OK : add_panel(w, 0, weight->n, &panel, err);
  if (status) return status;
  panel = &w->m.panels[weight->panel];
  panel->hash = piece->hash;
  panel->bytes += piece->bytes;
  w->table_ended = piece->bytes % FG_IO_ALIGN != 0;
  return FG_OK;
}

fg_status fg_store_writer_begin(fg_store_writer *w, fg_store_piece *piece, fg_error *err) {
  const fg_weight *weight = w->m.weight_count ? &w->m.weights[w->m.weight_count - 1] : NULL;
  fg_status status;
  if (weight && weight->kind == FG_WEIGHT_TABLE) {
    status = extend_table(w, weight, piece, err);
  } else {
    fg_panel *panel = NULL;
    status = add_panel(w, piece->row, piece->rows, &panel, err);
    if (!status) panel->bytes = piece->bytes;
    if (!status) panel->hash = piece->hash;
  }
  return status ? status : append_begin(w, piece->data, piece->bytes, &piece->write, err);
}

fg_status fg_store_writer_wait(fg_store_writer *w, fg_store_piece *piece, fg_error *err) {
  return fg_io_read_wait(w->io, &piece->write, err);
}

static fg_status write_piece(fg_store_writer *w, fg_store_piece *piece, fg_error *err) {
  fg_status status = fg_store_writer_begin(w, piece, err);
  return status ? status : fg_store_writer_wait(w, piece, err);
}

fg_status fg_store_writer_panel(fg_store_writer *w, uint32_t row, uint32_t rows, void *data, uint64_t bytes,
                                fg_error *err) {
  fg_store_piece piece = {
      .row = row, .rows = rows, .data = data, .bytes = bytes, .hash = fg_hash(data, bytes)};
  return write_piece(w, &piece, err);
}

fg_status fg_store_writer_table_piece(fg_store_writer *w, void *data, uint64_t bytes, fg_error *err) {
  const fg_weight *weight = w->m.weight_count ? &w->m.weights[w->m.weight_count - 1] : NULL;
  if (!weight || weight->kind != FG_WEIGHT_TABLE) {
    return fg_fail(err, FG_INTERNAL, "%s: a piece of a table where none is open", w->tmp);
  }
  uint64_t before = weight->panels ? w->m.panels[weight->panel].hash : 0;
  fg_store_piece piece = {.data = data, .bytes = bytes, .hash = fg_store_table_hash(before, data, bytes)};
  return write_piece(w, &piece, err);
}

uint64_t fg_store_writer_bytes(const fg_store_writer *w) {
  return w->end;
}

// ---- the end -------------------------------------------------------------------------------------------

static fg_status append_assets(fg_store_writer *w, const fg_assets *assets, fg_error *err) {
  w->m.assets = calloc(assets->count + 1, sizeof *w->m.assets);
  if (!w->m.assets) return fg_fail(err, FG_NO_SPACE, "%s: no memory for %zu assets", w->tmp, assets->count);
  for (size_t i = 0; i < assets->count; i++) {
    const fg_asset *asset = &assets->items[i];
    fg_store_asset *mine = &w->m.assets[i];
    *mine = (fg_store_asset){.name = strdup(asset->name), .offset = w->end, .bytes = asset->bytes};
    if (!mine->name) return fg_fail(err, FG_NO_SPACE, "%s: no memory for the names of assets", w->tmp);
    w->m.asset_count++;
    mine->hash = fg_hash(asset->data, asset->bytes);
    fg_status status = append_copy(w, asset->data, asset->bytes, err);
    if (status) return status;
  }
  return FG_OK;
}

static fg_status write_manifest(fg_store_writer *w, fg_error *err) {
  size_t bytes;
  char *text = fg_store_manifest_render(&w->m, &bytes);
  if (!text) return fg_fail(err, FG_NO_SPACE, "%s: no memory for the manifest", w->tmp);
  fg_store_head head = {.magic = FG_STORE_MAGIC,
                        .version = fg_store_count_aliased(w->m.weights, w->m.weight_count)
                                       ? FG_STORE_VERSION_SHARED
                                       : FG_STORE_VERSION,
                        .manifest_offset = w->end,
                        .manifest_bytes = bytes,
                        .manifest_hash = fg_hash(text, bytes)};
  head.head_hash = fg_hash(&head, offsetof(fg_store_head, head_hash));
  fg_status status = append_copy(w, text, bytes, err);
  free(text);
  if (status) return status;
  memset(w->scratch, 0, FG_STORE_HEAD_BYTES);
  memcpy(w->scratch, &head, sizeof head);
  return fg_io_write_now(w->io, w->file, 0, w->scratch, FG_STORE_HEAD_BYTES, err);
}

// What was reserved and not used.
static fg_status give_back_rest(const fg_store_writer *w, fg_error *err) {
  if (ftruncate(fg_file_descriptor(w->file), (off_t)w->end) == 0) return FG_OK;
  return fg_fail(err, FG_IO, "%s: cannot cut to its size: %s", w->tmp, strerror(errno));
}

// A rename is on disk when its directory is.
static fg_status rename_durably(const fg_store_writer *w, fg_error *err) {
  if (rename(w->tmp, w->path) != 0) {
    return fg_fail(err, FG_IO, "%s: cannot rename to %s: %s", w->tmp, w->path, strerror(errno));
  }
  char *copy = strdup(w->path);
  int dir = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  fg_status status = FG_OK;
  // Some file systems cannot sync a directory; the store is whole all the same.
  if (dir >= 0 && fsync(dir) != 0 && errno != EINVAL && errno != ENOTSUP) {
    status = fg_fail(err, FG_IO, "%s: cannot sync its directory: %s", w->path, strerror(errno));
  }
  if (dir >= 0) close(dir);
  free(copy);
  return status;
}

fg_status fg_store_writer_finish(fg_store_writer *w, const fg_assets *assets, fg_error *err) {
  fg_status status = check_last_whole(w, err);
  if (!status) status = append_assets(w, assets, err);
  if (!status) status = write_manifest(w, err);
  if (!status) status = give_back_rest(w, err);
  if (!status) status = fg_file_sync(w->file, err);
  if (!status) status = rename_durably(w, err);
  if (status) {
    fg_store_writer_abandon(w);
  } else {
    writer_free(w);
  }
  return status;
}
