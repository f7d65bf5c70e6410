// text_buffer.h: bytes that grow. After a failed growth the buffer stays as it was and says so at
// the end (fg_text_failed), so that a sequence of appends needs one check.
#ifndef FG_BASE_TEXT_BUFFER_H
#define FG_BASE_TEXT_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct fg_text {
  char *data; // NUL-terminated once anything was appended; NULL before
  size_t length, capacity;
  bool failed;
} fg_text;

void fg_text_append(fg_text *text, const void *bytes, size_t count);
void fg_text_append_string(fg_text *text, const char *string);
void fg_text_printf(fg_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fg_text_clear(fg_text *text); // keeps the memory
void fg_text_free(fg_text *text);
static inline bool fg_text_failed(const fg_text *text) {
  return text->failed;
}

#endif
