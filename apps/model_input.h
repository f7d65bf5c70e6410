// model_input.h: the MODEL argument for commands that look at a model without an engine.
#ifndef FG_APPS_MODEL_INPUT_H
#define FG_APPS_MODEL_INPUT_H

#include <limits.h>

#include "command.h"
#include "io/io.h"
#include "model/model.h"

// Where names of pulled models became paths; options point into it.
typedef struct fg_pulled_paths {
  char model[PATH_MAX], adapter[PATH_MAX], draft_model[PATH_MAX];
} fg_pulled_paths;

// MODEL, --adapter and --draft-model, where nothing of that name is here and it is a model's name on a Hub,
// become the path of what was pulled. FG_NOT_FOUND says what to pull. A name of anything else stays as it is.
fg_status fg_model_find(fg_pulled_paths *paths, fg_options *options, fg_error *err);

// Fills what the command line says: model, synthetic, weight type, and the device's family of layouts.
void fg_model_input(fg_model_options *out, const fg_options *options);
// A queue of disk requests as --io wants it.
fg_status fg_io_for(fg_io **out, const fg_options *options, fg_budget *budget, fg_error *err);
// The model's small files (tokenizer, templates), be it a folder, a .gguf or a store.
fg_status fg_model_assets(fg_assets *out, const char *path, fg_error *err);

#endif
