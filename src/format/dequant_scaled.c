// A byte a weight and scales for all of them, for each row, group or block: compressed-tensors' int-quantized
// and float-quantized, and FP8 of the DeepSeek kind, whose "weight_scale_inv" is a factor all the same.
#include <inttypes.h>
#include <string.h>

#include "format/dequant.h"

// ---- configuration of "fp8" ----------------------------------------------------------------------------

fg_status fg_dequant_configure_fp8(fg_dequant_settings *out, const json_t *config, fg_error *err) {
  const char *form = NULL;
  const json_t *block = json_object_get(config, "weight_block_size");
  fg_status status = fg_json_string(config, "fmt", "e4m3", &form, err);
  if (status) return status;
  if (strcmp(form, "e4m3") != 0) {
    return fg_fail(err, FG_UNSUPPORTED, "\"fmt\": FP8 weights of form \"%.20s\" are not supported (e4m3 are)",
                   form);
  }
  for (size_t i = 0; block && !json_is_null(block) && i < 2; i++) {
    json_int_t size = json_integer_value(json_array_get(block, i));
    if (json_array_size(block) != 2 || size < 1 || size > INT32_MAX) {
      return fg_fail(err, FG_INVALID, "\"weight_block_size\" must be two positive integers");
    }
    out->block[i] = (uint64_t)size;
  }
  snprintf(out->about, sizeof out->about, "FP8");
  return FG_OK;
}

// ---- modules -------------------------------------------------------------------------------------------

enum { WEIGHT, SCALE, SCALE_INV, ZERO = 2 };

static fg_status open_matrix(fg_dequant_module *m, uint32_t scale, fg_error *err) {
  const fg_checkpoint_tensor *weight = m->parts[WEIGHT];
  if (weight->dims != 2) {
    return fg_fail(err, FG_UNSUPPORTED,
                   "tensor %s has %" PRIu32 " dimensions; of quantised weights only matrices are supported",
                   weight->name, weight->dims);
  }
  m->rows = weight->rows;
  m->columns = weight->columns;
  m->bits = 8;
  return fg_dequant_find_tile(m, scale, err);
}

static fg_status check_scale(const fg_dequant_module *m, uint32_t part, fg_part_kind kind, fg_error *err) {
  const fg_checkpoint_tensor *t = m->parts[part];
  return fg_dequant_check(m, part, kind, t->rows, t->columns, err);
}

static fg_status open_int8(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  (void)r;
  fg_status status = open_matrix(m, SCALE, err);
  if (!status) status = check_scale(m, SCALE, FG_PART_FLOATS, err);
  const fg_checkpoint_tensor *scale = m->parts[SCALE];
  if (!status && m->parts[ZERO])
    status = fg_dequant_check(m, ZERO, FG_PART_INTS, scale->rows, scale->columns, err);
  return status;
}

static fg_status int8_codes(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row,
                            fg_dequant_row *out, fg_error *err) {
  enum { MIDDLE = 128 };
  const uint64_t tile = row / m->tile_rows;
  fg_status status = fg_dequant_scale_line(r, m->parts[SCALE], tile, m->scales, out->scale, err);
  const uint8_t *values =
      status ? NULL : fg_dequant_line(r, FG_ROOM_WORDS, m->parts[WEIGHT], row, m->columns, err);
  if (!values) return status ? status : fg_dequant_failed(err);
  for (uint64_t i = 0; i < m->columns; i++) out->codes[i] = values[i] ^ MIDDLE; // now counted from -128
  for (uint64_t g = 0; g < m->scales; g++) out->zero[g] = MIDDLE;
  if (!m->parts[ZERO]) return FG_OK;
  const int8_t *zeros = fg_dequant_line(r, FG_ROOM_ZEROS, m->parts[ZERO], tile, m->scales, err);
  if (!zeros) return fg_dequant_failed(err);
  for (uint64_t g = 0; g < m->scales; g++) out->zero[g] += (float)zeros[g];
  return FG_OK;
}

const fg_dequant_format fg_dequant_int8 = {
    .suffixes = {".weight", ".weight_scale", ".weight_zero_point"},
    .required = 2,
    .kind = FG_PART_INTS,
    .open = open_int8,
    .codes = int8_codes,
};

static uint32_t fp8_scale(const fg_dequant_module *m) {
  return m->parts[SCALE] ? SCALE : SCALE_INV;
}

static fg_status open_fp8(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  (void)r;
  const uint32_t scale = fp8_scale(m);
  if (!m->parts[scale]) {
    return fg_fail(err, FG_NOT_FOUND, "tensor %s has neither a weight_scale nor a weight_scale_inv beside it",
                   m->name);
  }
  fg_status status = open_matrix(m, scale, err);
  return status ? status : check_scale(m, scale, FG_PART_SCALES, err);
}

static fg_status fp8_floats(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, uint64_t count,
                            float *out, fg_error *err) {
  float values[256];
  for (int i = 0; i < 256; i++) values[i] = fg_f8_e4m3_to_f32((uint8_t)i);
  float *scales = fg_dequant_take(r, FG_ROOM_ROW, m->scales * sizeof *scales, err);
  if (!scales) return FG_NO_SPACE;
  for (uint64_t end = row + count; row < end; row++) {
    r->ahead = end - row;
    fg_status status =
        fg_dequant_scale_line(r, m->parts[fp8_scale(m)], row / m->tile_rows, m->scales, scales, err);
    const uint8_t *codes =
        status ? NULL : fg_dequant_line(r, FG_ROOM_WORDS, m->parts[WEIGHT], row, m->columns, err);
    if (!codes) return status ? status : fg_dequant_failed(err);
    for (uint64_t i = 0, g = 0; i < m->columns; g++) {
      uint64_t tile = m->columns - i < m->tile_columns ? m->columns : i + m->tile_columns;
      for (; i < tile; i++) *out++ = values[codes[i]] * scales[g];
    }
  }
  return FG_OK;
}

const fg_dequant_format fg_dequant_fp8 = {
    .suffixes = {".weight", ".weight_scale", ".weight_scale_inv"},
    .required = 1,
    .kind = FG_PART_FP8,
    .open = open_fp8,
    .floats = fp8_floats,
};
