#include "format/dequant.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "format/checkpoint_files.h"
#include "tensor/groups.h"
#include "tensor/half.h"

// ---- kinds of parts ------------------------------------------------------------------------------------

static const struct {
  const char *name;
  fg_dtype types[4];
  uint32_t count;
} kinds[] = {
    [FG_PART_WORDS] = {"i32", {FG_I32}, 1},
    [FG_PART_FLOATS] = {"f16, bf16 or f32", {FG_F16, FG_BF16, FG_F32}, 3},
    [FG_PART_SCALES] = {"f16, bf16, f32 or f8_e8m0", {FG_F16, FG_BF16, FG_F32, FG_F8_E8M0}, 4},
    [FG_PART_BYTES] = {"u8", {FG_U8}, 1},
    [FG_PART_INTS] = {"i8", {FG_I8}, 1},
    [FG_PART_LONGS] = {"i64", {FG_I64}, 1},
    [FG_PART_FP8] = {"f8_e4m3", {FG_F8_E4M3}, 1},
};

bool fg_dequant_is(fg_dtype dtype, fg_part_kind kind) {
  for (uint32_t i = 0; i < kinds[kind].count; i++) {
    if (kinds[kind].types[i] == dtype) return true;
  }
  return false;
}

fg_status fg_dequant_check(const fg_dequant_module *m, uint32_t part, fg_part_kind kind, uint64_t rows,
                           uint64_t columns, fg_error *err) {
  const fg_checkpoint_tensor *t = m->parts[part];
  if (!fg_dequant_is(t->dtype, kind)) {
    return fg_fail(err, FG_UNSUPPORTED, "tensor %s is of type %s, %s has %s there", t->name,
                   fg_dtype_get(t->dtype)->name, m->settings->about, kinds[kind].name);
  }
  if (t->dims <= 2 && (rows == 0 || t->rows == rows) && t->columns == columns) return FG_OK;
  return fg_fail(err, FG_CORRUPT,
                 "tensor %s has %" PRIu64 " rows of %" PRIu64 " in %" PRIu32
                 " dimensions, the others of its module need %" PRIu64 " by %" PRIu64,
                 t->name, t->rows, t->columns, t->dims, rows ? rows : t->rows, columns);
}

// ---- groups and tiles ----------------------------------------------------------------------------------

static uint64_t pieces(uint64_t count, uint64_t size) {
  return size ? count / size + (count % size != 0) : 1;
}

fg_status fg_dequant_find_group(fg_dequant_module *m, uint64_t scales, fg_error *err) {
  const fg_dequant_settings *s = m->settings;
  uint64_t group = 0;
  for (uint32_t i = 0; !group && i < s->group_count; i++) {
    uint64_t size = s->groups[i] ? s->groups[i] : m->columns;
    if (pieces(m->columns, size) == scales) group = size;
  }
  // A module may have a group of its own.
  if (!group && scales && m->columns % scales == 0) group = m->columns / scales;
  if (!group) {
    return fg_fail(err, FG_CORRUPT, "tensor %s: %" PRIu64 " scales for %" PRIu64 " inputs are no groups",
                   m->name, scales, m->columns);
  }
  m->tile_rows = 1;
  m->tile_columns = group;
  m->scales = scales;
  return FG_OK;
}

fg_status fg_dequant_find_tile(fg_dequant_module *m, uint32_t part, fg_error *err) {
  const fg_checkpoint_tensor *t = m->parts[part];
  const uint64_t *block = m->settings->block;
  // A list is a column: one for each output.
  uint64_t rows = t->dims == 1 ? t->columns : t->rows, columns = t->dims == 1 ? 1 : t->columns;
  m->scales = columns;
  if (t->dims > 2) {
    return fg_fail(err, FG_UNSUPPORTED, "tensor %s has %" PRIu32 " dimensions; only matrices are supported",
                   t->name, t->dims);
  }
  if (block[0] && block[1] && rows == pieces(m->rows, block[0]) && columns == pieces(m->columns, block[1])) {
    m->tile_rows = block[0];
    m->tile_columns = block[1];
    return FG_OK;
  }
  if (rows == 1 && columns == 1) {
    m->tile_rows = m->rows;
    m->tile_columns = m->columns;
    return FG_OK;
  }
  if (rows == m->rows) return fg_dequant_find_group(m, columns, err);
  return fg_fail(err, FG_CORRUPT,
                 "tensor %s has %" PRIu64 " by %" PRIu64 " scales, which fit neither the rows of %" PRIu64
                 " by %" PRIu64 " weights nor blocks of %" PRIu64 " by %" PRIu64,
                 t->name, rows, columns, m->rows, m->columns, block[0], block[1]);
}

fg_status fg_dequant_read_group(const json_t *config, const char *key, const char *other, uint64_t *out,
                                fg_error *err) {
  const json_t *value = json_object_get(config, key);
  if (!value && other) value = json_object_get(config, key = other);
  *out = 0;
  if (!value || json_is_null(value)) return FG_OK;
  json_int_t group = json_integer_value(value);
  if (json_is_integer(value) && group == -1) return FG_OK;
  if (!json_is_integer(value) || group < 1 || group > INT32_MAX) {
    return fg_fail(err, FG_INVALID, "\"%s\" must be -1 or a positive integer", key);
  }
  *out = (uint64_t)group;
  return FG_OK;
}

// ---- reading -------------------------------------------------------------------------------------------

void *fg_dequant_take(fg_dequant_reader *r, fg_dequant_room room, uint64_t bytes, fg_error *err) {
  r->rooms[room].part = NULL;
  if (bytes <= r->rooms[room].bytes && r->rooms[room].data) return r->rooms[room].data;
  free(r->rooms[room].data);
  r->rooms[room].bytes = 0;
  r->rooms[room].data = bytes < SIZE_MAX ? malloc((size_t)bytes + 1) : NULL;
  if (!r->rooms[room].data) {
    fg_fail(err, FG_NO_SPACE, "no memory for %" PRIu64 " bytes of quantised weights", bytes);
    return NULL;
  }
  r->rooms[room].bytes = bytes;
  return r->rooms[room].data;
}

void fg_dequant_reader_free(fg_dequant_reader *r) {
  for (int i = 0; i < FG_ROOM_COUNT; i++) free(r->rooms[i].data);
}

fg_status fg_dequant_columns(fg_dequant_reader *r, const fg_checkpoint_tensor *part, uint64_t first,
                             uint64_t count, void *out, fg_error *err) {
  fg_checkpoint_tensor view = fg_tensor_columns(part, first, count);
  return fg_checkpoint_read_rows(r->from, &view, 0, view.rows, out, err);
}

fg_status fg_dequant_run(fg_dequant_reader *r, const fg_checkpoint_tensor *part, uint64_t first,
                         uint64_t count, void *out, fg_error *err) {
  fg_checkpoint_tensor view;
  if (fg_tensor_run(part, first, count, &view))
    return fg_checkpoint_read_rows(r->from, &view, 0, 1, out, err);
  return fg_fail(err, FG_UNSUPPORTED, "tensor %s is not stored row by row", part->name);
}

static void to_floats(fg_dtype dtype, const void *raw, uint64_t count, float *out) {
  const uint8_t *bytes = raw;
  if (dtype == FG_F8_E8M0) {
    for (uint64_t i = 0; i < count; i++) out[i] = fg_f8_e8m0_to_f32(bytes[i]);
  } else {
    fg_dtype_get(dtype)->to_f32(raw, out, (size_t)count);
  }
}

// Room for raw values; their number was a number of values in the file, so its bytes do not overflow.
static void *take_raw(fg_dequant_reader *r, const fg_checkpoint_tensor *part, uint64_t count, fg_error *err) {
  return fg_dequant_take(r, FG_ROOM_RAW, count * fg_dtype_get(part->dtype)->bytes, err);
}

fg_status fg_dequant_float_columns(fg_dequant_reader *r, const fg_checkpoint_tensor *part, uint64_t first,
                                   uint64_t count, float *out, fg_error *err) {
  void *raw = take_raw(r, part, part->rows * count, err);
  fg_status status = raw ? fg_dequant_columns(r, part, first, count, raw, err) : FG_NO_SPACE;
  if (!status) to_floats(part->dtype, raw, part->rows * count, out);
  return status;
}

fg_status fg_dequant_float_run(fg_dequant_reader *r, const fg_checkpoint_tensor *part, uint64_t first,
                               uint64_t count, float *out, fg_error *err) {
  void *raw = take_raw(r, part, count, err);
  fg_status status = raw ? fg_dequant_run(r, part, first, count, raw, err) : FG_NO_SPACE;
  if (!status) to_floats(part->dtype, raw, count, out);
  return status;
}

// A room's lines in the file: those of the present row and of the rows that will be asked for next.
static fg_status load_lines(fg_dequant_reader *r, fg_dequant_room room, const fg_checkpoint_tensor *part,
                            uint64_t line, uint64_t width, fg_error *err) {
  const uint64_t left = part->rows * part->columns / width - line;
  const uint64_t count = r->ahead > left ? left : r->ahead > 1 ? r->ahead : 1;
  void *data = fg_dequant_take(r, room, count * width * fg_dtype_get(part->dtype)->bytes, err);
  if (!data) return FG_NO_SPACE;
  fg_status status = fg_dequant_run(r, part, line * width, count * width, data, err);
  if (status) return status;
  r->rooms[room].part = part;
  r->rooms[room].first = line;
  r->rooms[room].count = count;
  return FG_OK;
}

const void *fg_dequant_line(fg_dequant_reader *r, fg_dequant_room room, const fg_checkpoint_tensor *part,
                            uint64_t line, uint64_t width, fg_error *err) {
  const bool there = r->rooms[room].part == part && line >= r->rooms[room].first &&
                     line - r->rooms[room].first < r->rooms[room].count;
  if (!there && load_lines(r, room, part, line, width, err)) return NULL;
  const uint64_t skip = (line - r->rooms[room].first) * width * fg_dtype_get(part->dtype)->bytes;
  return (const char *)r->rooms[room].data + skip;
}

fg_status fg_dequant_scale_line(fg_dequant_reader *r, const fg_checkpoint_tensor *part, uint64_t line,
                                uint64_t width, float *out, fg_error *err) {
  const void *raw = fg_dequant_line(r, FG_ROOM_SCALES, part, line, width, err);
  if (!raw) return fg_dequant_failed(err);
  to_floats(part->dtype, raw, width, out);
  return FG_OK;
}

bool fg_dequant_strip(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row) {
  enum { STEP = 64 };        // whole words of outputs, and runs that are worth a read
  enum { SCALE_BYTES = 12 }; // of a scale and its zero in float32, and as they stand
  if (r->module == m && row >= r->first && row - r->first < r->count) return true;
  uint64_t width = r->strip_bytes / (m->columns * m->bits / 8 + SCALE_BYTES * m->scales + 1);
  width = width < STEP ? STEP : width - width % STEP;
  r->module = NULL;
  r->first = row - row % width;
  r->count = m->rows - r->first < width ? m->rows - r->first : width;
  return false;
}

// ---- small floats --------------------------------------------------------------------------------------

float fg_f8_e4m3_to_f32(uint8_t code) {
  const uint32_t magnitude = code & 0x7f;
  float value =
      magnitude < 8 ? (float)magnitude * 0x1p-9f : fg_f32_from_bits((magnitude << 20) + ((127 - 7) << 23));
  if (magnitude == 0x7f) value = NAN;
  return code & 0x80 ? -value : value;
}

float fg_f8_e8m0_to_f32(uint8_t code) {
  if (code == 0xff) return NAN;
  return code ? fg_f32_from_bits((uint32_t)code << 23) : 0x1p-127f;
}

float fg_f4_e2m1_to_f32(uint8_t code) {
  static const float values[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.f, -.5f, -1, -1.5f, -2, -3, -4, -6};
  return values[code & 15];
}

// ---- rows ----------------------------------------------------------------------------------------------

static fg_status take_row(fg_dequant_reader *r, const fg_dequant_module *m, fg_dequant_row *out,
                          fg_error *err) {
  float *room = fg_dequant_take(r, FG_ROOM_ROW, 2 * m->scales * sizeof(float) + m->columns, err);
  if (!room) return FG_NO_SPACE;
  *out = (fg_dequant_row){.scale = room, .zero = room + m->scales};
  out->codes = (uint8_t *)(room + 2 * m->scales);
  return FG_OK;
}

static void expand(const fg_dequant_module *m, const fg_dequant_row *row, float *out) {
  if (row->group) {
    for (uint64_t i = 0; i < m->columns; i++) {
      uint32_t g = row->group[i];
      out[i] = ((float)row->codes[i] - row->zero[g]) * row->scale[g];
    }
    return;
  }
  for (uint64_t g = 0, i = 0; g < m->scales; g++) {
    uint64_t end = m->columns - i < m->tile_columns ? m->columns : i + m->tile_columns;
    const float zero = row->zero[g], scale = row->scale[g];
    for (; i < end; i++) out[i] = ((float)row->codes[i] - zero) * scale;
  }
}

fg_status fg_dequant_floats(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, uint64_t count,
                            float *out, fg_error *err) {
  r->ahead = count;
  if (m->format->floats) return m->format->floats(r, m, row, count, out, err);
  for (uint64_t i = 0; i < count; i++, out += m->columns) {
    fg_dequant_row one;
    r->ahead = count - i;
    fg_status status = take_row(r, m, &one, err);
    if (!status) status = m->format->codes(r, m, row + i, &one, err);
    if (status) return status;
    expand(m, &one, out);
  }
  return FG_OK;
}

// ---- rows as codes -------------------------------------------------------------------------------------

enum { RUN = FG_GROUP_RUN };

bool fg_dequant_code_type(const fg_dequant_module *m, fg_dtype *out) {
  *out = m->format->block_type;
  if (m->format->blocks) return true;
  if (!m->format->codes || m->shuffled) return false;
  const bool minimum = !m->symmetric || m->bits == 8; // signed codes of 8 bits end at -127
  for (uint32_t block = 256; block >= RUN; block /= 2) {
    bool fits = m->columns % block == 0 && (m->tile_columns >= m->columns || m->tile_columns % block == 0);
    if (fits && fg_dtype_find(m->bits, block, minimum, out)) return true;
  }
  return false;
}

static float put_f16(float value, uint8_t *to) {
  const float most = 65504;
  uint16_t half = fg_f16_from_f32(value < -most ? -most : value > most ? most : value);
  memcpy(to, &half, 2);
  return fg_f16_to_f32(half);
}

static uint8_t *put_codes(const uint8_t *codes, const fg_dtype_info *type, uint8_t *to) {
  for (uint32_t i = 0; i < type->block; i += RUN, codes += RUN) {
    if (type->bits == 8) {
      memcpy(to, codes, RUN);
    } else {
      for (int j = 0; j < RUN / 2; j++) to[j] = (uint8_t)(codes[j] | codes[j + RUN / 2] << 4);
    }
    to += RUN * type->bits / 8;
  }
  return to;
}

static fg_status put_row(const fg_dequant_module *m, const fg_dequant_row *row, const fg_dtype_info *type,
                         uint8_t *to, fg_error *err) {
  for (uint64_t i = 0; row->group && i < m->columns; i++) {
    if (row->group[i] == i / m->tile_columns) continue;
    return fg_fail(err, FG_UNSUPPORTED,
                   "tensor %s: input %" PRIu64
                   " is of another group although \"desc_act\" is false; use --weight-dtype bf16",
                   m->name, i);
  }
  for (uint64_t i = 0; i < m->columns; i += type->block) {
    const uint64_t g = i / m->tile_columns;
    float scale = put_f16(row->scale[g], to);
    to += 2;
    if (type->minimum) {
      put_f16(-scale * row->zero[g], to);
      to += 2;
    }
    to = put_codes(row->codes + i, type, to);
  }
  return FG_OK;
}

fg_status fg_dequant_codes(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, uint64_t count,
                           void *out, fg_error *err) {
  fg_dtype dtype;
  uint64_t row_bytes = 0;
  if (m->format->blocks) return m->format->blocks(r, m, row, count, out, err);
  if (!fg_dequant_code_type(m, &dtype) || !fg_dtype_bytes(dtype, m->columns, &row_bytes)) {
    return fg_fail(err, FG_INTERNAL, "tensor %s has no type of codes", m->name);
  }
  for (uint64_t i = 0; i < count; i++) {
    fg_dequant_row one;
    r->ahead = count - i;
    fg_status status = take_row(r, m, &one, err);
    if (!status) status = m->format->codes(r, m, row + i, &one, err);
    if (!status) status = put_row(m, &one, fg_dtype_get(dtype), (uint8_t *)out + i * row_bytes, err);
    if (status) return status;
  }
  return FG_OK;
}
