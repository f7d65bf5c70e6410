#include "format/json_scan.h"

#include <string.h>

#include "base/utf8.h"

enum { MAX_DEPTH = 64 };

static fg_status fail(const fg_json_scan *scan, fg_error *err, const char *what) {
  return fg_fail(err, FG_CORRUPT, "%s: invalid JSON at byte %zu: %s", scan->where, scan->at, what);
}

char fg_scan_peek(fg_json_scan *scan) {
  while (scan->at < scan->length && scan->text[scan->at] != 0 && strchr(" \t\r\n", scan->text[scan->at])) {
    scan->at++;
  }
  return scan->at < scan->length ? scan->text[scan->at] : 0;
}

fg_status fg_scan_take(fg_json_scan *scan, char expected, fg_error *err) {
  if (fg_scan_peek(scan) != expected || scan->at == scan->length) {
    char what[] = "expected '?'";
    what[sizeof what - 3] = expected;
    return fail(scan, err, what);
  }
  scan->at++;
  return FG_OK;
}

fg_status fg_scan_next(fg_json_scan *scan, size_t index, char close, bool *more, fg_error *err) {
  *more = fg_scan_peek(scan) != close;
  if (*more) return index == 0 ? FG_OK : fg_scan_take(scan, ',', err);
  return fg_scan_take(scan, close, err);
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Four hexadecimal digits at the scan's position; -1 if they are not there.
static int32_t take_hex4(fg_json_scan *scan) {
  if (scan->length - scan->at < 4) return -1;
  int32_t value = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(scan->text[scan->at + (size_t)i]);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  scan->at += 4;
  return value;
}

// The rest of an escape whose backslash was taken, as UTF-8, which is never longer than the escape was.
// Returns the bytes written, 0 on failure.
static size_t take_escape(fg_json_scan *scan, char *out) {
  static const char plain[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
  if (scan->at == scan->length) return 0;
  char c = scan->text[scan->at++];
  const char *hit = c ? strchr(plain, c) : NULL;
  if (hit) {
    *out = meaning[hit - plain];
    return 1;
  }
  int32_t unit = c == 'u' ? take_hex4(scan) : -1;
  if (unit <= 0 || (unit >= 0xdc00 && unit <= 0xdfff)) return 0;
  if (unit < 0xd800 || unit > 0xdbff) return fg_utf8_put((uint32_t)unit, out);
  if (scan->length - scan->at < 6 || memcmp(scan->text + scan->at, "\\u", 2) != 0) return 0;
  scan->at += 2;
  int32_t low = take_hex4(scan);
  if (low < 0xdc00 || low > 0xdfff) return 0;
  return fg_utf8_put(0x10000u + (((uint32_t)unit - 0xd800u) << 10) + ((uint32_t)low - 0xdc00u), out);
}

fg_status fg_scan_string(fg_json_scan *scan, char **out, fg_error *err) {
  fg_status status = fg_scan_take(scan, '"', err);
  if (status) return status;
  char *to = *out = scan->text + scan->at;
  while (scan->at < scan->length) {
    char *from = scan->text + scan->at;
    unsigned char c = (unsigned char)*from;
    size_t count = 1;
    if (c == '"') {
      *to = 0;
      scan->at++;
      return FG_OK;
    }
    if (c < 0x20) return fail(scan, err, "control character in a string");
    if (c == '\\') {
      scan->at++;
      count = take_escape(scan, to);
      if (count == 0) return fail(scan, err, "invalid escape in a string");
    } else {
      fg_utf8_state state = FG_UTF8_VALID;
      if (c >= 0x80) count = fg_utf8_scan(from, scan->length - scan->at, &state);
      if (state != FG_UTF8_VALID) return fail(scan, err, "string is not UTF-8");
      memmove(to, from, count);
      scan->at += count;
    }
    to += count;
  }
  return fail(scan, err, "string without end");
}

fg_status fg_scan_key(fg_json_scan *scan, char **out, fg_error *err) {
  fg_status status = fg_scan_string(scan, out, err);
  return status ? status : fg_scan_take(scan, ':', err);
}

fg_status fg_scan_u64(fg_json_scan *scan, uint64_t *out, fg_error *err) {
  char c = fg_scan_peek(scan);
  if (c < '0' || c > '9') return fail(scan, err, "expected a non-negative integer");
  uint64_t value = 0;
  size_t begin = scan->at;
  for (; scan->at < scan->length && scan->text[scan->at] >= '0' && scan->text[scan->at] <= '9'; scan->at++) {
    uint64_t digit = (uint64_t)(scan->text[scan->at] - '0');
    if (value > (UINT64_MAX - digit) / 10) return fail(scan, err, "integer beyond 64 bits");
    value = value * 10 + digit;
  }
  if (c == '0' && scan->at - begin > 1) return fail(scan, err, "integer with a leading zero");
  if (scan->at < scan->length && scan->text[scan->at] != 0 && strchr(".eE", scan->text[scan->at])) {
    return fail(scan, err, "expected an integer, found a fraction");
  }
  *out = value;
  return FG_OK;
}

static size_t take_digits(fg_json_scan *scan) {
  size_t begin = scan->at;
  while (scan->at < scan->length && scan->text[scan->at] >= '0' && scan->text[scan->at] <= '9') scan->at++;
  return scan->at - begin;
}

static bool take_char(fg_json_scan *scan, const char *any_of) {
  if (scan->at == scan->length || scan->text[scan->at] == 0 || !strchr(any_of, scan->text[scan->at]))
    return false;
  scan->at++;
  return true;
}

static fg_status skip_number(fg_json_scan *scan, fg_error *err) {
  take_char(scan, "-");
  bool zero = scan->at < scan->length && scan->text[scan->at] == '0';
  size_t digits = take_digits(scan);
  bool ok = digits > 0 && !(zero && digits > 1);
  if (take_char(scan, ".")) ok = ok && take_digits(scan) > 0;
  if (take_char(scan, "eE")) {
    take_char(scan, "+-");
    ok = ok && take_digits(scan) > 0;
  }
  return ok ? FG_OK : fail(scan, err, "expected a value");
}

static fg_status skip_word(fg_json_scan *scan, fg_error *err) {
  static const char *const words[] = {"true", "false", "null"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    size_t length = strlen(words[i]);
    if (scan->length - scan->at >= length && memcmp(scan->text + scan->at, words[i], length) == 0) {
      scan->at += length;
      return FG_OK;
    }
  }
  return skip_number(scan, err);
}

static fg_status skip_value(fg_json_scan *scan, int depth, fg_error *err) {
  char *ignored, open = fg_scan_peek(scan);
  if (open == '"') return fg_scan_string(scan, &ignored, err);
  if (open != '{' && open != '[') return skip_word(scan, err);
  if (depth == MAX_DEPTH) return fail(scan, err, "nested more than 64 levels deep");
  fg_status status = fg_scan_take(scan, open, err);
  for (size_t i = 0; status == FG_OK; i++) {
    bool more;
    status = fg_scan_next(scan, i, open == '{' ? '}' : ']', &more, err);
    if (status || !more) break;
    if (open == '{') status = fg_scan_key(scan, &ignored, err);
    if (status == FG_OK) status = skip_value(scan, depth + 1, err);
  }
  return status;
}

fg_status fg_scan_skip(fg_json_scan *scan, fg_error *err) {
  return skip_value(scan, 0, err);
}

fg_status fg_scan_end(fg_json_scan *scan, fg_error *err) {
  fg_scan_peek(scan);
  return scan->at == scan->length ? FG_OK : fail(scan, err, "text after the end");
}
