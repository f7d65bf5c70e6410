// Looking at a model without an engine.
#include "model_input.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/device.h"
#include "format/store.h"
#include "hub/pull.h"

// ---- pulled models --------------------------------------------------------------------------------------

static bool ends_in(const char *text, const char *suffix) {
  size_t length = strlen(text), tail = strlen(suffix);
  return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

// Whether nothing here is meant: no file of that name, nor one that is missing.
static bool may_be_pulled(const char *name, fg_hub_repo *repo) {
  static const char *const files[] = {".gguf", ".json", ".fgstore", ".safetensors", ".bin"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    if (ends_in(name, files[i])) return false;
  return access(name, F_OK) != 0 && fg_hub_repo_parse(repo, name, NULL) == FG_OK;
}

// A snapshot without a configuration holds GGUF files: one is the model, of several one has to be named.
static fg_status find_gguf(char path[PATH_MAX], const char *name, fg_error *err) {
  char pattern[PATH_MAX + 16];
  glob_t found;
  snprintf(pattern, sizeof pattern, "%s/config.json", path);
  if (access(pattern, F_OK) == 0) return FG_OK;
  snprintf(pattern, sizeof pattern, "%s/*.gguf", path);
  if (glob(pattern, 0, NULL, &found) != 0) return FG_OK; // whoever opens the folder says what it lacks
  fg_status status = FG_OK;
  if (found.gl_pathc > 1)
    status = fg_fail(err, FG_INVALID, "%zu GGUF files of %s were pulled; give the path of one, such as %s",
                     found.gl_pathc, name, found.gl_pathv[0]);
  else if (strlen(found.gl_pathv[0]) < PATH_MAX)
    strcpy(path, found.gl_pathv[0]);
  globfree(&found);
  return status;
}

static fg_status find_pulled(char path[PATH_MAX], const char **name, fg_error *err) {
  fg_hub_repo repo;
  char cache[PATH_MAX];
  if (!*name || !may_be_pulled(*name, &repo)) return FG_OK;
  fg_status status = fg_hub_cache_folder(cache, getenv, err);
  if (status == FG_OK) status = fg_hub_find(path, cache, &repo, err);
  if (status == FG_NOT_FOUND && !strchr(*name, '/')) return FG_OK; // a mistyped path more likely
  if (status == FG_NOT_FOUND)
    return fg_fail(err, status,
                   "%s is neither here nor among the pulled models in %s; flexgen pull %s downloads it",
                   *name, cache, *name);
  if (status == FG_OK) status = find_gguf(path, *name, err);
  if (status == FG_OK) *name = path;
  return status;
}

fg_status fg_model_find(fg_pulled_paths *paths, fg_options *options, fg_error *err) {
  const char *model = options->arguments[0];
  fg_status status = options->synthetic ? FG_OK : find_pulled(paths->model, &model, err);
  if (status == FG_OK && model != options->arguments[0]) options->arguments[0] = paths->model;
  if (status == FG_OK) status = find_pulled(paths->adapter, &options->adapter, err);
  return status ? status : find_pulled(paths->draft_model, &options->draft_model, err);
}

// ---- what the command line says -------------------------------------------------------------------------

void fg_model_input(fg_model_options *out, const fg_options *options) {
  out->model = options->arguments[0];
  out->synthetic = options->synthetic;
  out->alias_layers = options->alias_layers;
  out->adapter = options->adapter;
  out->family = fg_device_family(options->device);
  // Checked when the options were read.
  const fg_weight_words words = fg_weight_words_of(options);
  fg_weight_wish_read(&out->weights, &words, NULL);
}

fg_status fg_io_for(fg_io **out, const fg_options *options, fg_budget *budget, fg_error *err) {
  static const struct {
    const char *name;
    fg_io_backend_id id;
  } backends[] = {{"auto", FG_IO_AUTO}, {"uring", FG_IO_URING}, {"threads", FG_IO_THREADS}};
  fg_io_options io = {.budget = budget};
  for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
    if (strcmp(backends[i].name, options->io) == 0) io.backend = backends[i].id;
  return fg_io_create(out, &io, err);
}

fg_status fg_model_assets(fg_assets *out, const char *path, fg_error *err) {
  if (!fg_store_is(path)) return fg_assets_load(out, path, err);
  fg_store *store;
  fg_status status = fg_store_open(&store, path, err);
  if (status != FG_OK) return status;
  *out = store->assets;
  store->assets = (fg_assets){NULL, 0};
  fg_store_close(store);
  return FG_OK;
}
