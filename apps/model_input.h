// model_input.h: the MODEL argument for commands that look at a model without an engine.
#ifndef FG_APPS_MODEL_INPUT_H
#define FG_APPS_MODEL_INPUT_H

#include "command.h"
#include "io/io.h"
#include "model/model.h"

// Fills what the command line says: model, synthetic, weight type, and the device's family of layouts.
void fg_model_input(fg_model_options *out, const fg_options *options);
// A queue of disk requests as --io wants it.
fg_status fg_io_for(fg_io **out, const fg_options *options, fg_budget *budget, fg_error *err);
// The model's small files (tokenizer, templates), be it a folder, a .gguf or a store.
fg_status fg_model_assets(fg_assets *out, const char *path, fg_error *err);

#endif
