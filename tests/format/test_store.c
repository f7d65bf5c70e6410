// What a store promises: whole or not there, locked while in use, and never believed without a check.
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/hash.h"
#include "format/store_file.h"

enum { K = 96, ROWS = 200, PANEL_ROWS = 80, TABLE_ROWS = 300, TABLE_K = 70, VECTOR = 33, BIG_ASSET = 700001 };

static bool exists(const char *path) {
  return access(path, F_OK) == 0;
}

static unsigned char byte_at(uint32_t seed, uint64_t i) {
  return (unsigned char)((i * 2654435761u + seed) >> 11);
}

static void fill(char *to, uint32_t seed, uint64_t first, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; i++) to[i] = (char)byte_at(seed, first + i);
}

static void assert_filled(const char *data, uint32_t seed, uint64_t first, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; i++) {
    if ((unsigned char)data[i] != byte_at(seed, first + i))
      fail_msg("byte %llu differs", (unsigned long long)i);
  }
}

static fg_weight weight(const char *name, fg_weight_kind kind, fg_dtype dtype, uint32_t n, uint32_t k,
                        int32_t layer) {
  fg_weight w = {.kind = kind, .dtype = dtype, .n = n, .k = k, .layer = layer};
  snprintf(w.name, sizeof w.name, "%s", name);
  snprintf(w.layout, sizeof w.layout, "%s", kind == FG_WEIGHT_MATRIX ? "plain" : "rows");
  return w;
}

static fg_status begin(fixture *f, fg_store_writer **writer, uint64_t cap) {
  return fg_store_writer_create(writer, f->path, "a key", "plain-1", "/models/t\"iny", cap, f->rig.io,
                                &f->err);
}

static fg_status write_table(fixture *f, fg_store_writer *writer) {
  const uint64_t bytes = TABLE_ROWS * TABLE_K * 2;
  fg_weight w = weight("prologue.embed", FG_WEIGHT_TABLE, FG_F16, TABLE_ROWS, TABLE_K, -1);
  fg_status status = fg_store_writer_weight(writer, &w, &f->err);
  for (uint64_t at = 0; !status && at < bytes; at += 8192) {
    uint64_t part = bytes - at < 8192 ? bytes - at : 8192;
    fill(f->block, 1, at, part);
    status = fg_store_writer_table_piece(writer, f->block, part, &f->err);
  }
  return status;
}

static fg_status write_matrix(fixture *f, fg_store_writer *writer) {
  fg_weight w = weight("layers.0.qkv", FG_WEIGHT_MATRIX, FG_BF16, ROWS, K, 0);
  fg_status status = fg_store_writer_weight(writer, &w, &f->err);
  for (uint32_t row = 0; !status && row < ROWS; row += PANEL_ROWS) {
    uint32_t rows = ROWS - row < PANEL_ROWS ? ROWS - row : PANEL_ROWS;
    fill(f->block, 2, (uint64_t)row * K * 2, (uint64_t)rows * K * 2);
    status = fg_store_writer_panel(writer, row, rows, f->block, (uint64_t)rows * K * 2, &f->err);
  }
  return status;
}

static fg_status write_vector(fixture *f, fg_store_writer *writer) {
  fg_weight w = weight("epilogue.norm", FG_WEIGHT_VECTOR, FG_F32, VECTOR, 1, 1);
  fg_status status = fg_store_writer_weight(writer, &w, &f->err);
  fill(f->block, 3, 0, VECTOR * 4);
  return status ? status : fg_store_writer_panel(writer, 0, VECTOR, f->block, VECTOR * 4, &f->err);
}

static fg_status write_weights(fixture *f, fg_store_writer *writer) {
  fg_status status = write_table(f, writer);
  if (!status) status = write_matrix(f, writer);
  return status ? status : write_vector(f, writer);
}

static fg_status finish(fixture *f, fg_store_writer *writer) {
  fg_assets assets = {0};
  char *big = malloc(BIG_ASSET);
  fill(big, 4, 0, BIG_ASSET);
  assert_int_equal(fg_assets_add(&assets, "config.json", "{}", 2, &f->err), FG_OK);
  assert_int_equal(fg_assets_add(&assets, "tokenizer.json", big, BIG_ASSET, &f->err), FG_OK);
  assert_int_equal(fg_assets_add(&assets, "empty", "", 0, &f->err), FG_OK);
  fg_status status = fg_store_writer_finish(writer, &assets, &f->err);
  fg_assets_free(&assets);
  free(big);
  return status;
}

static void make_store(fixture *f) {
  fg_store_writer *writer;
  assert_int_equal(begin(f, &writer, 0), FG_OK);
  assert_int_equal(write_weights(f, writer), FG_OK);
  assert_int_equal(finish(f, writer), FG_OK);
}

static fg_status try_open(fixture *f) {
  fg_store *store;
  fg_status status = fg_store_open(&store, f->path, &f->err);
  fg_store_close(store);
  return status;
}

// ---- what goes in comes out ----------------------------------------------------------------------------

static void assert_panel(fixture *f, const fg_store *store, const char *name, uint32_t index, uint32_t seed,
                         uint64_t first, uint64_t bytes) {
  uint32_t w = fg_store_find(store, name);
  assert_int_not_equal(w, UINT32_MAX);
  const fg_panel *panel = &store->panels[store->weights[w].panel + index];
  assert_int_equal(panel->bytes, bytes);
  assert_int_equal(panel->offset % 4096, 0);
  assert_int_equal(fg_io_read_now(f->rig.io, store->file, panel->offset, f->block, bytes, &f->err), FG_OK);
  assert_filled(f->block, seed, first, bytes);
}

static void test_store_gives_back_what_was_written(void **state) {
  fixture *f = *state;
  fg_store *store;
  make_store(f);
  assert_false(exists(f->tmp));
  assert_true(fg_store_is(f->path));
  assert_int_equal(fg_store_open(&store, f->path, &f->err), FG_OK);
  assert_string_equal(store->source, "a key");
  assert_string_equal(store->target, "plain-1");
  assert_string_equal(store->origin, "/models/t\"iny");
  assert_int_equal(store->weight_count, 3);
  assert_panel(f, store, "prologue.embed", 0, 1, 0, TABLE_ROWS * TABLE_K * 2);
  assert_panel(f, store, "layers.0.qkv", 0, 2, 0, PANEL_ROWS * K * 2);
  assert_panel(f, store, "layers.0.qkv", 2, 2, 2 * PANEL_ROWS * K * 2, (ROWS - 2 * PANEL_ROWS) * K * 2);
  assert_panel(f, store, "epilogue.norm", 0, 3, 0, VECTOR * 4);
  const fg_weight *qkv = &store->weights[fg_store_find(store, "layers.0.qkv")];
  assert_int_equal(qkv->panels, 3);
  assert_int_equal(qkv->layer, 0);
  assert_int_equal(qkv->dtype, FG_BF16);
  const fg_asset *big = fg_assets_find(&store->assets, "tokenizer.json");
  assert_non_null(big);
  assert_int_equal(big->bytes, BIG_ASSET);
  assert_filled(big->data, 4, 0, BIG_ASSET);
  assert_int_equal(fg_assets_find(&store->assets, "empty")->bytes, 0);
  assert_int_equal(fg_store_verify(store, f->rig.io, f->block, 1 << 20, &f->err), FG_OK);
  fg_store_close(store);
}

static void test_writer_refuses_rows_out_of_order(void **state) {
  fixture *f = *state;
  fg_store_writer *writer;
  assert_int_equal(begin(f, &writer, 0), FG_OK);
  fg_weight w = weight("layers.0.qkv", FG_WEIGHT_MATRIX, FG_F32, 8, 4, 0);
  assert_int_equal(fg_store_writer_weight(writer, &w, &f->err), FG_OK);
  assert_int_equal(fg_store_writer_panel(writer, 4, 4, f->block, 64, &f->err), FG_INTERNAL);
  assert_int_equal(fg_store_writer_panel(writer, 0, 9, f->block, 144, &f->err), FG_INTERNAL);
  assert_int_equal(fg_store_writer_panel(writer, 0, 4, f->block, 64, &f->err), FG_OK);
  fg_assets none = {0};
  assert_int_equal(fg_store_writer_finish(writer, &none, &f->err), FG_INTERNAL); // rows 4 to 8 are missing
  assert_false(exists(f->tmp));
  assert_false(exists(f->path));
}

// ---- whole or not there --------------------------------------------------------------------------------

static void test_unfinished_store_is_not_there(void **state) {
  fixture *f = *state;
  fg_store_writer *writer;
  assert_int_equal(begin(f, &writer, 0), FG_OK);
  assert_int_equal(write_weights(f, writer), FG_OK);
  assert_false(exists(f->path));
  assert_true(exists(f->tmp));
  assert_false(fg_store_is(f->tmp));
  fg_store_writer_abandon(writer);
  assert_false(exists(f->tmp));
}

static void test_leftover_of_a_dead_packer_is_replaced(void **state) {
  fixture *f = *state;
  pid_t child = fork();
  if (child == 0) {
    fg_store_writer *writer;
    fg_io *io;
    fg_io_options options = {.budget = f->rig.budget, .backend = FG_IO_THREADS};
    if (fg_io_create(&io, &options, NULL)) _exit(1);
    f->rig.io = io;
    _exit(begin(f, &writer, 0) || write_weights(f, writer) ? 1 : 0); // nothing is tidied up
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_true(exists(f->tmp));
  make_store(f);
  assert_false(exists(f->tmp));
  assert_int_equal(try_open(f), FG_OK);
}

static void test_write_error_leaves_nothing(void **state) {
  fixture *f = *state;
  fg_io_fault fault = {.after = 2, .every = 1, .os_error = EIO};
  fg_io_options options = {.budget = f->rig.budget, .fault = &fault};
  fg_io *good = f->rig.io;
  fg_store_writer *writer;
  assert_int_equal(fg_io_create(&f->rig.io, &options, &f->err), FG_OK);
  assert_int_equal(begin(f, &writer, 0), FG_OK);
  assert_int_equal(write_weights(f, writer), FG_IO);
  fg_store_writer_abandon(writer);
  fg_io_destroy(f->rig.io);
  f->rig.io = good;
  assert_false(exists(f->tmp));
  assert_false(exists(f->path));
}

static void test_cap_is_kept(void **state) {
  fixture *f = *state;
  fg_store_writer *writer;
  assert_int_equal(begin(f, &writer, 64 * 1024), FG_OK);
  assert_int_equal(write_weights(f, writer), FG_DISK_FULL);
  assert_non_null(strstr(f->err.message, "64 KiB"));
  assert_true(fg_store_writer_bytes(writer) <= 64 * 1024);
  fg_store_writer_abandon(writer);
  assert_false(exists(f->tmp));
}

static void test_full_disk_leaves_nothing(void **state) {
  fixture *f = *state;
  char mounted[128];
  snprintf(mounted, sizeof mounted, "%s/small", f->rig.folder.path);
  assert_int_equal(mkdir(mounted, 0700), 0);
  if (mount("tmpfs", mounted, "tmpfs", 0, "size=64k") != 0) {
    print_message("cannot mount a small tmpfs: %s\n", strerror(errno));
    skip();
  }
  snprintf(f->path, sizeof f->path, "%s/tiny.fgstore", mounted);
  snprintf(f->tmp, sizeof f->tmp, "%s.tmp", f->path);
  fg_store_writer *writer;
  fg_status opened = begin(f, &writer, 0), written = FG_OK;
  if (!opened) {
    written = write_weights(f, writer);
    if (written)
      fg_store_writer_abandon(writer);
    else
      written = finish(f, writer);
  }
  bool left = exists(f->tmp) || exists(f->path);
  umount(mounted);
  assert_int_equal(opened, FG_OK);
  assert_int_equal(written, FG_DISK_FULL);
  assert_false(left);
}

// ---- locks between processes ---------------------------------------------------------------------------

// A process that does something, says so, and stays until it is told to go on.
typedef struct other {
  pid_t pid;
  int ready, go;
} other;

static other start_other(fixture *f, int (*hold)(fixture *f, int ready, int go)) {
  int ready[2], go[2];
  assert_int_equal(pipe(ready), 0);
  assert_int_equal(pipe(go), 0);
  other o = {.pid = fork(), .ready = ready[0], .go = go[1]};
  if (o.pid == 0) {
    close(go[1]);
    fg_io_options options = {.budget = f->rig.budget, .backend = FG_IO_THREADS};
    if (fg_io_create(&f->rig.io, &options, NULL)) _exit(9);
    _exit(hold(f, ready[1], go[0]));
  }
  close(ready[1]);
  close(go[0]);
  char c;
  assert_int_equal(read(o.ready, &c, 1), 1);
  return o;
}

static void finish_other(other *o) {
  int status;
  close(o->go);
  close(o->ready);
  assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
  assert_int_equal(status, 0);
}

static void meet(int ready, int go) {
  char c = 1;
  if (write(ready, &c, 1) != 1 || read(go, &c, 1) != 0) _exit(8);
}

static int hold_writer(fixture *f, int ready, int go) {
  fg_store_writer *writer;
  if (begin(f, &writer, 0) || write_table(f, writer)) return 1;
  meet(ready, go);
  return write_matrix(f, writer) || write_vector(f, writer) || finish(f, writer) ? 2 : 0;
}

static int hold_store(fixture *f, int ready, int go) {
  fg_store *store;
  if (fg_store_open(&store, f->path, NULL)) return 1;
  meet(ready, go);
  fg_store_close(store);
  return 0;
}

static void test_second_packer_is_refused_and_harms_nothing(void **state) {
  fixture *f = *state;
  fg_store_writer *writer;
  other o = start_other(f, hold_writer);
  assert_int_equal(begin(f, &writer, 0), FG_BUSY);
  assert_int_equal(fg_store_remove(f->tmp, &f->err), FG_BUSY);
  finish_other(&o);
  test_store_gives_back_what_was_written(&(void *){f}); // packs once more over it
}

static void test_store_in_use_is_not_removed(void **state) {
  fixture *f = *state;
  fg_store_entry *entries;
  size_t count;
  make_store(f);
  other o = start_other(f, hold_store);
  assert_int_equal(try_open(f), FG_OK); // readers share
  assert_int_equal(fg_store_list(f->rig.folder.path, &entries, &count, &f->err), FG_OK);
  assert_int_equal(count, 1);
  assert_true(entries[0].in_use);
  fg_store_list_free(entries, count);
  assert_int_equal(fg_store_remove(f->path, &f->err), FG_BUSY);
  finish_other(&o);
  assert_int_equal(fg_store_remove(f->path, &f->err), FG_OK);
  assert_int_equal(try_open(f), FG_NOT_FOUND);
}

static void test_list_shows_whole_broken_and_temporary(void **state) {
  fixture *f = *state;
  char path[224];
  fg_store_entry *e;
  size_t count;
  make_store(f);
  static const char *const names[] = {"broken.fgstore", "dead.fgstore.tmp", "other.txt"};
  for (int i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/%s", f->rig.folder.path, names[i]);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("not a store", file);
    fclose(file);
  }
  assert_int_equal(fg_store_list(f->rig.folder.path, &e, &count, &f->err), FG_OK);
  assert_int_equal(count, 3); // in the order of names
  assert_null(e[0].origin);
  assert_false(e[0].temporary);
  assert_true(e[1].temporary);
  assert_string_equal(e[2].origin, "/models/t\"iny");
  assert_string_equal(e[2].target, "plain-1");
  assert_false(e[2].in_use);
  assert_true(e[2].bytes > BIG_ASSET);
  fg_store_list_free(e, count);
  assert_int_equal(fg_store_list("/tmp/no-such-directory-here", &e, &count, &f->err), FG_OK);
  assert_int_equal(count, 0);
}

static void test_path_is_a_plain_name(void **state) {
  fixture *f = *state;
  char a[256], b[256];
  assert_int_equal(fg_store_path(a, sizeof a, "/d", "/x/My Model:7b/", "k", &f->err), FG_OK);
  assert_memory_equal(a, "/d/My_Model_7b-", 15);
  assert_string_equal(a + strlen(a) - 8, ".fgstore");
  assert_int_equal(fg_store_path(b, sizeof b, "/d", "/x/My Model:7b/", "other", &f->err), FG_OK);
  assert_string_not_equal(a, b);
  assert_int_equal(fg_store_path(a, sizeof a, "/d", "..", "k", &f->err), FG_OK);
  assert_memory_equal(a, "/d/_.-", 6);
  assert_int_equal(fg_store_path(a, 20, "/d", "model", "k", &f->err), FG_INVALID);
}

// ---- never believed without a check --------------------------------------------------------------------

static void patch(const char *path, uint64_t offset, const void *data, size_t bytes) {
  int fd = open(path, O_WRONLY);
  assert_true(fd >= 0);
  assert_int_equal(pwrite(fd, data, bytes, (off_t)offset), bytes);
  close(fd);
}

static fg_store_head read_head(const char *path) {
  fg_store_head head;
  int fd = open(path, O_RDONLY);
  assert_int_equal(pread(fd, &head, sizeof head, 0), sizeof head);
  close(fd);
  return head;
}

static void test_flipped_byte_of_head_or_manifest_is_found(void **state) {
  fixture *f = *state;
  make_store(f);
  fg_store_head head = read_head(f->path);
  int fd = open(f->path, O_RDWR);
  for (uint64_t i = 0; i < sizeof head + head.manifest_bytes; i++) {
    uint64_t at = i < sizeof head ? i : head.manifest_offset + i - sizeof head;
    unsigned char c, flipped;
    assert_int_equal(pread(fd, &c, 1, (off_t)at), 1);
    flipped = c ^ (unsigned char)(1u << (i % 8));
    assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
    fg_status status = try_open(f);
    if (status != FG_CORRUPT && status != FG_UNSUPPORTED)
      fail_msg("byte %llu flipped: status %d", (unsigned long long)at, status);
    assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
  }
  close(fd);
  assert_int_equal(try_open(f), FG_OK);
}

static void test_truncated_store_is_found(void **state) {
  fixture *f = *state;
  make_store(f);
  struct stat st;
  assert_int_equal(stat(f->path, &st), 0);
  fg_store_head head = read_head(f->path);
  const uint64_t lengths[] = {
      0, 7, 47, 4095, 4096, head.manifest_offset, head.manifest_offset + head.manifest_bytes - 1};
  for (int i = sizeof lengths / sizeof *lengths - 1; i >= 0; i--) {
    assert_int_equal(truncate(f->path, (off_t)lengths[i]), 0);
    assert_int_equal(try_open(f), FG_CORRUPT);
  }
}

static void test_other_version_is_unsupported_by_number(void **state) {
  fixture *f = *state;
  make_store(f);
  fg_store_head head = read_head(f->path);
  head.version = FG_STORE_VERSION_SHARED + 1;
  head.head_hash = fg_hash(&head, offsetof(fg_store_head, head_hash));
  patch(f->path, 0, &head, sizeof head);
  assert_int_equal(try_open(f), FG_UNSUPPORTED);
  assert_non_null(strstr(f->err.message, "version 3"));
}

static void test_flipped_byte_of_a_weight_is_found_and_named(void **state) {
  fixture *f = *state;
  static const char *const names[] = {"prologue.embed", "layers.0.qkv", "epilogue.norm"};
  for (int i = 0; i < 3; i++) {
    fg_store *store;
    make_store(f);
    assert_int_equal(fg_store_open(&store, f->path, &f->err), FG_OK);
    const fg_weight *w = &store->weights[fg_store_find(store, names[i])];
    const fg_panel *last = &store->panels[w->panel + w->panels - 1];
    unsigned char c = byte_at((uint32_t)i + 1, (uint64_t)last->row * w->k * 2 + last->bytes - 1) ^ 1;
    patch(f->path, last->offset + last->bytes - 1, &c, 1);
    assert_int_equal(fg_store_verify(store, f->rig.io, f->block, fg_store_largest_panel(store), &f->err),
                     FG_CORRUPT);
    assert_non_null(strstr(f->err.message, names[i]));
    fg_store_close(store);
  }
}

static void test_flipped_byte_of_an_asset_is_found(void **state) {
  fixture *f = *state;
  make_store(f);
  fg_store_head head = read_head(f->path);
  patch(f->path, head.manifest_offset - 4096 * 3, "\xff\xfe\xfd\xfc", 4); // within tokenizer.json
  assert_int_equal(try_open(f), FG_CORRUPT);
  assert_non_null(strstr(f->err.message, "tokenizer.json"));
}

// Hostile manifests: a number is changed and both hashes are made right again.
typedef struct lie {
  const char *what;
  const char *path;  // keys and indices into the manifest
  const char *value; // JSON; NULL = the key is taken away
} lie;

static const lie lies[] = {
    {"no weights", "weights", NULL},
    {"no assets", "assets", "7"},
    {"no key", "source", NULL},
    {"weight without a name", "weights/0/name", "\"\""},
    {"name that does not fit", "weights/0/name",
     "\"a234567890123456789012345678901234567890123456789012345678901234567890\""},
    {"name twice", "weights/0/name", "\"layers.0.qkv\""},
    {"name with a line end", "weights/0/name", "\"a\\nb\""},
    {"unknown kind", "weights/1/kind", "\"cube\""},
    {"unknown type", "weights/1/dtype", "\"f8\""},
    {"type that is no weight", "weights/1/dtype", "\"i64\""},
    {"type of another size", "weights/1/dtype", "\"f32\""},
    {"row that is no whole block", "weights/0/dtype", "\"q4_0\""},
    {"vector that is not f32", "weights/2/dtype", "\"bf16\""},
    {"vector with columns", "weights/2/k", "2"},
    {"table in a layout", "weights/0/layout", "\"plain\""},
    {"no rows", "weights/1/n", "0"},
    {"more rows than panels", "weights/1/n", "201"},
    {"fewer rows than panels", "weights/1/n", "199"},
    {"rows beyond 32 bits", "weights/1/n", "4294967296"},
    {"other columns", "weights/1/k", "97"},
    {"columns whose bytes overflow", "weights/1/k", "4294967295"},
    {"layer before the prologue", "weights/1/layer", "-2"},
    {"layer that is no number", "weights/1/layer", "\"0\""},
    {"no panels", "weights/1/panels", "[]"},
    {"panels that are no list", "weights/1/panels", "{\"a\":1}"},
    {"panel that is no list", "weights/1/panels/0", "3"},
    {"panel in the head", "weights/0/panels/0/0", "0"},
    {"panel off alignment", "weights/1/panels/0/0", "53249"},
    {"panel over another", "weights/1/panels/1/0", "4096"},
    {"panel beyond the end", "weights/1/panels/1/0", "1152921504606846976"},
    {"negative offset", "weights/1/panels/1/0", "-4096"},
    {"more bytes than rows", "weights/1/panels/0/1", "15361"},
    {"bytes to the end of all", "weights/1/panels/0/1", "9223372036854775807"},
    {"hash that is none", "weights/1/panels/0/2", "\"12345\""},
    {"hash of other letters", "weights/1/panels/0/2", "\"ABCDEFABCDEFABCD\""},
    {"gap between rows", "weights/1/panels/1/3", "81"},
    {"rows twice", "weights/1/panels/1/3", "0"},
    {"panel without rows", "weights/1/panels/2/4", "0"},
    {"no segments", "weights/1/segments", "0"},
    {"segments that do not divide rows", "weights/1/segments", "3"},
    {"segments that panels cut", "weights/1/segments", "4"},
    {"segments that are no number", "weights/1/segments", "\"5\""},
    {"segments of a table", "weights/0/segments", "1"},
    {"segments of a vector", "weights/2/segments", "1"},
    {"panel rows beyond n", "weights/1/panels/2/4", "4294967295"},
    {"asset without a name", "assets/0/name", "3"},
    {"asset over a panel", "assets/0/offset", "4096"},
    {"asset beyond the end", "assets/1/bytes", "99999999999"},
    {"bytes that belong to nothing", "assets",
     "[{\"name\":\"config.json\",\"offset\":94208,\"bytes\":2,\"hash\":\"0123456789abcdef\"}]"},
};

static json_t *walk(json_t *root, const char *path, char *last) {
  char copy[64], *save = NULL;
  snprintf(copy, sizeof copy, "%s", path);
  json_t *at = root, *parent = NULL;
  for (char *part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
    parent = at;
    strcpy(last, part);
    at = json_is_array(at) ? json_array_get(at, strtoul(part, NULL, 10)) : json_object_get(at, part);
  }
  return parent;
}

static void tell(json_t *root, const lie *l) {
  char last[64];
  json_t *parent = walk(root, l->path, last);
  json_t *value = l->value ? json_loads(l->value, JSON_DECODE_ANY, NULL) : NULL;
  assert_true(!l->value == !value);
  if (json_is_array(parent)) {
    size_t i = strtoul(last, NULL, 10);
    assert_int_equal(value ? json_array_set_new(parent, i, value) : json_array_remove(parent, i), 0);
  } else {
    assert_int_equal(value ? json_object_set_new(parent, last, value) : json_object_del(parent, last), 0);
  }
}

static void put_manifest(fixture *f, const char *text) {
  fg_store_head head = read_head(f->path);
  head.manifest_bytes = strlen(text);
  head.manifest_hash = fg_hash(text, strlen(text));
  head.head_hash = fg_hash(&head, offsetof(fg_store_head, head_hash));
  patch(f->path, head.manifest_offset, text, strlen(text));
  patch(f->path, 0, &head, sizeof head);
}

static void test_hostile_manifest_is_refused(void **state) {
  fixture *f = *state;
  make_store(f);
  fg_store_head head = read_head(f->path);
  void *text;
  int fd = open(f->path, O_RDONLY);
  assert_int_equal(
      fg_store_read_range(fd, head.manifest_offset, head.manifest_bytes, f->path, &text, &f->err), FG_OK);
  close(fd);
  for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
    json_t *root = json_loads(text, 0, NULL);
    tell(root, &lies[i]);
    char *changed = json_dumps(root, JSON_COMPACT);
    put_manifest(f, changed);
    if (try_open(f) != FG_CORRUPT) fail_msg("%s: opened (%s)", lies[i].what, changed);
    free(changed);
    json_decref(root);
  }
  put_manifest(f, "[[[[");
  assert_int_equal(try_open(f), FG_CORRUPT);
  put_manifest(f, text);
  assert_int_equal(try_open(f), FG_OK); // so it was the lies
  free(text);
}

// Segments of 40 rows, in panels of 80, 80 and 40, are kept by the manifest.
static void test_segments_stand_in_the_manifest(void **state) {
  fixture *f = *state;
  fg_store_writer *writer;
  fg_store *store;
  fg_assets none = {0};
  fg_weight w = weight("layers.0.up", FG_WEIGHT_MATRIX, FG_BF16, ROWS, K, 0);
  w.segments = 5;
  assert_int_equal(begin(f, &writer, 0), FG_OK);
  assert_int_equal(fg_store_writer_weight(writer, &w, &f->err), FG_OK);
  for (uint32_t row = 0; row < ROWS; row += PANEL_ROWS) {
    const uint32_t rows = ROWS - row < PANEL_ROWS ? ROWS - row : PANEL_ROWS;
    assert_int_equal(fg_store_writer_panel(writer, row, rows, f->block, (uint64_t)rows * K * 2, &f->err),
                     FG_OK);
  }
  assert_int_equal(fg_store_writer_finish(writer, &none, &f->err), FG_OK);
  assert_int_equal(fg_store_open(&store, f->path, &f->err), FG_OK);
  assert_int_equal(store->weights[0].segments, 5);
  fg_store_close(store);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      T(test_store_gives_back_what_was_written),
      T(test_writer_refuses_rows_out_of_order),
      T(test_unfinished_store_is_not_there),
      T(test_leftover_of_a_dead_packer_is_replaced),
      T(test_write_error_leaves_nothing),
      T(test_cap_is_kept),
      T(test_full_disk_leaves_nothing),
      T(test_second_packer_is_refused_and_harms_nothing),
      T(test_store_in_use_is_not_removed),
      T(test_list_shows_whole_broken_and_temporary),
      T(test_path_is_a_plain_name),
      T(test_flipped_byte_of_head_or_manifest_is_found),
      T(test_truncated_store_is_found),
      T(test_other_version_is_unsupported_by_number),
      T(test_flipped_byte_of_a_weight_is_found_and_named),
      T(test_flipped_byte_of_an_asset_is_found),
      T(test_hostile_manifest_is_refused),
      T(test_segments_stand_in_the_manifest),
  };
  return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
