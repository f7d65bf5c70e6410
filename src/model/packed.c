#include "model/packed.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/folders.h"
#include "base/size.h"
#include "model/source.h"

// ---- a store that is there -----------------------------------------------------------------------------

// *next: where it likely stands, behind the one before; and then the one behind it.
static fg_status check_weight(const fg_store *store, const char *name, const fg_slot *slot, uint32_t *next,
                              const fg_layout_family *family, fg_error *err) {
  uint32_t index = fg_store_find_near(store, name, *next);
  *next = index + 1;
  const fg_weight *w = index == UINT32_MAX ? NULL : &store->weights[index];
  if (!w || w->kind != slot->kind || w->n != slot->n || w->k != slot->k || w->segments != slot->segments) {
    return fg_fail(err, FG_CORRUPT, "%s: damaged store: weight %s is missing or has another shape",
                   fg_file_path(store->file), name);
  }
  if (w->kind != FG_WEIGHT_MATRIX) return FG_OK;
  const fg_layout *layout = family->choose(w->dtype, w->n, w->k);
  if (layout && strcmp(layout->name, w->layout) == 0) return FG_OK;
  return fg_fail(err, FG_CORRUPT, "%s: damaged store: weight %s has the layout %s", fg_file_path(store->file),
                 name, w->layout);
}

static fg_status check_experts(const fg_store *store, const fg_graph *g, uint32_t layer, uint32_t *next,
                               const fg_layout_family *family, fg_error *err) {
  const fg_program *p = fg_graph_expert_program(g, (int32_t)layer);
  const uint32_t experts = fg_graph_program(g, (int32_t)layer)->experts.count;
  for (uint32_t e = 0; p && e < experts; e++) {
    for (uint32_t i = 0; i < p->slot_count; i++) {
      char name[64];
      fg_graph_expert_weight_name(layer, e, &p->slots[i], name);
      fg_status status = check_weight(store, name, &p->slots[i], next, family, err);
      if (status) return status;
    }
  }
  return FG_OK;
}

fg_status fg_packed_check(const fg_store *store, const fg_graph *g, const fg_layout_family *family,
                          fg_error *err) {
  uint32_t next = 0;
  for (int64_t layer = -1; layer <= (int64_t)g->layers; layer++) {
    const fg_program *p = fg_graph_program(g, (int32_t)layer);
    for (uint32_t i = 0; i < p->slot_count; i++) {
      char name[64];
      fg_graph_weight_name(g, (int32_t)layer, &p->slots[i], name);
      fg_status status = check_weight(store, name, &p->slots[i], &next, family, err);
      if (status) return status;
    }
    if (layer < 0 || layer >= (int64_t)g->layers) continue;
    fg_status status = check_experts(store, g, (uint32_t)layer, &next, family, err);
    if (status) return status;
  }
  if (fg_assets_find(&store->assets, FG_ASSET_CONTENT)) return FG_OK;
  return fg_fail(err, FG_CORRUPT, "%s: damaged store: its %s is missing", fg_file_path(store->file),
                 FG_ASSET_CONTENT);
}

// A store made earlier. FG_NOT_FOUND: none that can be used; what is damaged will be replaced.
static fg_status open_existing(fg_store **out, const fg_packed_job *job, const char *path, const char *key,
                               const fg_log *log, fg_error *err) {
  *out = NULL;
  if (access(path, F_OK) != 0) return FG_NOT_FOUND;
  fg_error reason = {FG_OK, ""};
  fg_store *store;
  fg_status status = fg_store_open(&store, path, &reason);
  if (!status) {
    status = strcmp(store->source, key) == 0
                 ? fg_packed_check(store, job->source->graph, job->options->family, &reason)
                 : fg_fail(&reason, FG_CORRUPT, "%s: made from something else", path);
    if (!status) {
      *out = store;
      return FG_OK;
    }
    fg_store_close(store);
  }
  if (status == FG_CORRUPT || status == FG_UNSUPPORTED) {
    fg_log_line(log, FG_LOG_WARN, "%s; packing again", reason.message);
    return FG_NOT_FOUND;
  }
  return status == FG_NOT_FOUND ? status : fg_fail(err, status, "%s", reason.message);
}

// ---- room ----------------------------------------------------------------------------------------------

static fg_status make_directory(const char *dir, fg_error *err) {
  if (!dir || !dir[0]) return fg_fail(err, FG_INVALID, "packing a model needs a directory (--offload-dir)");
  return fg_folders_make(dir, err);
}

static uint64_t needed_bytes(const fg_packed_job *job) {
  uint64_t needed = job->plan->bytes;
  for (size_t i = 0; i < job->assets->count; i++) needed += job->assets->items[i].bytes;
  return needed;
}

static fg_status free_bytes(const char *dir, uint64_t *bytes, fg_error *err) {
  struct statvfs fs;
  *bytes = 0;
  if (statvfs(dir, &fs) != 0) return fg_fail(err, FG_IO, "%s: %s", dir, strerror(errno));
  *bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
  return FG_OK;
}

static fg_status check_room(const fg_packed_job *job, fg_error *err) {
  const fg_model_options *options = job->options;
  const uint64_t needed = needed_bytes(job);
  char need[16], have[16];
  if (options->store_cap && needed > options->store_cap) {
    return fg_fail(err, FG_DISK_FULL, "%s: the packed store needs %s, its cap is %s", options->model,
                   fg_size_format(needed, need), fg_size_format(options->store_cap, have));
  }
  uint64_t left;
  fg_status status = free_bytes(options->offload_dir, &left, err);
  if (status || needed <= left) return status;
  return fg_fail(err, FG_DISK_FULL,
                 "%s: the packed store needs %s, %s are left in %s; name another place with --offload-dir",
                 options->model, fg_size_format(needed, need), fg_size_format(left, have),
                 options->offload_dir);
}

// ---- packing -------------------------------------------------------------------------------------------

static fg_status write_all(const fg_packed_job *job, fg_store_writer *writer, fg_error *err) {
  uint64_t content;
  fg_status status = check_room(job, err);
  if (!status) status = fg_pack_write(job->plan, job->source, job->options, writer, &content, err);
  if (status) return status;
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, content);
  return fg_assets_add(job->assets, FG_ASSET_CONTENT, text, 16, err);
}

// The type that most values of the matrices have.
static fg_dtype largest_type(const fg_pack_plan *plan) {
  uint64_t values[FG_DTYPE_COUNT] = {0};
  fg_dtype most = FG_F32;
  for (uint32_t i = 0; i < plan->count; i++) {
    const fg_pack_item *item = &plan->items[i];
    if (item->weight.kind == FG_WEIGHT_MATRIX)
      values[item->weight.dtype] += (uint64_t)item->weight.n * item->weight.k;
  }
  for (int i = 0; i < FG_DTYPE_COUNT; i++) most = values[i] > values[most] ? (fg_dtype)i : most;
  return most;
}

// What becomes of weights that came quantised.
static void say_what_is_held(const fg_packed_job *job) {
  const char *about = job->source->checkpoint ? job->source->checkpoint->about : NULL;
  if (!about) return;
  char size[16];
  const fg_dtype_info *type = fg_dtype_get(largest_type(job->plan));
  const bool wide = type->bits == 0 && !job->options->weights.parts[FG_PART_LAYERS].set;
  fg_log_line(job->options->log, FG_LOG_INFO, "%s weights are held as %s in the store (%s)%s", about,
              type->name, fg_size_format(job->plan->bytes, size),
              wide ? "; --weight-dtype int4 keeps them small, requantised" : "");
}

static fg_status pack(const fg_packed_job *job, fg_store_writer *writer, const char *path, fg_error *err) {
  char size[16];
  const fg_log *log = job->options->log;
  const uint64_t begin = fg_now_ns();
  fg_log_line(log, FG_LOG_INFO, "packing %s: %s into %s", job->options->model,
              fg_size_format(job->plan->bytes, size), path);
  say_what_is_held(job);
  fg_status status = write_all(job, writer, err);
  if (status) {
    fg_store_writer_abandon(writer);
    return status;
  }
  status = fg_store_writer_finish(writer, job->assets, err);
  if (status) return status;
  double seconds = (double)(fg_now_ns() - begin) * 1e-9;
  fg_log_line(log, FG_LOG_INFO, "packed %s in %.1f s (%.0f MB/s)", size, seconds,
              (double)job->plan->bytes * 1e-6 / seconds);
  return FG_OK;
}

// Somebody else packs this model: its store will be ours too.
static fg_status wait_for_packer(const fg_packed_job *job, bool first, const char *path, fg_error *err) {
  const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
  const fg_model_options *options = job->options;
  if (first) fg_log_line(options->log, FG_LOG_INFO, "waiting for another process that is packing %s", path);
  nanosleep(&pause, NULL);
  if (!options->progress || options->progress(options->user, 0, job->plan->bytes)) return FG_OK;
  return fg_fail(err, FG_CANCELLED, "interrupted while another process was packing %s", path);
}

// The lock on the store's temporary file. FG_OK with *writer NULL: somebody else has made the store.
static fg_status take_turn(fg_store_writer **writer, fg_store **store, const fg_packed_job *job,
                           const char *path, const char *key, fg_error *err) {
  const fg_model_options *options = job->options;
  for (bool first = true;; first = false) {
    fg_status status = fg_store_writer_create(writer, path, key, options->family->name, options->model,
                                              options->store_cap, options->io, err);
    if (status == FG_BUSY) {
      status = wait_for_packer(job, first, path, err);
      if (status) return status;
      continue;
    }
    if (status) return status;
    // The lock's owner before us may have finished since we looked.
    status = open_existing(store, job, path, key, NULL, err);
    if (status == FG_NOT_FOUND) return FG_OK;
    fg_store_writer_abandon(*writer);
    *writer = NULL;
    return status;
  }
}

static fg_status find_or_pack(fg_store **out, const fg_packed_job *job, const char *path, const char *key,
                              fg_error *err) {
  fg_store_writer *writer;
  fg_status status = open_existing(out, job, path, key, job->options->log, err);
  if (status != FG_NOT_FOUND) return status;
  const fg_calibration *calibration = job->options->calibration;
  if (calibration && !calibration->count)
    return fg_fail(err, FG_NOT_FOUND, "%s: there is no store of this calibration", job->options->model);
  status = take_turn(&writer, out, job, path, key, err);
  if (status || !writer) return status;
  status = pack(job, writer, path, err);
  if (status) return status;
  status = open_existing(out, job, path, key, NULL, err);
  return status == FG_NOT_FOUND ? fg_fail(err, FG_IO, "%s: cannot be read back", path) : status;
}

// ---- which store -----------------------------------------------------------------------------------------

// The store for these options: looked for, and made if there is none and `packing`.
static fg_status open_one(fg_store **out, const fg_packed_job *job, bool packing, fg_error *err) {
  char path[PATH_MAX], *key = NULL;
  const fg_model_options *options = job->options;
  fg_status status = fg_source_key(&key, options, job->assets, err);
  if (!status) status = fg_store_path(path, sizeof path, options->offload_dir, options->model, key, err);
  if (!status)
    status = packing ? find_or_pack(out, job, path, key, err)
                     : open_existing(out, job, path, key, options->log, err);
  free(key);
  return status;
}

// A store whose layers share extents, however many it keeps.
static fg_status find_aliased(fg_store **out, const fg_packed_job *job, fg_error *err) {
  fg_model_options options = *job->options;
  fg_packed_job mine = *job;
  mine.options = &options;
  fg_status status = FG_NOT_FOUND;
  for (options.alias_layers = job->source->graph->layers; options.alias_layers && status == FG_NOT_FOUND;
       options.alias_layers--)
    status = open_one(out, &mine, false, err);
  return status;
}

// The disk has less room than 1.2 times a synthetic model: so that its I/O can be measured all the same,
// layers share extents. A store of that kind that is there already is taken.
static fg_status open_aliased(fg_store **out, const fg_packed_job *job, uint64_t room, fg_error *err) {
  fg_status status = find_aliased(out, job, err);
  if (status != FG_NOT_FOUND) return status;
  fg_model_options options = *job->options;
  fg_packed_job mine = *job;
  mine.options = &options;
  const uint32_t layers = job->source->graph->layers;
  options.alias_layers = fg_pack_plan_alias_into(job->plan, layers, room);
  return open_one(out, &mine, true, err);
}

fg_status fg_packed_find(fg_store **out, const fg_packed_job *job, fg_error *err) {
  fg_model_options options = *job->options;
  fg_packed_job mine = *job;
  mine.options = &options;
  options.log = NULL; // what is damaged is packed again by others
  *out = NULL;
  if (!options.offload_dir || !options.offload_dir[0]) return FG_OK;
  fg_status status = open_one(out, &mine, false, err);
  if (status == FG_NOT_FOUND && options.synthetic && !options.alias_layers)
    status = find_aliased(out, &mine, err);
  return status == FG_NOT_FOUND ? FG_OK : status;
}

fg_status fg_packed_open(fg_store **out, const fg_packed_job *job, fg_error *err) {
  const fg_model_options *options = job->options;
  const uint32_t layers = job->source->graph->layers;
  *out = NULL;
  fg_status status = make_directory(options->offload_dir, err);
  if (status) return status;
  if (options->alias_layers) fg_pack_plan_alias(job->plan, layers, options->alias_layers);
  if (!options->synthetic || options->alias_layers) return open_one(out, job, true, err);
  uint64_t left = 0;
  status = open_one(out, job, false, err);
  if (status == FG_NOT_FOUND) status = free_bytes(options->offload_dir, &left, err);
  if (status || *out) return status;
  const uint64_t room = left / 6 * 5; // a fifth more than the store
  return needed_bytes(job) <= room ? open_one(out, job, true, err) : open_aliased(out, job, room, err);
}
