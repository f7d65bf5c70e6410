// GPTQ (Frantar et al. 2022): words run along the inputs, w = (q - z) s with a scale and a zero for each
// group of inputs and each output.
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "format/dequant.h"

enum { QWEIGHT, QZEROS, SCALES, G_IDX };

// ---- configuration -------------------------------------------------------------------------------------

static fg_status refuse(fg_error *err, const char *what, const char *value) {
  return fg_fail(
      err, FG_UNSUPPORTED,
      "\"%s\": GPTQ weights in the form \"%.40s\" are not supported (\"gptq\" and \"gptq_v2\" are); "
      "use such a version of the model, or its original with --weight-dtype int4",
      what, value);
}

// What else decides about the layout of the words.
static fg_status check_form(const json_t *config, fg_error *err) {
  const char *pack = NULL, *rotation = NULL;
  bool marlin = false;
  fg_status status = fg_json_bool(config, "is_marlin_format", false, &marlin, err);
  if (!status) status = fg_json_string(config, "pack_dtype", "int32", &pack, err);
  if (!status) status = fg_json_string(config, "rotation", NULL, &rotation, err);
  if (status) return status;
  if (marlin) return refuse(err, "is_marlin_format", "marlin");
  if (strcmp(pack, "int32") != 0) return refuse(err, "pack_dtype", pack);
  return rotation && rotation[0] ? refuse(err, "rotation", rotation) : FG_OK;
}

fg_status fg_dequant_configure_gptq(fg_dequant_settings *out, const json_t *config, fg_error *err) {
  uint32_t bits = 0;
  const char *form = NULL;
  fg_status status = fg_json_u32(config, json_object_get(config, "bits") ? "bits" : "wbits", 0, &bits, err);
  if (!status) status = fg_dequant_read_group(config, "group_size", "groupsize", &out->groups[0], err);
  if (!status) status = fg_json_bool(config, "desc_act", false, &out->shuffled, err);
  if (!status) status = fg_json_string(config, "format", "gptq", &form, err);
  if (!status) status = fg_json_string(config, "checkpoint_format", form, &form, err);
  if (!status) status = check_form(config, err);
  if (status) return status;
  out->group_count = 1;
  out->zero_as_stored = strcmp(form, "gptq_v2") == 0;
  if (!out->zero_as_stored && strcmp(form, "gptq") != 0) return refuse(err, "checkpoint_format", form);
  if (bits != 4 && bits != 8) {
    return fg_fail(err, FG_UNSUPPORTED,
                   "\"bits\": GPTQ weights of %" PRIu32 " bits are not supported (4 and 8 are); use another "
                   "version of the model, or its original with --weight-dtype int4",
                   bits);
  }
  snprintf(out->about, sizeof out->about, "GPTQ %" PRIu32 "-bit", bits);
  return FG_OK;
}

// ---- opening -------------------------------------------------------------------------------------------

// Zeros tell the width: a word holds 32 / bits outputs.
static fg_status find_bits(fg_dequant_module *m, fg_error *err) {
  const fg_checkpoint_tensor *zeros = m->parts[QZEROS];
  uint64_t zero_bits;
  if (!fg_mul_u64(zeros->columns, 32, &zero_bits)) zero_bits = 0;
  for (m->bits = 4; m->bits <= 8; m->bits += 4) {
    uint64_t bits;
    if (fg_mul_u64(m->rows, m->bits, &bits) && bits == zero_bits) return FG_OK;
  }
  return fg_fail(err, FG_UNSUPPORTED,
                 "tensor %s: %" PRIu64 " words for %" PRIu64
                 " outputs are neither 4 nor 8 bits each; other widths are not supported",
                 zeros->name, zeros->columns, m->rows);
}

static fg_status open(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  (void)r;
  const fg_checkpoint_tensor *weight = m->parts[QWEIGHT], *scales = m->parts[SCALES],
                             *index = m->parts[G_IDX];
  m->rows = weight->columns;
  fg_status status = fg_dequant_check(m, QWEIGHT, FG_PART_WORDS, 0, m->rows, err);
  if (!status) status = find_bits(m, err);
  if (status) return status;
  if (weight->dims != 2 || !fg_mul_u64(weight->rows, 32 / m->bits, &m->columns)) {
    return fg_fail(err, FG_CORRUPT, "tensor %s is no matrix", weight->name);
  }
  status = fg_dequant_check(m, SCALES, FG_PART_FLOATS, 0, m->rows, err);
  if (!status)
    status = fg_dequant_check(m, QZEROS, FG_PART_WORDS, scales->rows, m->parts[QZEROS]->columns, err);
  if (!status && index) status = fg_dequant_check(m, G_IDX, FG_PART_WORDS, 1, m->columns, err);
  if (status) return status;
  m->shuffled = index && m->settings->shuffled;
  if (!m->shuffled) return fg_dequant_find_group(m, scales->rows, err);
  m->tile_rows = 1;
  m->tile_columns = m->columns;
  m->scales = scales->rows;
  return FG_OK;
}

// ---- reading -------------------------------------------------------------------------------------------

// zeros: [scales, count] of the strip
static fg_status load_zeros(fg_dequant_reader *r, const fg_dequant_module *m, float *zeros, fg_error *err) {
  const uint32_t per_word = 32 / m->bits, mask = (1u << m->bits) - 1;
  const uint64_t first = r->first / per_word, count = (r->count + per_word - 1) / per_word;
  // One less is stored, and put back by adding one to every value of a whole word: with carry.
  const uint32_t add = m->settings->zero_as_stored ? 0 : m->bits == 4 ? 0x11111111 : 0x01010101;
  uint32_t *words = fg_dequant_take(r, FG_ROOM_RAW, m->scales * count * sizeof *words, err);
  if (!words) return FG_NO_SPACE;
  fg_status status = fg_dequant_columns(r, m->parts[QZEROS], first, count, words, err);
  for (uint64_t g = 0; !status && g < m->scales; g++)
    for (uint64_t i = 0; i < r->count; i++) {
      uint32_t word = words[g * count + i / per_word] + add;
      zeros[g * r->count + i] = (float)(word >> (i % per_word * m->bits) & mask);
    }
  return status;
}

static fg_status load_groups(fg_dequant_reader *r, const fg_dequant_module *m, fg_error *err) {
  if (!m->parts[G_IDX]) return FG_OK;
  uint32_t *index = fg_dequant_take(r, FG_ROOM_GROUPS, m->columns * sizeof *index, err);
  if (!index) return FG_NO_SPACE;
  fg_status status = fg_dequant_run(r, m->parts[G_IDX], 0, m->columns, index, err);
  for (uint64_t i = 0; !status && i < m->columns; i++) {
    if (index[i] < m->scales) continue;
    status =
        fg_fail(err, FG_CORRUPT, "tensor %s: input %" PRIu64 " is of group %" PRId32 ", there are %" PRIu64,
                m->parts[G_IDX]->name, i, (int32_t)index[i], m->scales);
  }
  return status;
}

static fg_status load_strip(fg_dequant_reader *r, const fg_dequant_module *m, fg_error *err) {
  const uint64_t lines = m->columns / (32 / m->bits);
  void *words = fg_dequant_take(r, FG_ROOM_WORDS, lines * r->count * sizeof(uint32_t), err);
  float *scales = fg_dequant_take(r, FG_ROOM_SCALES, m->scales * r->count * sizeof *scales, err);
  float *zeros = fg_dequant_take(r, FG_ROOM_ZEROS, m->scales * r->count * sizeof *zeros, err);
  if (!words || !scales || !zeros) return FG_NO_SPACE;
  fg_status status = fg_dequant_columns(r, m->parts[QWEIGHT], r->first, r->count, words, err);
  if (!status) status = fg_dequant_float_columns(r, m->parts[SCALES], r->first, r->count, scales, err);
  if (!status) status = load_zeros(r, m, zeros, err);
  if (!status) status = load_groups(r, m, err);
  if (!status) r->module = m;
  return status;
}

static fg_status codes(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, fg_dequant_row *out,
                       fg_error *err) {
  if (!fg_dequant_strip(r, m, row)) {
    fg_status status = load_strip(r, m, err);
    if (status) return status;
  }
  const uint64_t at = row - r->first, lines = m->columns / (32 / m->bits);
  const uint32_t mask = (1u << m->bits) - 1, *words = r->rooms[FG_ROOM_WORDS].data;
  const float *scales = r->rooms[FG_ROOM_SCALES].data, *zeros = r->rooms[FG_ROOM_ZEROS].data;
  uint8_t *to = out->codes;
  for (uint64_t line = 0; line < lines; line++) {
    uint32_t word = words[line * r->count + at];
    for (uint32_t shift = 0; shift < 32; shift += m->bits) *to++ = (uint8_t)(word >> shift & mask);
  }
  for (uint64_t g = 0; g < m->scales; g++) {
    out->scale[g] = scales[g * r->count + at];
    out->zero[g] = zeros[g * r->count + at];
  }
  if (m->parts[G_IDX]) out->group = r->rooms[FG_ROOM_GROUPS].data;
  return FG_OK;
}

const fg_dequant_format fg_dequant_gptq = {
    .suffixes = {".qweight", ".qzeros", ".scales", ".g_idx"},
    .required = 3,
    .kind = FG_PART_WORDS,
    .open = open,
    .codes = codes,
};
