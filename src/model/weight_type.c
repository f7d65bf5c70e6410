#include "model/weight_type.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/groups.h"

enum { CHANNEL = 256 }; // the largest group is the cheapest to multiply

// What int8 and int4 mean without further words: what costs least accuracy for its size (FlexGen's for int4).
static const struct {
  const char *name;
  fg_dtype dtype;
} words[] = {
    {"f32", FG_F32}, {"bf16", FG_BF16}, {"f16", FG_F16}, {"int8", FG_I8G128}, {"int4", FG_I4G64M},
};
enum { WORDS = sizeof words / sizeof *words };

static const struct {
  const char *name;
  uint32_t group;
} groups[] = {{"32", 32}, {"64", 64}, {"128", 128}, {"channel", CHANNEL}};
enum { GROUPS = sizeof groups / sizeof *groups };

static bool is_auto(const char *text) {
  return !text || strcmp(text, "auto") == 0;
}

static fg_status read_group(uint32_t *group, bool *per_row, const char *text, fg_error *err) {
  for (int i = 0; i < GROUPS; i++) {
    if (strcmp(groups[i].name, text) != 0) continue;
    *group = groups[i].group;
    *per_row = *group == CHANNEL;
    return FG_OK;
  }
  return fg_fail(err, FG_INVALID, "--weight-group %s: not one of auto, 32, 64, 128, channel", text);
}

static fg_status read_symmetric(bool *minimum, const char *text, fg_error *err) {
  *minimum = strcmp(text, "false") == 0;
  if (*minimum || strcmp(text, "true") == 0) return FG_OK;
  return fg_fail(err, FG_INVALID, "--weight-symmetric %s: not one of auto, true, false", text);
}

// Index in `words`, or WORDS.
static int find_word(const char *text) {
  int i = 0;
  while (i < WORDS && strcmp(words[i].name, text) != 0) i++;
  return i;
}

static fg_status read_layers(fg_weight_form *out, const fg_weight_words *given, fg_error *err) {
  *out = (fg_weight_form){.set = !is_auto(given->dtype)};
  const int word = out->set ? find_word(given->dtype) : 0;
  if (word == WORDS) {
    return fg_fail(err, FG_INVALID, "--weight-dtype %s: not one of auto, f32, bf16, f16, int8, int4",
                   given->dtype);
  }
  if (out->set) out->dtype = words[word].dtype;
  const fg_dtype_info *info = fg_dtype_get(out->dtype);
  if (!info->bits) {
    if (is_auto(given->group) && is_auto(given->symmetric)) return FG_OK;
    return fg_fail(err, FG_INVALID, "--weight-%s goes with --weight-dtype int8 or int4",
                   is_auto(given->group) ? "symmetric" : "group");
  }
  uint32_t size = info->block;
  bool minimum = info->minimum;
  fg_status status = FG_OK;
  if (!is_auto(given->group)) status = read_group(&size, &out->per_row, given->group, err);
  if (!status && !is_auto(given->symmetric)) status = read_symmetric(&minimum, given->symmetric, err);
  if (!status && !fg_dtype_find(info->bits, size, minimum, &out->dtype)) {
    status = fg_fail(err, FG_INTERNAL, "no type of %u bits in groups of %u", info->bits, size);
  }
  return status;
}

// What docs/quality.md measured to be worth it, where no word was said.
static fg_weight_form rule_for(fg_weight_part part, const fg_weight_form *layers) {
  const uint32_t bits = fg_dtype_get(layers->dtype)->bits;
  if (!layers->set || !bits) return *layers;
  const fg_weight_form codes = {.set = true, .dtype = FG_I8G128, .smaller = part == FG_PART_TABLE};
  if (bits == 4) return codes;
  return part == FG_PART_TABLE ? (fg_weight_form){.set = false} : *layers;
}

static fg_status read_part(fg_weight_form *out, fg_weight_part part, const char *flag, const char *text,
                           const fg_weight_form *layers, fg_error *err) {
  *out = is_auto(text) ? rule_for(part, layers) : *layers;
  if (is_auto(text) || strcmp(text, "same") == 0) return FG_OK;
  const int word = find_word(text);
  if (word == WORDS) {
    return fg_fail(err, FG_INVALID, "%s %s: not one of auto, same, f32, bf16, f16, int8, int4", flag, text);
  }
  *out = (fg_weight_form){.set = true, .dtype = words[word].dtype};
  return FG_OK;
}

fg_status fg_weight_wish_read(fg_weight_wish *out, const fg_weight_words *given, fg_error *err) {
  fg_weight_form *parts = out->parts;
  fg_status status = read_layers(&parts[FG_PART_LAYERS], given, err);
  if (!status)
    status = read_part(&parts[FG_PART_HEAD], FG_PART_HEAD, "--weight-head", given->head,
                       &parts[FG_PART_LAYERS], err);
  if (!status)
    status = read_part(&parts[FG_PART_TABLE], FG_PART_TABLE, "--weight-embedding", given->table,
                       &parts[FG_PART_LAYERS], err);
  return status;
}

bool fg_weight_form_type(const fg_weight_form *form, uint32_t k, fg_dtype *out) {
  const fg_dtype_info *info = fg_dtype_get(form->dtype);
  uint32_t group = info->block;
  if (info->bits) {
    while (group >= FG_GROUP_RUN && k % group) group /= 2;
    return group >= FG_GROUP_RUN && fg_dtype_find(info->bits, group, info->minimum, out);
  }
  *out = form->dtype;
  return true;
}
