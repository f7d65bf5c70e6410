// Weights that share extents: they read their owner's bytes, which stand on the disk once, and no manifest
// can say so of weights that cannot.
#include "store_fixture.h"

#include <fcntl.h>

#include "base/hash.h"
#include "format/store_file.h"

enum { K = 96, ROWS = 200, PANEL_ROWS = 80, VECTOR = 33 };
enum { MATRIX_BYTES = 2 * 16384 + 8192 }; // panels of 80, 80 and 40 rows of 192 bytes, in whole blocks

static fg_weight matrix(uint32_t layer) {
  fg_weight w = {.kind = FG_WEIGHT_MATRIX, .dtype = FG_BF16, .n = ROWS, .k = K, .layer = (int32_t)layer};
  snprintf(w.name, sizeof w.name, "layers.%u.qkv", layer);
  strcpy(w.layout, "plain");
  return w;
}

static fg_store_writer *begin(fixture *f) {
  fg_store_writer *writer;
  assert_int_equal(
      fg_store_writer_create(&writer, f->path, "a key", "plain-1", "shape", 0, f->rig.io, &f->err), FG_OK);
  return writer;
}

static void write_own(fixture *f, fg_store_writer *writer, uint32_t layer) {
  fg_weight w = matrix(layer);
  assert_int_equal(fg_store_writer_weight(writer, &w, &f->err), FG_OK);
  for (uint32_t row = 0; row < ROWS; row += PANEL_ROWS) {
    const uint32_t rows = ROWS - row < PANEL_ROWS ? ROWS - row : PANEL_ROWS;
    memset(f->block, (int)(1 + layer * 16 + row / PANEL_ROWS), rows * K * 2);
    assert_int_equal(fg_store_writer_panel(writer, row, rows, f->block, rows * K * 2ull, &f->err), FG_OK);
  }
}

static void write_vector(fixture *f, fg_store_writer *writer) {
  fg_weight w = {.name = "epilogue.norm", .kind = FG_WEIGHT_VECTOR, .dtype = FG_F32, .n = VECTOR, .k = 1};
  strcpy(w.layout, "rows");
  w.layer = 2;
  assert_int_equal(fg_store_writer_weight(writer, &w, &f->err), FG_OK);
  memset(f->block, 0, VECTOR * 4);
  assert_int_equal(fg_store_writer_panel(writer, 0, VECTOR, f->block, VECTOR * 4, &f->err), FG_OK);
}

// Layer 1 shares what is layer 0's, if it is asked to; a vector stands behind them.
static fg_store *make_store(fixture *f, bool shared) {
  fg_assets none = {0};
  fg_store *store;
  fg_weight second = matrix(1);
  fg_store_writer *writer = begin(f);
  write_own(f, writer, 0);
  if (shared)
    assert_int_equal(fg_store_writer_same(writer, &second, 0, &f->err), FG_OK);
  else
    write_own(f, writer, 1);
  write_vector(f, writer);
  assert_int_equal(fg_store_writer_finish(writer, &none, &f->err), FG_OK);
  assert_int_equal(fg_store_open(&store, f->path, &f->err), FG_OK);
  return store;
}

static void test_shared_weight_reads_its_owners_bytes(void **state) {
  fixture *f = *state;
  fg_store *store = make_store(f, true);
  const fg_weight *owner = &store->weights[0], *shared = &store->weights[1];
  assert_string_equal(shared->name, "layers.1.qkv");
  assert_int_equal(shared->layer, 1);
  assert_int_equal(shared->panels, 3);
  assert_int_not_equal(shared->panel, owner->panel); // whoever counts panels counts each layer's
  const fg_panel *last = &store->panels[shared->panel + 2];
  assert_int_equal(fg_io_read_now(f->rig.io, store->file, last->offset, f->block, 8192, &f->err), FG_OK);
  assert_int_equal(f->block[0], 3);
  assert_int_equal(fg_hash(f->block, last->bytes), last->hash);
  fg_store_close(store);
}

static void test_shared_bytes_stand_on_the_disk_once(void **state) {
  fixture *f = *state;
  fg_store *store = make_store(f, false);
  const uint64_t whole = fg_file_size(store->file);
  assert_int_equal(fg_store_own_bytes(store), fg_store_bytes(store));
  assert_int_equal(fg_store_aliased_layers(store), 0);
  fg_store_close(store);
  store = make_store(f, true);
  assert_int_equal(whole - fg_file_size(store->file), MATRIX_BYTES);
  assert_int_equal(fg_store_bytes(store) - fg_store_own_bytes(store), MATRIX_BYTES);
  assert_int_equal(fg_store_aliased_layers(store), 1);
  fg_store_close(store);
}

static void test_list_tells_the_two_sizes_apart(void **state) {
  fixture *f = *state;
  fg_store_entry *e;
  size_t count;
  fg_store_close(make_store(f, true));
  assert_int_equal(fg_store_list(f->rig.folder.path, &e, &count, &f->err), FG_OK);
  assert_int_equal(count, 1);
  assert_int_equal(e[0].aliased_layers, 1);
  assert_int_equal(e[0].apparent - e[0].bytes, MATRIX_BYTES);
  fg_store_list_free(e, count);
}

static void test_verify_finds_damage_of_shared_bytes(void **state) {
  fixture *f = *state;
  fg_store *store = make_store(f, true);
  assert_int_equal(fg_store_verify(store, f->rig.io, f->block, BLOCK_BYTES, &f->err), FG_OK);
  int fd = open(f->path, O_WRONLY);
  assert_int_equal(pwrite(fd, "x", 1, (off_t)store->panels[store->weights[1].panel].offset), 1);
  close(fd);
  assert_int_equal(fg_store_verify(store, f->rig.io, f->block, BLOCK_BYTES, &f->err), FG_CORRUPT);
  assert_non_null(strstr(f->err.message, "layers.0.qkv"));
  fg_store_close(store);
}

static uint32_t version_of(const char *path) {
  fg_store_head head;
  int fd = open(path, O_RDONLY);
  assert_int_equal(pread(fd, &head, sizeof head, 0), sizeof head);
  close(fd);
  return head.version;
}

static void test_programs_that_know_no_sharing_are_told(void **state) {
  fixture *f = *state;
  fg_store_close(make_store(f, false));
  assert_int_equal(version_of(f->path), FG_STORE_VERSION);
  fg_store_close(make_store(f, true));
  assert_int_equal(version_of(f->path), FG_STORE_VERSION_SHARED);
}

static void test_writer_shares_with_equal_weights_only(void **state) {
  fixture *f = *state;
  fg_store_writer *writer = begin(f);
  write_own(f, writer, 0);
  fg_weight w = matrix(1);
  assert_int_equal(fg_store_writer_same(writer, &w, 1, &f->err), FG_INTERNAL); // not there yet
  w.n = ROWS - 1;
  assert_int_equal(fg_store_writer_same(writer, &w, 0, &f->err), FG_INTERNAL);
  w = matrix(1);
  w.dtype = FG_F16;
  assert_int_equal(fg_store_writer_same(writer, &w, 0, &f->err), FG_INTERNAL);
  w = matrix(1);
  assert_int_equal(fg_store_writer_same(writer, &w, 0, &f->err), FG_OK);
  fg_weight third = matrix(2);
  assert_int_equal(fg_store_writer_same(writer, &third, 1, &f->err), FG_INTERNAL); // has none of its own
  fg_store_writer_abandon(writer);
}

// Hostile manifests: the words of layer 1 are changed, and the hashes made right again.
static const struct lie {
  const char *what, *from, *to; // of the same length
} lies[] = {
    {"itself", "\"same_as\":0", "\"same_as\":1"},
    {"one behind it", "\"same_as\":0", "\"same_as\":2"},
    {"one that is not there", "\"same_as\":0", "\"same_as\":9"},
    {"another type", "\"n\":200,\"k\":96,\"layer\":1", "\"n\":200,\"k\":95,\"layer\":1"},
    {"other rows", "\"n\":200,\"k\":96,\"layer\":1", "\"n\":100,\"k\":96,\"layer\":1"},
    {"another layout", "\"layout\":\"plain\",\"n\":200,\"k\":96,\"layer\":1",
     "\"layout\":\"plane\",\"n\":200,\"k\":96,\"layer\":1"},
};

static void put_manifest(const char *path, const char *text) {
  fg_store_head head;
  int fd = open(path, O_RDWR);
  assert_int_equal(pread(fd, &head, sizeof head, 0), sizeof head);
  head.manifest_hash = fg_hash(text, strlen(text));
  head.head_hash = fg_hash(&head, offsetof(fg_store_head, head_hash));
  assert_int_equal(pwrite(fd, text, strlen(text), (off_t)head.manifest_offset), strlen(text));
  assert_int_equal(pwrite(fd, &head, sizeof head, 0), sizeof head);
  close(fd);
}

static char *take_manifest(const char *path) {
  fg_store_head head;
  int fd = open(path, O_RDONLY);
  assert_int_equal(pread(fd, &head, sizeof head, 0), sizeof head);
  char *text = calloc(1, head.manifest_bytes + 1);
  assert_int_equal(pread(fd, text, head.manifest_bytes, (off_t)head.manifest_offset), head.manifest_bytes);
  close(fd);
  return text;
}

static void test_hostile_sharing_is_refused(void **state) {
  fixture *f = *state;
  fg_store_close(make_store(f, true));
  char *text = take_manifest(f->path);
  for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
    char *changed = strdup(text), *at = strstr(changed, lies[i].from);
    fg_store *store;
    assert_non_null(at);
    memcpy(at, lies[i].to, strlen(lies[i].to));
    put_manifest(f->path, changed);
    if (fg_store_open(&store, f->path, &f->err) != FG_CORRUPT)
      fail_msg("shares with %s: opened", lies[i].what);
    free(changed);
  }
  put_manifest(f->path, text);
  fg_store *store;
  assert_int_equal(fg_store_open(&store, f->path, &f->err), FG_OK); // so it was the lies
  fg_store_close(store);
  free(text);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_shared_weight_reads_its_owners_bytes),
      T(test_shared_bytes_stand_on_the_disk_once),
      T(test_list_tells_the_two_sizes_apart),
      T(test_verify_finds_damage_of_shared_bytes),
      T(test_programs_that_know_no_sharing_are_told),
      T(test_writer_shares_with_equal_weights_only),
      T(test_hostile_sharing_is_refused),
  };
  return cmocka_run_group_tests_name("shared extents", tests, NULL, NULL);
}
