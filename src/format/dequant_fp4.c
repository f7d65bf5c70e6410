// compressed-tensors' floats of 4 bits (E2M1), two a byte, the first in its low half. MXFP4: 32 values share
// a power of two. NVFP4: 16 share a scale of FP8, which is divided by one number for the whole matrix.
#include <inttypes.h>
#include <math.h>

#include "base/checked.h"
#include "format/dequant.h"

enum { PACKED, SCALE, GLOBAL_SCALE };
enum { MX_RUN = 32, NV_RUN = 16 };

static fg_status read_global(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  const fg_checkpoint_tensor *t = m->parts[GLOBAL_SCALE];
  m->whole = 1;
  if (m->tile_columns == MX_RUN) return FG_OK;
  if (!t) return fg_fail(err, FG_NOT_FOUND, "tensor %s has no weight_global_scale beside it", m->name);
  fg_status status = fg_dequant_check(m, GLOBAL_SCALE, FG_PART_FLOATS, 1, 1, err);
  if (!status) status = fg_dequant_float_run(r, t, 0, 1, &m->whole, err);
  if (status || (m->whole > 0 && isfinite(m->whole))) return status;
  return fg_fail(err, FG_CORRUPT, "tensor %s is %g", t->name, (double)m->whole);
}

static fg_status open(fg_dequant_module *m, fg_dequant_reader *r, fg_error *err) {
  const fg_checkpoint_tensor *packed = m->parts[PACKED];
  const bool nv = fg_dequant_is(m->parts[SCALE]->dtype, FG_PART_FP8);
  const uint64_t run = nv ? NV_RUN : MX_RUN;
  m->rows = packed->rows;
  if (packed->dims != 2 || packed->columns % (run / 2) || !fg_mul_u64(packed->columns, 2, &m->columns)) {
    return fg_fail(err, FG_UNSUPPORTED, "tensor %s is no matrix of runs of %" PRIu64 " values", packed->name,
                   run);
  }
  m->tile_rows = 1;
  m->tile_columns = run;
  m->scales = m->columns / run;
  fg_status status = fg_dequant_check(m, SCALE, nv ? FG_PART_FP8 : FG_PART_BYTES, m->rows, m->scales, err);
  return status ? status : read_global(m, r, err);
}

static fg_status floats(fg_dequant_reader *r, const fg_dequant_module *m, uint64_t row, uint64_t count,
                        float *out, fg_error *err) {
  const bool nv = m->tile_columns == NV_RUN;
  const uint64_t bytes = m->columns / 2, run_bytes = m->tile_columns / 2;
  uint8_t *codes = fg_dequant_take(r, FG_ROOM_WORDS, count * bytes, err);
  uint8_t *scales = fg_dequant_take(r, FG_ROOM_SCALES, count * m->scales, err);
  if (!codes || !scales) return FG_NO_SPACE;
  fg_status status = fg_dequant_run(r, m->parts[PACKED], row * bytes, count * bytes, codes, err);
  if (!status) status = fg_dequant_run(r, m->parts[SCALE], row * m->scales, count * m->scales, scales, err);
  for (uint64_t run = 0; !status && run < count * m->scales; run++) {
    const float scale = nv ? fg_f8_e4m3_to_f32(scales[run]) / m->whole : fg_f8_e8m0_to_f32(scales[run]);
    for (uint64_t i = run * run_bytes; i < (run + 1) * run_bytes; i++) {
      *out++ = fg_f4_e2m1_to_f32(codes[i] & 15) * scale;
      *out++ = fg_f4_e2m1_to_f32(codes[i] >> 4) * scale;
    }
  }
  return status;
}

const fg_dequant_format fg_dequant_fp4 = {
    .suffixes = {".weight_packed", ".weight_scale", ".weight_global_scale"},
    .required = 2,
    .kind = FG_PART_BYTES,
    .open = open,
    .floats = floats,
};
