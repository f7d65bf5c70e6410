// store.c: opening, searching and verifying a packed store.
#include "format/store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/hash.h"
#include "format/store_file.h"

static_assert(sizeof(fg_store_head) == 48, "the head is written as it stands in memory");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a store's numbers are little-endian");

uint64_t fg_store_table_hash(uint64_t hash, const void *data, uint64_t bytes) {
  const unsigned char *p = data;
  for (uint64_t at = 0; at < bytes; at += FG_IO_ALIGN) {
    uint64_t block = bytes - at < FG_IO_ALIGN ? bytes - at : FG_IO_ALIGN;
    hash = fg_hash_more(hash, p + at, block);
  }
  return hash;
}

fg_status fg_store_read_range(int fd, uint64_t offset, uint64_t bytes, const char *where, void **out,
                              fg_error *err) {
  // The file may be open for direct access: address, offset and length are whole blocks.
  size_t length = fg_align_up(bytes + 1, FG_IO_ALIGN);
  char *data = aligned_alloc(FG_IO_ALIGN, length);
  if (!data) return fg_fail(err, FG_NO_SPACE, "%s: no memory for %zu bytes", where, length);
  size_t done = 0;
  while (done < bytes) {
    ssize_t got = pread(fd, data + done, length - done, (off_t)(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      fg_fail(err, FG_IO, "%s: %s at byte %" PRIu64, where, strerror(errno), offset + done);
      free(data);
      return FG_IO;
    }
    size_t reached = done + (size_t)got;
    if (reached < bytes) reached &= ~(size_t)(FG_IO_ALIGN - 1);
    if (reached == done) {
      free(data);
      return fg_fail(err, FG_CORRUPT, "%s: ends at byte %" PRIu64, where, offset + done + (uint64_t)got);
    }
    done = reached;
  }
  data[bytes] = 0;
  *out = data;
  return FG_OK;
}

static fg_status head_read(fg_store_head *head, int fd, uint64_t size, const char *where, fg_error *err) {
  if (size < FG_STORE_HEAD_BYTES) return fg_fail(err, FG_CORRUPT, "%s: too short for a packed store", where);
  void *page;
  fg_status status = fg_store_read_range(fd, 0, sizeof *head, where, &page, err);
  if (status) return status;
  memcpy(head, page, sizeof *head);
  free(page);
  if (memcmp(head->magic, FG_STORE_MAGIC, sizeof head->magic) != 0) {
    return fg_fail(err, FG_CORRUPT, "%s: not a packed store", where);
  }
  if (head->version < FG_STORE_VERSION || head->version > FG_STORE_VERSION_SHARED) {
    return fg_fail(err, FG_UNSUPPORTED,
                   "%s: packed store of version %u, this program reads %d and %d; pack the model again",
                   where, head->version, FG_STORE_VERSION, FG_STORE_VERSION_SHARED);
  }
  if (head->head_hash != fg_hash(head, offsetof(fg_store_head, head_hash))) {
    return fg_fail(err, FG_CORRUPT, "%s: damaged store: checksum of the head", where);
  }
  // A panel of the smallest size costs 4096 bytes and less than 512 in the manifest.
  if (head->manifest_offset < FG_STORE_HEAD_BYTES || head->manifest_offset % FG_STORE_HEAD_BYTES ||
      !fg_range_ok(head->manifest_offset, head->manifest_bytes, size) ||
      head->manifest_bytes > 65536 + head->manifest_offset / 8) {
    return fg_fail(err, FG_CORRUPT, "%s: damaged store: place of the manifest", where);
  }
  return FG_OK;
}

fg_status fg_store_manifest_read(fg_store_manifest *out, int fd, uint64_t size, const char *where,
                                 fg_error *err) {
  fg_store_head head;
  *out = (fg_store_manifest){0};
  fg_status status = head_read(&head, fd, size, where, err);
  if (status) return status;
  void *text;
  status = fg_store_read_range(fd, head.manifest_offset, head.manifest_bytes, where, &text, err);
  if (status) return status;
  if (fg_hash(text, head.manifest_bytes) != head.manifest_hash) {
    status = fg_fail(err, FG_CORRUPT, "%s: damaged store: checksum of the manifest", where);
  } else {
    status = fg_store_manifest_parse(out, text, head.manifest_bytes, head.manifest_offset, where, err);
  }
  free(text);
  return status;
}

static fg_status assets_read(fg_store *store, const fg_store_manifest *m, const char *where, fg_error *err) {
  int fd = fg_file_descriptor(store->file);
  for (uint32_t i = 0; i < m->asset_count; i++) {
    const fg_store_asset *a = &m->assets[i];
    void *data;
    fg_status status = fg_store_read_range(fd, a->offset, a->bytes, where, &data, err);
    if (status) return status;
    if (fg_hash(data, a->bytes) != a->hash) {
      status = fg_fail(err, FG_CORRUPT, "%s: damaged store: checksum of %s", where, a->name);
    } else {
      status = fg_assets_add(&store->assets, a->name, data, a->bytes, err);
    }
    free(data);
    if (status) return status;
  }
  return FG_OK;
}

// Whoever removes a store or asks whether it is in use holds the lock for a moment only.
static fg_status lock_shared(int fd, const char *where, fg_error *err) {
  const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
  for (int tries = 0; tries < 100; tries++) {
    if (flock(fd, LOCK_SH | LOCK_NB) == 0) return FG_OK;
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return fg_fail(err, FG_IO, "%s: cannot lock: %s", where, strerror(errno));
    }
    nanosleep(&pause, NULL);
  }
  return fg_fail(err, FG_BUSY, "%s: another process holds the lock of this store", where);
}

fg_status fg_store_open(fg_store **out, const char *path, fg_error *err) {
  *out = NULL;
  fg_store *store = calloc(1, sizeof *store);
  if (!store) return fg_fail(err, FG_NO_SPACE, "%s: no memory", path);
  fg_store_manifest m = {0};
  fg_status status = fg_file_open(&store->file, path, FG_FILE_READ, err);
  if (!status) status = lock_shared(fg_file_descriptor(store->file), path, err);
  if (!status) {
    status =
        fg_store_manifest_read(&m, fg_file_descriptor(store->file), fg_file_size(store->file), path, err);
  }
  if (!status) status = assets_read(store, &m, path, err);
  store->weights = m.weights;
  store->weight_count = m.weight_count;
  store->panels = m.panels;
  store->panel_count = m.panel_count;
  store->source = m.source;
  store->target = m.target;
  store->origin = m.origin;
  m.weights = NULL, m.panels = NULL, m.source = m.target = m.origin = NULL;
  fg_store_manifest_free(&m);
  if (status) {
    fg_store_close(store);
    return status;
  }
  *out = store;
  return FG_OK;
}

void fg_store_close(fg_store *store) {
  if (!store) return;
  if (store->file) fg_file_close(store->file); // gives the lock back
  fg_assets_free(&store->assets);
  free(store->weights);
  free(store->panels);
  free(store->source);
  free(store->target);
  free(store->origin);
  free(store);
}

bool fg_store_is(const char *path) {
  struct stat st;
  fg_file *file;
  if (stat(path, &st) || !S_ISREG(st.st_mode) || st.st_size < FG_STORE_HEAD_BYTES) return false;
  if (fg_file_open(&file, path, FG_FILE_READ, NULL)) return false;
  void *page;
  bool is = false;
  if (!fg_store_read_range(fg_file_descriptor(file), 0, sizeof(fg_store_head), path, &page, NULL)) {
    is = memcmp(page, FG_STORE_MAGIC, sizeof FG_STORE_MAGIC) == 0;
    free(page);
  }
  fg_file_close(file);
  return is;
}

uint32_t fg_store_find_near(const fg_store *store, const char *name, uint32_t near) {
  if (near >= store->weight_count) near = 0;
  for (uint32_t i = 0; i < store->weight_count; i++) {
    uint32_t at = i < store->weight_count - near ? near + i : near + i - store->weight_count;
    if (strcmp(store->weights[at].name, name) == 0) return at;
  }
  return UINT32_MAX;
}

uint32_t fg_store_find(const fg_store *store, const char *name) {
  return fg_store_find_near(store, name, 0);
}

uint64_t fg_store_largest_panel(const fg_store *store) {
  uint64_t largest = FG_IO_ALIGN;
  for (uint32_t i = 0; i < store->weight_count; i++) {
    const fg_weight *w = &store->weights[i];
    for (uint32_t p = 0; p < w->panels && w->kind != FG_WEIGHT_TABLE; p++) {
      uint64_t bytes = fg_align_up(store->panels[w->panel + p].bytes, FG_IO_ALIGN);
      if (bytes > largest) largest = bytes;
    }
  }
  return largest;
}

uint64_t fg_store_bytes(const fg_store *store) {
  return fg_store_panel_bytes(store->weights, store->weight_count, store->panels, false);
}

uint64_t fg_store_own_bytes(const fg_store *store) {
  return fg_store_panel_bytes(store->weights, store->weight_count, store->panels, true);
}

uint32_t fg_store_aliased_layers(const fg_store *store) {
  return fg_store_count_aliased(store->weights, store->weight_count);
}

// ---- verifying -----------------------------------------------------------------------------------------

static fg_status hash_table(fg_store *store, const fg_panel *panel, fg_io *io, void *buffer, size_t bytes,
                            uint64_t *hash, fg_error *err) {
  const uint64_t piece = bytes & ~(uint64_t)(FG_IO_ALIGN - 1);
  *hash = 0;
  for (uint64_t at = 0; at < panel->bytes; at += piece) {
    uint64_t part = panel->bytes - at < piece ? panel->bytes - at : piece;
    fg_status status =
        fg_io_read_now(io, store->file, panel->offset + at, buffer, fg_align_up(part, FG_IO_ALIGN), err);
    if (status) return status;
    *hash = fg_store_table_hash(*hash, buffer, part);
  }
  return FG_OK;
}

static fg_status verify_panel(fg_store *store, const fg_weight *weight, uint32_t index, fg_io *io,
                              void *buffer, size_t bytes, fg_error *err) {
  const fg_panel *panel = &store->panels[weight->panel + index];
  uint64_t hash;
  fg_status status;
  if (weight->kind == FG_WEIGHT_TABLE) {
    status = hash_table(store, panel, io, buffer, bytes, &hash, err);
  } else {
    status =
        fg_io_read_now(io, store->file, panel->offset, buffer, fg_align_up(panel->bytes, FG_IO_ALIGN), err);
    if (!status) hash = fg_hash(buffer, panel->bytes);
  }
  if (status) return status;
  if (hash == panel->hash) return FG_OK;
  return fg_fail(err, FG_CORRUPT,
                 "%s: %s: panel %u of %u (%" PRIu64 " bytes at %" PRIu64
                 ") differs from its checksum; remove the store and pack the model again",
                 fg_file_path(store->file), weight->name, index, weight->panels, panel->bytes, panel->offset);
}

fg_status fg_store_verify(fg_store *store, fg_io *io, void *buffer, size_t bytes, fg_error *err) {
  if (bytes < fg_store_largest_panel(store)) {
    return fg_fail(err, FG_INVALID, "%s: verifying needs a buffer of %" PRIu64 " bytes, got %zu",
                   fg_file_path(store->file), fg_store_largest_panel(store), bytes);
  }
  for (uint32_t w = 0; w < store->weight_count; w++) {
    if (store->weights[w].same_as) continue; // its extents have been verified with their owner
    for (uint32_t i = 0; i < store->weights[w].panels; i++) {
      fg_status status = verify_panel(store, &store->weights[w], i, io, buffer, bytes, err);
      if (status) return status;
    }
  }
  return FG_OK;
}
