// torch_bin.h: one pytorch_model.bin as a list of tensors.
//
// torch.save (since 1.6) writes a zip archive: data.pkl says which tensor is which view of which
// storage, data/KEY is a storage's bytes. Tensors may share a storage (tied weights) and may have any
// strides. The older format without a zip is refused with a hint.
#ifndef FG_FORMAT_TORCH_BIN_H
#define FG_FORMAT_TORCH_BIN_H

#include "format/checkpoint_files.h"

// Adds the file to a checkpoint under construction.
fg_status fg_torch_bin_add(fg_checkpoint *checkpoint, const char *path, fg_error *err);

#endif
