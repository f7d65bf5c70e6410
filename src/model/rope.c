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

static double yarn_magnitude(double factor, double scale) {
  return factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1;
}

// The dimension that turns `rotations` times within the original context.
static double yarn_dimension(const fg_rope *rope, uint32_t rotary, double rotations) {
  return rotary * log(rope->original_positions / (rotations * 2 * M_PI)) / (2 * log(rope->theta));
}

// Fast dimensions stay, slow ones are interpolated, those between are mixed. // out: [rotary / 2]
static void scale_yarn(const fg_rope *rope, uint32_t rotary, float *out) {
  double low = yarn_dimension(rope, rotary, rope->beta_fast),
         high = yarn_dimension(rope, rotary, rope->beta_slow);
  if (rope->whole_bounds) {
    low = floor(low);
    high = ceil(high);
  }
  low = fmax(low, 0);
  high = fmin(high, rotary - 1);
  if (low == high) high += 0.001;
  for (uint32_t i = 0; i < rotary / 2; i++) {
    float power = powf((float)rope->theta, (float)(2 * i) / (float)rotary);
    float ramp = fminf(fmaxf(((float)i - (float)low) / (float)(high - low), 0), 1), kept = 1 - ramp;
    out[i] = 1.0f / ((float)rope->factor * power) * (1 - kept) + 1.0f / power * kept;
  }
}

void fg_rope_frequencies(const fg_rope *rope, uint32_t rotary, bool longer, float *out) {
  const float *divisor = longer ? rope->long_divisor : rope->divisor;
  const uint32_t divisors = longer ? rope->long_count : rope->divisor_count;
  if (rope->scaling == FG_ROPE_YARN) {
    scale_yarn(rope, rotary, out);
    return;
  }
  const float dims = (float)(rope->dims ? rope->dims : rotary);
  for (uint32_t i = 0; i < rotary / 2; i++) {
    float power = powf((float)rope->theta, (float)(2 * i) / dims);
    float inv = 1.0f / (rope->scaling == FG_ROPE_LONG ? divisor[i] * power : power);
    if (rope->scaling == FG_ROPE_LINEAR) inv /= (float)rope->factor;
    if (rope->scaling == FG_ROPE_LLAMA3) inv = scale_llama3(rope, inv);
    if (rope->scaling != FG_ROPE_LONG && divisors) inv /= divisor[i];
    out[i] = inv;
  }
}

static const struct {
  const char *name;
  fg_rope_scaling scaling;
} scalings[] = {
    {"default", FG_ROPE_DEFAULT}, {"none", FG_ROPE_DEFAULT}, {"linear", FG_ROPE_LINEAR},
    {"llama3", FG_ROPE_LLAMA3},   {"yarn", FG_ROPE_YARN},    {"dynamic", FG_ROPE_DYNAMIC},
    {"longrope", FG_ROPE_LONG},   {"su", FG_ROPE_LONG}, // its name in the first configurations of Phi-3
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
  const bool longer =
      rope->scaling == FG_ROPE_YARN || rope->scaling == FG_ROPE_LONG || rope->scaling == FG_ROPE_DYNAMIC;
  if (longer && (!(rope->original_positions >= 1) || rope->original_positions > INT32_MAX ||
                 !(rope->magnitude > 0) || !isfinite(rope->magnitude) || rope->theta == 1)) {
    return fg_fail(err, FG_INVALID, "rotary scaling with %g original positions, magnitude %g, base %g",
                   rope->original_positions, rope->magnitude, rope->theta);
  }
  if (rope->scaling == FG_ROPE_YARN && (!(rope->beta_fast > 0) || !(rope->beta_slow > 0))) {
    return fg_fail(err, FG_INVALID, "rotary scaling yarn with beta %g and %g", rope->beta_fast,
                   rope->beta_slow);
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

static fg_status read_divisors(const json_t *object, const char *key, float *out, uint32_t *count,
                               fg_error *err) {
  const json_t *list = json_object_get(object, key);
  size_t n = json_array_size(list);
  if (!n || n > FG_MAX_HEAD_DIM / 2) return fg_fail(err, FG_INVALID, "\"%s\" has %zu numbers", key, n);
  for (size_t i = 0; i < n; i++) {
    out[i] = (float)json_number_value(json_array_get(list, i));
    if (!(out[i] > 0)) return fg_fail(err, FG_INVALID, "\"%s\": number %zu is not positive", key, i);
  }
  *count = (uint32_t)n;
  return FG_OK;
}

double fg_rope_score_factor(const fg_rope *rope) {
  if (rope->scaling == FG_ROPE_DEFAULT || rope->mscale_all_dim == 0) return 1;
  const double magnitude = yarn_magnitude(rope->factor, rope->mscale_all_dim);
  return magnitude * magnitude;
}

// Where "attention_factor" does not say it: yarn's, that of the long ones, 1.
static double usual_magnitude(const fg_rope *rope, double mscale) {
  if (rope->scaling == FG_ROPE_YARN)
    return mscale != 0 && rope->mscale_all_dim != 0
               ? yarn_magnitude(rope->factor, mscale) / yarn_magnitude(rope->factor, rope->mscale_all_dim)
               : yarn_magnitude(rope->factor, 1);
  if (rope->scaling == FG_ROPE_LONG && rope->factor > 1)
    return sqrt(1 + log(rope->factor) / log(rope->original_positions));
  return 1;
}

// Yarn's and the long ones' numbers.
static fg_status read_longer(fg_rope *rope, const json_t *object, uint32_t max_positions, fg_error *err) {
  double mscale;
  fg_status status = FG_OK;
  if (json_is_null(json_object_get(object, "factor")) || !json_object_get(object, "factor"))
    rope->factor = max_positions / rope->original_positions;
  if (rope->scaling == FG_ROPE_LONG) {
    status = read_divisors(object, "short_factor", rope->divisor, &rope->divisor_count, err);
    if (!status) status = read_divisors(object, "long_factor", rope->long_divisor, &rope->long_count, err);
    if (!status && rope->long_count != rope->divisor_count)
      status = fg_fail(err, FG_INVALID, "\"long_factor\" has %u numbers, \"short_factor\" %u",
                       rope->long_count, rope->divisor_count);
  }
  if (!status) status = fg_json_f64(object, "beta_fast", 32, &rope->beta_fast, err);
  if (!status) status = fg_json_f64(object, "beta_slow", 1, &rope->beta_slow, err);
  if (!status) status = fg_json_bool(object, "truncate", true, &rope->whole_bounds, err);
  if (!status) status = fg_json_f64(object, "mscale", 0, &mscale, err);
  if (!status)
    status = fg_json_f64(object, "attention_factor", usual_magnitude(rope, mscale), &rope->magnitude, err);
  return status;
}

// `outer`: the configuration, in which Phi-3 has its original context.
static fg_status read_scaling(fg_rope *rope, const json_t *object, const json_t *outer,
                              uint32_t max_positions, fg_error *err) {
  // "type" is the older name of "rope_type".
  const char *type, *old_type;
  double original = 0;
  fg_status status = fg_json_string(object, "type", "default", &old_type, err);
  if (!status) status = fg_json_string(object, "rope_type", old_type, &type, err);
  if (!status) status = scaling_find(type, strlen(type), &rope->scaling, err);
  if (!status) status = fg_json_f64(object, "rope_theta", rope->theta, &rope->theta, err);
  if (!status) status = fg_json_f64(object, "factor", 1, &rope->factor, err);
  if (!status) status = fg_json_f64(object, "mscale_all_dim", 0, &rope->mscale_all_dim, err);
  if (!status) status = fg_json_f64(object, "low_freq_factor", 1, &rope->low_freq_factor, err);
  if (!status) status = fg_json_f64(object, "high_freq_factor", 4, &rope->high_freq_factor, err);
  if (!status)
    status = fg_json_f64(object, "original_max_position_embeddings", max_positions, &original, err);
  // Where both are there, the outer one counts.
  if (!status) status = fg_json_f64(outer, "original_max_position_embeddings", original, &original, err);
  rope->original_positions = rope->scaling == FG_ROPE_DYNAMIC ? max_positions : original;
  if (!status) status = fg_json_f64(object, "partial_rotary_factor", rope->partial, &rope->partial, err);
  const bool longer = rope->scaling == FG_ROPE_YARN || rope->scaling == FG_ROPE_LONG;
  return status || !longer ? status : read_longer(rope, object, max_positions, err);
}

fg_status fg_rope_from_object(fg_rope *out, const fg_arch *arch, const json_t *object, uint32_t max_positions,
                              fg_error *err) {
  fg_status status = read_scaling(out, object, NULL, max_positions, err);
  return status ? status : check(out, arch, err);
}

fg_status fg_rope_from_json(fg_rope *out, const fg_arch *arch, const json_t *config, uint32_t max_positions,
                            fg_error *err) {
  *out = (fg_rope){.scaling = FG_ROPE_DEFAULT, .factor = 1, .magnitude = 1};
  const char *theta = arch->theta_key ? arch->theta_key : "rope_theta";
  const char *partial = arch->partial_key ? arch->partial_key : "partial_rotary_factor";
  fg_status status = fg_json_f64(config, theta, arch->theta > 0 ? arch->theta : 10000, &out->theta, err);
  if (!status)
    status = fg_json_f64(config, partial, arch->partial > 0 ? arch->partial : 1, &out->partial, err);
  static const char *const keys[] = {"rope_scaling", "rope_parameters"}; // the newer one last: it wins
  for (size_t i = 0; !status && i < sizeof keys / sizeof *keys; i++) {
    const json_t *object = json_object_get(config, keys[i]);
    if (!object || json_is_null(object)) continue;
    if (!json_is_object(object))
      return fg_fail(err, FG_UNSUPPORTED, "\"%s\": this form is not supported", keys[i]);
    const json_t *usual = json_object_get(object, "full_attention"); // one for each type of layers
    status = read_scaling(out, usual ? usual : object, usual ? NULL : config, max_positions, err);
  }
  return status ? status : check(out, arch, err);
}

// The number "<architecture>.rope.<name>".
static fg_status gguf_number(const fg_gguf *gguf, const char *architecture, const char *name, double fallback,
                             double *out, fg_error *err) {
  char key[128];
  float value;
  uint32_t whole;
  snprintf(key, sizeof key, "%s.rope.%s", architecture, name);
  *out = fallback;
  if (!fg_gguf_has(gguf, key)) return FG_OK;
  if (!fg_gguf_u32(gguf, key, 0, &whole, NULL)) {
    *out = whole;
    return FG_OK;
  }
  fg_status status = fg_gguf_f32(gguf, key, 0, &value, err);
  *out = status ? fallback : value;
  return status;
}

// Yarn as llama.cpp has it: the magnitude of the paper times the file's factor.
static fg_status gguf_yarn(fg_rope *rope, const fg_gguf *gguf, const char *architecture, fg_error *err) {
  rope->whole_bounds = true;
  fg_status status = gguf_number(gguf, architecture, "scaling.yarn_beta_fast", 32, &rope->beta_fast, err);
  if (!status) status = gguf_number(gguf, architecture, "scaling.yarn_beta_slow", 1, &rope->beta_slow, err);
  rope->magnitude *= yarn_magnitude(rope->factor, 1);
  return status;
}

fg_status fg_rope_from_gguf(fg_rope *out, const fg_gguf *gguf, const char *architecture, fg_error *err) {
  *out = (fg_rope){.scaling = FG_ROPE_DEFAULT, .factor = 1, .magnitude = 1, .partial = 1};
  char key[128];
  fg_gguf_string type;
  fg_status status = gguf_number(gguf, architecture, "freq_base", 10000, &out->theta, err);
  if (!status) status = gguf_number(gguf, architecture, "scaling.factor", 1, &out->factor, err);
  if (!status) status = gguf_number(gguf, architecture, "scaling.attn_factor", 1, &out->magnitude, err);
  if (!status)
    status =
        gguf_number(gguf, architecture, "scaling.original_context_length", 0, &out->original_positions, err);
  if (!status && !(out->magnitude > 0))
    status = fg_fail(err, FG_INVALID, "%s.rope.scaling.attn_factor is %g", architecture, out->magnitude);
  snprintf(key, sizeof key, "%s.rope.scaling.type", architecture);
  if (!status) status = fg_gguf_text(gguf, key, &type, err);
  if (!status && type.data) status = scaling_find(type.data, type.length, &out->scaling, err);
  if (!status && (out->scaling == FG_ROPE_LONG || out->scaling == FG_ROPE_DYNAMIC))
    return fg_fail(err, FG_UNSUPPORTED, "rotary scaling of type %.*s is not supported in GGUF files",
                   (int)(type.length < 64 ? type.length : 64), type.data);
  if (!status && out->scaling == FG_ROPE_YARN) status = gguf_yarn(out, gguf, architecture, err);
  return status ? status : check(out, NULL, err);
}
