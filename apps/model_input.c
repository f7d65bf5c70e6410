// Looking at a model without an engine.
#include "model_input.h"

#include <string.h>

#include "device/device.h"
#include "format/store.h"

void fg_model_input(fg_model_options *out, const fg_options *options) {
  out->model = options->arguments[0];
  out->synthetic = options->synthetic;
  out->adapter = options->adapter;
  out->family = fg_device_family(options->device);
  // Checked when the options were read.
  fg_weight_wish_read(&out->weights, options->weight_dtype, options->weight_group, options->weight_symmetric,
                      NULL);
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
