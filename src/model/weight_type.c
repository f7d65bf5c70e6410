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

fg_status fg_weight_wish_read(fg_weight_wish *out, const char *dtype, const char *group,
                              const char *symmetric, fg_error *err) {
  *out = (fg_weight_wish){.set = !is_auto(dtype)};
  int word = 0;
  while (out->set && word < WORDS && strcmp(words[word].name, dtype) != 0) word++;
  if (word == WORDS) {
    return fg_fail(err, FG_INVALID, "--weight-dtype %s: not one of auto, f32, bf16, f16, int8, int4", dtype);
  }
  if (out->set) out->dtype = words[word].dtype;
  const fg_dtype_info *info = fg_dtype_get(out->dtype);
  if (!info->bits) {
    if (is_auto(group) && is_auto(symmetric)) return FG_OK;
    return fg_fail(err, FG_INVALID, "--weight-%s goes with --weight-dtype int8 or int4",
                   is_auto(group) ? "symmetric" : "group");
  }
  uint32_t size = info->block;
  bool minimum = info->minimum;
  fg_status status = FG_OK;
  if (!is_auto(group)) status = read_group(&size, &out->per_row, group, err);
  if (!status && !is_auto(symmetric)) status = read_symmetric(&minimum, symmetric, err);
  if (!status && !fg_dtype_find(info->bits, size, minimum, &out->dtype)) {
    status = fg_fail(err, FG_INTERNAL, "no type of %u bits in groups of %u", info->bits, size);
  }
  return status;
}

fg_weight_wish fg_weight_wish_of_head(const fg_weight_wish *wish) {
  if (wish->set && fg_dtype_get(wish->dtype)->bits == 4)
    return (fg_weight_wish){.set = true, .dtype = FG_I8G128};
  return *wish;
}

bool fg_weight_wish_type(const fg_weight_wish *wish, uint32_t k, fg_dtype *out) {
  const fg_dtype_info *info = fg_dtype_get(wish->dtype);
  uint32_t group = info->block;
  if (info->bits) {
    while (group >= FG_GROUP_RUN && k % group) group /= 2;
    return group >= FG_GROUP_RUN && fg_dtype_find(info->bits, group, info->minimum, out);
  }
  *out = wish->dtype;
  return true;
}
