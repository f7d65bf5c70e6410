#include "format/lora.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/checkpoint_files.h"
#include "format/lora_config.h"
#include "tensor/clones.h"

// What becomes of one tensor.
typedef enum part { PART_A, PART_B, PART_MAGNITUDE, PART_WHOLE, PARTS } part;
typedef struct change {
  const fg_checkpoint_tensor *base;         // NULL: only the adapter has it
  const fg_checkpoint_tensor *parts[PARTS]; // in the adapter
  bool turned;                              // W + factor transpose(B A)
  uint64_t rank;
  float factor;
} change;

// W[i, :] += left[i, :] right
typedef struct product {
  const change *of; // NULL: nothing is loaded
  float *left;      // [rows, rank], times the factor
  float *right;     // [rank, columns]
} product;

typedef struct lora {
  fg_checkpoint base;
  fg_checkpoint_ops ops;
  fg_checkpoint *from, *adapter;
  fg_lora_config config;
  change *changes; // of each tensor
  product loaded;
  fg_budget *budget;
  uint64_t reserved;
} lora;

// ---- names ---------------------------------------------------------------------------------------------

static const char prefix[] = "base_model.model.";

static const struct {
  const char *suffix;
  part part;
  bool turned;
} suffixes[] = {
    {".lora_A.weight", PART_A, false},
    {".lora_B.weight", PART_B, false},
    {".lora_embedding_A", PART_A, true},
    {".lora_embedding_B", PART_B, true},
    {".lora_magnitude_vector.weight", PART_MAGNITUDE, false},
    {".lora_magnitude_vector", PART_MAGNITUDE, false},
};
enum { SUFFIXES = sizeof suffixes / sizeof *suffixes };

// What PEFT puts into the path of a tensor that was trained whole.
static const char *const wrappers[] = {".modules_to_save", ".base_layer"};

static void remove_part(char *text, const char *what) {
  char *at = strstr(text, what);
  if (at) memmove(at, at + strlen(what), strlen(at + strlen(what)) + 1);
}

// The name of the tensor that this one of the adapter changes ("X.weight"), and how.
static fg_status target_of(char out[FG_MAX_TENSOR_NAME + 8], part *which, bool *turned,
                           const fg_checkpoint_tensor *t, fg_error *err) {
  const size_t skip = sizeof prefix - 1;
  if (strncmp(t->name, prefix, skip) != 0) {
    return fg_fail(err, FG_UNSUPPORTED, "tensor %s of the adapter: its name does not begin with %s", t->name,
                   prefix);
  }
  const char *name = t->name + skip;
  size_t length = strlen(name);
  *turned = false;
  for (int i = 0; i < SUFFIXES; i++) {
    size_t n = strlen(suffixes[i].suffix);
    if (length <= n || strcmp(name + length - n, suffixes[i].suffix) != 0) continue;
    *which = suffixes[i].part;
    *turned = suffixes[i].turned;
    snprintf(out, FG_MAX_TENSOR_NAME + 8, "%.*s.weight", (int)(length - n), name);
    return FG_OK;
  }
  if (strstr(name, ".lora_")) {
    return fg_fail(err, FG_UNSUPPORTED, "tensor %s of the adapter is of no kind that can be merged", t->name);
  }
  *which = PART_WHOLE;
  snprintf(out, FG_MAX_TENSOR_NAME + 8, "%s", name);
  for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) remove_part(out, wrappers[i]);
  return FG_OK;
}

// The base's tensor of this name; base and adapter may differ in the prefix of the model without its head.
static const fg_checkpoint_tensor *find_base(const fg_checkpoint *from, const char *name) {
  static const char *const prefixes[] = {"model.", "transformer.", "gpt_neox."};
  const fg_checkpoint_tensor *t = fg_checkpoint_find(from, name);
  for (size_t i = 0; !t && i < sizeof prefixes / sizeof *prefixes; i++) {
    char longer[FG_MAX_TENSOR_NAME + 32];
    size_t n = strlen(prefixes[i]);
    snprintf(longer, sizeof longer, "%s%s", prefixes[i], name);
    t = fg_checkpoint_find(from, longer);
    if (!t && strncmp(name, prefixes[i], n) == 0) t = fg_checkpoint_find(from, name + n);
  }
  return t;
}

// ---- what changes --------------------------------------------------------------------------------------

static fg_status wrong(const change *c, fg_error *err) {
  const fg_checkpoint_tensor *a = c->parts[PART_A], *b = c->parts[PART_B];
  return fg_fail(err, FG_CORRUPT,
                 "adapter: %s is %" PRIu64 " by %" PRIu64 " and %s %" PRIu64 " by %" PRIu64
                 ", which does not fit the %" PRIu64 " by %" PRIu64 " of %s",
                 a->name, a->rows, a->columns, b->name, b->rows, b->columns, c->base->rows, c->base->columns,
                 c->base->name);
}

static bool is_matrix(const fg_checkpoint_tensor *t) {
  return t->dims == 2 && (t->dtype == FG_F32 || t->dtype == FG_F16 || t->dtype == FG_BF16);
}

// The tensor that W stands in.
static const fg_checkpoint_tensor *whole_of(const change *c) {
  return c->parts[PART_WHOLE] ? c->parts[PART_WHOLE] : c->base;
}

static fg_status check_shapes(change *c, fg_error *err) {
  const fg_checkpoint_tensor *a = c->parts[PART_A], *b = c->parts[PART_B], *w = whole_of(c),
                             *m = c->parts[PART_MAGNITUDE];
  c->rank = a->rows;
  uint64_t rows = c->turned ? a->columns : b->rows, columns = c->turned ? b->rows : a->columns;
  bool fits = is_matrix(a) && is_matrix(b) && c->rank > 0 && b->columns == c->rank && w->dims == 2;
  if (!fits || rows != w->rows || columns != w->columns) return wrong(c, err);
  if (m &&
      (m->rows * m->columns != rows || (m->dtype != FG_F32 && m->dtype != FG_F16 && m->dtype != FG_BF16)))
    return fg_fail(err, FG_CORRUPT, "adapter: %s has not one value for each of %" PRIu64 " rows", m->name,
                   rows);
  return FG_OK;
}

// A change whose parts are all known.
static fg_status complete(const lora *l, change *c, const char *name, fg_error *err) {
  const fg_checkpoint_tensor *a = c->parts[PART_A], *b = c->parts[PART_B], *m = c->parts[PART_MAGNITUDE];
  if (!a && !b && !m) return FG_OK; // trained whole
  if (!a || !b) {
    return fg_fail(err, FG_NOT_FOUND, "adapter: %s lacks the %s of its two matrices", name,
                   a ? "second (lora_B)" : "first (lora_A)");
  }
  c->turned = c->turned || l->config.turned;
  if ((m != NULL) != l->config.magnitudes || (m && c->turned)) {
    return fg_fail(err, FG_UNSUPPORTED,
                   "adapter: %s: magnitudes (DoRA) go with matrices stored by outputs and \"use_dora\" only",
                   name);
  }
  fg_status status = check_shapes(c, err);
  if (status) return status;
  char path[FG_MAX_TENSOR_NAME + 8];
  snprintf(path, sizeof path, "%.*s", (int)(strlen(a->name) - (sizeof prefix - 1)),
           a->name + sizeof prefix - 1);
  char *end = path;
  for (char *next = path; (next = strstr(next, ".lora_")); next++) end = next;
  *end = 0;
  return fg_lora_config_factor(&l->config, path, c->rank, &c->factor, err);
}

static fg_dtype shown_type(const fg_checkpoint_tensor *base, bool exact) {
  const fg_dtype dtype = base->dtype;
  if (exact || dtype == FG_F32 || dtype == FG_F64) return FG_F32;
  return dtype == FG_F16 ? FG_F16 : FG_BF16;
}

static fg_status add_part(lora *l, const fg_checkpoint_tensor *t, fg_error *err) {
  char name[FG_MAX_TENSOR_NAME + 8];
  part which;
  bool turned;
  fg_status status = target_of(name, &which, &turned, t, err);
  if (status) return status;
  const fg_checkpoint_tensor *base = find_base(l->from, name);
  change *c = &l->changes[l->base.count]; // of a tensor that the base lacks
  if (base) {
    c = &l->changes[base - l->from->tensors];
  } else if (which != PART_WHOLE) {
    return fg_fail(err, FG_NOT_FOUND, "adapter: %s changes %s, which the checkpoint does not have", t->name,
                   name);
  } else {
    char *kept = strdup(name);
    if (!kept) return fg_fail(err, FG_NO_SPACE, "no memory for a name");
    l->base.tensors[l->base.count] = *t;
    l->base.tensors[l->base.count++].name = kept;
  }
  if (c->parts[which]) return fg_fail(err, FG_CORRUPT, "adapter: %s stands there twice", t->name);
  c->parts[which] = t;
  c->turned = c->turned || turned;
  return FG_OK;
}

// ---- the list of tensors -------------------------------------------------------------------------------

// Tensors and their changes sorted together.
static int by_name(const void *a, const void *b) {
  const fg_checkpoint_tensor *const *x = a, *const *y = b;
  return strcmp((*x)->name, (*y)->name);
}

static fg_status sort(lora *l, fg_error *err) {
  const size_t count = l->base.count;
  const fg_checkpoint_tensor **order = malloc(count * sizeof *order);
  fg_checkpoint_tensor *tensors = malloc(count * sizeof *tensors);
  change *changes = malloc(count * sizeof *changes);
  for (size_t i = 0; order && i < count; i++) order[i] = &l->base.tensors[i];
  bool ok = order && tensors && changes;
  if (ok) {
    qsort(order, count, sizeof *order, by_name);
    for (size_t i = 0; i < count; i++) {
      tensors[i] = *order[i];
      changes[i] = l->changes[order[i] - l->base.tensors];
    }
    free(l->base.tensors);
    free(l->changes);
    l->base.tensors = tensors;
    l->changes = changes;
  } else {
    free(tensors);
    free(changes);
  }
  free(order);
  return ok ? FG_OK : fg_fail(err, FG_NO_SPACE, "no memory for %zu tensors", count);
}

static fg_status copy_list(lora *l, fg_error *err) {
  const fg_checkpoint *from = l->from, *adapter = l->adapter;
  l->base.tensors = calloc(from->count + adapter->count, sizeof *l->base.tensors);
  l->changes = calloc(from->count + adapter->count, sizeof *l->changes);
  if (!l->base.tensors || !l->changes) return fg_fail(err, FG_NO_SPACE, "no memory for a list of tensors");
  for (size_t i = 0; i < from->count; i++) {
    char *name = strdup(from->tensors[i].name);
    if (!name) return fg_fail(err, FG_NO_SPACE, "no memory for names");
    l->base.tensors[l->base.count] = from->tensors[i];
    l->base.tensors[l->base.count++].name = name;
    l->changes[i].base = &from->tensors[i];
  }
  return FG_OK;
}

static bool is_changed(const change *c) {
  return c->parts[PART_A] || c->parts[PART_WHOLE];
}

// A changed tensor as it will be seen.
static void show(fg_checkpoint_tensor *t, const change *c, bool exact) {
  const char *name = t->name;
  *t = *whole_of(c);
  t->name = name;
  t->dtype = shown_type(c->base ? c->base : whole_of(c), exact);
}

static fg_status list_tensors(lora *l, const fg_lora_options *options, fg_error *err) {
  fg_status status = copy_list(l, err);
  for (size_t i = 0; !status && i < l->adapter->count; i++)
    status = add_part(l, &l->adapter->tensors[i], err);
  uint64_t most = 0; // bytes of a module's matrices, twice while one is turned
  for (size_t i = 0; !status && i < l->base.count; i++) {
    change *c = &l->changes[i];
    status = complete(l, c, l->base.tensors[i].name, err);
    if (status || !is_changed(c)) continue;
    show(&l->base.tensors[i], c, options->exact);
    uint64_t bytes = c->rank * (whole_of(c)->rows + whole_of(c)->columns) * sizeof(float);
    if (c->turned) bytes *= 2;
    most = bytes > most ? bytes : most;
  }
  if (!status) status = sort(l, err);
  if (status || !options->budget) return status;
  status = fg_budget_reserve(options->budget, most, "an adapter's matrices", err);
  if (status) return status;
  l->budget = options->budget;
  l->reserved = most;
  return FG_OK;
}

// ---- merging -------------------------------------------------------------------------------------------

static void turn(const float *from, uint64_t rows, uint64_t columns, float *to) {
  for (uint64_t r = 0; r < rows; r++)
    for (uint64_t c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
}

// A whole matrix of the adapter, as it stands or turned.
static fg_status load_matrix(lora *l, const fg_checkpoint_tensor *t, bool turned, float **out,
                             fg_error *err) {
  const uint64_t values = t->rows * t->columns;
  float *wide = malloc(values * sizeof *wide + 1), *other = turned ? malloc(values * sizeof *wide + 1) : NULL;
  fg_status status = wide && (other || !turned)
                         ? fg_checkpoint_read_f32(l->adapter, t, 0, t->rows, wide, err)
                         : fg_fail(err, FG_NO_SPACE, "adapter: no memory for %s", t->name);
  if (!status && turned) turn(wide, t->rows, t->columns, other);
  *out = status ? NULL : turned ? other : wide;
  if (status || turned) free(wide);
  if (status) free(other);
  return status;
}

static void unload(lora *l) {
  free(l->loaded.left);
  free(l->loaded.right);
  l->loaded = (product){0};
}

static fg_status load(lora *l, const change *c, fg_error *err) {
  if (l->loaded.of == c) return FG_OK;
  unload(l);
  const fg_checkpoint_tensor *a = c->parts[PART_A], *b = c->parts[PART_B];
  fg_status status = load_matrix(l, c->turned ? a : b, c->turned, &l->loaded.left, err);
  if (!status) status = load_matrix(l, c->turned ? b : a, c->turned, &l->loaded.right, err);
  if (!status) l->loaded.of = c;
  return status;
}

// row += factor left right // row: [columns]; left: [rank]; right: [rank, columns]
FG_CLONES static void add_product(float *row, const float *left, const float *right, uint64_t rank,
                                  uint64_t columns, float factor) {
  enum { BLOCK = 512 };
  float sum[BLOCK];
  for (uint64_t at = 0; at < columns; at += BLOCK) {
    const uint64_t n = columns - at < BLOCK ? columns - at : BLOCK;
    for (uint64_t i = 0; i < n; i++) sum[i] = 0;
    for (uint64_t j = 0; j < rank; j++) {
      const float weight = left[j], *from = right + j * columns + at;
      for (uint64_t i = 0; i < n; i++) sum[i] += weight * from[i];
    }
    for (uint64_t i = 0; i < n; i++) row[at + i] += factor * sum[i];
  }
}

static void scale_to(float *row, uint64_t columns, float norm) {
  double sum = 0;
  for (uint64_t i = 0; i < columns; i++) sum += (double)row[i] * row[i];
  const float by = (float)(norm / sqrt(sum));
  for (uint64_t i = 0; i < columns; i++) row[i] *= by;
}

static fg_status scale_rows(lora *l, const change *c, uint64_t row, uint64_t count, float *out,
                            fg_error *err) {
  const fg_checkpoint_tensor *m = c->parts[PART_MAGNITUDE];
  const uint64_t columns = whole_of(c)->columns, rows = m->rows * m->columns;
  float *norms = malloc(rows * sizeof *norms + 1);
  fg_status status = norms ? fg_checkpoint_read_f32(l->adapter, m, 0, m->rows, norms, err)
                           : fg_fail(err, FG_NO_SPACE, "adapter: no memory for %s", m->name);
  for (uint64_t i = 0; !status && i < count; i++) scale_to(out + i * columns, columns, norms[row + i]);
  free(norms);
  return status;
}

static fg_status read_changed(lora *l, const change *c, uint64_t row, uint64_t count, float *out,
                              fg_error *err) {
  const fg_checkpoint_tensor *w = whole_of(c);
  fg_status status =
      fg_checkpoint_read_f32(c->parts[PART_WHOLE] ? l->adapter : l->from, w, row, count, out, err);
  if (status || !c->parts[PART_A]) return status;
  status = load(l, c, err);
  for (uint64_t i = 0; !status && i < count; i++)
    add_product(out + i * w->columns, l->loaded.left + (row + i) * c->rank, l->loaded.right, c->rank,
                w->columns, c->factor);
  return !status && c->parts[PART_MAGNITUDE] ? scale_rows(l, c, row, count, out, err) : status;
}

// Some rows at a time, rounded to the type that the tensor is shown with.
static fg_status read_rounded(lora *l, const change *c, const fg_checkpoint_tensor *t, uint64_t row,
                              uint64_t count, char *out, fg_error *err) {
  enum { WIDE_VALUES = 1 << 18 };
  const fg_dtype_info *type = fg_dtype_get(t->dtype);
  if (t->dtype == FG_F32) return read_changed(l, c, row, count, (float *)(void *)out, err);
  const uint64_t step = t->columns < WIDE_VALUES ? WIDE_VALUES / (t->columns + 1) + 1 : 1;
  float *wide = malloc(step * t->columns * sizeof *wide + 1);
  if (!wide) return fg_fail(err, FG_NO_SPACE, "adapter: no memory for rows of %s", t->name);
  fg_status status = FG_OK;
  for (uint64_t done = 0; !status && done < count; done += step) {
    uint64_t some = count - done < step ? count - done : step;
    status = read_changed(l, c, row + done, some, wide, err);
    if (!status) type->from_f32(wide, out + done * t->columns * type->bytes, some * t->columns);
  }
  free(wide);
  return status;
}

static const change *change_of(const lora *l, const fg_checkpoint_tensor *t) {
  return &l->changes[t - l->base.tensors];
}

static fg_status read_rows(fg_checkpoint *self, const fg_checkpoint_tensor *t, uint64_t row, uint64_t count,
                           void *out, fg_error *err) {
  lora *l = (lora *)self;
  const change *c = change_of(l, t);
  if (!is_changed(c)) return l->from->ops->read_rows(l->from, c->base, row, count, out, err);
  return read_rounded(l, c, t, row, count, out, err);
}

static fg_status read_f32(fg_checkpoint *self, const fg_checkpoint_tensor *t, uint64_t row, uint64_t count,
                          float *out, fg_error *err) {
  lora *l = (lora *)self;
  const change *c = change_of(l, t);
  if (!is_changed(c)) return fg_checkpoint_read_f32(l->from, c->base, row, count, out, err);
  return read_changed(l, c, row, count, out, err);
}

static bool place(const fg_checkpoint *self, const fg_checkpoint_tensor *t, uint64_t row, uint64_t count,
                  fg_checkpoint_place *out) {
  const lora *l = (const lora *)self;
  const change *c = change_of(l, t);
  return !is_changed(c) && l->from->ops->place && l->from->ops->place(l->from, c->base, row, count, out);
}

// ---- making --------------------------------------------------------------------------------------------

static void destroy(fg_checkpoint *self) {
  lora *l = (lora *)self;
  unload(l);
  fg_checkpoint_destroy(l->from);
  fg_checkpoint_destroy(l->adapter);
  fg_lora_config_free(&l->config);
  if (l->budget) fg_budget_release(l->budget, l->reserved);
  for (size_t i = 0; i < l->base.count; i++) free((char *)l->base.tensors[i].name);
  free(l->base.tensors);
  free(l->changes);
  free(l);
}

static fg_status open_adapter(lora *l, const fg_lora_options *options, fg_error *err) {
  static const char *const files[] = {"adapter_model.safetensors", "adapter_model.bin"};
  char path[PATH_MAX];
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    int n = snprintf(path, sizeof path, "%s/%s", options->folder, files[i]);
    if (n < 0 || (size_t)n >= sizeof path) return fg_fail(err, FG_INVALID, "--adapter: the path is too long");
    if (access(path, F_OK) == 0) return fg_checkpoint_open(&l->adapter, path, options->io, err);
  }
  return fg_fail(err, FG_NOT_FOUND, "%s holds no adapter: looked for %s and %s", options->folder, files[0],
                 files[1]);
}

static fg_status build(lora *l, const fg_lora_options *options, fg_error *err) {
  char path[PATH_MAX];
  int n = snprintf(path, sizeof path, "%s/adapter_config.json", options->folder);
  if (n < 0 || (size_t)n >= sizeof path) return fg_fail(err, FG_INVALID, "--adapter: the path is too long");
  fg_status status = fg_lora_config_read(&l->config, path, err);
  if (!status) status = open_adapter(l, options, err);
  return status ? status : list_tensors(l, options, err);
}

fg_status fg_lora_wrap(fg_checkpoint **checkpoint, const fg_lora_options *options, fg_error *err) {
  const fg_checkpoint *from = *checkpoint;
  if (strcmp(from->ops->format, "safetensors") != 0 && strcmp(from->ops->format, "pytorch_bin") != 0) {
    return fg_fail(err, FG_UNSUPPORTED,
                   "--adapter: an adapter is merged into a folder of safetensors or .bin files, not into %s",
                   from->ops->format);
  }
  lora *l = calloc(1, sizeof *l);
  if (!l) return fg_fail(err, FG_NO_SPACE, "no memory for an adapter");
  l->from = *checkpoint;
  l->ops = (fg_checkpoint_ops){.format = from->ops->format,
                               .read_rows = read_rows,
                               .read_f32 = read_f32,
                               .place = place,
                               .destroy = destroy};
  l->base.ops = &l->ops;
  l->base.about = from->about;
  fg_status status = build(l, options, err);
  if (status) {
    l->from = NULL; // the caller's
    destroy(&l->base);
    return status;
  }
  *checkpoint = &l->base;
  return FG_OK;
}
