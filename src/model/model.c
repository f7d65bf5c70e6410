#include "model/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/size.h"
#include "format/lora.h"
#include "format/quantised.h"
#include "model/arch.h"
#include "model/packed.h"
#include "model/source.h"
#include "model/synthetic.h"

// Whether the model's store is wanted.
typedef enum store_wish { NO_STORE, STORE_IF_THERE, STORE_MADE } store_wish;

// What opening works on besides the model itself.
typedef struct opener {
  const fg_model_options *options;
  fg_model *model;
  fg_config config;
  fg_checkpoint *checkpoint; // NULL: packed already, or only a configuration
  fg_pack_plan plan;
  fg_error *err;
} opener;

// ---- what speaks against it ------------------------------------------------------------------------------

static bool is_refused(const opener *o) {
  return o->options->reasons && o->options->reasons->count > 0;
}

static fg_status keep(opener *o, fg_status status) {
  return fg_reasons_keep(o->options->reasons, status, o->err);
}

// Types of blocks that are known by their size alone, each once.
static void keep_unread_types(opener *o) {
  for (int type = 0; o->options->reasons && o->checkpoint && type < FG_DTYPE_COUNT; type++) {
    const fg_dtype_info *info = fg_dtype_get((fg_dtype)type);
    if (info->to_f32 || info->block == 1) continue;
    const fg_checkpoint_tensor *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < o->checkpoint->count; i++) {
      if (o->checkpoint->tensors[i].dtype != (fg_dtype)type) continue;
      if (count++ == 0) first = &o->checkpoint->tensors[i];
    }
    char more[32] = "";
    if (count > 1) snprintf(more, sizeof more, " and %zu more", count - 1);
    if (first)
      keep(o, fg_fail(o->err, FG_UNSUPPORTED, "values of type %s cannot be used: tensor %s%s", info->name,
                      first->name, more));
  }
}

// ---- from assets to a graph ----------------------------------------------------------------------------

static uint64_t count_parameters(const fg_graph *g, bool tied) {
  uint64_t sum = 0;
  for (int64_t layer = -1; layer <= (int64_t)g->layers; layer++) {
    const fg_program *p = fg_graph_program(g, (int32_t)layer);
    for (uint32_t i = 0; i < p->slot_count; i++) sum += (uint64_t)p->slots[i].n * p->slots[i].k;
    const fg_program *e = fg_graph_expert_program(g, (int32_t)layer);
    for (uint32_t i = 0; e && i < e->slot_count; i++)
      sum += (uint64_t)p->experts.count * e->slots[i].n * e->slots[i].k;
  }
  const fg_slot *head = &g->epilogue.slots[g->head_slot];
  return tied ? sum - (uint64_t)head->n * head->k : sum;
}

// All that follows from the assets.
static fg_status understand(opener *o) {
  fg_model *m = o->model;
  fg_status status = fg_config_load_all(&o->config, &m->assets, o->options->reasons, o->err);
  if (status || is_refused(o)) return status;
  status = fg_graph_build(&m->graph, &o->config, o->err);
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

// The checkpoint of the files becomes one of ordinary weights, with the adapter merged in.
static fg_status prepare_weights(opener *o) {
  const fg_model_options *options = o->options;
  // A type that is asked for is made from the exact values.
  const bool exact = options->weights.parts[FG_PART_LAYERS].set;
  fg_status status =
      fg_quantised_wrap(&o->checkpoint, &o->model->assets,
                        exact ? FG_QUANTISED_EXACT : FG_QUANTISED_AS_STORED, options->host, o->err);
  if (status) { // what is there has other names than the family's
    fg_checkpoint_destroy(o->checkpoint);
    o->checkpoint = NULL;
    return keep(o, status);
  }
  if (!options->adapter || !o->checkpoint) return FG_OK;
  const fg_lora_options lora = {
      .folder = options->adapter, .exact = exact, .io = options->io, .budget = options->host};
  return fg_lora_wrap(&o->checkpoint, &lora, o->err);
}

// A configuration alone, as one may have before a download.
static bool is_configuration(const char *path) {
  const size_t length = strlen(path);
  return length > 5 && strcmp(path + length - 5, ".json") == 0;
}

// What the configuration is refused for, understand() says.
static fg_status gather_facts(opener *o) {
  fg_assets *assets = &o->model->assets;
  if (o->options->reasons && fg_config_load(&o->config, assets, NULL) != FG_OK) return FG_OK;
  return keep(o, fg_facts_gather(assets, o->checkpoint, o->options->log, o->err));
}

static fg_status load_files(opener *o, bool weights_needed) {
  const fg_model_options *options = o->options;
  fg_assets *assets = &o->model->assets;
  fg_status status = fg_assets_load(assets, options->model, o->err);
  if (status == FG_NOT_FOUND && access(options->model, F_OK) != 0 && fg_shape_config(options->model)) {
    return fg_fail(o->err, status, "%s: no such file; with --synthetic it is a model of random weights",
                   options->model);
  }
  if (status) return status;
  fg_error reason = {FG_OK, ""};
  if (options->io && !is_configuration(options->model))
    status = fg_checkpoint_open(&o->checkpoint, options->model, options->io, &reason);
  if (weights_needed && is_configuration(options->model)) {
    return fg_fail(o->err, FG_INVALID, "%s: a configuration alone has no weights; only inspect takes it",
                   options->model);
  }
  if (status && (weights_needed || status != FG_NOT_FOUND))
    status = fg_fail(o->err, status, "%s", reason.message);
  else
    status = FG_OK;
  status = keep(o, status);
  if (status) return status;
  status = prepare_weights(o);
  keep_unread_types(o);
  if (!status && o->checkpoint) status = gather_facts(o);
  if (!status) status = understand(o);
  if (status) fg_fail_prefix(o->err, "%s", options->model);
  return status;
}

// ---- the plan ------------------------------------------------------------------------------------------

// What a configuration says of the type of weights that are not there.
static fg_dtype configured_type(const fg_assets *assets) {
  static const struct {
    const char *name;
    fg_dtype dtype;
  } types[] = {{"bfloat16", FG_BF16}, {"float16", FG_F16}, {"float32", FG_F32}};
  const fg_asset *asset = fg_assets_find(assets, "config.json");
  json_t *root = asset ? fg_json_parse(asset->data, asset->bytes, "config.json", NULL) : NULL;
  const char *name = json_string_value(json_object_get(root, "dtype"));
  if (!name) name = json_string_value(json_object_get(root, "torch_dtype"));
  fg_dtype dtype = FG_F32;
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

static fg_status make_room(fg_model *m, uint32_t count, fg_error *err) {
  m->weights = calloc(count + 1u, sizeof *m->weights);
  if (!m->weights) return fg_fail(err, FG_NO_SPACE, "no memory for a list of %u weights", count);
  m->weight_count = count;
  return FG_OK;
}

static fg_status plan(opener *o) {
  fg_pack_source source = pack_source(o);
  fg_status status = fg_pack_plan_create(&o->plan, &source, o->options, o->err);
  if (status) {
    fg_fail_prefix(o->err, "%s", o->options->model);
    return status;
  }
  status = make_room(o->model, o->plan.count, o->err);
  for (uint32_t i = 0; !status && i < o->plan.count; i++) o->model->weights[i] = o->plan.items[i].weight;
  return status;
}

// ---- stores --------------------------------------------------------------------------------------------

// Of the rows and of every asset; assets are added up, so that their order does not matter.
static fg_status fingerprint(opener *o, const fg_asset *content) {
  fg_model *m = o->model;
  uint64_t sum = fg_hash(content->data, content->bytes);
  for (size_t i = 0; i < m->assets.count; i++) {
    const fg_asset *a = &m->assets.items[i];
    if (strcmp(a->name, FG_ASSET_CONTENT) == 0) continue;
    sum += fg_hash_more(fg_hash(a->name, strlen(a->name)), a->data, a->bytes);
  }
  if (asprintf(&m->fingerprint, "%016" PRIx64, sum) < 0) {
    m->fingerprint = NULL;
    return fg_fail(o->err, FG_NO_SPACE, "no memory for a fingerprint");
  }
  return FG_OK;
}

static fg_status open_packed(opener *o, store_wish wish) {
  fg_model *m = o->model;
  fg_pack_source source = pack_source(o);
  fg_packed_job job = {.source = &source, .plan = &o->plan, .assets = &m->assets, .options = o->options};
  fg_status status =
      wish == STORE_MADE ? fg_packed_open(&m->store, &job, o->err) : fg_packed_find(&m->store, &job, o->err);
  if (status || !m->store) return status;
  status = fingerprint(o, fg_assets_find(&m->store->assets, FG_ASSET_CONTENT));
  fg_assets_free(&m->store->assets); // the model has the files' own
  return status;
}

// Whether this device can run what the store holds.
static fg_status accept_store(opener *o) {
  const fg_layout_family *family = o->options->family;
  const fg_store *store = o->model->store;
  if (strcmp(store->target, family->name) != 0) {
    return fg_fail(o->err, FG_UNSUPPORTED,
                   "%s: packed for %s, this device reads %s; pack the original again (%s)", o->options->model,
                   store->target, family->name, store->origin);
  }
  fg_status status = fg_packed_check(store, o->model->graph, family, o->err);
  return status ? status : fingerprint(o, fg_assets_find(&store->assets, FG_ASSET_CONTENT));
}

// Whoever reads figures of such a store has to know.
static void say_what_is_shared(const opener *o) {
  const fg_store *store = o->model->store;
  const uint32_t aliased = store ? fg_store_aliased_layers(store) : 0;
  char apparent[16], own[16];
  if (!aliased) return;
  fg_log_line(
      o->options->log, FG_LOG_WARN,
      "%s: %" PRIu32 " of %" PRIu32 " layers are aliased: on the disk they are the bytes of others, %s "
      "for %s; reads move all of them, but a cache in the drive or the host may answer some",
      o->options->model, aliased, o->model->graph->layers, fg_size_format(fg_store_own_bytes(store), own),
      fg_size_format(fg_store_bytes(store), apparent));
}

// MODEL is itself a store.
static fg_status open_store_file(opener *o, bool with_store) {
  fg_model *m = o->model;
  fg_status status = fg_store_open(&m->store, o->options->model, o->err);
  if (status) return status;
  m->assets = m->store->assets; // lent while we look, then moved
  status = understand(o);
  if (!status) status = make_room(m, m->store->weight_count, o->err);
  for (uint32_t i = 0; !status && i < m->weight_count; i++) m->weights[i] = m->store->weights[i];
  if (!status && with_store) status = accept_store(o);
  m->store->assets = (fg_assets){0};
  if (!with_store) {
    fg_store_close(m->store);
    m->store = NULL;
  }
  return status;
}

// ---- the whole -----------------------------------------------------------------------------------------

static fg_status open_any(opener *o, store_wish wish) {
  const fg_model_options *options = o->options;
  o->model->name = fg_source_name(options->model);
  if (!o->model->name) return fg_fail(o->err, FG_NO_SPACE, "no memory for a name");
  const bool is_store = !options->synthetic && fg_store_is(options->model);
  if (options->adapter && (is_store || options->synthetic)) {
    return fg_fail(o->err, FG_INVALID,
                   "--adapter: an adapter is merged while packing; give the folder that %s was made from",
                   options->model);
  }
  if (options->alias_layers && !options->synthetic) {
    return fg_fail(o->err, FG_INVALID,
                   "--alias-layers: only a synthetic model's layers may stand for each other");
  }
  if (options->calibration && is_store) {
    return fg_fail(o->err, FG_INVALID,
                   "--calibrate: weights are rounded while packing; give the model that %s was made from",
                   options->model);
  }
  if (is_store) return open_store_file(o, wish != NO_STORE);
  fg_status status = options->synthetic ? load_shape(o) : load_files(o, wish == STORE_MADE);
  if (!status && !is_refused(o)) status = plan(o);
  if (!status && wish != NO_STORE) status = open_packed(o, wish);
  return status;
}

static fg_status open_model(fg_model **out, const fg_model_options *options, store_wish wish, fg_error *err) {
  *out = NULL;
  fg_model_options mine = *options;
  if (!mine.family) mine.family = fg_layout_family_plain();
  opener o = {.options = &mine, .err = err, .model = calloc(1, sizeof *o.model)};
  if (!o.model) return fg_fail(err, FG_NO_SPACE, "no memory for a model");
  fg_status status = open_any(&o, wish);
  if (!status) say_what_is_shared(&o);
  if (!status && is_refused(&o)) {
    const fg_error *first = &options->reasons->items[0];
    status = fg_fail(err, first->status, "%s: %s", options->model, first->message);
  }
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
  return open_model(out, options, STORE_MADE, err);
}

fg_status fg_model_look(fg_model **out, const fg_model_options *options, fg_error *err) {
  return open_model(out, options, STORE_IF_THERE, err);
}

fg_status fg_model_inspect(fg_model **out, const fg_model_options *options, fg_error *err) {
  return open_model(out, options, NO_STORE, err);
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

void fg_model_type_bytes(const fg_model *model, const fg_model_options *options, uint64_t *out) {
  const fg_layout_family *family = options->family ? options->family : fg_layout_family_plain();
  const uint64_t panel = fg_pack_panel_bytes(model->graph, options->panel_bytes);
  for (int i = 0; i < FG_DTYPE_COUNT; i++) out[i] = 0;
  for (uint32_t i = 0; i < model->weight_count; i++) {
    const fg_weight *w = &model->weights[i];
    const fg_layout *layout = w->kind == FG_WEIGHT_MATRIX ? family->choose(w->dtype, w->n, w->k) : NULL;
    out[w->dtype] += fg_pack_weight_bytes(w, layout, layout ? fg_pack_panel_rows(layout, w, panel) : w->n);
  }
}

uint64_t fg_model_weight_bytes(const fg_model *model, const fg_model_options *options) {
  if (model->store) return fg_store_bytes(model->store);
  uint64_t bytes[FG_DTYPE_COUNT], sum = 0;
  fg_model_type_bytes(model, options, bytes);
  for (int i = 0; i < FG_DTYPE_COUNT; i++) sum += bytes[i];
  return sum;
}
