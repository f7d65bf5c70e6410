#include "model/model.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/size.h"
#include "model/arch.h"
#include "model/pack.h"
#include "model/source.h"
#include "model/synthetic.h"

// In a store: the hash of all rows as they were before they were laid out for a device.
#define ASSET_CONTENT "content-hash"

// What opening works on besides the model itself.
typedef struct opener {
  const fg_model_options *options;
  fg_model *model;
  fg_config config;
  fg_checkpoint *checkpoint; // NULL: packed already, or only a configuration
  fg_pack_plan plan;
  fg_error *err;
} opener;

// ---- from assets to a graph ----------------------------------------------------------------------------

static uint64_t count_parameters(const fg_graph *g, bool tied) {
  uint64_t sum = 0;
  for (int64_t layer = -1; layer <= (int64_t)g->layers; layer++) {
    const fg_program *p = layer < 0                    ? &g->prologue
                          : layer < (int64_t)g->layers ? &g->programs[g->program_of_layer[layer]]
                                                       : &g->epilogue;
    for (uint32_t i = 0; i < p->slot_count; i++) sum += (uint64_t)p->slots[i].n * p->slots[i].k;
  }
  const fg_slot *head = &g->epilogue.slots[g->head_slot];
  return tied ? sum - (uint64_t)head->n * head->k : sum;
}

// All that follows from the assets.
static fg_status understand(opener *o) {
  fg_model *m = o->model;
  fg_status status = fg_config_load(&o->config, &m->assets, o->err);
  if (!status) status = fg_graph_build(&m->graph, &o->config, o->err);
  if (!status) {
    status = fg_config_token_ids(&o->config, &m->assets, m->eos, FG_MAX_EOS, &m->eos_count, &m->bos, o->err);
  }
  if (status) return status;
  m->architecture = o->config.arch->name;
  m->max_positions = m->graph->max_positions;
  bool tied = o->config.tied || !o->config.head_stored || !o->config.embed_stored;
  m->parameters = count_parameters(m->graph, tied);
  return FG_OK;
}

static fg_status load_shape(opener *o) {
  const char *shape = o->options->model, *config = fg_shape_config(shape);
  if (!config) {
    char list[512] = "";
    for (uint32_t i = 0; fg_shape_name(i); i++) {
      size_t used = strlen(list);
      snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", fg_shape_name(i));
    }
    return fg_fail(o->err, FG_NOT_FOUND, "%s: no shape has this name; there are %s", shape, list);
  }
  fg_status status = fg_assets_add(&o->model->assets, "config.json", config, strlen(config), o->err);
  if (!status) status = understand(o);
  return status ? status : fg_synthetic_create(&o->checkpoint, o->model->graph, shape, o->err);
}

static fg_status load_files(opener *o, bool weights_needed) {
  const fg_model_options *options = o->options;
  fg_status status = fg_assets_load(&o->model->assets, options->model, o->err);
  if (status) return status;
  fg_error missing = {0};
  if (options->io) status = fg_checkpoint_open(&o->checkpoint, options->model, options->io, &missing);
  if (status && (weights_needed || status != FG_NOT_FOUND))
    return fg_fail(o->err, status, "%s", missing.message);
  if (o->checkpoint)
    status = fg_facts_gather(&o->model->assets, o->checkpoint, options->log, o->err);
  else
    status = FG_OK;
  return status ? status : understand(o);
}

static fg_dtype configured_type(const fg_assets *assets) {
  fg_dtype dtype = FG_F32;
  static const struct {
    const char *name;
    fg_dtype dtype;
  } types[] = {{"bfloat16", FG_BF16}, {"float16", FG_F16}, {"float32", FG_F32}};
  const fg_asset *asset = fg_assets_find(assets, "config.json");
  json_t *root = asset ? fg_json_parse(asset->data, asset->bytes, "config.json", NULL) : NULL;
  const char *name = json_string_value(json_object_get(root, "dtype"));
  if (!name) name = json_string_value(json_object_get(root, "torch_dtype"));
  for (size_t i = 0; name && i < sizeof types / sizeof *types; i++) {
    if (strcmp(types[i].name, name) == 0) dtype = types[i].dtype;
  }
  json_decref(root);
  return dtype;
}

static fg_pack_source pack_source(const opener *o) {
  return (fg_pack_source){.graph = o->model->graph,
                          .names = fg_config_names(&o->config),
                          .checkpoint = o->checkpoint,
                          .assumed = o->checkpoint ? FG_F32 : configured_type(&o->model->assets)};
}

static fg_status keep_weights(fg_model *m, const fg_weight *weights, size_t stride, uint32_t count,
                              fg_error *err) {
  m->weights = calloc(count + 1u, sizeof *m->weights);
  if (!m->weights) return fg_fail(err, FG_NO_SPACE, "no memory for a list of %u weights", count);
  for (uint32_t i = 0; i < count; i++)
    memcpy(&m->weights[i], (const char *)weights + i * stride, sizeof *m->weights);
  m->weight_count = count;
  return FG_OK;
}

static fg_status plan(opener *o) {
  fg_pack_source source = pack_source(o);
  fg_status status = fg_pack_plan_create(&o->plan, &source, o->options, o->err);
  if (status) return status;
  return keep_weights(o->model, &o->plan.items->weight, sizeof *o->plan.items, o->plan.count, o->err);
}

// ---- stores --------------------------------------------------------------------------------------------

// Every weight of the graph must be there, in the form that the device reads.
static fg_status check_weight(const opener *o, const fg_store *store, const fg_slot *slot, int32_t layer) {
  char name[64];
  fg_graph_weight_name(o->model->graph, layer, slot, name);
  uint32_t index = fg_store_find(store, name);
  const fg_weight *w = index == UINT32_MAX ? NULL : &store->weights[index];
  if (!w || w->kind != slot->kind || w->n != slot->n || w->k != slot->k) {
    return fg_fail(o->err, FG_CORRUPT, "%s: damaged store: weight %s is missing or has another shape",
                   fg_file_path(store->file), name);
  }
  if (w->kind != FG_WEIGHT_MATRIX) return FG_OK;
  const fg_layout *layout = o->options->family->choose(w->dtype, w->n, w->k);
  if (!layout || strcmp(layout->name, w->layout) != 0) {
    return fg_fail(o->err, FG_CORRUPT, "%s: damaged store: weight %s has the layout %s",
                   fg_file_path(store->file), name, w->layout);
  }
  return FG_OK;
}

static fg_status check_store(const opener *o, const fg_store *store) {
  const fg_graph *g = o->model->graph;
  for (int64_t layer = -1; layer <= (int64_t)g->layers; layer++) {
    const fg_program *p = layer < 0                    ? &g->prologue
                          : layer < (int64_t)g->layers ? &g->programs[g->program_of_layer[layer]]
                                                       : &g->epilogue;
    for (uint32_t i = 0; i < p->slot_count; i++) {
      fg_status status = check_weight(o, store, &p->slots[i], (int32_t)layer);
      if (status) return status;
    }
  }
  if (!fg_assets_find(&store->assets, ASSET_CONTENT)) {
    return fg_fail(o->err, FG_CORRUPT, "%s: damaged store: %s is missing", fg_file_path(store->file),
                   ASSET_CONTENT);
  }
  return FG_OK;
}

// Assets are added up, so that their order does not matter.
static fg_status fingerprint(opener *o) {
  fg_model *m = o->model;
  const fg_asset *content = fg_assets_find(&m->store->assets, ASSET_CONTENT);
  uint64_t sum = fg_hash(content->data, content->bytes);
  for (size_t i = 0; i < m->assets.count; i++) {
    const fg_asset *a = &m->assets.items[i];
    if (strcmp(a->name, ASSET_CONTENT) == 0) continue;
    sum += fg_hash_more(fg_hash(a->name, strlen(a->name)), a->data, a->bytes);
  }
  if (asprintf(&m->fingerprint, "%016" PRIx64, sum) < 0) {
    m->fingerprint = NULL;
    return fg_fail(o->err, FG_NO_SPACE, "no memory for a fingerprint");
  }
  return FG_OK;
}

// MODEL is itself a store.
static fg_status open_store_file(opener *o, bool keep) {
  const fg_layout_family *family = o->options->family;
  fg_store *store;
  fg_status status = fg_store_open(&store, o->options->model, o->err);
  if (status) return status;
  o->model->store = store;
  // The model's own copies: a store's assets belong to it.
  for (size_t i = 0; !status && i < store->assets.count; i++) {
    const fg_asset *a = &store->assets.items[i];
    status = fg_assets_add(&o->model->assets, a->name, a->data, a->bytes, o->err);
  }
  if (!status) status = understand(o);
  if (!status)
    status = keep_weights(o->model, store->weights, sizeof *store->weights, store->weight_count, o->err);
  if (!status && keep && strcmp(store->target, family->name) != 0) {
    status = fg_fail(o->err, FG_UNSUPPORTED,
                     "%s: packed for %s, this device reads %s; pack the original again (%s)",
                     o->options->model, store->target, family->name, store->origin);
  }
  if (!status && keep) status = check_store(o, store);
  if (!status && keep) status = fingerprint(o);
  if (!keep) {
    fg_store_close(store);
    o->model->store = NULL;
  }
  return status;
}

// A store made earlier. FG_NOT_FOUND: none that can be used; what is damaged will be replaced.
static fg_status open_existing(opener *o, const char *path, const char *key) {
  if (access(path, F_OK) != 0) return FG_NOT_FOUND;
  fg_error reason = {0};
  fg_error *outer = o->err;
  fg_store *store;
  fg_status status = fg_store_open(&store, path, &reason);
  if (!status) {
    o->err = &reason;
    status = strcmp(store->source, key) == 0
                 ? check_store(o, store)
                 : fg_fail(&reason, FG_CORRUPT, "%s: made from something else", path);
    o->err = outer;
    if (!status) {
      o->model->store = store;
      return FG_OK;
    }
    fg_store_close(store);
  }
  if (status == FG_CORRUPT || status == FG_UNSUPPORTED) {
    fg_log_line(o->options->log, FG_LOG_WARN, "%s; packing again", reason.message);
    return FG_NOT_FOUND;
  }
  return status == FG_NOT_FOUND ? status : fg_fail(outer, status, "%s", reason.message);
}

// ---- packing -------------------------------------------------------------------------------------------

static fg_status make_directory(const char *dir, fg_error *err) {
  char path[PATH_MAX];
  size_t length = strlen(dir);
  if (length == 0 || length >= sizeof path)
    return fg_fail(err, FG_INVALID, "--offload-dir: no usable path: %s", dir);
  memcpy(path, dir, length + 1);
  for (size_t i = 1; i <= length; i++) {
    if (path[i] != '/' && path[i] != 0) continue;
    char kept = path[i];
    path[i] = 0;
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
      return fg_fail(err, FG_IO, "%s: cannot create the directory: %s", path, strerror(errno));
    }
    path[i] = kept;
  }
  return FG_OK;
}

static fg_status check_room(const opener *o) {
  const char *dir = o->options->offload_dir;
  uint64_t needed = o->plan.bytes;
  for (size_t i = 0; i < o->model->assets.count; i++) needed += o->model->assets.items[i].bytes;
  char need[16], have[16];
  if (o->options->store_cap && needed > o->options->store_cap) {
    return fg_fail(o->err, FG_DISK_FULL, "%s: the packed store needs %s, its cap is %s", o->options->model,
                   fg_size_format(needed, need), fg_size_format(o->options->store_cap, have));
  }
  struct statvfs fs;
  if (statvfs(dir, &fs) != 0) return fg_fail(o->err, FG_IO, "%s: %s", dir, strerror(errno));
  uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
  if (needed <= left) return FG_OK;
  return fg_fail(o->err, FG_DISK_FULL,
                 "%s: the packed store needs %s, %s are left in %s; name another place with --offload-dir",
                 o->options->model, fg_size_format(needed, need), fg_size_format(left, have), dir);
}

static fg_status finish_store(opener *o, fg_store_writer *writer, uint64_t content) {
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, content);
  fg_assets *assets = &o->model->assets;
  fg_status status = fg_assets_add(assets, ASSET_CONTENT, text, 16, o->err);
  if (status) {
    fg_store_writer_abandon(writer);
    return status;
  }
  return fg_store_writer_finish(writer, assets, o->err);
}

static fg_status pack(opener *o, fg_store_writer *writer, const char *path) {
  char size[16];
  const uint64_t begin = fg_now_ns();
  fg_log_line(o->options->log, FG_LOG_INFO, "packing %s: %s into %s", o->options->model,
              fg_size_format(o->plan.bytes, size), path);
  fg_status status = check_room(o);
  uint64_t content = 0;
  fg_pack_source source = pack_source(o);
  if (!status) status = fg_pack_write(&o->plan, &source, o->options, writer, &content, o->err);
  if (status) {
    fg_store_writer_abandon(writer);
    return status;
  }
  status = finish_store(o, writer, content);
  double seconds = (double)(fg_now_ns() - begin) * 1e-9;
  if (!status) {
    fg_log_line(o->options->log, FG_LOG_INFO, "packed %s in %.1f s (%.0f MB/s)", size, seconds,
                (double)o->plan.bytes * 1e-6 / seconds);
  }
  return status;
}

// Somebody else packs this model: its store will be ours too.
static fg_status wait_for_packer(const opener *o, bool first, const char *path) {
  const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
  if (first)
    fg_log_line(o->options->log, FG_LOG_INFO, "waiting for another process that is packing %s", path);
  nanosleep(&pause, NULL);
  if (!o->options->progress || o->options->progress(o->options->user, 0, o->plan.bytes)) return FG_OK;
  return fg_fail(o->err, FG_CANCELLED, "interrupted while another process was packing %s", path);
}

// Opens the store of this key, after packing it if need be.
static fg_status find_or_pack(opener *o, const char *path, const char *key) {
  const fg_model_options *options = o->options;
  bool first = true;
  for (;;) {
    fg_status status = open_existing(o, path, key);
    if (status != FG_NOT_FOUND) return status;
    fg_store_writer *writer;
    status = fg_store_writer_create(&writer, path, key, options->family->name, options->model,
                                    options->store_cap, options->io, o->err);
    if (status == FG_BUSY) {
      status = wait_for_packer(o, first, path);
      first = false;
      if (status) return status;
      continue;
    }
    if (status) return status;
    // The owner of the lock before us may have finished between our two looks.
    if (!first && open_existing(o, path, key) == FG_OK) {
      fg_store_writer_abandon(writer);
      return FG_OK;
    }
    status = pack(o, writer, path);
    if (status) return status;
  }
}

static fg_status open_packed(opener *o) {
  const fg_model_options *options = o->options;
  char path[PATH_MAX], *key = NULL;
  if (!options->offload_dir)
    return fg_fail(o->err, FG_INVALID, "--offload-dir is needed to pack %s", options->model);
  fg_status status = make_directory(options->offload_dir, o->err);
  if (!status) status = fg_source_key(&key, options, &o->model->assets, o->err);
  if (!status) status = fg_store_path(path, sizeof path, options->offload_dir, options->model, key, o->err);
  if (!status) status = find_or_pack(o, path, key);
  free(key);
  return status ? status : fingerprint(o);
}

// ---- the whole -----------------------------------------------------------------------------------------

static fg_status open_any(opener *o, bool with_store) {
  const fg_model_options *options = o->options;
  o->model->name = fg_source_name(options->model);
  if (!o->model->name) return fg_fail(o->err, FG_NO_SPACE, "no memory for a name");
  if (!options->synthetic && fg_store_is(options->model)) return open_store_file(o, with_store);
  fg_status status = options->synthetic ? load_shape(o) : load_files(o, with_store);
  if (!status) status = plan(o);
  if (!status && with_store) status = open_packed(o);
  return status;
}

static fg_status open_model(fg_model **out, const fg_model_options *options, bool with_store, fg_error *err) {
  *out = NULL;
  fg_model_options mine = *options;
  if (!mine.family) mine.family = fg_layout_family_plain();
  opener o = {.options = &mine, .err = err, .model = calloc(1, sizeof *o.model)};
  if (!o.model) return fg_fail(err, FG_NO_SPACE, "no memory for a model");
  fg_status status = open_any(&o, with_store);
  fg_pack_plan_free(&o.plan);
  fg_checkpoint_destroy(o.checkpoint);
  if (status) {
    fg_model_close(o.model);
    return status;
  }
  *out = o.model;
  return FG_OK;
}

fg_status fg_model_open(fg_model **out, const fg_model_options *options, fg_error *err) {
  return open_model(out, options, true, err);
}

fg_status fg_model_inspect(fg_model **out, const fg_model_options *options, fg_error *err) {
  return open_model(out, options, false, err);
}

void fg_model_close(fg_model *model) {
  if (!model) return;
  fg_assets_free(&model->assets);
  fg_graph_destroy(model->graph);
  fg_store_close(model->store);
  free(model->weights);
  free(model->name);
  free(model->fingerprint);
  free(model);
}

uint64_t fg_model_weight_bytes(const fg_model *model, const fg_model_options *options) {
  if (model->store) return fg_store_bytes(model->store);
  const fg_layout_family *family = options->family ? options->family : fg_layout_family_plain();
  uint64_t sum = 0, panel = options->panel_bytes ? options->panel_bytes : FG_PACK_PANEL_BYTES;
  for (uint32_t i = 0; i < model->weight_count; i++) {
    const fg_weight *w = &model->weights[i];
    const fg_layout *layout = w->kind == FG_WEIGHT_MATRIX ? family->choose(w->dtype, w->n, w->k) : NULL;
    sum += fg_pack_weight_bytes(w, layout,
                                layout ? fg_pack_panel_rows(layout, w->dtype, w->n, w->k, panel) : w->n);
  }
  return sum;
}
