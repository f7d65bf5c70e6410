// little_endian.h: numbers as GGUF, zip and pickle files write them, from any address.
#ifndef FG_FORMAT_LITTLE_ENDIAN_H
#define FG_FORMAT_LITTLE_ENDIAN_H

#include <stdint.h>

static inline uint16_t fg_le16(const unsigned char *p) {
  return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t fg_le32(const unsigned char *p) {
  return fg_le16(p) | (uint32_t)fg_le16(p + 2) << 16;
}

static inline uint64_t fg_le64(const unsigned char *p) {
  return fg_le32(p) | (uint64_t)fg_le32(p + 4) << 32;
}

#endif
