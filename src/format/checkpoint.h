// checkpoint.h: somebody else's weights, whatever the file format, as named tensors with rows.
//
// A checkpoint is a folder of safetensors or pytorch_model.bin files (sharded or not), one GGUF file,
// or weights made up on the spot (model/synthetic.h); others stand before one of these and show its weights
// dequantised (quantised.h) or with an adapter merged in (lora.h). All look the same from here: a list of
// tensors, row-major, outermost dimension first (a GGUF's dimensions are turned round), and a way to read
// rows. Nothing is mapped; a read costs its own bytes only. Every length and offset of the files has been
// checked when open returns.
//
// Threads: one owner.
#ifndef FG_FORMAT_CHECKPOINT_H
#define FG_FORMAT_CHECKPOINT_H

#include "flexgen/error.h"
#include "io/io.h"
#include "tensor/dtype.h"

enum { FG_MAX_DIMS = 8 };

typedef struct fg_checkpoint_tensor {
  const char *name; // as in the file
  fg_dtype dtype;
  uint32_t dims; // 0 = a scalar
  uint64_t shape[FG_MAX_DIMS];
  uint64_t rows, columns; // product of all dimensions but the last; the last (scalar: 1, 1)
  // where it is: meaningful to the format that made it
  uint32_t file;
  uint64_t offset;
  uint64_t stride[FG_MAX_DIMS]; // in elements; contiguous but for some .bin files
} fg_checkpoint_tensor;

typedef struct fg_checkpoint fg_checkpoint;

typedef struct fg_checkpoint_place {
  fg_file *file;
  uint64_t offset, bytes;
} fg_checkpoint_place;

// What a format provides; a checkpoint starts with this.
typedef struct fg_checkpoint_ops {
  const char *format; // "safetensors", "pytorch_bin", "gguf", "synthetic"
  // Rows [row, row + count) of the tensor, densely packed, in its own dtype.
  fg_status (*read_rows)(fg_checkpoint *self, const fg_checkpoint_tensor *tensor, uint64_t row,
                         uint64_t count, void *out, fg_error *err);
  // The same in float32, for a checkpoint whose own types round what it has. NULL: expand its types.
  fg_status (*read_f32)(fg_checkpoint *self, const fg_checkpoint_tensor *tensor, uint64_t row, uint64_t count,
                        float *out, fg_error *err);
  // Where these rows stand as they are, one after the other, for who reads them without waiting. False: they
  // have to be put together (read_rows). NULL: always.
  bool (*place)(const fg_checkpoint *self, const fg_checkpoint_tensor *tensor, uint64_t row, uint64_t count,
                fg_checkpoint_place *out);
  bool concurrent; // read_rows may be called by several threads at once
  void (*destroy)(fg_checkpoint *self);
} fg_checkpoint_ops;

struct fg_checkpoint {
  const fg_checkpoint_ops *ops;
  fg_checkpoint_tensor *tensors; // sorted by name, names unique
  size_t count;
  const char *about; // how its matrices were quantised, for people ("GPTQ 4-bit"); NULL: they were not
};

// A folder or a .gguf file. Reads go through `io`.
fg_status fg_checkpoint_open(fg_checkpoint **out, const char *path, fg_io *io, fg_error *err);
void fg_checkpoint_destroy(fg_checkpoint *checkpoint); // NULL is allowed

const fg_checkpoint_tensor *fg_checkpoint_find(const fg_checkpoint *checkpoint, const char *name);
fg_status fg_checkpoint_read_rows(fg_checkpoint *checkpoint, const fg_checkpoint_tensor *tensor, uint64_t row,
                                  uint64_t count, void *out, fg_error *err);
// The same in float32. // out: [count, columns]
fg_status fg_checkpoint_read_f32(fg_checkpoint *checkpoint, const fg_checkpoint_tensor *tensor, uint64_t row,
                                 uint64_t count, float *out, fg_error *err);

#endif
