// AWQ (Lin et al. 2023) in its "gemm" form: words run along the inputs, a word holds eight outputs in an
// order of its own; w = (q - z) s.
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "format/dequant.h"

enum { QWEIGHT, QZEROS, SCALES, PER_WORD = 8 };

// Output m of eight stands at these bits of a word.
static const uint8_t shifts[PER_WORD] = {0, 16, 4, 20, 8, 24, 12, 28};

fg_status fg_dequant_configure_awq(fg_dequant_settings *out, const json_t *config, fg_error *err) {
  uint32_t bits = 0;
  const char *form = NULL;
  fg_status status = fg_json_u32(config, json_object_get(config, "bits") ? "bits" : "w_bit", 4, &bits, err);
  if (!status) status = fg_dequant_read_group(config, "group_size", "q_group_size", &out->groups[0], err);
  if (!status) status = fg_json_string(config, "format", "gemm", &form, err);
  if (!status) status = fg_json_string(config, "version", form, &form, err);
  if (status) return status;
  out->group_count = 1;
  if (strcasecmp(form, "gemm") != 0) {
    return fg_fail(
        err, FG_UNSUPPORTED,
        "\"version\": AWQ weights in the form \"%.40s\" are not supported (\"gemm\" is); use such a "
        "version of the model, or its original with --weight-dtype int4",
        form);
  }
  if (bits != 4) {
    return fg_fail(err, FG_UNSUPPORTED,
                   "\"bits\": AWQ weights of %" PRIu32
                   " bits are not supported (4 are); use another version of "
                   "the model, or its original with --weight-dtype int4",
                   bits);
  }
  snprintf(out->about, sizeof out->about, "AWQ 4-bit");
  return FG_OK;
}

static fg_status open(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  (void)r;
  const fg_checkpoint_tensor *weight = m->parts[QWEIGHT], *scales = m->parts[SCALES];
  m->bits = 4;
  m->columns = weight->rows;
  if (weight->dims != 2 || !fg_mul_u64(weight->columns, PER_WORD, &m->rows)) {
    return fg_fail(err, FG_CORRUPT, "tensor %s is no matrix", weight->name);
  }
  fg_status status = fg_dequant_check(m, SCALES, FG_PART_FLOATS, 0, m->rows, err);
  if (!status) status = fg_dequant_check(m, QZEROS, FG_PART_WORDS, scales->rows, weight->columns, err);
  return status ? status : fg_dequant_find_group(m, scales->rows, err);
}

// zeros: [scales, count] of the strip
static fg_status load_zeros(fg_dequant_reader *r, const fg_dequant_module *m, float *zeros, fg_error *err) {
  const uint64_t count = r->count / PER_WORD;
  uint32_t *words = fg_dequant_take(r, FG_ROOM_RAW, m->scales * count * sizeof *words, err);
  if (!words) return FG_NO_SPACE;
  fg_status status = fg_dequant_columns(r, m->parts[QZEROS], r->first / PER_WORD, count, words, err);
  for (uint64_t i = 0; !status && i < m->scales * r->count; i++)
    zeros[i] = (float)(words[i / PER_WORD] >> shifts[i % PER_WORD] & 15);
  return status;
}

static fg_status load_strip(fg_dequant_reader *r, const fg_dequant_module *m, fg_error *err) {
  const uint64_t count = r->count / PER_WORD;
  void *words = fg_dequant_take(r, FG_ROOM_WORDS, m->columns * count * sizeof(uint32_t), err);
  float *scales = fg_dequant_take(r, FG_ROOM_SCALES, m->scales * r->count * sizeof *scales, err);
  float *zeros = fg_dequant_take(r, FG_ROOM_ZEROS, m->scales * r->count * sizeof *zeros, err);
  if (!words || !scales || !zeros) return FG_NO_SPACE;
  fg_status status = fg_dequant_columns(r, m->parts[QWEIGHT], r->first / PER_WORD, count, words, err);
  if (!status) status = fg_dequant_float_columns(r, m->parts[SCALES], r->first, r->count, scales, err);
  if (!status) status = load_zeros(r, m, zeros, err);
  if (!status) r->module = m;
  return status;
}

// The eight outputs of a column of words, kept until the next eight are asked for. // [PER_WORD, columns]
static const uint8_t *load_eight(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row,
                                 fg_error *err) {
  const uint64_t eight = row / PER_WORD, step = r->count / PER_WORD;
  const bool there =
      r->rooms[FG_ROOM_GROUPS].part == m->parts[QWEIGHT] && r->rooms[FG_ROOM_GROUPS].first == eight;
  if (there) return r->rooms[FG_ROOM_GROUPS].data;
  const uint32_t *words = (const uint32_t *)r->rooms[FG_ROOM_WORDS].data + (eight - r->first / PER_WORD);
  uint8_t *to = fg_dequant_take(r, FG_ROOM_GROUPS, PER_WORD * m->columns, err);
  for (uint64_t i = 0; to && i < m->columns; i++) {
    const uint32_t word = words[i * step];
    for (int j = 0; j < PER_WORD; j++) to[(uint64_t)j * m->columns + i] = (uint8_t)(word >> shifts[j] & 15);
  }
  r->rooms[FG_ROOM_GROUPS].part = m->parts[QWEIGHT];
  r->rooms[FG_ROOM_GROUPS].first = eight;
  return to;
}

static fg_status codes(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, fg_dequant_row *out,
                       fg_error *err) {
  if (!fg_dequant_strip(r, m, row)) {
    fg_status status = load_strip(r, m, err);
    if (status) return status;
  }
  const uint8_t *eight = load_eight(r, m, row, err);
  if (!eight) return FG_NO_SPACE;
  memcpy(out->codes, eight + row % PER_WORD * m->columns, m->columns);
  const uint64_t at = row - r->first;
  const float *scales = r->rooms[FG_ROOM_SCALES].data, *zeros = r->rooms[FG_ROOM_ZEROS].data;
  for (uint64_t g = 0; g < m->scales; g++) {
    out->scale[g] = scales[g * r->count + at];
    out->zero[g] = zeros[g * r->count + at];
  }
  return FG_OK;
}

const fg_dequant_format fg_dequant_awq = {
    .suffixes = {".qweight", ".qzeros", ".scales"},
    .required = 3,
    .kind = FG_PART_WORDS,
    .open = open,
    .codes = codes,
};
