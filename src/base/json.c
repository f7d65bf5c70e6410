#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text_buffer.h"

enum { PARSE_FLAGS = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL };

// Length of the number at `text`; *integer tells whether it is written as one.
static size_t number_length(const char *text, size_t length, bool *integer) {
  size_t n = 0;
  *integer = true;
  for (; n < length; n++) {
    char c = text[n];
    if (c == '.' || c == 'e' || c == 'E')
      *integer = false;
    else if ((c < '0' || c > '9') && c != '-' && c != '+')
      break;
  }
  return n;
}

static bool fits_int64(const char *digits, size_t length) {
  bool negative = length > 0 && digits[0] == '-';
  int64_t value = 0;
  for (size_t i = negative; i < length; i++) {
    int64_t digit = digits[i] - '0';
    if (__builtin_mul_overflow(value, 10, &value)) return false;
    if (__builtin_sub_overflow(value, digit, &value)) return false; // downwards: INT64_MIN has no positive
  }
  return negative || value != INT64_MIN;
}

// The text with ".0" behind every integer that does not fit into 64 bits. jansson can read all
// integers as reals or none; only the few that do not fit may lose their exactness.
static void widen_integers(fg_text *out, const char *text, size_t length) {
  bool in_string = false;
  size_t from = 0;
  for (size_t i = 0; i < length;) {
    char c = text[i];
    if (in_string) {
      if (c == '"') in_string = false;
      i += c == '\\' ? 2 : 1;
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      bool integer;
      size_t n = number_length(text + i, length - i, &integer);
      if (integer && !fits_int64(text + i, n)) {
        fg_text_append(out, text + from, i + n - from);
        fg_text_append(out, ".0", 2);
        from = i + n;
      }
      i += n;
    } else {
      if (c == '"') in_string = true;
      i++;
    }
  }
  fg_text_append(out, text + from, length - from);
}

json_t *fg_json_parse(const char *text, size_t length, const char *where, fg_error *err) {
  json_error_t error;
  json_t *value = json_loadb(text, length, PARSE_FLAGS, &error);
  if (!value && json_error_code(&error) == json_error_numeric_overflow) {
    fg_text wide = {0};
    widen_integers(&wide, text, length);
    if (!wide.failed) value = json_loadb(wide.data, wide.length, PARSE_FLAGS, &error);
    fg_text_free(&wide);
  }
  if (value) return value;
  fg_status status = json_error_code(&error) == json_error_out_of_memory ? FG_NO_SPACE : FG_CORRUPT;
  fg_fail(err, status, "%s:%d:%d: %s", where, error.line, error.column, error.text);
  return NULL;
}

static fg_status read_all(int fd, const char *path, size_t max_bytes, fg_text *text, fg_error *err) {
  char piece[16384];
  for (;;) {
    ssize_t got = read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fg_fail(err, FG_IO, "%s: cannot read: %s", path, strerror(errno));
    if (got == 0) break;
    if ((size_t)got > max_bytes - text->length)
      return fg_fail(err, FG_CORRUPT, "%s: longer than the %zu bytes that such a file may have", path,
                     max_bytes);
    fg_text_append(text, piece, (size_t)got);
    if (text->failed) return fg_fail(err, FG_NO_SPACE, "%s: no memory to read it", path);
  }
  return FG_OK;
}

uint64_t fg_json_parse_cost(const char *text, size_t length) {
  enum { PER_VALUE = 96, PER_BYTE = 8 };
  uint64_t values = 1;
  for (size_t i = 0; i < length; i++) values += text[i] == ',' || text[i] == '[' || text[i] == '{';
  return values * PER_VALUE + length * PER_BYTE;
}

json_t *fg_json_read_file(const char *path, size_t max_bytes, fg_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    fg_fail(err, errno == ENOENT ? FG_NOT_FOUND : FG_IO, "%s: cannot open: %s", path, strerror(errno));
    return NULL;
  }
  fg_text text = {0};
  json_t *value = NULL;
  if (!read_all(fd, path, max_bytes, &text, err))
    value = fg_json_parse(text.data ? text.data : "", text.length, path, err);
  fg_text_free(&text);
  close(fd);
  return value;
}

// The value of a key, or NULL where it is missing or null.
static json_t *present(const json_t *object, const char *key) {
  json_t *value = json_object_get(object, key);
  return json_is_null(value) ? NULL : value;
}

static fg_status wrong(const json_t *value, const char *key, const char *want, fg_error *err) {
  char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  fg_status status =
      fg_fail(err, FG_INVALID, "\"%s\" must be %s, not %.80s", key, want, shown ? shown : "this");
  free(shown);
  return status;
}

fg_status fg_json_u32(const json_t *object, const char *key, uint32_t fallback, uint32_t *out,
                      fg_error *err) {
  const json_t *value = present(object, key);
  if (!value) {
    *out = fallback;
    return FG_OK;
  }
  double number = json_number_value(value); // every uint32 is exact in a double, 4096.0 is as good as 4096
  if (!json_is_number(value) || number < 0 || number > UINT32_MAX || number != floor(number))
    return wrong(value, key, "an integer from 0 to 4294967295", err);
  *out = (uint32_t)number;
  return FG_OK;
}

fg_status fg_json_f64(const json_t *object, const char *key, double fallback, double *out, fg_error *err) {
  const json_t *value = present(object, key);
  if (value && !json_is_number(value)) return wrong(value, key, "a number", err);
  *out = value ? json_number_value(value) : fallback;
  return FG_OK;
}

fg_status fg_json_bool(const json_t *object, const char *key, bool fallback, bool *out, fg_error *err) {
  const json_t *value = present(object, key);
  if (value && !json_is_boolean(value)) return wrong(value, key, "true or false", err);
  *out = value ? json_is_true(value) : fallback;
  return FG_OK;
}

fg_status fg_json_string(const json_t *object, const char *key, const char *fallback, const char **out,
                         fg_error *err) {
  const json_t *value = present(object, key);
  if (value && !json_is_string(value)) return wrong(value, key, "a string", err);
  *out = value ? json_string_value(value) : fallback;
  return FG_OK;
}
