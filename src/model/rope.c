// rope.c: rotary frequencies, whose scalings are only other constants.
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "format/gguf.h"
#include "model/arch.h"

#include <stdio.h>

// The roundings are those of the reference, which computes in float32 throughout and divides a number by a
// tensor through the reciprocal: at position 8000 one rounding more would move an angle by 5e-4.
static float scale_llama3(const fg_rope *rope, float inv) {
  float wavelength = 1.0f / inv * (float)(2 * M_PI);
  float low = (float)(rope->original_positions / rope->low_freq_factor);
  float high = (float)(rope->original_positions / rope->high_freq_factor);
  float slow = inv / (float)rope->factor;
  if (wavelength < high) return inv;
  if (wavelength > low) return slow;
  float smooth = (1.0f / wavelength * (float)rope->original_positions - (float)rope->low_freq_factor) /
                 (float)(rope->high_freq_factor - rope->low_freq_factor);
  return (1 - smooth) * inv / (float)rope->factor + smooth * inv;
}

float fg_rope_magnitude(const fg_rope *rope) {
  (void)rope;
  return 1;
}

void fg_rope_frequencies(const fg_rope *rope, uint32_t rotary, float *out) {
  const float dims = (float)(rope->dims ? rope->dims : rotary);
  for (uint32_t i = 0; i < rotary / 2; i++) {
    float inv = 1.0f / powf((float)rope->theta, (float)(2 * i) / dims);
    if (rope->scaling == FG_ROPE_LINEAR) inv /= (float)rope->factor;
    if (rope->scaling == FG_ROPE_LLAMA3) inv = scale_llama3(rope, inv);
    if (rope->divisor_count) inv /= rope->divisor[i];
    out[i] = inv;
  }
}

static const struct {
  const char *name;
  fg_rope_scaling scaling;
} scalings[] = {
    {"default", FG_ROPE_DEFAULT},
    {"none", FG_ROPE_DEFAULT},
    {"linear", FG_ROPE_LINEAR},
    {"llama3", FG_ROPE_LLAMA3},
};

static fg_status scaling_find(const char *name, size_t length, fg_rope_scaling *out, fg_error *err) {
  for (size_t i = 0; i < sizeof scalings / sizeof *scalings; i++) {
    if (strlen(scalings[i].name) == length && memcmp(scalings[i].name, name, length) == 0) {
      *out = scalings[i].scaling;
      return FG_OK;
    }
  }
  return fg_fail(err, FG_UNSUPPORTED, "rotary scaling of type %.*s is not supported",
                 (int)(length < 64 ? length : 64), name);
}

static fg_status check(const fg_rope *rope, const fg_arch *arch, fg_error *err) {
  if (!(rope->theta > 0) || !isfinite(rope->theta)) {
    return fg_fail(err, FG_INVALID, "rotary base %g", rope->theta);
  }
  if (rope->scaling != FG_ROPE_DEFAULT && (!(rope->factor > 0) || !isfinite(rope->factor))) {
    return fg_fail(err, FG_INVALID, "rotary scaling factor %g", rope->factor);
  }
  if (rope->scaling == FG_ROPE_LLAMA3 && (!(rope->low_freq_factor > 0) || !(rope->original_positions > 0) ||
                                          !(rope->high_freq_factor > rope->low_freq_factor))) {
    return fg_fail(err, FG_INVALID, "rotary scaling llama3 with low %g, high %g, original positions %g",
                   rope->low_freq_factor, rope->high_freq_factor, rope->original_positions);
  }
  if (arch && arch->partial == 0 && rope->partial != 1) {
    return fg_fail(err, FG_UNSUPPORTED, "partial_rotary_factor: %g is not what this family has",
                   rope->partial);
  }
  if (!(rope->partial > 0) || rope->partial > 1) {
    return fg_fail(err, FG_INVALID, "%g of a head is to be turned", rope->partial);
  }
  return FG_OK;
}

static fg_status read_scaling(fg_rope *rope, const json_t *object, uint32_t max_positions, fg_error *err) {
  // "type" is the older name of "rope_type".
  const char *type, *old_type;
  fg_status status = fg_json_string(object, "type", "default", &old_type, err);
  if (!status) status = fg_json_string(object, "rope_type", old_type, &type, err);
  if (!status) status = scaling_find(type, strlen(type), &rope->scaling, err);
  if (!status) status = fg_json_f64(object, "rope_theta", rope->theta, &rope->theta, err);
  if (!status) status = fg_json_f64(object, "factor", 1, &rope->factor, err);
  if (!status) status = fg_json_f64(object, "low_freq_factor", 1, &rope->low_freq_factor, err);
  if (!status) status = fg_json_f64(object, "high_freq_factor", 4, &rope->high_freq_factor, err);
  if (!status) {
    status = fg_json_f64(object, "original_max_position_embeddings", max_positions, &rope->original_positions,
                         err);
  }
  if (!status) status = fg_json_f64(object, "partial_rotary_factor", rope->partial, &rope->partial, err);
  return status;
}

fg_status fg_rope_from_json(fg_rope *out, const fg_arch *arch, const json_t *config, uint32_t max_positions,
                            fg_error *err) {
  *out = (fg_rope){.scaling = FG_ROPE_DEFAULT, .factor = 1};
  const char *theta = arch->theta_key ? arch->theta_key : "rope_theta";
  const char *partial = arch->partial_key ? arch->partial_key : "partial_rotary_factor";
  fg_status status = fg_json_f64(config, theta, arch->theta > 0 ? arch->theta : 10000, &out->theta, err);
  if (!status)
    status = fg_json_f64(config, partial, arch->partial > 0 ? arch->partial : 1, &out->partial, err);
  static const char *const keys[] = {"rope_scaling", "rope_parameters"}; // the newer one last: it wins
  for (size_t i = 0; !status && i < sizeof keys / sizeof *keys; i++) {
    const json_t *object = json_object_get(config, keys[i]);
    if (!object || json_is_null(object)) continue;
    if (!json_is_object(object) || json_object_get(object, "full_attention")) {
      return fg_fail(err, FG_UNSUPPORTED, "\"%s\": this form is not supported", keys[i]);
    }
    status = read_scaling(out, object, max_positions, err);
  }
  return status ? status : check(out, arch, err);
}

fg_status fg_rope_from_gguf(fg_rope *out, const fg_gguf *gguf, const char *architecture, fg_error *err) {
  *out = (fg_rope){.scaling = FG_ROPE_DEFAULT, .factor = 1, .partial = 1};
  char key[128];
  float value;
  fg_gguf_string type;
  snprintf(key, sizeof key, "%s.rope.freq_base", architecture);
  fg_status status = fg_gguf_f32(gguf, key, 10000, &value, err);
  if (status) return status;
  out->theta = value;
  snprintf(key, sizeof key, "%s.rope.scaling.type", architecture);
  status = fg_gguf_text(gguf, key, &type, err);
  if (!status && type.data) status = scaling_find(type.data, type.length, &out->scaling, err);
  if (status) return status;
  snprintf(key, sizeof key, "%s.rope.scaling.factor", architecture);
  status = fg_gguf_f32(gguf, key, 1, &value, err);
  if (status) return status;
  out->factor = value;
  return check(out, NULL, err);
}
