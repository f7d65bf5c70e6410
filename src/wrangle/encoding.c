#include "wrangle/encoding.h"

void fg_decode(fg_text *out, fg_encoding encoding, const char *bytes, size_t length) {
  if (encoding == FG_UTF_8) {
    fg_text_append(out, bytes, length);
    return;
  }
  for (size_t i = 0; i < length; i++) fg_utf8_append(out, (unsigned char)bytes[i]);
}

size_t fg_encode(fg_text *out, fg_encoding encoding, const char *text, size_t length) {
  if (encoding == FG_UTF_8) {
    fg_text_append(out, text, length);
    return 0;
  }
  size_t lost = 0;
  for (const char *at = text; at < text + length;) {
    const uint32_t c = fg_utf8_take(&at);
    const char byte = c < 256 ? (char)c : '?';
    lost += c >= 256;
    fg_text_append(out, &byte, 1);
  }
  return lost;
}

// Python counts the separators of ASCII as white space, Unicode's White_Space does not.
static bool is_space(uint32_t c) {
  return fg_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

fg_slice fg_strip_front(fg_slice text) {
  const char *at = text.data, *end = text.data + text.length;
  while (at < end) {
    const char *next = at;
    if (!is_space(fg_utf8_take(&next))) break;
    at = next;
  }
  return (fg_slice){at, (size_t)(end - at)};
}

fg_slice fg_strip(fg_slice text) {
  const fg_slice rest = fg_strip_front(text);
  const char *end = rest.data + rest.length;
  while (end > rest.data) {
    const char *before = end;
    if (!is_space(fg_utf8_take_back(&before))) break;
    end = before;
  }
  return (fg_slice){rest.data, (size_t)(end - rest.data)};
}
