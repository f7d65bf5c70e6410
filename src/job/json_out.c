#include "job/json_out.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/unicode.h"

// How many bytes at the start need no escape: printable ASCII but quote and backslash.
static size_t plain_run(const char *bytes, size_t length) {
  size_t n = 0;
  while (n < length && bytes[n] >= 0x20 && bytes[n] < 0x7f && bytes[n] != '"' && bytes[n] != '\\') n++;
  return n;
}

static void put_escaped(fg_text *out, char c) {
  static const char named[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
  unsigned char u = (unsigned char)c;
  if (c == '"' || c == '\\')
    fg_text_append(out, (char[]){'\\', c}, 2);
  else if (u < sizeof named && named[u])
    fg_text_append(out, (char[]){'\\', named[u]}, 2);
  else
    fg_text_printf(out, "\\u%04x", u);
}

void fg_json_put_string(fg_text *out, const char *bytes, size_t length) {
  fg_text_append(out, "\"", 1);
  for (size_t at = 0; at < length;) {
    size_t plain = plain_run(bytes + at, length - at);
    if (plain) {
      fg_text_append(out, bytes + at, plain);
      at += plain;
    } else if ((unsigned char)bytes[at] < 0x80) {
      put_escaped(out, bytes[at++]);
    } else {
      fg_utf8_state state;
      size_t count = fg_utf8_scan(bytes + at, length - at, &state);
      if (state == FG_UTF8_VALID)
        fg_text_append(out, bytes + at, count);
      else
        fg_utf8_append(out, FG_REPLACEMENT_CHAR);
      at += count;
    }
  }
  fg_text_append(out, "\"", 1);
}

void fg_json_put_cstring(fg_text *out, const char *string) {
  if (string)
    fg_json_put_string(out, string, strlen(string));
  else
    fg_text_append(out, "null", 4);
}

void fg_json_put_logprob(fg_text *out, float value) {
  char digits[32];
  if (!(value > -9999.0f)) value = -9999.0f; // not a number either
  int length = snprintf(digits, sizeof digits, "%.9g", (double)value);
  for (char *c = digits; *c; c++)
    if (*c == ',') *c = '.'; // some locales
  fg_text_append(out, digits, (size_t)length);
  if (!strpbrk(digits, ".e")) fg_text_append(out, ".0", 2); // readers tell integers from reals
}

void fg_json_put_bytes(fg_text *out, const char *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) fg_text_printf(out, "%c%u", i ? ',' : '[', (unsigned char)bytes[i]);
  fg_text_append_string(out, length ? "]" : "[]");
}

void fg_json_put_ids(fg_text *out, const int32_t *ids, size_t count) {
  for (size_t i = 0; i < count; i++) fg_text_printf(out, "%c%" PRId32, i ? ',' : '[', ids[i]);
  fg_text_append_string(out, count ? "]" : "[]");
}
