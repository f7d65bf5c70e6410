// choose.h: which files of a listing are wanted.
//
// Without patterns: what the engine reads, namely configuration, tokenizer and chat template, and the weights
// in one form: safetensors before .bin, one file before shards, a model before an adapter. A model that comes
// as GGUF only comes in many sizes, so its file has to be named. With patterns (of a shell; "*" matches "/"
// too, a trailing "/" is all below): what matches one of them. What matches an exclusion is left out of
// either.
#ifndef FG_HUB_CHOOSE_H
#define FG_HUB_CHOOSE_H

#include "hub/listing.h"

typedef struct fg_hub_patterns {
  char *const *items;
  size_t count;
} fg_hub_patterns;

// Two lists of patterns count as one: those that stand behind REPO and those of --include.
typedef struct fg_hub_wish {
  fg_hub_patterns include[2], exclude;
} fg_hub_wish;

// Sets `chosen` of every file. FG_NOT_FOUND: one line with what there is to choose from.
fg_status fg_hub_choose(fg_hub_listing *listing, const fg_hub_wish *wish, const char *repo, fg_error *err);

#endif
