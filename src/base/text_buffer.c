#include "base/text_buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Makes room for `count` more bytes and the final NUL.
static bool make_room(fg_text *text, size_t count) {
  if (text->failed) return false;
  size_t need;
  if (__builtin_add_overflow(text->length, count, &need) || __builtin_add_overflow(need, 1, &need) ||
      need > PTRDIFF_MAX) {
    text->failed = true;
    return false;
  }
  if (need <= text->capacity) return true;
  size_t capacity = text->capacity < 64 ? 64 : text->capacity;
  while (capacity < need) capacity *= 2;
  char *data = realloc(text->data, capacity);
  if (!data) {
    text->failed = true;
    return false;
  }
  text->data = data;
  text->capacity = capacity;
  return true;
}

void fg_text_append(fg_text *text, const void *bytes, size_t count) {
  if (!make_room(text, count)) return;
  if (count) memcpy(text->data + text->length, bytes, count);
  text->length += count;
  text->data[text->length] = '\0';
}

void fg_text_append_string(fg_text *text, const char *string) {
  fg_text_append(text, string, strlen(string));
}

void fg_text_printf(fg_text *text, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int length = vsnprintf(NULL, 0, format, args);
  if (length < 0) {
    text->failed = true;
  } else if (make_room(text, (size_t)length)) {
    vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
    text->length += (size_t)length;
  }
  va_end(again);
  va_end(args);
}

void fg_text_clear(fg_text *text) {
  text->length = 0;
  text->failed = false;
  if (text->data) text->data[0] = '\0';
}

void fg_text_free(fg_text *text) {
  free(text->data);
  *text = (fg_text){0};
}
