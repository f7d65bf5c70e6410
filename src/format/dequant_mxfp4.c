// MXFP4 as GPT-OSS has it: "X_blocks" [..., outputs, groups, 16] of floats of 4 bits (E2M1), two a byte, the
// first in its low half, and "X_scales" [..., outputs, groups] of powers of two. The matrices of all experts
// stand one after the other. tensor/dtype.h has a type of the same values in another order of nibbles.
#include <inttypes.h>
#include <stdio.h>

#include "base/checked.h"
#include "format/dequant.h"

enum { BLOCKS, SCALES };
enum { RUN = 32, RUN_BYTES = RUN / 2 };

fg_status fg_dequant_configure_mxfp4(fg_dequant_settings *out, const json_t *config, fg_error *err) {
  (void)config;
  (void)err;
  snprintf(out->about, sizeof out->about, "MXFP4");
  return FG_OK;
}

static fg_status open(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  (void)r;
  const fg_checkpoint_tensor *blocks = m->parts[BLOCKS], *scales = m->parts[SCALES];
  const uint64_t groups = blocks->dims >= 3 ? blocks->shape[blocks->dims - 2] : 0;
  if (groups == 0 || blocks->columns != RUN_BYTES || !fg_mul_u64(groups, RUN, &m->columns)) {
    return fg_fail(err, FG_UNSUPPORTED, "tensor %s is not [..., outputs, groups, %d]", blocks->name,
                   RUN_BYTES);
  }
  m->rows = blocks->rows / groups;
  m->tile_rows = 1;
  m->tile_columns = RUN;
  m->scales = groups;
  if (fg_dequant_is(scales->dtype, FG_PART_BYTES) && scales->rows == m->rows && scales->columns == groups)
    return FG_OK;
  return fg_fail(err, FG_CORRUPT,
                 "tensor %s has %" PRIu64 " rows of %" PRIu64 " scales, %s needs %" PRIu64 " of %" PRIu64,
                 scales->name, scales->rows, scales->columns, blocks->name, m->rows, groups);
}

// Codes and scales of some rows, as they stand.
static fg_status read_parts(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, uint64_t count,
                            const uint8_t **codes, const uint8_t **scales, fg_error *err) {
  const uint64_t bytes = m->scales * RUN_BYTES;
  uint8_t *c = fg_dequant_take(r, FG_ROOM_WORDS, count * bytes, err);
  uint8_t *s = fg_dequant_take(r, FG_ROOM_SCALES, count * m->scales, err);
  if (!c || !s) return FG_NO_SPACE;
  *codes = c;
  *scales = s;
  fg_status status = fg_dequant_run(r, m->parts[BLOCKS], row * bytes, count * bytes, c, err);
  return status ? status : fg_dequant_run(r, m->parts[SCALES], row * m->scales, count * m->scales, s, err);
}

static fg_status floats(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, uint64_t count,
                        float *out, fg_error *err) {
  const uint8_t *codes, *scales;
  fg_status status = read_parts(r, m, row, count, &codes, &scales, err);
  for (uint64_t i = 0; !status && i < count * m->scales * RUN_BYTES; i++) {
    const float scale = fg_f8_e8m0_to_f32(scales[i / RUN_BYTES]);
    *out++ = fg_f4_e2m1_to_f32(codes[i] & 15) * scale;
    *out++ = fg_f4_e2m1_to_f32(codes[i] >> 4) * scale;
  }
  return status;
}

static uint8_t code_at(const uint8_t *codes, int i) {
  return i % 2 ? codes[i / 2] >> 4 : codes[i / 2] & 15;
}

// A block: its scale, then values i and i + 16 in byte i.
static fg_status blocks(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, uint64_t count,
                        void *out, fg_error *err) {
  const uint8_t *codes, *scales;
  uint8_t *to = out;
  fg_status status = read_parts(r, m, row, count, &codes, &scales, err);
  for (uint64_t run = 0; !status && run < count * m->scales; run++, codes += RUN_BYTES) {
    *to++ = scales[run];
    for (int i = 0; i < RUN_BYTES; i++)
      *to++ = (uint8_t)(code_at(codes, i) | code_at(codes, i + RUN_BYTES) << 4);
  }
  return status;
}

const fg_dequant_format fg_dequant_mxfp4 = {
    .suffixes = {"_blocks", "_scales"},
    .required = 2,
    .kind = FG_PART_BYTES,
    .open = open,
    .floats = floats,
    .blocks = blocks,
    .block_type = FG_MXFP4,
};
