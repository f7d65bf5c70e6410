// bitsandbytes. 4 bits: the matrix as one row of values, two a byte, the FIRST in the high half; a code is an
// index into a table of 16 values, and runs of values share their largest magnitude ("absmax"), which may
// itself be held in codes of 8 bits ("nested"). 8 bits: a scale a row.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "format/dequant.h"

fg_status fg_dequant_configure_bnb(fg_dequant_settings *out, const json_t *config, fg_error *err) {
  bool four = false;
  const char *storage = NULL;
  fg_status status = fg_json_bool(config, "load_in_4bit", false, &four, err);
  if (!status) status = fg_json_string(config, "bnb_4bit_quant_storage", "uint8", &storage, err);
  if (status) return status;
  if (four && strcmp(storage, "uint8") != 0) {
    return fg_fail(err, FG_UNSUPPORTED,
                   "\"bnb_4bit_quant_storage\": codes stored as %.20s are not supported (uint8 are)",
                   storage);
  }
  snprintf(out->about, sizeof out->about, "bitsandbytes %d-bit", four ? 4 : 8);
  return FG_OK;
}

// ---- 4 bits --------------------------------------------------------------------------------------------

enum { WEIGHT, ABSMAX, MAP, NESTED_ABSMAX, NESTED_MAP, STATE_NF4, STATE_FP4 };
enum { MAX_STATE_BYTES = 1 << 16, CODES = 16, NESTED_CODES = 256 };

static const fg_checkpoint_tensor *state_of(const fg_dequant_module *m) {
  return m->parts[STATE_NF4] ? m->parts[STATE_NF4] : m->parts[STATE_FP4];
}

static fg_status read_size(const json_t *state, const char *key, uint64_t *out, fg_error *err) {
  uint32_t size = 0;
  fg_status status = fg_json_u32(state, key, 0, &size, err);
  *out = size;
  if (status || size) return status;
  return fg_fail(err, FG_INVALID, "\"%s\" is missing or 0", key);
}

static fg_status read_state(fg_dequant_module *m, const json_t *state, fg_error *err) {
  const json_t *shape = json_object_get(state, "shape");
  double offset = 0;
  json_int_t rows = json_integer_value(json_array_get(shape, 0)),
             columns = json_integer_value(json_array_get(shape, 1));
  if (json_array_size(shape) != 2 || rows < 1 || columns < 1 || rows > INT32_MAX || columns > INT32_MAX) {
    return fg_fail(err, FG_INVALID, "\"shape\" must be two positive integers");
  }
  m->rows = (uint64_t)rows;
  m->columns = (uint64_t)columns;
  m->scales = 1; // a row's own, unused
  fg_status status = read_size(state, "blocksize", &m->run, err);
  if (!status && m->parts[NESTED_ABSMAX]) status = read_size(state, "nested_blocksize", &m->nested_run, err);
  if (!status && m->parts[NESTED_ABSMAX]) status = fg_json_f64(state, "nested_offset", 0, &offset, err);
  m->whole = (float)offset;
  if (!status && !isfinite(m->whole)) status = fg_fail(err, FG_INVALID, "\"nested_offset\" is no number");
  return status;
}

static fg_status parse_state(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  const fg_checkpoint_tensor *t = state_of(m);
  if (!t) {
    return fg_fail(err, FG_NOT_FOUND, "tensor %s has no quant_state (of nf4 or fp4) beside it", m->name);
  }
  if (t->dtype != FG_U8 || t->dims > 2 || t->columns > MAX_STATE_BYTES || t->rows != 1) {
    return fg_fail(err, FG_CORRUPT, "tensor %s is no text", t->name);
  }
  char *text = fg_dequant_take(r, FG_ROOM_RAW, t->columns, err);
  fg_status status = text ? fg_dequant_run(r, t, 0, t->columns, text, err) : FG_NO_SPACE;
  if (status) return status;
  json_t *state = fg_json_parse(text, t->columns, "quant_state", err);
  if (!state) return FG_CORRUPT;
  status = read_state(m, state, err);
  json_decref(state);
  return status ? fg_fail_prefix(err, "tensor %s", t->name) : FG_OK;
}

static uint64_t values_of(const fg_checkpoint_tensor *t) {
  return t->rows * t->columns; // of a tensor in a file: does not overflow
}

static fg_status check_count(const fg_dequant_module *m, uint32_t part, fg_part_kind kind, uint64_t count,
                             fg_error *err) {
  const fg_checkpoint_tensor *t = m->parts[part];
  if (t && fg_dequant_is(t->dtype, kind) && values_of(t) == count) return FG_OK;
  if (!t) {
    return fg_fail(err, FG_NOT_FOUND, "tensor %s has no %s beside it", m->name,
                   m->format->suffixes[part] + strlen(".weight."));
  }
  return fg_fail(err, FG_CORRUPT, "tensor %s has %" PRIu64 " values of type %s, its matrix needs %" PRIu64,
                 t->name, values_of(t), fg_dtype_get(t->dtype)->name, count);
}

static uint64_t pieces(uint64_t count, uint64_t size) {
  return count / size + (count % size != 0);
}

static fg_status open_bnb4(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  fg_status status = parse_state(m, r, err);
  if (status) return status;
  const bool nested = m->parts[NESTED_ABSMAX] != NULL;
  const uint64_t count = m->rows * m->columns, runs = pieces(count, m->run); // 31 bits each
  m->bits = 4;
  status = check_count(m, WEIGHT, FG_PART_BYTES, pieces(count, 2), err);
  if (!status) status = check_count(m, ABSMAX, nested ? FG_PART_BYTES : FG_PART_FLOATS, runs, err);
  if (!status) status = check_count(m, MAP, FG_PART_FLOATS, CODES, err);
  if (!status && nested) {
    status = check_count(m, NESTED_ABSMAX, FG_PART_FLOATS, pieces(runs, m->nested_run), err);
    if (!status) status = check_count(m, NESTED_MAP, FG_PART_FLOATS, NESTED_CODES, err);
  }
  return status;
}

// out: the absmax of runs [first, first + count)
static fg_status load_nested(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t first, uint64_t count,
                             float *out, fg_error *err) {
  const uint64_t begin = first / m->nested_run, end = (first + count - 1) / m->nested_run + 1;
  float map[NESTED_CODES], *second = fg_dequant_take(r, FG_ROOM_ZEROS, (end - begin) * sizeof *second, err);
  uint8_t *codes = fg_dequant_take(r, FG_ROOM_GROUPS, count, err);
  if (!second || !codes) return FG_NO_SPACE;
  fg_status status = fg_dequant_float_run(r, m->parts[NESTED_MAP], 0, NESTED_CODES, map, err);
  if (!status) status = fg_dequant_float_run(r, m->parts[NESTED_ABSMAX], begin, end - begin, second, err);
  if (!status) status = fg_dequant_run(r, m->parts[ABSMAX], first, count, codes, err);
  for (uint64_t i = 0; !status && i < count; i++)
    out[i] = map[codes[i]] * second[(first + i) / m->nested_run - begin] + m->whole;
  return status;
}

static fg_status bnb4_floats(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, uint64_t count,
                             float *out, fg_error *err) {
  const uint64_t first = row * m->columns, end = first + count * m->columns;
  const uint64_t byte = first / 2, bytes = (end + 1) / 2 - byte, run = first / m->run,
                 runs = (end - 1) / m->run + 1 - run;
  float map[CODES], *absmax = fg_dequant_take(r, FG_ROOM_SCALES, runs * sizeof *absmax, err);
  uint8_t *codes = fg_dequant_take(r, FG_ROOM_WORDS, bytes, err);
  if (!absmax || !codes) return FG_NO_SPACE;
  fg_status status = m->parts[NESTED_ABSMAX]
                         ? load_nested(r, m, run, runs, absmax, err)
                         : fg_dequant_float_run(r, m->parts[ABSMAX], run, runs, absmax, err);
  if (!status) status = fg_dequant_float_run(r, m->parts[MAP], 0, CODES, map, err);
  if (!status) status = fg_dequant_run(r, m->parts[WEIGHT], byte, bytes, codes, err);
  for (uint64_t i = first; !status && i < end; i++) {
    uint8_t pair = codes[i / 2 - byte];
    *out++ = map[i % 2 ? pair & 15 : pair >> 4] * absmax[i / m->run - run];
  }
  return status;
}

const fg_dequant_format fg_dequant_bnb4 = {
    .suffixes = {".weight", ".weight.absmax", ".weight.quant_map", ".weight.nested_absmax",
                 ".weight.nested_quant_map", ".weight.quant_state.bitsandbytes__nf4",
                 ".weight.quant_state.bitsandbytes__fp4"},
    .required = 3,
    .kind = FG_PART_BYTES,
    .open = open_bnb4,
    .floats = bnb4_floats,
};

// ---- 8 bits --------------------------------------------------------------------------------------------

enum { SCB = 1, FORMAT };

static fg_status open_bnb8(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  const fg_checkpoint_tensor *weight = m->parts[WEIGHT], *format = m->parts[FORMAT];
  if (weight->dims != 2) return fg_fail(err, FG_UNSUPPORTED, "tensor %s is no matrix", weight->name);
  m->rows = weight->rows;
  m->columns = m->tile_columns = weight->columns;
  m->bits = 8;
  m->tile_rows = m->scales = 1;
  fg_status status = check_count(m, SCB, FG_PART_FLOATS, m->rows, err);
  if (status || !format) return status;
  uint8_t order = 0;
  status = check_count(m, FORMAT, FG_PART_BYTES, 1, err);
  if (!status) status = fg_dequant_run(r, format, 0, 1, &order, err);
  if (status || order == 0) return status;
  return fg_fail(err, FG_UNSUPPORTED, "tensor %s is %d: weights that are not stored row by row", format->name,
                 order);
}

static fg_status bnb8_codes(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row,
                            fg_dequant_row *out, fg_error *err) {
  enum { MIDDLE = 128, MOST = 127 };
  fg_status status = fg_dequant_scale_line(r, m->parts[SCB], row, 1, out->scale, err);
  const uint8_t *values =
      status ? NULL : fg_dequant_line(r, FG_ROOM_WORDS, m->parts[WEIGHT], row, m->columns, err);
  if (!values) return status ? status : fg_dequant_failed(err);
  out->scale[0] /= MOST;
  out->zero[0] = MIDDLE;
  for (uint64_t i = 0; i < m->columns; i++) out->codes[i] = values[i] ^ MIDDLE;
  return FG_OK;
}

const fg_dequant_format fg_dequant_bnb8 = {
    .suffixes = {".weight", ".SCB", ".weight_format"},
    .required = 2,
    .kind = FG_PART_INTS,
    .open = open_bnb8,
    .codes = bnb8_codes,
};
