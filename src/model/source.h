// source.h: what a user's MODEL is, and the key of the store that is made from it.
#ifndef FG_MODEL_SOURCE_H
#define FG_MODEL_SOURCE_H

#include "format/assets.h"
#include "model/model.h"

// For people: the last part of the path without ".gguf" or ".fgstore" (of a pulled model's snapshot: the
// model's own name), or the shape's name; malloc'd.
char *fg_source_name(const char *model);

// The key changes whenever the store's bytes could: with the format's version, the family of layouts, the
// type asked for, the size of panels, and the files themselves (place, size, time of change, configuration).
// malloc'd into *out.
fg_status fg_source_key(char **out, const fg_model_options *options, const fg_assets *assets, fg_error *err);

#endif
