// compressed-tensors: the configuration of all its formats, and the one that packs integers into words.
// "pack-quantized": words run along the inputs of one output; codes count from their middle.
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "format/dequant.h"

// ---- configuration -------------------------------------------------------------------------------------

// What "format" may be; the tensors of a module then show which of them it has.
static const struct {
  const char *name, *type; // of weights in it
  uint32_t bits[2];        // that are built
} forms[] = {
    {"pack-quantized", "int", {4, 8}},         {"int-quantized", "int", {8, 8}},
    {"float-quantized", "float", {8, 8}},      {"naive-quantized", NULL, {8, 8}},
    {"mxfp4-pack-quantized", "float", {4, 4}}, {"nvfp4-pack-quantized", "float", {4, 4}},
};
enum { FORMS = sizeof forms / sizeof *forms };

static fg_status check_form(const char *form, const char *type, uint32_t bits, fg_error *err) {
  for (int i = 0; i < FORMS; i++) {
    if (strcmp(forms[i].name, form) != 0) continue;
    bool fits = !forms[i].type || strcmp(forms[i].type, type) == 0;
    if (fits && (bits == forms[i].bits[0] || bits == forms[i].bits[1])) return FG_OK;
    return fg_fail(err, FG_UNSUPPORTED,
                   "\"config_groups\": %s weights of %" PRIu32 " bits of type %.20s are not supported", form,
                   bits, type);
  }
  return fg_fail(
      err, FG_UNSUPPORTED,
      "\"format\": compressed-tensors weights in the form \"%.40s\" are not supported (pack-quantized, "
      "int-quantized, float-quantized, mxfp4- and nvfp4-pack-quantized are); use such a version of the "
      "model, "
      "or its original with --weight-dtype int4",
      form);
}

static fg_status read_block(fg_dequant_settings *out, const json_t *weights, fg_error *err) {
  const json_t *block = json_object_get(weights, "block_structure");
  if (!block || json_is_null(block)) return FG_OK;
  for (size_t i = 0; i < 2; i++) {
    json_int_t size = json_integer_value(json_array_get(block, i));
    if (json_array_size(block) != 2 || size < 1 || size > INT32_MAX) {
      return fg_fail(err, FG_INVALID, "\"block_structure\" must be two positive integers");
    }
    out->block[i] = (uint64_t)size;
  }
  return FG_OK;
}

static fg_status read_config_group(fg_dequant_settings *out, const json_t *entry, const char *form,
                                   fg_error *err) {
  const json_t *weights = json_object_get(entry, "weights");
  if (!weights || json_is_null(weights)) return FG_OK; // of activations alone
  uint32_t bits = 8;
  const char *type = "int", *own = form;
  uint64_t group = 0;
  fg_status status = fg_json_u32(weights, "num_bits", 8, &bits, err);
  if (!status) status = fg_json_string(weights, "type", "int", &type, err);
  if (!status) status = fg_json_string(entry, "format", form, &own, err);
  if (!status) status = fg_dequant_read_group(weights, "group_size", NULL, &group, err);
  if (!status) status = read_block(out, weights, err);
  if (!status) status = check_form(own, type, bits, err);
  if (status) return status;
  if (out->group_count == FG_DEQUANT_GROUPS) {
    return fg_fail(err, FG_UNSUPPORTED, "\"config_groups\" has more than %d entries", FG_DEQUANT_GROUPS);
  }
  out->groups[out->group_count++] = group;
  if (!out->about[0])
    snprintf(out->about, sizeof out->about, "%s %" PRIu32 "-bit", strcmp(type, "int") ? "float" : "int",
             bits);
  return FG_OK;
}

static bool is_empty(const json_t *value) {
  return !value || json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0);
}

// What changes the weights beyond their codes.
static fg_status check_rest(const json_t *config, fg_error *err) {
  const char *sparse = "dense";
  const json_t *sparsity = json_object_get(config, "sparsity_config"),
               *transform = json_object_get(config, "transform_config");
  if (!is_empty(sparsity)) {
    fg_status status = fg_json_string(sparsity, "format", "dense", &sparse, err);
    if (status) return status;
  }
  if (strcmp(sparse, "dense") != 0) {
    return fg_fail(
        err, FG_UNSUPPORTED,
        "\"sparsity_config\": sparse weights (\"%.40s\") are not supported; use a dense version of "
        "the model",
        sparse);
  }
  if (is_empty(transform) || is_empty(json_object_get(transform, "config_groups"))) return FG_OK;
  return fg_fail(err, FG_UNSUPPORTED,
                 "\"transform_config\": weights that go with rotated activations are not supported; use a "
                 "version of the model without");
}

fg_status fg_dequant_configure_compressed(fg_dequant_settings *out, const json_t *config, fg_error *err) {
  const char *form = NULL, *name;
  json_t *groups = json_object_get(config, "config_groups"), *entry;
  fg_status status = fg_json_string(config, "format", "naive-quantized", &form, err);
  if (!status) status = check_rest(config, err);
  json_object_foreach(groups, name, entry) {
    if (!status) status = read_config_group(out, entry, form, err);
  }
  if (!status && !out->about[0]) snprintf(out->about, sizeof out->about, "quantised");
  return status;
}

// ---- words ---------------------------------------------------------------------------------------------

enum { PACKED, SCALE, SHAPE, ZERO, INDEX };

static uint64_t words_for(uint64_t values, uint32_t bits) {
  const uint32_t per_word = 32 / bits;
  return values / per_word + (values % per_word != 0);
}

static fg_status read_shape(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  int64_t shape[2];
  fg_status status = fg_dequant_check(m, SHAPE, FG_PART_LONGS, 1, 2, err);
  if (!status) status = fg_dequant_run(r, m->parts[SHAPE], 0, 2, shape, err);
  if (status) return status;
  const fg_checkpoint_tensor *packed = m->parts[PACKED];
  m->rows = packed->rows;
  m->columns = (uint64_t)shape[1];
  for (m->bits = 4; m->bits <= 8; m->bits += 4) {
    if (shape[0] == (int64_t)m->rows && shape[1] > 0 && packed->columns == words_for(m->columns, m->bits))
      return FG_OK;
  }
  return fg_fail(err, FG_CORRUPT,
                 "tensor %s: [%" PRId64 ", %" PRId64 "] does not fit the %" PRIu64 " by %" PRIu64
                 " words of 4 or 8 bits a value",
                 m->parts[SHAPE]->name, shape[0], shape[1], packed->rows, packed->columns);
}

static fg_status open_packed(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  const fg_checkpoint_tensor *packed = m->parts[PACKED], *scale = m->parts[SCALE];
  if (packed->dims != 2) return fg_fail(err, FG_UNSUPPORTED, "tensor %s is no matrix", packed->name);
  fg_status status = read_shape(m, r, err);
  if (!status) status = fg_dequant_check(m, SCALE, FG_PART_FLOATS, m->rows, scale->columns, err);
  if (!status && m->parts[ZERO])
    status = fg_dequant_check(m, ZERO, FG_PART_WORDS, words_for(m->rows, m->bits), scale->columns, err);
  if (!status && m->parts[INDEX]) status = fg_dequant_check(m, INDEX, FG_PART_WORDS, 1, m->columns, err);
  if (status) return status;
  m->symmetric = !m->parts[ZERO];
  m->shuffled = m->parts[INDEX] != NULL;
  if (!m->shuffled) return fg_dequant_find_group(m, scale->columns, err);
  m->tile_rows = 1;
  m->tile_columns = m->columns;
  m->scales = scale->columns;
  return FG_OK;
}

// The group of each input; kept while rows of the same module are read.
static fg_status load_groups(fg_dequant_reader *r, const fg_dequant_module *m, fg_error *err) {
  if (r->module == m) return FG_OK;
  r->module = NULL;
  int32_t *group = fg_dequant_take(r, FG_ROOM_GROUPS, m->columns * sizeof *group, err);
  if (!group) return FG_NO_SPACE;
  fg_status status = fg_dequant_run(r, m->parts[INDEX], 0, m->columns, group, err);
  for (uint64_t i = 0; !status && i < m->columns; i++) {
    if (group[i] >= 0 && (uint64_t)group[i] < m->scales) continue;
    status =
        fg_fail(err, FG_CORRUPT, "tensor %s: input %" PRIu64 " is of group %" PRId32 ", there are %" PRIu64,
                m->parts[INDEX]->name, i, group[i], m->scales);
  }
  if (!status) r->module = m;
  return status;
}

// Zeros are packed along the outputs.
static fg_status load_zeros(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, float *zero,
                            fg_error *err) {
  const uint32_t per_word = 32 / m->bits, mask = (1u << m->bits) - 1;
  if (m->symmetric) {
    for (uint64_t g = 0; g < m->scales; g++) zero[g] = (float)(1u << (m->bits - 1));
    return FG_OK;
  }
  const uint32_t *words = fg_dequant_line(r, FG_ROOM_ZEROS, m->parts[ZERO], row / per_word, m->scales, err);
  if (!words) return fg_dequant_failed(err);
  for (uint64_t g = 0; g < m->scales; g++) zero[g] = (float)(words[g] >> (row % per_word * m->bits) & mask);
  return FG_OK;
}

static fg_status packed_codes(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row,
                              fg_dequant_row *out, fg_error *err) {
  const fg_checkpoint_tensor *packed = m->parts[PACKED];
  const uint32_t per_word = 32 / m->bits, mask = (1u << m->bits) - 1;
  fg_status status = fg_dequant_scale_line(r, m->parts[SCALE], row, m->scales, out->scale, err);
  if (!status) status = load_zeros(r, m, row, out->zero, err);
  if (!status && m->parts[INDEX]) status = load_groups(r, m, err);
  if (!status && m->parts[INDEX]) out->group = r->rooms[FG_ROOM_GROUPS].data;
  if (status) return status;
  const uint32_t *words = fg_dequant_line(r, FG_ROOM_WORDS, packed, row, packed->columns, err);
  if (!words) return fg_dequant_failed(err);
  for (uint64_t i = 0; i < m->columns; i++)
    out->codes[i] = (uint8_t)(words[i / per_word] >> (i % per_word * m->bits) & mask);
  return FG_OK;
}

const fg_dequant_format fg_dequant_packed = {
    .suffixes = {".weight_packed", ".weight_scale", ".weight_shape", ".weight_zero_point", ".weight_g_idx"},
    .required = 3,
    .kind = FG_PART_WORDS,
    .open = open_packed,
    .codes = packed_codes,
};
