// settings.h: what the environment says about the Hub, by the names and rules of huggingface_hub.
//
// HF_ENDPOINT, HF_TOKEN (or the token that `hf auth login` wrote), HF_HUB_CACHE and HF_HOME (below
// XDG_CACHE_HOME or ~/.cache), HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT. docs/pull.md has the table.
#ifndef FG_HUB_SETTINGS_H
#define FG_HUB_SETTINGS_H

#include <limits.h>
#include <stdbool.h>

#include "flexgen/error.h"

typedef struct fg_hub_settings {
  char endpoint[512];   // "https://host[:port][/path]", no slash at the end
  char token[512];      // "" = none
  char cache[PATH_MAX]; // absolute or as given; needs not be there yet
  unsigned stall_s;     // how long a silent server is waited for
  bool offline;
} fg_hub_settings;

typedef char *fg_hub_environment(const char *name); // getenv

fg_status fg_hub_settings_read(fg_hub_settings *out, fg_hub_environment *get, fg_error *err);
// The folder of the cache alone.
fg_status fg_hub_cache_folder(char out[PATH_MAX], fg_hub_environment *get, fg_error *err);

#endif
