// lora.h: a checkpoint with a low-rank adapter merged into it (LoRA, Hu et al. 2021; DoRA, Liu et al. 2024),
// as PEFT saves them.
//
// It stands before a checkpoint and shows the same tensors; rows of those that the adapter changes are summed
// up in float32 when they are read: W + factor B A, with DoRA scaled to the trained norm of each row. Tensors
// that were trained whole stand in the place of the base's. Every tensor of the adapter must find its place.
//
// An embedding's change reaches a head that is tied to it, as when PEFT merges.
#ifndef FG_FORMAT_LORA_H
#define FG_FORMAT_LORA_H

#include "base/budget.h"
#include "format/checkpoint.h"

typedef struct fg_lora_options {
  const char *folder; // adapter_config.json and adapter_model.safetensors or .bin
  bool exact;         // merged tensors are float32; else of the base's type, bfloat16 for types of codes
  fg_io *io;
  fg_budget *budget; // pays for one module's matrices; NULL: nobody
} fg_lora_options;

// Puts the new checkpoint in the place of *checkpoint, which it then owns; on failure it is as it was.
fg_status fg_lora_wrap(fg_checkpoint **checkpoint, const fg_lora_options *options, fg_error *err);

#endif
