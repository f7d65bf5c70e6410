#include "text/charsmap.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

enum { UNIT_BYTES = 4 };

static uint32_t read_u32(const unsigned char *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

// A unit is a value (with the highest bit set) or a node: the byte that leads to it, whether a string ends
// there, and where its children are.
static uint32_t unit_label(uint32_t unit) {
  return unit & 0x800000ffu;
}
static bool unit_has_value(uint32_t unit) {
  return unit >> 8 & 1;
}
static size_t unit_offset(uint32_t unit) {
  return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}
static size_t unit_value(uint32_t unit) {
  return unit & 0x7fffffffu;
}

// The start of a character, so that what begins there is whole characters.
static bool is_text(const fg_charsmap *map, size_t at) {
  return at < map->text_bytes && ((unsigned char)map->texts[at] & 0xc0) != 0x80;
}

static fg_status copy_units(fg_charsmap *map, const unsigned char *units, fg_error *err) {
  for (size_t i = 0; i < map->unit_count; i++) {
    map->units[i] = read_u32(units + i * UNIT_BYTES);
    if (map->units[i] >> 31 && !is_text(map, unit_value(map->units[i]))) {
      return fg_fail(err, FG_CORRUPT,
                     "precompiled charsmap: unit %zu points to byte %zu of %zu bytes of text", i,
                     unit_value(map->units[i]), map->text_bytes);
    }
  }
  return FG_OK;
}

fg_status fg_charsmap_read(fg_charsmap *out, const void *block, size_t bytes, fg_error *err) {
  const unsigned char *p = block;
  *out = (fg_charsmap){0};
  size_t trie = bytes > UNIT_BYTES ? read_u32(p) : 0;
  if (trie == 0 || trie % UNIT_BYTES != 0 || trie >= bytes - UNIT_BYTES || p[bytes - 1] != 0) {
    return fg_fail(err, FG_CORRUPT, "precompiled charsmap: an array of %zu bytes and its texts in %zu bytes",
                   trie, bytes);
  }
  fg_charsmap map = {.unit_count = trie / UNIT_BYTES, .text_bytes = bytes - UNIT_BYTES - trie};
  map.units = malloc(trie);
  map.texts = malloc(map.text_bytes);
  fg_status status =
      map.units && map.texts ? FG_OK : fg_fail(err, FG_NO_SPACE, "out of memory for a charsmap");
  if (status == FG_OK) memcpy(map.texts, p + UNIT_BYTES + trie, map.text_bytes);
  if (status == FG_OK && !fg_utf8_valid(map.texts, map.text_bytes)) {
    status = fg_fail(err, FG_CORRUPT, "precompiled charsmap: its texts are not UTF-8");
  }
  if (status == FG_OK) status = copy_units(&map, p + UNIT_BYTES, err);
  if (status) {
    fg_charsmap_free(&map);
    return status;
  }
  *out = map;
  return FG_OK;
}

static int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

fg_status fg_charsmap_read_base64(fg_charsmap *out, const char *text, fg_error *err) {
  size_t length = strlen(text), count = 0;
  *out = (fg_charsmap){0};
  unsigned char *bytes = malloc(length / 4 * 3 + 3);
  if (!bytes) return fg_fail(err, FG_NO_SPACE, "out of memory for a charsmap");
  while (length > 0 && text[length - 1] == '=') length--;
  uint32_t bits = 0;
  fg_status status = FG_OK;
  for (size_t i = 0; i < length && status == FG_OK; i++) {
    int digit = base64_digit(text[i]);
    if (digit < 0) status = fg_fail(err, FG_CORRUPT, "precompiled charsmap: character %zu is not base64", i);
    bits = bits << 6 | ((uint32_t)digit & 63);
    if (i % 4 != 0) bytes[count++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
  }
  if (status == FG_OK) status = fg_charsmap_read(out, bytes, count, err);
  free(bytes);
  return status;
}

void fg_charsmap_free(fg_charsmap *map) {
  free(map->units);
  free(map->texts);
  *map = (fg_charsmap){0};
}

size_t fg_charsmap_match(const fg_charsmap *map, const char *text, size_t length, fg_charsmap_rule rule,
                         const char **replacement) {
  size_t found = 0;
  if (!map->units) return 0;
  size_t at = unit_offset(map->units[0]);
  for (size_t i = 0; i < length; i++) {
    uint8_t byte = (uint8_t)text[i];
    at ^= byte;
    if (at >= map->unit_count || unit_label(map->units[at]) != byte) break;
    uint32_t unit = map->units[at];
    at ^= unit_offset(unit);
    if (!unit_has_value(unit)) continue;
    if (at >= map->unit_count || !is_text(map, unit_value(map->units[at]))) break;
    *replacement = map->texts + unit_value(map->units[at]);
    found = i + 1;
    if (rule == FG_CHARSMAP_SHORTEST) break;
  }
  return found;
}
