#include "serve/multipart.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  MOST_BOUNDARY = 70, // RFC 2046
  MOST_LINE = 2048,   // of a part's header
  MOST_LINES = 16,
  MOST_NAME = 256,
};

typedef enum state {
  DATA,            // of a part, or before the first one; delimiter characters at hand are `matched`
  AFTER_DELIMITER, // "--" ends the form, a line's end begins a part
  HEADER,
  OVER, // what follows is to be ignored
} state;

struct fg_multipart {
  fg_multipart_sink sink;
  char delimiter[4 + MOST_BOUNDARY + 1]; // "\r\n--boundary"
  size_t delimiter_length, matched;
  state state;
  bool in_part; // the sink saw its beginning
  char line[MOST_LINE + 1];
  size_t line_length, lines;
  char name[MOST_NAME], filename[MOST_NAME];
  bool has_name, has_filename;
};

// ---- the boundary ----------------------------------------------------------------------------------------

static bool is_boundary_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c && strchr("'()+_,-./:=? ", c));
}

static const char *skip_spaces(const char *text) {
  return text + strspn(text, " \t");
}

// A parameter's value, quoted or not, into `out`; where it ends, or NULL: it is none, or too long. In quotes
// a backslash keeps the next quote or backslash, as browsers of old wrote it.
static const char *read_value(const char *text, char *out, size_t size) {
  const bool quoted = *text == '"';
  size_t length = 0;
  text += quoted;
  while (*text && (quoted ? *text != '"' : !strchr("; \t", *text))) {
    if (quoted && *text == '\\' && (text[1] == '"' || text[1] == '\\')) text++;
    if (length + 1 >= size || (unsigned char)*text < 0x20 || *text == 0x7f) return NULL;
    out[length++] = *text++;
  }
  out[length] = 0;
  if (!quoted) return text;
  return *text == '"' ? text + 1 : NULL;
}

// The value of `name` among "; name=value" that follow; *there tells whether it is. False: it cannot be read.
static bool find_parameter(const char *text, const char *name, char *out, size_t size, bool *there) {
  char other[MOST_LINE + 1];
  *there = false;
  for (text = skip_spaces(text); *text == ';'; text = skip_spaces(text)) {
    text = skip_spaces(text + 1);
    const size_t length = strcspn(text, "=; \t");
    const bool wanted = length == strlen(name) && strncasecmp(text, name, length) == 0;
    text += length;
    if (*text != '=') continue;
    text = read_value(text + 1, wanted ? out : other, wanted ? size : sizeof other);
    if (!text) return false;
    *there = *there || wanted;
  }
  return true;
}

static bool read_boundary(fg_multipart *m, const char *content_type) {
  static const char kind[] = "multipart/form-data";
  if (!content_type || strncasecmp(content_type, kind, sizeof kind - 1) != 0) return false;
  char boundary[MOST_BOUNDARY + 1];
  bool there;
  if (!find_parameter(content_type + sizeof kind - 1, "boundary", boundary, sizeof boundary, &there) ||
      !there)
    return false;
  const size_t length = strlen(boundary);
  if (length == 0 || boundary[length - 1] == ' ') return false;
  for (size_t i = 0; i < length; i++)
    if (!is_boundary_char(boundary[i])) return false;
  memcpy(m->delimiter, "\r\n--", 4);
  memcpy(m->delimiter + 4, boundary, length + 1);
  m->delimiter_length = 4 + length;
  return true;
}

fg_status fg_multipart_create(fg_multipart **out, const char *content_type, const fg_multipart_sink *sink,
                              fg_error *err) {
  fg_multipart *m = calloc(1, sizeof *m);
  if (!m) return fg_fail(err, FG_NO_SPACE, "no memory to read a form");
  if (!read_boundary(m, content_type)) {
    free(m);
    return fg_fail(err, FG_INVALID,
                   "an upload comes as multipart/form-data with a boundary of 1 to %d characters",
                   MOST_BOUNDARY);
  }
  m->sink = *sink;
  m->matched = 2; // the first delimiter needs no line before it
  *out = m;
  return FG_OK;
}

void fg_multipart_destroy(fg_multipart *m) {
  free(m);
}

// ---- parts -----------------------------------------------------------------------------------------------

static fg_status stopped(fg_error *err) {
  return fg_fail(err, FG_CANCELLED, "the upload was stopped");
}

static fg_status read_header(fg_multipart *m, fg_error *err) {
  static const char disposition[] = "content-disposition:";
  if (strncasecmp(m->line, disposition, sizeof disposition - 1) != 0) return FG_OK;
  const char *value = skip_spaces(m->line + sizeof disposition - 1);
  if (strncasecmp(value, "form-data", 9) != 0)
    return fg_fail(err, FG_INVALID, "a part of the form is no form-data");
  if (!find_parameter(value + 9, "name", m->name, sizeof m->name, &m->has_name) ||
      !find_parameter(value + 9, "filename", m->filename, sizeof m->filename, &m->has_filename))
    return fg_fail(err, FG_INVALID,
                   "the name of a part of the form cannot be read, or is longer than %d bytes",
                   MOST_NAME - 1);
  return FG_OK;
}

static fg_status begin_part(fg_multipart *m, fg_error *err) {
  if (!m->has_name) return fg_fail(err, FG_INVALID, "a part of the form has no name");
  const fg_multipart_part part = {m->name, m->has_filename ? m->filename : NULL};
  m->state = DATA;
  m->in_part = true;
  m->matched = 0;
  return m->sink.begin(m->sink.user, &part) ? FG_OK : stopped(err);
}

static fg_status end_line(fg_multipart *m, fg_error *err) {
  if (m->line_length > 0 && m->line[m->line_length - 1] == '\r') m->line_length--;
  m->line[m->line_length] = 0;
  if (m->line_length == 0) return begin_part(m, err);
  m->line_length = 0;
  if (++m->lines > MOST_LINES)
    return fg_fail(err, FG_INVALID, "a part of the form has more than %d lines of header", MOST_LINES);
  return read_header(m, err);
}

static fg_status feed_header(fg_multipart *m, char c, fg_error *err) {
  if (c == '\n') return end_line(m, err);
  if (c == 0 || m->line_length >= MOST_LINE)
    return fg_fail(err, FG_INVALID, "a header line of the form is longer than %d bytes, or none", MOST_LINE);
  m->line[m->line_length++] = c;
  return FG_OK;
}

// The delimiter's first character occurs nowhere else in it: what was matched in vain is data as a whole.
static fg_status feed_delimiter(fg_multipart *m, char c, fg_error *err) {
  if (c != m->delimiter[m->matched]) return FG_OK;
  if (++m->matched < m->delimiter_length) return FG_OK;
  const bool ends = m->in_part;
  m->in_part = false;
  m->state = AFTER_DELIMITER;
  m->line_length = 0;
  return !ends || m->sink.end(m->sink.user) ? FG_OK : stopped(err);
}

static bool put_data(const fg_multipart *m, const char *bytes, size_t count) {
  return count == 0 || !m->in_part || m->sink.data(m->sink.user, bytes, count);
}

// As much as belongs to the part's data, and to the delimiter if it comes; returns the bytes that were taken.
static size_t feed_data(fg_multipart *m, const char *bytes, size_t count, fg_status *status, fg_error *err) {
  size_t used = 0;
  while (used < count && m->state == DATA && *status == FG_OK) {
    if (m->matched == 0) {
      const char *next = memchr(bytes + used, '\r', count - used);
      const size_t plain = next ? (size_t)(next - bytes) - used : count - used;
      if (!put_data(m, bytes + used, plain)) *status = stopped(err);
      used += plain;
      m->matched = next != NULL;
      used += next != NULL;
    } else if (bytes[used] == m->delimiter[m->matched]) {
      *status = feed_delimiter(m, bytes[used++], err);
    } else {
      if (!put_data(m, m->delimiter, m->matched)) *status = stopped(err);
      m->matched = 0;
    }
  }
  return used;
}

static fg_status feed_after(fg_multipart *m, char c, fg_error *err) {
  if (c == '\n') {
    m->state = HEADER;
    m->line_length = m->lines = 0;
    m->has_name = m->has_filename = false;
  } else if (c == '-' && m->line_length < 2) {
    if (++m->line_length == 2) m->state = OVER;
  } else if (m->line_length > 0 || !strchr(" \t\r", c) || c == 0) {
    return fg_fail(err, FG_INVALID,
                   "a delimiter of the form is followed by something else than a line's end");
  }
  return FG_OK;
}

fg_status fg_multipart_feed(fg_multipart *m, const char *bytes, size_t count, fg_error *err) {
  fg_status status = FG_OK;
  for (size_t i = 0; i < count && status == FG_OK && m->state != OVER;) {
    if (m->state == DATA)
      i += feed_data(m, bytes + i, count - i, &status, err);
    else
      status = m->state == HEADER ? feed_header(m, bytes[i++], err) : feed_after(m, bytes[i++], err);
  }
  return status;
}

fg_status fg_multipart_finish(const fg_multipart *m, fg_error *err) {
  return m->state == OVER ? FG_OK : fg_fail(err, FG_INVALID, "the form ends in the middle of a part");
}
