// gguf_checkpoint.h: the tensors of a GGUF file, or of all parts of a split one.
#ifndef FG_FORMAT_GGUF_CHECKPOINT_H
#define FG_FORMAT_GGUF_CHECKPOINT_H

#include "format/checkpoint_files.h"

// Adds the file to a checkpoint under construction, and if it is the first of a split model
// (NAME-00001-of-0000N.gguf) the other parts that stand beside it.
fg_status fg_gguf_checkpoint_add(fg_checkpoint *checkpoint, const char *path, fg_error *err);

#endif
