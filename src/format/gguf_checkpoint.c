#include "format/gguf_checkpoint.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "format/gguf.h"

// Vocabularies and templates make some 10 MB; the largest known header has 30.
enum { MAX_HEADER_BYTES = 256 * 1024 * 1024 };

// ggml's types by number. Those without a dtype, whose size is not known, are known by name only. Whether
// values can be used is for who uses them to say (fg_dtype_info.to_f32).
typedef struct type_row {
  const char *name;
  bool sized;
  fg_dtype dtype;
} type_row;

static const type_row types[] = {
    [0] = {"F32", true, FG_F32},
    [1] = {"F16", true, FG_F16},
    [2] = {"Q4_0", true, FG_Q4_0},
    [3] = {"Q4_1", true, FG_Q4_1},
    [6] = {"Q5_0", true, FG_Q5_0},
    [7] = {"Q5_1", true, FG_Q5_1},
    [8] = {"Q8_0", true, FG_Q8_0},
    [9] = {.name = "Q8_1"},
    [10] = {"Q2_K", true, FG_Q2_K},
    [11] = {"Q3_K", true, FG_Q3_K},
    [12] = {"Q4_K", true, FG_Q4_K},
    [13] = {"Q5_K", true, FG_Q5_K},
    [14] = {"Q6_K", true, FG_Q6_K},
    [15] = {.name = "Q8_K"},
    [16] = {"IQ2_XXS", true, FG_IQ2_XXS},
    [17] = {"IQ2_XS", true, FG_IQ2_XS},
    [18] = {"IQ3_XXS", true, FG_IQ3_XXS},
    [19] = {"IQ1_S", true, FG_IQ1_S},
    [20] = {"IQ4_NL", true, FG_IQ4_NL},
    [21] = {"IQ3_S", true, FG_IQ3_S},
    [22] = {"IQ2_S", true, FG_IQ2_S},
    [23] = {"IQ4_XS", true, FG_IQ4_XS},
    [24] = {"I8", true, FG_I8},
    [25] = {"I16", true, FG_I16},
    [26] = {"I32", true, FG_I32},
    [27] = {"I64", true, FG_I64},
    [28] = {"F64", true, FG_F64},
    [29] = {"IQ1_M", true, FG_IQ1_M},
    [30] = {"BF16", true, FG_BF16},
    [34] = {"TQ1_0", true, FG_TQ1_0},
    [35] = {"TQ2_0", true, FG_TQ2_0},
    [39] = {"MXFP4", true, FG_MXFP4},
    [40] = {"NVFP4", true, FG_NVFP4},
    [41] = {"Q1_0", true, FG_Q1_0},
    [42] = {.name = "Q2_0"},
};

// What a part says about the split that it belongs to.
typedef struct split {
  uint32_t number, count; // number from 0
  uint32_t tensors;       // in all parts; 0 = not said
} split;

static fg_status read_split(const fg_gguf *g, split *out, fg_error *err) {
  fg_status status = fg_gguf_u32(g, "split.no", 0, &out->number, err);
  if (status == FG_OK) status = fg_gguf_u32(g, "split.count", 1, &out->count, err);
  if (status == FG_OK) status = fg_gguf_u32(g, "split.tensors.count", 0, &out->tensors, err);
  return status;
}

static fg_status find_dtype(const fg_gguf_tensor *from, fg_checkpoint_tensor *t, const char *path,
                            fg_error *err) {
  const type_row *row = from->type < sizeof types / sizeof *types ? &types[from->type] : &(type_row){0};
  t->dtype = row->dtype;
  if (row->sized) return FG_OK;
  char number[16];
  snprintf(number, sizeof number, "%" PRIu32, from->type);
  return fg_fail(err, FG_UNSUPPORTED, "%s: tensor %s has type %s, which this version cannot read", path,
                 t->name, row->name ? row->name : number);
}

// One tensor, whose name is in place. *next is where ggml's layout puts it, and then the one behind it.
static fg_status add_tensor(fg_tensor_list *list, const fg_gguf *g, const fg_gguf_tensor *from,
                            const char *name, uint64_t *next, const fg_file *file, fg_error *err) {
  const char *path = fg_file_path(file);
  fg_checkpoint_tensor t = {.name = name};
  uint64_t shape[FG_GGUF_MAX_DIMS], bytes, padded;
  for (uint32_t i = 0; i < from->dims; i++) shape[i] = from->shape[from->dims - 1 - i];
  fg_status status = find_dtype(from, &t, path, err);
  if (status == FG_OK) status = fg_tensor_set_shape(&t, shape, from->dims, &bytes, path, err);
  if (status) return status;
  if (from->offset != *next) {
    return fg_fail(err, FG_CORRUPT,
                   "%s: tensor \"%s\" is at data offset %" PRIu64 ", expected %" PRIu64
                   " (behind the one before)",
                   path, name, from->offset, *next);
  }
  if (!fg_add_u64(fg_gguf_data_start(g), from->offset, &t.offset) ||
      !fg_range_ok(t.offset, bytes, fg_file_size(file))) {
    return fg_fail(err, FG_CORRUPT,
                   "%s: tensor \"%s\" of %" PRIu64
                   " bytes reaches beyond the end of the file; was it cut short?",
                   path, name, bytes);
  }
  padded = fg_align_up(bytes, fg_gguf_alignment(g)); // no overflow: bytes are at most the file's size
  *next = from->offset + padded;
  return fg_tensor_list_push(list, &t, path, err);
}

static fg_status copy_name(char **to, const fg_gguf_string *name, const char *path, fg_error *err) {
  if (name->length == 0 || name->length > FG_MAX_TENSOR_NAME || memchr(name->data, 0, name->length)) {
    return fg_fail(err, FG_CORRUPT,
                   "%s: a tensor name of %" PRIu64 " bytes is empty, longer than %d or has a NUL", path,
                   name->length, FG_MAX_TENSOR_NAME);
  }
  memcpy(*to, name->data, name->length);
  *to += name->length;
  *(*to)++ = 0;
  return FG_OK;
}

static fg_status add_tensors(fg_tensor_list *list, const fg_gguf *g, const fg_file *file, fg_error *err) {
  size_t count, name_bytes = 1;
  uint64_t next = 0;
  const fg_gguf_tensor *tensors = fg_gguf_tensors(g, &count);
  for (size_t i = 0; i < count; i++) name_bytes += tensors[i].name.length + 1;
  char *to = list->names = malloc(name_bytes);
  if (!to) return fg_fail(err, FG_NO_SPACE, "%s: no memory for %zu tensor names", fg_file_path(file), count);
  fg_status status = FG_OK;
  for (size_t i = 0; i < count && status == FG_OK; i++) {
    const char *name = to;
    status = copy_name(&to, &tensors[i].name, fg_file_path(file), err);
    if (status == FG_OK) status = add_tensor(list, g, &tensors[i], name, &next, file, err);
  }
  return status;
}

static fg_status read_file(fg_io *io, fg_file *file, void *user, fg_tensor_list *out, fg_error *err) {
  (void)io;
  void *header;
  size_t bytes;
  fg_gguf *g;
  fg_status status = fg_gguf_read_header(fg_file_path(file), MAX_HEADER_BYTES, &header, &bytes, err);
  if (status) return status;
  status = fg_gguf_parse(&g, header, bytes, err);
  if (status == FG_OK) {
    status = read_split(g, user, err);
    if (status == FG_OK) status = add_tensors(out, g, file, err);
    fg_gguf_destroy(g);
  }
  free(header);
  return status;
}

// "-00001-of-00003.gguf"
enum { SUFFIX_BYTES = 64 };
static void split_suffix(char out[static SUFFIX_BYTES], uint32_t number, uint32_t count) {
  snprintf(out, SUFFIX_BYTES, "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", number + 1, count);
}

static fg_status add_part(fg_checkpoint *checkpoint, const char *path, const split *first, uint32_t number,
                          fg_error *err) {
  split here;
  fg_status status = fg_checkpoint_files_add(checkpoint, path, read_file, &here, err);
  if (status) return fg_fail_prefix(err, "part %" PRIu32 " of %" PRIu32, number + 1, first->count);
  if (here.number == number && here.count == first->count) return FG_OK;
  return fg_fail(err, FG_CORRUPT,
                 "%s says that it is part %" PRIu32 " of %" PRIu32 ", expected part %" PRIu32 " of %" PRIu32,
                 path, here.number + 1, here.count, number + 1, first->count);
}

static fg_status add_siblings(fg_checkpoint *checkpoint, const char *path, const split *first,
                              fg_error *err) {
  char sibling[PATH_MAX], suffix[SUFFIX_BYTES];
  size_t length = strlen(path);
  split_suffix(suffix, 0, first->count);
  size_t stem = length - strlen(suffix);
  if (length < strlen(suffix) || length >= sizeof sibling - SUFFIX_BYTES ||
      strcmp(path + stem, suffix) != 0) {
    return fg_fail(err, FG_INVALID, "%s is part 1 of %" PRIu32 "; its name must end in %s", path,
                   first->count, suffix);
  }
  memcpy(sibling, path, stem);
  fg_status status = FG_OK;
  for (uint32_t i = 1; i < first->count && status == FG_OK; i++) {
    split_suffix(sibling + stem, i, first->count);
    status = add_part(checkpoint, sibling, first, i, err);
  }
  return status;
}

fg_status fg_gguf_checkpoint_add(fg_checkpoint *checkpoint, const char *path, fg_error *err) {
  split first = {.count = 1};
  fg_status status = fg_checkpoint_files_add(checkpoint, path, read_file, &first, err);
  if (status || first.count <= 1) return status;
  if (first.number != 0) {
    return fg_fail(err, FG_INVALID,
                   "%s is part %" PRIu32 " of %" PRIu32 "; give part 1, the others are found beside it", path,
                   first.number + 1, first.count);
  }
  status = add_siblings(checkpoint, path, &first, err);
  if (status || first.tensors == 0 || first.tensors == checkpoint->count) return status;
  return fg_fail(err, FG_CORRUPT, "%s: its %" PRIu32 " parts hold %zu tensors, the first says %" PRIu32, path,
                 first.count, checkpoint->count, first.tensors);
}
