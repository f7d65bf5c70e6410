#include "job/stop_strings.h"

#include <string.h>

bool fg_stop_find(const fg_stop_string *stops, uint32_t count, const char *text, size_t length,
                  size_t searched, fg_stop_match *match) {
  bool found = false;
  for (uint32_t i = 0; i < count; i++) {
    size_t size = stops[i].length;
    size_t from = searched + 1 > size ? searched + 1 - size : 0;
    if (length < size || from > length - size) continue;
    const char *at = memmem(text + from, length - from, stops[i].bytes, size);
    if (!at) continue;
    size_t end = (size_t)(at - text) + size;
    if (found && end >= match->end) continue;
    found = true;
    *match = (fg_stop_match){.index = i, .begin = end - size, .end = end};
  }
  return found;
}

size_t fg_stop_begun(const fg_stop_string *stops, uint32_t count, const char *text, size_t length) {
  size_t longest = 0;
  for (uint32_t i = 0; i < count; i++) {
    size_t size = stops[i].length - 1; // a whole one is a match
    if (size > length) size = length;
    while (size > longest && memcmp(text + length - size, stops[i].bytes, size) != 0) size--;
    if (size > longest) longest = size;
  }
  return longest;
}
