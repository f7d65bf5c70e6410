// safetensors.h: one .safetensors file as a list of tensors.
//
// The file is a length, a JSON header and the data; the header must describe every byte of the data
// exactly once. Everything is checked before a tensor is shown: sizes, overlaps, holes, the end.
#ifndef FG_FORMAT_SAFETENSORS_H
#define FG_FORMAT_SAFETENSORS_H

#include "format/checkpoint_files.h"

// Adds the file to a checkpoint under construction.
fg_status fg_safetensors_add(fg_checkpoint *checkpoint, const char *path, fg_error *err);

#endif
