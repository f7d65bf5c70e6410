// groups.h: quantized groups of a row's values, of every size and kind.
//
// A group is its scale d in float16, its minimum m in float16 if the type has one, and the codes, 32 values
// after 32 values. 8 bits: a byte each, signed unless there is a minimum. 4 bits: byte j of 16 holds value j
// in its low half and value j + 16 in the high one. With groups of 32 these are the blocks of GGUF: q8_0,
// q4_0, q4_1.
//
//   with a minimum:    w = d code + m, two roundings
//   4 bits without:    w = d (code - 8)
//   8 bits without:    w = d code
//
// Rounding to a type takes the nearest code for the scale and minimum as they are stored. With 8 bits these
// make the range of the values the range of the codes. With 4 bits they are those that leave the smallest
// squared error among a few that clip more or less, improved by least squares. Values that are no numbers
// take the least code.
#ifndef FG_TENSOR_GROUPS_H
#define FG_TENSOR_GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FG_GROUP_RUN = 32 }; // codes lie in runs of so many values

#define FG_GROUP_BYTES(bits, group, minimum) (2 + ((minimum) ? 2 : 0) + (group) * (bits) / 8)

typedef struct fg_group_form {
  uint32_t bits, group;
  bool minimum;
} fg_group_form;

// count: a multiple of the group
void fg_groups_to_f32(fg_group_form form, const void *src, float *dst, size_t count);
// `span` values, a multiple of the group, share a scale and a minimum, which each of their groups repeats:
// the group itself, or a row. count: a multiple of span
void fg_groups_from_f32(fg_group_form form, size_t span, const float *src, void *dst, size_t count);

// The same with codes of 4 bits, where errors do not count the same: scale and minimum are those that leave
// the smallest sum of importance * error^2 among what is found from more clipped ranges, and never a larger
// one than fg_groups_from_f32 leaves. // importance: [count], 0 or more
void fg_groups_from_f32_weighted(fg_group_form form, size_t span, const float *importance, const float *src,
                                 void *dst, size_t count);

// Part of the key of what was rounded: to be raised when other bytes come out for the same values.
enum { FG_GROUPS_ROUNDING = 3 };

#endif
