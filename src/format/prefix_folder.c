#include "format/prefix_folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/folders.h"
#include "base/hash.h"
#include "format/prefix_folder_internal.h"

// ---- life -----------------------------------------------------------------------------------------------

static fg_status name_folders(fg_prefix_folder *f, fg_error *err) {
  const fg_prefix_folder_options *o = &f->options;
  char name[FG_PREFIX_FOLDER_BYTES];
  const size_t identity_bytes = strlen(o->identity);
  if (identity_bytes > FG_PREFIX_MOST_IDENTITY)
    return fg_fail(err, FG_INTERNAL, "the identity of kept prefixes has %zu bytes", identity_bytes);
  memcpy(f->identity, o->identity, identity_bytes + 1);
  f->folder_hash = fg_hash(f->identity, identity_bytes);
  fg_prefix_page_folder(name, f->identity);
  // Room for the name of a page behind it.
  if (strlen(o->path) + sizeof name + 2 * FG_PREFIX_NAME_BYTES > PATH_MAX)
    return fg_fail(err, FG_INVALID, "--prefix-cache: this path is too long");
  snprintf(f->path, sizeof f->path, "%s", o->path);
  const int length =
      snprintf(f->pages, sizeof f->pages, "%.*s/%s", (int)(PATH_MAX - sizeof name - 1), o->path, name);
  return length > 0 ? FG_OK : fg_fail(err, FG_INTERNAL, "--prefix-cache: no name for a folder");
}

static fg_status create_buffers(fg_prefix_folder *f, fg_error *err) {
  const fg_prefix_folder_options *o = &f->options;
  f->pieces = fg_prefix_page_pieces(&o->shape);
  uint32_t longest = o->longest < FG_PREFIX_MOST_TOKENS ? o->longest : FG_PREFIX_MOST_TOKENS;
  f->options.longest = longest = longest / o->shape.page_tokens * o->shape.page_tokens;
  const uint64_t head = fg_prefix_page_head_bytes(&o->shape, strlen(f->identity), longest);
  const uint64_t piece = fg_prefix_page_piece_bytes(&o->shape, 0);
  f->slot_bytes = head > piece ? head : piece;
  f->checksums = calloc(f->pieces, sizeof *f->checksums);
  if (!f->checksums) return fg_fail(err, FG_NO_SPACE, "no memory for the checksums of a prefix");
  return fg_budget_alloc(o->host, FG_PREFIX_SLOTS * f->slot_bytes, "buffers of kept prefixes",
                         (void **)&f->slots, err);
}

fg_status fg_prefix_folder_create(fg_prefix_folder **out, const fg_prefix_folder_options *options,
                                  fg_error *err) {
  *out = NULL;
  fg_prefix_folder *f = calloc(1, sizeof *f);
  if (!f) return fg_fail(err, FG_NO_SPACE, "no memory for a folder of prefixes");
  f->options = *options;
  f->lock = -1;
  f->writes = !options->read_only;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  f->begun_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
  fg_status status = name_folders(f, err);
  if (status == FG_OK && f->writes && fg_folders_make(f->path, err) != FG_OK)
    status = fg_fail(err, err->status, "--prefix-cache: %s; choose another folder", err->message);
  // Not in the trace: what its reads take is not what the plan's do.
  const fg_io_options io = {
      .backend = options->backend, .depth = 2 * FG_PREFIX_SLOTS, .budget = options->host};
  if (status == FG_OK) status = fg_io_create(&f->io, &io, err);
  if (status == FG_OK) status = create_buffers(f, err);
  if (status == FG_OK) status = fg_prefix_folder_list(f, err);
  if (status != FG_OK) {
    fg_prefix_folder_destroy(f);
    return status;
  }
  if (f->writes) fg_prefix_folder_lock(f);
  *out = f;
  return FG_OK;
}

void fg_prefix_folder_destroy(fg_prefix_folder *f) {
  if (!f) return;
  fg_io_destroy(f->io);
  if (f->lock >= 0) close(f->lock);
  fg_prefix_names_free(&f->names);
  fg_budget_release(f->options.host, f->names_bytes);
  fg_budget_free(f->options.host, f->slots);
  free(f->checksums);
  free(f);
}

fg_prefix_counts fg_prefix_folder_counts(const fg_prefix_folder *f) {
  return f->counts;
}

// ---- names ----------------------------------------------------------------------------------------------

// The hash of the text's blocks [0, blocks).
static uint64_t hash_of(const fg_prefix_folder *f, const fg_prefix_text *text, uint32_t blocks) {
  const uint32_t tokens = f->options.shape.page_tokens;
  uint64_t hash = fg_prefix_page_root(f->identity, text->kind);
  for (uint32_t i = 0; i < blocks; i++)
    hash = fg_prefix_page_chain(hash, text->tokens + (size_t)i * tokens, tokens);
  return hash;
}

// Fits: the folder's path was measured.
static void path_of(const fg_prefix_folder *f, uint64_t hash, uint32_t block, const char *tail,
                    char path[static PATH_MAX]) {
  char name[FG_PREFIX_NAME_BYTES];
  fg_prefix_page_name(name, hash, block);
  const size_t length = strlen(f->pages);
  memcpy(path, f->pages, length);
  snprintf(path + length, PATH_MAX - length, "/%s%s", name, tail);
}

uint32_t fg_prefix_folder_find(const fg_prefix_folder *f, const fg_prefix_text *text, uint32_t first,
                               uint32_t end) {
  const uint32_t tokens = f->options.shape.page_tokens, most = f->options.longest / tokens;
  if (!f->names.count || first >= end) return 0;
  uint64_t hash = hash_of(f, text, first);
  uint32_t block = first;
  for (; block < end && block < most; block++) {
    hash = fg_prefix_page_chain(hash, text->tokens + (size_t)block * tokens, tokens);
    if (!fg_prefix_names_has(&f->names, hash)) break;
  }
  return block - first;
}

// ---- reading --------------------------------------------------------------------------------------------

// A head (part 0) or a piece of a block on its way.
typedef struct part {
  fg_file *file;
  uint64_t hash;
  uint32_t block, number;
  fg_io_read read;
} part;

// Parts go round in a ring: begun in their order, ended in the same.
typedef struct loader {
  fg_prefix_folder *f;
  const fg_prefix_text *text;
  const fg_prefix_sink *sink;
  uint64_t hash; // of the block that is begun next, or is begun
  uint32_t block, part, end;
  fg_file *file; // of it, while not all of its parts have begun
  uint32_t begun, ended, good;
  bool stopped; // nothing begins any more; what has begun before may yet be good
  bool failed;  // what ends is dropped
  part parts[FG_PREFIX_SLOTS];
} loader;

static char *slot(const fg_prefix_folder *f, uint32_t i) {
  return f->slots + (i % FG_PREFIX_SLOTS) * f->slot_bytes;
}

// Why a block is not there. A file that is not what it says goes, so that its page is written anew; one that
// cannot be read now is not asked for again.
static void give_up(loader *l, uint64_t hash, uint32_t block, fg_status status, const fg_error *why) {
  fg_prefix_folder *f = l->f;
  char path[PATH_MAX];
  struct stat st;
  l->stopped = true;
  fg_prefix_names_remove(&f->names, hash);
  if (status == FG_NOT_FOUND) return; // another job has removed it
  const bool damaged = status == FG_CORRUPT || status == FG_UNSUPPORTED;
  path_of(f, hash, block, "", path);
  if (!f->told_damage)
    fg_log_line(f->options.log, FG_LOG_WARN, damaged ? "%s: %s; it is removed and computed anew" : "%s: %s",
                path, why->message);
  f->told_damage = true;
  if (!damaged) return;
  f->counts.damaged_pages++;
  const uint64_t bytes = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
  if (unlink(path) == 0 && f->lock >= 0) f->total -= bytes < f->total ? bytes : f->total;
}

static fg_prefix_text beginning(const loader *l, uint32_t blocks) {
  fg_prefix_text t = *l->text;
  t.identity = l->f->identity;
  t.count = blocks * l->f->options.shape.page_tokens;
  return t;
}

static void open_block(loader *l) {
  const fg_prefix_folder *f = l->f;
  const fg_prefix_shape *shape = &f->options.shape;
  char path[PATH_MAX];
  fg_error err;
  l->hash = fg_prefix_page_chain(l->hash, l->text->tokens + (size_t)l->block * shape->page_tokens,
                                 shape->page_tokens);
  path_of(f, l->hash, l->block, "", path);
  fg_status status = fg_file_open(&l->file, path, FG_FILE_READ, &err);
  const uint64_t bytes =
      fg_prefix_page_file_bytes(shape, strlen(f->identity), (l->block + 1) * shape->page_tokens);
  if (status == FG_OK && fg_file_size(l->file) != bytes)
    status =
        fg_fail(&err, FG_CORRUPT, "damaged page of a prefix: it has %" PRIu64 " bytes in place of %" PRIu64,
                fg_file_size(l->file), bytes);
  if (status != FG_OK) give_up(l, l->hash, l->block, status, &err);
}

static void begin_part(loader *l) {
  fg_prefix_folder *f = l->f;
  const fg_prefix_shape *shape = &f->options.shape;
  if (l->part == 0) open_block(l);
  if (l->stopped) return;
  const uint64_t head =
      fg_prefix_page_head_bytes(shape, strlen(f->identity), (l->block + 1) * shape->page_tokens);
  part *p = &l->parts[l->begun % FG_PREFIX_SLOTS];
  *p = (part){.file = l->file, .hash = l->hash, .block = l->block, .number = l->part};
  p->read = (fg_io_read){.file = l->file, .buffer = slot(f, l->begun), .bytes = head, .layer = -1};
  if (l->part) {
    p->read.offset = head + fg_prefix_page_piece_at(shape, l->part - 1);
    p->read.bytes = fg_prefix_page_piece_bytes(shape, l->part - 1);
  }
  fg_io_read_begin(f->io, &p->read);
  l->begun++;
  if (l->part++ < f->pieces) return;
  l->part = 0;
  l->block++;
  l->file = NULL; // its last part closes it
}

static fg_status take_head(loader *l, const part *p, fg_error *err) {
  fg_prefix_folder *f = l->f;
  fg_prefix_page page;
  fg_status status =
      fg_prefix_page_read_head(&page, p->read.buffer, p->read.bytes, fg_file_size(p->file), err);
  if (status != FG_OK) return status;
  const fg_prefix_text text = beginning(l, p->block + 1);
  if (!fg_prefix_page_is(&page, &f->options.shape, &text)) { // another text of the same hash
    l->failed = true;
    return FG_OK;
  }
  memcpy(f->checksums, page.checksums, f->pieces * sizeof *f->checksums);
  l->sink->notes(l->sink->user, p->block, &page.notes);
  return FG_OK;
}

static fg_status take_piece(loader *l, const part *p, fg_error *err) {
  fg_prefix_folder *f = l->f;
  const fg_prefix_shape *shape = &f->options.shape;
  const uint32_t piece = p->number - 1;
  if (fg_prefix_page_checksum(p->read.buffer, p->read.bytes) != f->checksums[piece])
    return fg_fail(err, FG_CORRUPT, "damaged page of a prefix: checksum of piece %" PRIu32, piece);
  fg_error why;
  if (l->sink->put(l->sink->user, p->block, piece * fg_prefix_page_piece_layers(shape),
                   fg_prefix_page_layers_of(shape, piece), p->read.buffer, &why) != FG_OK) {
    fg_log_line(f->options.log, FG_LOG_WARN, "a kept prefix cannot be used: %s", why.message);
    l->failed = true;
    return FG_OK;
  }
  if (p->number < f->pieces) return FG_OK;
  l->good++;
  f->counts.loaded_pages++;
  const struct timespec used = {f->begun_ns / 1000000000, f->begun_ns % 1000000000};
  futimens(fg_file_descriptor(p->file), (struct timespec[]){used, used}); // not of a folder that others own
  return FG_OK;
}

static void end_part(loader *l) {
  part *p = &l->parts[l->ended++ % FG_PREFIX_SLOTS];
  fg_error err;
  fg_status status = fg_io_read_wait(l->f->io, &p->read, &err);
  if (!l->failed) {
    if (status == FG_OK) status = p->number ? take_piece(l, p, &err) : take_head(l, p, &err);
    if (status != FG_OK) give_up(l, p->hash, p->block, status, &err);
    l->failed = l->failed || status != FG_OK;
    l->stopped = l->stopped || l->failed;
  }
  if (p->number == l->f->pieces) fg_file_close(p->file);
}

uint32_t fg_prefix_folder_load(fg_prefix_folder *f, const fg_prefix_text *text, uint32_t first, uint32_t end,
                               const fg_prefix_sink *sink) {
  const uint64_t before = fg_io_bytes_read(f->io);
  loader l = {
      .f = f, .text = text, .sink = sink, .hash = hash_of(f, text, first), .block = first, .end = end};
  for (;;) {
    while (!l.stopped && l.block < l.end && l.begun - l.ended < FG_PREFIX_SLOTS) begin_part(&l);
    if (l.begun == l.ended) break;
    end_part(&l);
  }
  fg_file_close(l.file); // of a block that was given up
  f->counts.loaded_bytes += fg_io_bytes_read(f->io) - before;
  return l.good;
}

// ---- writing --------------------------------------------------------------------------------------------

// Slot 0 is the head's, which is known last; the pieces go round in the others.
static fg_status write_pieces(fg_prefix_folder *f, fg_file *file, uint64_t head,
                              const fg_prefix_source *source, fg_error *err) {
  const fg_prefix_shape *shape = &f->options.shape;
  fg_io_read writes[FG_PREFIX_SLOTS] = {{0}};
  fg_status status = FG_OK;
  for (uint32_t i = 0; status == FG_OK && i < f->pieces; i++) {
    const uint32_t at = 1 + i % (FG_PREFIX_SLOTS - 1), layers = fg_prefix_page_layers_of(shape, i);
    const uint64_t used = layers * shape->layer_bytes, bytes = fg_prefix_page_piece_bytes(shape, i);
    if (writes[at].file) status = fg_io_read_wait(f->io, &writes[at], err);
    writes[at].file = NULL;
    if (status == FG_OK)
      status = source->get(source->user, i * fg_prefix_page_piece_layers(shape), layers, slot(f, at), err);
    if (status != FG_OK) break;
    memset(slot(f, at) + used, 0, bytes - used);
    f->checksums[i] = fg_prefix_page_checksum(slot(f, at), bytes);
    writes[at] = (fg_io_read){.file = file,
                              .buffer = slot(f, at),
                              .offset = head + fg_prefix_page_piece_at(shape, i),
                              .bytes = bytes,
                              .layer = -1};
    fg_io_write_begin(f->io, &writes[at]);
  }
  for (uint32_t i = 1; i < FG_PREFIX_SLOTS; i++) {
    if (!writes[i].file) continue;
    const fg_status one = fg_io_read_wait(f->io, &writes[i], status == FG_OK ? err : NULL);
    if (status == FG_OK) status = one;
  }
  return status;
}

static fg_status write_page(fg_prefix_folder *f, const char *path, const fg_prefix_text *text,
                            const fg_prefix_notes *notes, const fg_prefix_source *source, fg_error *err) {
  const uint64_t head = fg_prefix_page_head_bytes(&f->options.shape, strlen(f->identity), text->count);
  fg_file *file = NULL;
  fg_status status = fg_file_open(&file, path, FG_FILE_CREATE, err);
  if (status == FG_OK) status = write_pieces(f, file, head, source, err);
  if (status == FG_OK) {
    fg_prefix_page_write_head(slot(f, 0), &f->options.shape, text, notes, f->checksums);
    status = fg_io_write_now(f->io, file, 0, slot(f, 0), head, err);
  }
  const struct timespec used = {f->begun_ns / 1000000000, f->begun_ns % 1000000000};
  if (status == FG_OK) futimens(fg_file_descriptor(file), (struct timespec[]){used, used});
  fg_file_close(file);
  return status;
}

static fg_status save(fg_prefix_folder *f, uint64_t hash, const fg_prefix_text *text,
                      const fg_prefix_notes *notes, const fg_prefix_source *source, fg_error *err) {
  const uint32_t block = text->count / f->options.shape.page_tokens - 1;
  char path[PATH_MAX], unfinished[PATH_MAX];
  path_of(f, hash, block, "", path);
  path_of(f, hash, block, ".tmp", unfinished);
  if (mkdir(f->pages, 0700) != 0 && errno != EEXIST) // what prompts say is nobody else's business
    return fg_fail(err, FG_IO, "cannot make %s: %s", f->pages, strerror(errno));
  fg_status status = write_page(f, unfinished, text, notes, source, err);
  if (status == FG_OK && rename(unfinished, path) != 0)
    status = fg_fail(err, FG_IO, "%s: cannot be renamed: %s", unfinished, strerror(errno));
  if (status == FG_OK && !fg_prefix_folder_know(f, hash))
    status = fg_fail(err, FG_NO_SPACE, "no memory for the list of its files");
  if (status != FG_OK) unlink(unfinished);
  return status;
}

bool fg_prefix_folder_save(fg_prefix_folder *f, const fg_prefix_text *text, const fg_prefix_notes *notes,
                           const fg_prefix_source *source) {
  const fg_prefix_shape *shape = &f->options.shape;
  if (!f->writes || text->count > f->options.longest) return false;
  fg_prefix_text own = *text;
  own.identity = f->identity;
  const uint64_t hash = hash_of(f, &own, own.count / shape->page_tokens);
  if (fg_prefix_names_has(&f->names, hash)) return true;
  if (!fg_prefix_folder_lock(f)) return false;
  const uint64_t bytes = fg_prefix_page_file_bytes(shape, strlen(f->identity), own.count);
  fg_error err;
  if (!fg_prefix_folder_make_room(f, bytes)) {
    f->writes = false;
    fg_log_line(f->options.log, FG_LOG_INFO,
                "--prefix-cache %s: this job's prefixes fill it; --prefix-cache-size gives it more room",
                f->path);
    return false;
  }
  if (save(f, hash, &own, notes, source, &err) != FG_OK) {
    f->writes = false;
    fg_log_line(f->options.log, FG_LOG_WARN,
                "--prefix-cache %s: %s; the job goes on and writes no more to it", f->path, err.message);
    return false;
  }
  f->total += bytes;
  f->counts.saved_pages++;
  f->counts.saved_bytes += bytes;
  return true;
}
