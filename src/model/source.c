#include "model/source.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/system.h"
#include "model/pack.h"
#include "model/synthetic.h"
#include "tensor/groups.h"

static bool ends_with(const char *text, const char *suffix) {
  size_t n = strlen(text), m = strlen(suffix);
  return n > m && strcmp(text + n - m, suffix) == 0;
}

// The last part of a path, malloc'd.
static char *last_part(const char *path) {
  size_t end = strlen(path);
  while (end > 1 && path[end - 1] == '/') end--;
  size_t begin = end;
  while (begin > 0 && path[begin - 1] != '/') begin--;
  return strndup(path + begin, end - begin);
}

// NAME of .../models--ORG--NAME/snapshots/COMMIT, where a model lies that came from a Hub; NULL for another
// path.
static char *snapshot_name(const char *path) {
  static const char above[] = "/snapshots/", prefix[] = "models--";
  const char *end = NULL;
  for (const char *at = path; (at = strstr(at, above)); at++) end = at;
  if (!end || strchr(end + strlen(above), '/')) return NULL;
  const char *begin = end, *name;
  while (begin > path && begin[-1] != '/') begin--;
  if (strncmp(begin, prefix, strlen(prefix)) != 0) return NULL;
  for (name = end; name[-1] != '-' || name[-2] != '-';) name--;
  return strndup(name, (size_t)(end - name));
}

char *fg_source_name(const char *model) {
  static const char *const suffixes[] = {".gguf", ".fgstore"};
  char *name = snapshot_name(model);
  if (!name) name = last_part(model);
  if (name && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)) {
    char *path = realpath(model, NULL);
    if (path) {
      free(name);
      name = last_part(path);
      free(path);
    }
  }
  for (size_t i = 0; name && i < sizeof suffixes / sizeof *suffixes; i++) {
    if (ends_with(name, suffixes[i])) name[strlen(name) - strlen(suffixes[i])] = 0;
  }
  return name;
}

// A file's part of the key: not its contents, which may be hundreds of GB, but what changes with them.
static fg_status file_identity(uint64_t *sum, const char *path, fg_error *err) {
  struct stat st;
  if (stat(path, &st) != 0) return fg_fail(err, FG_IO, "%s: %s", path, strerror(errno));
  int64_t numbers[3] = {st.st_size, FG_CHANGED(st).tv_sec, FG_CHANGED(st).tv_nsec};
  // Files are added up, so that their order in the directory does not matter.
  *sum += fg_hash_more(fg_hash(path, strlen(path)), numbers, sizeof numbers);
  return FG_OK;
}

static bool holds_weights(const char *name) {
  return ends_with(name, ".safetensors") || ends_with(name, ".bin") || ends_with(name, ".index.json");
}

static fg_status folder_identity(uint64_t *sum, const char *folder, fg_error *err) {
  DIR *dir = opendir(folder);
  if (!dir) return fg_fail(err, FG_IO, "%s: cannot read the directory: %s", folder, strerror(errno));
  fg_status status = FG_OK;
  for (struct dirent *d; !status && (d = readdir(dir));) {
    if (!holds_weights(d->d_name)) continue;
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
    status = n > 0 && (size_t)n < sizeof path ? file_identity(sum, path, err)
                                              : fg_fail(err, FG_INVALID, "%s: the path is too long", folder);
  }
  closedir(dir);
  return status;
}

// The adapter's part: its matrices, and what its configuration says.
static fg_status adapter_identity(uint64_t *sum, const char *folder, fg_error *err) {
  char path[PATH_MAX], *real = realpath(folder, NULL);
  if (!real) {
    return fg_fail(err, errno == ENOENT ? FG_NOT_FOUND : FG_IO, "--adapter %s: %s", folder, strerror(errno));
  }
  fg_status status = folder_identity(sum, real, err);
  int n = snprintf(path, sizeof path, "%s/adapter_config.json", real);
  free(real);
  if (status) return status;
  return n > 0 && (size_t)n < sizeof path ? file_identity(sum, path, err)
                                          : fg_fail(err, FG_INVALID, "%s: the path is too long", folder);
}

static fg_status identity(uint64_t *sum, const char *model, fg_error *err) {
  char *path = realpath(model, NULL);
  if (!path) {
    return fg_fail(err, errno == ENOENT ? FG_NOT_FOUND : FG_IO, "%s: %s", model, strerror(errno));
  }
  struct stat st;
  fg_status status;
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
    status = folder_identity(sum, path, err);
  } else {
    status = file_identity(sum, path, err);
  }
  free(path);
  return status;
}

// A part's wish, and for codes how they are rounded.
static void form_name(const fg_weight_form *form, char out[32]) {
  const fg_dtype_info *info = fg_dtype_get(form->dtype);
  if (form->set && info->bits) {
    snprintf(out, 32, "%s/%d%s%s", info->name, FG_GROUPS_ROUNDING, form->per_row ? " channel" : "",
             form->smaller ? " at most" : "");
  } else {
    snprintf(out, 32, "%s", form->set ? info->name : "auto");
  }
}

static void weight_types(const fg_weight_wish *wish, char out[128]) {
  char layers[32], head[32], table[32];
  form_name(&wish->parts[FG_PART_LAYERS], layers);
  form_name(&wish->parts[FG_PART_HEAD], head);
  form_name(&wish->parts[FG_PART_TABLE], table);
  snprintf(out, 128, "%s head %s tables %s", layers, head, table);
}

fg_status fg_source_key(char **out, const fg_model_options *options, const fg_assets *assets, fg_error *err) {
  uint64_t sum = 0;
  fg_status status = FG_OK;
  if (!options->synthetic) status = identity(&sum, options->model, err);
  if (status) return status;
  // What decides about tensors and rows besides the weights' files.
  static const char *const names[] = {"config.json", "quantize_config.json", "quant_config.json",
                                      FG_ASSET_FACTS};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const fg_asset *asset = fg_assets_find(assets, names[i]);
    if (asset) sum = fg_hash_more(sum, asset->data, asset->bytes);
  }
  char type[128], adapter[32] = "", calibration[32] = "";
  weight_types(&options->weights, type);
  if (options->adapter) {
    uint64_t own = 0;
    status = adapter_identity(&own, options->adapter, err);
    if (status) return status;
    snprintf(adapter, sizeof adapter, " adapter %016" PRIx64, own);
  }
  char made_up[96] = "";
  if (options->synthetic) {
    int used = snprintf(made_up, sizeof made_up, " synthetic/%d %s", FG_SYNTHETIC_VALUES, options->model);
    if (options->alias_layers && used > 0 && (size_t)used < sizeof made_up)
      snprintf(made_up + used, sizeof made_up - (size_t)used, " aliased %" PRIu32, options->alias_layers);
  }
  if (options->calibration)
    snprintf(calibration, sizeof calibration, " calibration %016" PRIx64, options->calibration->key);
  int n = asprintf(out, "v%d %s %s %" PRIu64 " %016" PRIx64 "%s%s%s", FG_STORE_VERSION, options->family->name,
                   type, options->panel_bytes, sum, adapter, calibration, made_up);
  if (n < 0) *out = NULL;
  return n < 0 ? fg_fail(err, FG_NO_SPACE, "no memory for a key") : FG_OK;
}
