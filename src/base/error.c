#include "flexgen/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Messages quote names out of foreign files. One line stays one line, and a message cut at the end
// of the buffer does not end inside a UTF-8 sequence.
static void set_message(fg_error *err, const char *text) {
  size_t length = strnlen(text, sizeof err->message);
  if (length == sizeof err->message) {
    length--;
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) length--;
  }
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    err->message[i] = (c < 0x20 || c == 0x7f) ? ' ' : (char)c;
  }
  err->message[length] = '\0';
}

// Formatted aside first: the arguments may point into err->message.
enum { SCRATCH = 2 * sizeof(((fg_error *)0)->message) };

fg_status fg_fail(fg_error *err, fg_status status, const char *format, ...) {
  if (!err) return status;
  char text[SCRATCH];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  set_message(err, text);
  err->status = status;
  return status;
}

fg_status fg_fail_prefix(fg_error *err, const char *format, ...) {
  if (!err) return FG_INTERNAL;
  char text[SCRATCH];
  va_list args;
  va_start(args, format);
  int length = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (length < 0) length = 0;
  if (length >= SCRATCH) length = SCRATCH - 1; // longer than the message may be anyway
  snprintf(text + length, sizeof text - (size_t)length, ": %s", err->message);
  set_message(err, text);
  return err->status;
}
