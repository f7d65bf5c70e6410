#include "checkpoint_support.h"

static void test_views_types_and_shared_storages_as_torch_reads_them(void **state) {
  assert_fixture(*state, "views.bin");
}

static void test_module_with_metadata(void **state) {
  assert_fixture(*state, "module.bin");
}

static void test_state_dict_in_a_wrapper(void **state) {
  assert_fixture(*state, "wrapped.bin");
}

static void test_zip64(void **state) {
  assert_fixture(*state, "zip64.bin");
}

static void test_shards_make_one_checkpoint(void **state) {
  assert_fixture(*state, "sharded_bin");
}

static void test_tied_tensors_lie_at_one_place(void **state) {
  support *s = *state;
  fg_checkpoint *c;
  fg_error err = {0};
  assert_int_equal(fg_checkpoint_open(&c, FIXTURES "/views.bin", s->rig.io, &err), FG_OK);
  const fg_checkpoint_tensor *embed = fg_checkpoint_find(c, "embed.weight"),
                             *head = fg_checkpoint_find(c, "lm_head.weight");
  assert_true(embed && head);
  assert_int_equal(embed->offset, head->offset);
  fg_checkpoint_destroy(c);
}

static void test_what_torch_can_write_and_we_cannot_read_is_refused_by_name(void **state) {
  static const struct {
    const char *name, *message;
    fg_status status;
  } cases[] = {
      {"deflated.bin", "compressed", FG_UNSUPPORTED},
      {"big_endian.bin", "byte order is \"big\"", FG_UNSUPPORTED},
      {"legacy.bin", "torch before 1.6", FG_UNSUPPORTED},
      {"calls_print.bin", "names __builtin__.print", FG_UNSUPPORTED},
      {"float8.bin", "names torch.", FG_UNSUPPORTED},
      {"expanded.bin", "expanded view", FG_UNSUPPORTED},
      {"two_dicts.bin", "several dictionaries", FG_UNSUPPORTED},
      {"bare_tensor.bin", "no dictionary of tensors", FG_UNSUPPORTED},
      {"protocol4.bin", "protocol other than 2", FG_UNSUPPORTED},
  };
  char path[PATH_MAX];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    snprintf(path, sizeof path, FIXTURES "/refused/%s", cases[i].name);
    assert_refused(*state, path, cases[i].status, cases[i].message);
  }
}

static void test_every_cut_of_a_file_is_refused(void **state) {
  size_t bytes;
  char *data = support_read_fixture("plain.bin", &bytes);
  for (size_t cut = 0; cut < bytes; cut++)
    assert_bytes_refused(*state, "x.bin", data, cut, FG_CORRUPT, "zip archive");
  free(data);
}

// ---- archives by hand --------------------------------------------------------------------------------

typedef struct archive {
  unsigned char *data, central[2048];
  size_t bytes, central_bytes;
  unsigned count;
} archive;

static void put(unsigned char *to, size_t *at, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++, value >>= 8) to[(*at)++] = (unsigned char)value;
}

static void put_bytes(unsigned char *to, size_t *at, const void *from, size_t bytes) {
  memcpy(to + *at, from, bytes);
  *at += bytes;
}

// A stored entry; the directory says `stated` bytes.
static void add_entry(archive *a, const char *name, const void *data, size_t bytes, size_t stated) {
  size_t header = a->bytes, length = strlen(name);
  a->data = realloc(a->data, a->bytes + bytes + 4096); // room for the directory too
  assert_non_null(a->data);
  put(a->data, &a->bytes, 0x04034b50, 4);
  put(a->data, &a->bytes, 0, 22);
  put(a->data, &a->bytes, length, 4); // name and no extra field
  put_bytes(a->data, &a->bytes, name, length);
  put_bytes(a->data, &a->bytes, data, bytes);
  put(a->central, &a->central_bytes, 0x02014b50, 4);
  put(a->central, &a->central_bytes, 0, 16);
  put(a->central, &a->central_bytes, stated, 4);
  put(a->central, &a->central_bytes, stated, 4);
  put(a->central, &a->central_bytes, length, 2);
  put(a->central, &a->central_bytes, 0, 12);
  put(a->central, &a->central_bytes, header, 4);
  put_bytes(a->central, &a->central_bytes, name, length);
  a->count++;
}

static void finish_archive(archive *a) {
  size_t directory = a->bytes;
  put_bytes(a->data, &a->bytes, a->central, a->central_bytes);
  put(a->data, &a->bytes, 0x06054b50, 4);
  put(a->data, &a->bytes, 0, 4);
  put(a->data, &a->bytes, a->count, 2);
  put(a->data, &a->bytes, a->count, 2);
  put(a->data, &a->bytes, a->central_bytes, 4);
  put(a->data, &a->bytes, directory, 4);
  put(a->data, &a->bytes, 0, 2);
}

static void assert_archive(const support *s, archive *a, fg_status status, const char *message) {
  finish_archive(a);
  assert_bytes_refused(s, "x.bin", a->data, a->bytes, status, message);
  free(a->data);
}

// A dictionary {"w": tensor} with this storage, view and so on, in the words of torch's pickles.
#define STR(n, s)     "X" n "\0\0\0" s
#define PICKLE_HEAD   "\x80\x02}" STR("\1", "w") "ctorch._utils\n_rebuild_tensor_v2\n((" STR("\7", "storage")
#define STORAGE_F32_4 "ctorch\nFloatStorage\n" STR("\1", "0") STR("\3", "cpu") "K\4tQ"
#define PICKLE_TAIL                                                                                          \
  "\x89"                                                                                                     \
  "ccollections\nOrderedDict\n)RtRs."
#define PICKLE(view) PICKLE_HEAD STORAGE_F32_4 view PICKLE_TAIL

static void assert_pickle(const support *s, const char *pickle, size_t bytes, fg_status status,
                          const char *message) {
  archive a = {0};
  add_entry(&a, "m/data.pkl", pickle, bytes, bytes);
  add_entry(&a, "m/data/0", (char[16]){0}, 16, 16);
  assert_archive(s, &a, status, message);
}

static void test_view_that_breaks_a_rule_is_refused(void **state) {
#define VIEW_CASE(view, status, message)                                                                     \
  { PICKLE(view), sizeof PICKLE(view) - 1, status, message }
  static const struct {
    const char *pickle;
    size_t bytes;
    fg_status status;
    const char *message;
  } cases[] = {
      VIEW_CASE("K\1K\4\x85K\1\x85", FG_CORRUPT, "beyond the end of its storage"),
      VIEW_CASE("K\0K\2\x85K\4\x85", FG_CORRUPT, "beyond the end of its storage"),
      VIEW_CASE("K\5K\0\x85K\1\x85", FG_CORRUPT, "beyond the end of its storage"),
      VIEW_CASE("K\0K\5\x85K\0\x85", FG_UNSUPPORTED, "expanded view"),
      VIEW_CASE("K\0K\2\x8a\7\xff\xff\xff\xff\xff\xff\x7f\x86K\1\x8a\7\xff\xff\xff\xff\xff\xff\x7f\x86",
                FG_CORRUPT, "beyond the end"),
      VIEW_CASE("K\0\x8a\7\xff\xff\xff\xff\xff\xff\x7f\x8a\7\xff\xff\xff\xff\xff\xff\x7f\x86K\0K\0\x86",
                FG_CORRUPT, "overflows"),
      VIEW_CASE("K\0K\4\x85K\1K\1\x86", FG_CORRUPT, "size (at most 8 dimensions)"),
      VIEW_CASE("K\0K\4\x85J\xff\xff\xff\xff\x85", FG_CORRUPT, "not what it should be"),
      VIEW_CASE("J\xff\xff\xff\xffK\4\x85K\1\x85", FG_CORRUPT, "not what it should be"),
      VIEW_CASE("\x8a\1\xffK\4\x85K\1\x85", FG_CORRUPT, "not what it should be"),
      VIEW_CASE("K\0N\x85K\1\x85", FG_CORRUPT, "not what it should be"),
      VIEW_CASE("K\0(K\1K\1K\1K\1K\1K\1K\1K\1K\1t(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", FG_CORRUPT,
                "at most 8 dimensions"),
  };
#undef VIEW_CASE
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_pickle(*state, cases[i].pickle, cases[i].bytes, cases[i].status, cases[i].message);
  }
}

static void test_pickle_that_breaks_a_rule_is_refused(void **state) {
#define CASE(text, status, message)                                                                          \
  { text, sizeof text - 1, status, message }
  static const struct {
    const char *pickle;
    size_t bytes;
    fg_status status;
    const char *message;
  } cases[] = {
      CASE("", FG_CORRUPT, "without STOP"),
      CASE("\x80", FG_CORRUPT, "within an instruction"),
      CASE("\x80\3", FG_UNSUPPORTED, "protocol"),
      CASE("\x80\2.", FG_CORRUPT, "more or less than one value"),
      CASE("\x80\2NN.", FG_CORRUPT, "more or less than one value"),
      CASE("\x80\2N.", FG_UNSUPPORTED, "no dictionary"),
      CASE("\x80\2}.", FG_UNSUPPORTED, "holds no tensors"),
      CASE("\x80\2i", FG_UNSUPPORTED, "instruction 0x69"),
      CASE("\x80\2\x93", FG_UNSUPPORTED, "instruction 0x93"),
      CASE("\x80\2cos\nsystem\n", FG_UNSUPPORTED, "names os.system"),
      CASE("\x80\2ctorch\nTensor", FG_CORRUPT, "a name without end"),
      CASE("\x80\2ctorch\nUntypedStorage\n", FG_UNSUPPORTED, "names torch.UntypedStorage"),
      CASE("\x80\2t", FG_CORRUPT, "no mark"),
      CASE("\x80\2N\x86", FG_CORRUPT, "too short for a tuple"),
      CASE("\x80\2(\x85", FG_CORRUPT, "a mark in a tuple"),
      CASE("\x80\2(q\0", FG_CORRUPT, "a mark where"),
      CASE("\x80\2q\0", FG_CORRUPT, "stack is empty"),
      CASE("\x80\2Nq\1", FG_CORRUPT, "not in order"),
      CASE("\x80\2Nr\0\0\0\x40", FG_CORRUPT, "not in order"),
      CASE("\x80\2h\0", FG_CORRUPT, "unknown memo"),
      CASE("\x80\2j\xff\xff\xff\xff", FG_CORRUPT, "unknown memo"),
      CASE("\x80\2X\xff\xff\xff\xff"
           "abc",
           FG_CORRUPT, "string reaches beyond"),
      CASE("\x80\2U\4abc", FG_CORRUPT, "string reaches beyond"),
      CASE("\x80\2\x8a\xff\1", FG_CORRUPT, "integer reaches beyond"),
      CASE("\x80\2N(Ns", FG_CORRUPT, "items for something"),
      CASE("\x80\2Ns", FG_CORRUPT, "too short for an item"),
      CASE("\x80\2N(NNu", FG_CORRUPT, "items for something"),
      CASE("\x80\2}(Nu", FG_CORRUPT, "a key without a value"),
      CASE("\x80\2}Na", FG_CORRUPT, "items for something"),
      CASE("\x80\2}(Ne", FG_CORRUPT, "items for something"),
      CASE("\x80\2NQ", FG_CORRUPT, "no storage"),
      CASE("\x80\2N)R", FG_UNSUPPORTED, "no known function"),
      CASE("\x80\2ctorch\nFloatStorage\n)R", FG_UNSUPPORTED, "no known function"),
      CASE("\x80\2ctorch\nTensor\n)\x81", FG_UNSUPPORTED, "no OrderedDict"),
      CASE("\x80\2"
           "ccollections\nOrderedDict\n]\x85R",
           FG_UNSUPPORTED, "OrderedDict with arguments"),
      CASE("\x80\2ctorch._utils\n_rebuild_parameter\nN\x85R", FG_CORRUPT, "no tensor"),
      CASE("\x80\2ctorch._tensor\n_rebuild_from_type_v2\nN\x85R", FG_UNSUPPORTED, "_rebuild_from_type_v2"),
      CASE("\x80\2]Nb", FG_CORRUPT, "items for something"),
  };
#undef CASE
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_pickle(*state, cases[i].pickle, cases[i].bytes, cases[i].status, cases[i].message);
  }
}

static void test_dictionary_in_itself_ends(void **state) {
  static const char pickle[] = "\x80\2}q\0" STR("\1", "a") "h\0s.";
  assert_pickle(*state, pickle, sizeof pickle - 1, FG_UNSUPPORTED, "holds no tensors");
}

static void test_stack_of_a_pickle_is_bounded(void **state) {
  enum { DEEP = 1 << 17 };
  char *pickle = malloc(DEEP);
  assert_non_null(pickle);
  memset(pickle, '(', DEEP);
  memcpy(pickle, "\x80\2", 2);
  assert_pickle(*state, pickle, DEEP, FG_UNSUPPORTED, "more than 65536 values on the stack");
  free(pickle);
}

// A matrix of `rows` rows by `columns` whose storage holds 0, 1, 2, ...: element (r, c) is r * row_stride
// + c * column_stride, whichever rows are read together. Returns the bytes read for that.
static uint64_t assert_gathered(const support *s, uint32_t rows, uint32_t columns, uint32_t row_stride,
                                uint32_t column_stride) {
  const uint32_t elements = (rows - 1) * row_stride + (columns - 1) * column_stride + 1;
  const uint32_t numbers[] = {elements, 0, rows, columns, row_stride, column_stride};
  unsigned char pickle[512];
  size_t bytes = 0;
#define PUT(text)  put_bytes(pickle, &bytes, text, sizeof text - 1)
#define PUT_INT(i) (PUT("J"), put(pickle, &bytes, numbers[i], 4))
  PUT(PICKLE_HEAD "ctorch\nIntStorage\n" STR("\1", "0") STR("\3", "cpu"));
  PUT_INT(0), PUT("tQ"), PUT_INT(1), PUT_INT(2), PUT_INT(3), PUT("\x86"), PUT_INT(4), PUT_INT(5),
      PUT("\x86" PICKLE_TAIL);
#undef PUT
#undef PUT_INT
  uint32_t *data = malloc(4 * (size_t)elements), *out = malloc(4 * (size_t)rows * columns);
  assert_true(data && out);
  for (uint32_t i = 0; i < elements; i++) data[i] = i;
  archive a = {0};
  add_entry(&a, "m/data.pkl", pickle, bytes, bytes);
  add_entry(&a, "m/data/0", data, 4 * (size_t)elements, 4 * (size_t)elements);
  finish_archive(&a);
  support_write(s, "x.bin", a.data, a.bytes);
  char path[PATH_MAX];
  fg_checkpoint *c;
  fg_error err = {0};
  if (fg_checkpoint_open(&c, support_path(s, "x.bin", path), s->rig.io, &err)) fail_msg("%s", err.message);
  static const uint32_t starts[] = {0, 1, 2};
  uint64_t read_before = fg_io_bytes_read(s->rig.io);
  for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
    if (fg_checkpoint_read_rows(c, c->tensors, starts[i], rows - starts[i], out, &err))
      fail_msg("%s", err.message);
    for (uint32_t n = 0; n < (rows - starts[i]) * columns; n++) {
      assert_int_equal(out[n], (n / columns + starts[i]) * row_stride + n % columns * column_stride);
    }
  }
  uint64_t bytes_read = fg_io_bytes_read(s->rig.io) - read_before;
  fg_checkpoint_destroy(c);
  free(a.data);
  free(data);
  free(out);
  return bytes_read;
}

static void test_columns_far_apart_are_read_without_what_lies_between(void **state) {
  uint64_t bytes_read = assert_gathered(*state, 3, 4, 1, 70000);
  assert_in_range(bytes_read, 1, 3 * 4 * 8192); // three reads of four columns, each within two blocks
}

// The sizes cross the reader's window of 256 KiB in each of its ways.
static void test_strided_rows_larger_than_the_window(void **state) {
  assert_gathered(*state, 300, 700, 1, 300);   // transposed, columns close together
  assert_gathered(*state, 3, 4, 1, 70000);     // transposed, columns further apart than the window
  assert_gathered(*state, 5, 40000, 80001, 2); // every other element of long rows
  assert_gathered(*state, 70000, 3, 1, 70000); // columns longer than the window
  assert_gathered(*state, 4, 50, 70000, 1);    // dense rows far apart
}

static void test_storages_are_checked_against_the_archive(void **state) {
  static const char pickle[] = PICKLE("K\0K\4\x85K\1\x85");
  archive missing = {0}, wrong_size = {0}, outside = {0};
  add_entry(&missing, "m/data.pkl", pickle, sizeof pickle - 1, sizeof pickle - 1);
  add_entry(&missing, "m/data/1", (char[16]){0}, 16, 16);
  assert_archive(*state, &missing, FG_CORRUPT, "not in the archive");
  add_entry(&wrong_size, "m/data.pkl", pickle, sizeof pickle - 1, sizeof pickle - 1);
  add_entry(&wrong_size, "m/data/0", (char[12]){0}, 12, 12);
  assert_archive(*state, &wrong_size, FG_CORRUPT, "size differs");
  add_entry(&outside, "m/data.pkl", pickle, sizeof pickle - 1, sizeof pickle - 1);
  add_entry(&outside, "m/data/0", "", 0, 16);
  assert_archive(*state, &outside, FG_CORRUPT, "entry out of bounds");
}

// Only the fields that say "see ZIP64" stand in the extra field.
static void test_zip64_of_some_fields(void **state) {
  support *s = *state;
  static const char pickle[] = PICKLE("K\0K\4\x85K\1\x85");
  char path[PATH_MAX];
  archive a = {0};
  fg_checkpoint *c;
  fg_error err = {0};
  uint32_t out[4];
  add_entry(&a, "m/data.pkl", pickle, sizeof pickle - 1, sizeof pickle - 1);
  uint64_t header = a.bytes;
  size_t central = a.central_bytes;
  add_entry(&a, "m/data/0", (char[16]){1, [12] = 4}, 16, 16);
  memcpy(a.central + central + 30, "\14", 1); // twelve bytes of extra field:
  memset(a.central + central + 42, 0xff, 4);  // the header's offset
  put(a.central, &a.central_bytes, 1 | 8 << 16, 4);
  put(a.central, &a.central_bytes, header, 8);
  finish_archive(&a);
  support_write(s, "x.bin", a.data, a.bytes);
  if (fg_checkpoint_open(&c, support_path(s, "x.bin", path), s->rig.io, &err)) fail_msg("%s", err.message);
  assert_int_equal(fg_checkpoint_read_rows(c, c->tensors, 0, 1, out, &err), FG_OK);
  assert_int_equal(out[0], 1);
  assert_int_equal(out[3], 4);
  fg_checkpoint_destroy(c);
  free(a.data);
}

static void test_archive_without_or_with_two_pickles_is_refused(void **state) {
  archive none = {0}, two = {0}, twice = {0};
  add_entry(&none, "m/sub/data.pkl", "", 0, 0);
  assert_archive(*state, &none, FG_CORRUPT, "no data.pkl");
  add_entry(&two, "m/data.pkl", "", 0, 0);
  add_entry(&two, "n/data.pkl", "", 0, 0);
  assert_archive(*state, &two, FG_CORRUPT, "two data.pkl");
  add_entry(&twice, "m/data.pkl", "", 0, 0);
  add_entry(&twice, "m/data.pkl", "", 0, 0);
  assert_archive(*state, &twice, FG_CORRUPT, "two entries of one name");
}

// A field of a valid archive, counted from the start of its central directory (>= 0) or its end (< 0).
static void test_archive_field_that_breaks_a_rule_is_refused(void **state) {
  static const struct {
    int at;
    uint32_t value;
    fg_status status;
    const char *message;
  } cases[] = {
      {-22, 0, FG_CORRUPT, "no end record"},
      {-18, 1, FG_CORRUPT, "several disks"},
      {-12, 1, FG_CORRUPT, "behind its last entry"},
      {-12, 0xffff, FG_CORRUPT, "ZIP64 locator"},
      {-12, 0xfffe, FG_CORRUPT, "more entries"},
      {-10, 0x7fffffff, FG_CORRUPT, "out of bounds"},
      {-6, 0x7fffffff, FG_CORRUPT, "out of bounds"},
      {-6, 1, FG_CORRUPT, "directory record expected"},
      {-2, 1, FG_CORRUPT, "no end record"},
      {0, 0, FG_CORRUPT, "directory record expected"},
      {8, 1, FG_UNSUPPORTED, "encrypted"},
      {10, 8, FG_UNSUPPORTED, "\"m/data.pkl\" is compressed"},
      {20, 3, FG_CORRUPT, "two sizes"},
      {28, 0xffff, FG_CORRUPT, "record out of bounds"},
      {42, 1, FG_CORRUPT, "entry without its header"},
      {42, 0x7fffffff, FG_CORRUPT, "entry out of bounds"},
      {42, 0xffffffff, FG_CORRUPT, "entry out of bounds"},
  };
  static const char pickle[] = PICKLE("K\0K\4\x85K\1\x85");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    archive a = {0};
    add_entry(&a, "m/data.pkl", pickle, sizeof pickle - 1, sizeof pickle - 1);
    add_entry(&a, "m/data/0", (char[16]){0}, 16, 16);
    size_t directory = a.bytes;
    finish_archive(&a);
    bool wide = cases[i].value > 0xffff || cases[i].at == 42 || cases[i].at == 20 || cases[i].at == -6;
    memcpy(a.data + (cases[i].at < 0 ? a.bytes : directory) + cases[i].at, &cases[i].value, wide ? 4 : 2);
    assert_bytes_refused(*state, "x.bin", a.data, a.bytes, cases[i].status, cases[i].message);
    free(a.data);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_views_types_and_shared_storages_as_torch_reads_them),
      cmocka_unit_test(test_module_with_metadata),
      cmocka_unit_test(test_state_dict_in_a_wrapper),
      cmocka_unit_test(test_zip64),
      cmocka_unit_test(test_shards_make_one_checkpoint),
      cmocka_unit_test(test_tied_tensors_lie_at_one_place),
      cmocka_unit_test(test_what_torch_can_write_and_we_cannot_read_is_refused_by_name),
      cmocka_unit_test(test_every_cut_of_a_file_is_refused),
      cmocka_unit_test(test_view_that_breaks_a_rule_is_refused),
      cmocka_unit_test(test_pickle_that_breaks_a_rule_is_refused),
      cmocka_unit_test(test_dictionary_in_itself_ends),
      cmocka_unit_test(test_stack_of_a_pickle_is_bounded),
      cmocka_unit_test(test_columns_far_apart_are_read_without_what_lies_between),
      cmocka_unit_test(test_strided_rows_larger_than_the_window),
      cmocka_unit_test(test_storages_are_checked_against_the_archive),
      cmocka_unit_test(test_zip64_of_some_fields),
      cmocka_unit_test(test_archive_without_or_with_two_pickles_is_refused),
      cmocka_unit_test(test_archive_field_that_breaks_a_rule_is_refused),
  };
  return cmocka_run_group_tests_name("torch_bin", tests, support_setup, support_teardown);
}
