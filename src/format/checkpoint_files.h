// checkpoint_files.h: a checkpoint whose tensors lie in one or several files.
//
// A format's reader looks at one file and returns the tensors in it, with absolute offsets that lie
// within the file; what follows is the same for every format and stands here: several files become
// one list, names are unique over all of them, and rows are read from where they lie. Rows of a
// contiguous tensor are one read; others (views in .bin files) are gathered through a small window.
#ifndef FG_FORMAT_CHECKPOINT_FILES_H
#define FG_FORMAT_CHECKPOINT_FILES_H

#include "format/checkpoint.h"

// Enough for any model (the largest have some 50,000 in all their files together), and it bounds the
// memory that a small hostile file can ask for.
enum { FG_MAX_TENSORS = 65536, FG_MAX_TENSOR_NAME = 1024 };

// The tensors of one file. Names point into `names`.
typedef struct fg_tensor_list {
  fg_checkpoint_tensor *items;
  size_t count, capacity;
  void *names;
} fg_tensor_list;

// `path` names the file in messages.
fg_status fg_tensor_list_push(fg_tensor_list *list, const fg_checkpoint_tensor *tensor, const char *path,
                              fg_error *err);
void fg_tensor_list_free(fg_tensor_list *list);

// Fills shape, rows, columns, row-major strides and gives the size in bytes. The tensor has its name
// and dtype; dims <= FG_MAX_DIMS. FG_CORRUPT on overflow and on rows that are no whole blocks.
fg_status fg_tensor_set_shape(fg_checkpoint_tensor *tensor, const uint64_t *shape, uint32_t dims,
                              uint64_t *bytes, const char *path, fg_error *err);

// Parts of a tensor of files as tensors of their own, which the same checkpoint reads: columns
// [first, first + count) of a matrix, and a run of values in the order of rows as one row (false: they do
// not lie one after the other). Plain types; the part lies within the tensor.
fg_checkpoint_tensor fg_tensor_columns(const fg_checkpoint_tensor *tensor, uint64_t first, uint64_t count);
bool fg_tensor_run(const fg_checkpoint_tensor *tensor, uint64_t first, uint64_t count,
                   fg_checkpoint_tensor *out);

// A format's view of one file. `user` is what the format gave to fg_checkpoint_files_add.
typedef fg_status fg_checkpoint_reader(fg_io *io, fg_file *file, void *user, fg_tensor_list *out,
                                       fg_error *err);

// A checkpoint under construction: opened by create, filled by add, whole after finish.
fg_status fg_checkpoint_files_create(fg_checkpoint **out, const char *format, fg_io *io, fg_error *err);
fg_status fg_checkpoint_files_add(fg_checkpoint *checkpoint, const char *path, fg_checkpoint_reader *reader,
                                  void *user, fg_error *err);
fg_status fg_checkpoint_files_finish(fg_checkpoint *checkpoint, fg_error *err);
// Path of the file that holds a tensor.
const char *fg_checkpoint_files_path(const fg_checkpoint *checkpoint, const fg_checkpoint_tensor *tensor);

#endif
