#include "job/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/size.h"
#include "base/system.h"

enum {
  CHUNK = 64 << 10,
  FIRST_LINE = 16 << 10,
  DROP = 4 << 20, // bytes of the cache that are dropped at a time
  KEPT_LEAST = 8 << 20,
  KEPT_SHARE = 64, // a file of up to one part in so many of the budget stays in the cache
};

// Drops what was read of a file that is too large to be kept.
typedef struct cache_drop {
  bool wanted;
  uint64_t read, dropped;
} cache_drop;

struct fg_rows {
  const char *path;
  int fd;
  fg_job_memory *memory;
  uint64_t line; // number of the line being read
  cache_drop drop;
  char *chunk; // [CHUNK]
  size_t chunk_at, chunk_end;
  bool end;
  char *text; // the line so far
  size_t length, capacity;
  bool dropped; // the line is too long to be held
  fg_error error;
};

static fg_status open_input(const char *path, int *fd, fg_error *err) {
  *fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
  if (*fd >= 0) return FG_OK;
  return fg_fail(err, errno == ENOENT ? FG_NOT_FOUND : FG_IO, "%s: cannot open: %s", path, strerror(errno));
}

static cache_drop start_drop(int fd, const fg_job_memory *memory) {
  const uint64_t part = fg_budget_limit(memory->host) / KEPT_SHARE;
  struct stat st;
  return (cache_drop){.wanted = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                                (uint64_t)st.st_size > (part > KEPT_LEAST ? part : KEPT_LEAST)};
}

static void drop_behind(cache_drop *d, int fd, size_t count) {
  d->read += count;
  if (!d->wanted || d->read - d->dropped < DROP) return;
  fg_forget_cached(fd, (off_t)d->dropped, (off_t)(d->read - d->dropped));
  d->dropped = d->read;
}

// Reads until the buffer is full or the file ends.
static fg_status read_full(int fd, const char *path, char *buffer, size_t size, size_t *got, fg_error *err) {
  *got = 0;
  while (*got < size) {
    ssize_t count = read(fd, buffer + *got, size - *got);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fg_fail(err, FG_IO, "%s: cannot read: %s", path, strerror(errno));
    if (count == 0) break;
    *got += (size_t)count;
  }
  return FG_OK;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char byte_order_mark[] = "\xef\xbb\xbf";

// ---- one line after the other ------------------------------------------------------------------------

fg_status fg_rows_open(fg_rows **out, const char *path, fg_job_memory *memory, fg_error *err) {
  *out = NULL;
  fg_rows *rows = calloc(1, sizeof *rows);
  if (rows) rows->chunk = malloc(CHUNK);
  if (!rows || !rows->chunk) {
    free(rows);
    return fg_fail(err, FG_NO_SPACE, "%s: out of memory for reading it", path);
  }
  rows->path = path;
  rows->memory = memory;
  fg_status status = open_input(path, &rows->fd, err);
  if (status == FG_OK) rows->drop = start_drop(rows->fd, memory);
  if (status == FG_OK) status = fg_job_memory_take(memory, CHUNK, "reading the input", err);
  if (status != FG_OK) {
    if (rows->fd >= 0) close(rows->fd);
    free(rows->chunk);
    free(rows);
    return status;
  }
  *out = rows;
  return FG_OK;
}

void fg_rows_close(fg_rows *rows) {
  if (!rows) return;
  fg_job_memory_give(rows->memory, CHUNK + rows->capacity);
  close(rows->fd);
  free(rows->chunk);
  free(rows->text);
  free(rows);
}

static void drop_line(fg_rows *rows) {
  rows->dropped = true;
  rows->length = 0;
}

// Room for `more` bytes of the line; a line that gets none is dropped, with the reason.
static void grow_line(fg_rows *rows, size_t more) {
  size_t needed = rows->length + more, capacity = rows->capacity ? rows->capacity : FIRST_LINE;
  if (needed <= rows->capacity) return;
  while (capacity < needed) capacity *= 2;
  if (needed > FG_ROW_MAX_BYTES) {
    fg_fail(&rows->error, FG_INVALID, "the line is longer than %d MiB", FG_ROW_MAX_BYTES >> 20);
    drop_line(rows);
    return;
  }
  if (fg_job_memory_take(rows->memory, capacity - rows->capacity, "a line of the input", &rows->error) !=
      FG_OK) {
    drop_line(rows);
    return;
  }
  char *text = realloc(rows->text, capacity);
  if (!text) {
    fg_job_memory_give(rows->memory, capacity - rows->capacity);
    fg_fail(&rows->error, FG_NO_SPACE, "out of memory for a line of %zu bytes", needed);
    drop_line(rows);
    return;
  }
  rows->text = text;
  rows->capacity = capacity;
}

static void append(fg_rows *rows, const char *bytes, size_t count) {
  if (rows->dropped || !count) return;
  grow_line(rows, count);
  if (rows->dropped) return;
  memcpy(rows->text + rows->length, bytes, count);
  rows->length += count;
}

// The next chunk. A pipe gives what it has; waiting for a full one would hold back rows.
static fg_status refill(fg_rows *rows, fg_error *err) {
  ssize_t got;
  do got = read(rows->fd, rows->chunk, CHUNK);
  while (got < 0 && errno == EINTR);
  if (got < 0) return fg_fail(err, FG_IO, "%s: cannot read: %s", rows->path, strerror(errno));
  rows->chunk_at = 0;
  rows->chunk_end = (size_t)got;
  rows->end = got == 0;
  drop_behind(&rows->drop, rows->fd, (size_t)got);
  return FG_OK;
}

// One line of any kind into rows->text; *any tells whether there was one.
static fg_status read_line(fg_rows *rows, bool *any, fg_error *err) {
  *any = rows->dropped = false;
  rows->length = 0;
  for (;;) {
    if (rows->chunk_at == rows->chunk_end) {
      if (!rows->end) {
        fg_status status = refill(rows, err);
        if (status != FG_OK) return status;
      }
      if (rows->end) return FG_OK;
    }
    if (!*any) rows->line++;
    *any = true;
    const char *from = rows->chunk + rows->chunk_at;
    size_t left = rows->chunk_end - rows->chunk_at;
    const char *newline = memchr(from, '\n', left);
    size_t count = newline ? (size_t)(newline - from) : left;
    append(rows, from, count);
    rows->chunk_at += count + (newline != NULL);
    if (newline) return FG_OK;
  }
}

// Cuts what is no part of the row; false: nothing is left.
static bool trim(fg_rows *rows, fg_line *line) {
  const char *text = rows->text;
  size_t length = rows->length;
  if (rows->line == 1 && length >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
    text += 3;
    length -= 3;
  }
  while (length && is_blank(text[length - 1])) length--;
  while (length && is_blank(*text)) text++, length--;
  line->text = text;
  line->length = length;
  return length > 0;
}

fg_status fg_rows_next(fg_rows *rows, fg_line *line, bool *end, fg_error *err) {
  *line = (fg_line){0};
  for (;;) {
    bool any;
    fg_status status = read_line(rows, &any, err);
    if (status != FG_OK) return status;
    *end = !any;
    if (!any) return FG_OK;
    line->number = rows->line;
    if (rows->dropped) {
      line->error = rows->error;
      return FG_OK;
    }
    if (trim(rows, line)) return FG_OK;
  }
}

bool fg_rows_ready(const fg_rows *rows) {
  struct pollfd input = {.fd = rows->fd, .events = POLLIN};
  return rows->chunk_at < rows->chunk_end || rows->end || poll(&input, 1, 0) != 0;
}

// ---- a whole file ------------------------------------------------------------------------------------

typedef struct line_counter {
  uint64_t rows;
  bool filled; // the line so far holds something
} line_counter;

static void count_rows(line_counter *c, const char *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (bytes[i] == '\n') {
      c->rows += c->filled;
      c->filled = false;
    } else if (!c->filled) {
      c->filled = !is_blank(bytes[i]);
    } else { // to the end of the line
      const char *newline = memchr(bytes + i, '\n', count - i);
      i = (newline ? (size_t)(newline - bytes) : count) - 1;
    }
  }
}

typedef struct whole_file {
  const char *path;
  int fd;
  char *chunk; // [CHUNK]
  cache_drop drop;
} whole_file;

static fg_status look_over(whole_file *file, fg_rows_survey *survey, fg_error *err) {
  line_counter counter = {0};
  char *chunk = file->chunk;
  size_t got;
  do {
    fg_status status = read_full(file->fd, file->path, chunk, CHUNK, &got, err);
    if (status != FG_OK) return status;
    size_t mark = survey->bytes == 0 && got >= 3 && memcmp(chunk, byte_order_mark, 3) == 0 ? 3 : 0;
    count_rows(&counter, chunk + mark, got - mark);
    survey->hash = fg_hash_more(survey->hash, chunk, got);
    survey->bytes += got;
    drop_behind(&file->drop, file->fd, got);
  } while (got == CHUNK);
  survey->rows = counter.rows + counter.filled;
  return FG_OK;
}

fg_status fg_rows_look_over(const char *path, fg_job_memory *memory, fg_rows_survey *survey, fg_error *err) {
  *survey = (fg_rows_survey){0};
  struct stat st; // a pipe must not be opened twice
  if (strcmp(path, "-") == 0 || (stat(path, &st) == 0 && !S_ISREG(st.st_mode))) return FG_OK;
  survey->regular = true;
  whole_file file = {.path = path};
  fg_status status = open_input(path, &file.fd, err);
  if (status != FG_OK) return status;
  file.drop = start_drop(file.fd, memory);
  file.chunk = malloc(CHUNK);
  status = file.chunk ? look_over(&file, survey, err)
                      : fg_fail(err, FG_NO_SPACE, "%s: out of memory for reading it", path);
  free(file.chunk);
  close(file.fd);
  return status;
}

// ---- what a line holds -------------------------------------------------------------------------------

static void cannot_read(fg_envelope *e, const fg_line *line, const char *code, const char *message) {
  e->code = code;
  fg_fail(&e->error, FG_INVALID, "line %" PRIu64 ": %s", line->number, message);
}

void fg_envelope_read(fg_envelope *e, const fg_line *line, fg_job_memory *memory) {
  *e = (fg_envelope){0};
  fg_error err;
  if (!line->length) {
    cannot_read(e, line, "line_too_long", line->error.message);
    return;
  }
  uint64_t cost = fg_json_parse_cost(line->text, line->length);
  if (fg_job_memory_take(memory, cost, "reading a line of the input", &err) != FG_OK) {
    cannot_read(e, line, "line_too_long", err.message);
    return;
  }
  e->parse_bytes = cost;
  json_t *root = fg_json_parse(line->text, line->length, "JSON", &err);
  const json_t *id = json_object_get(root, "custom_id");
  if (root && json_is_string(id)) {
    e->root = root;
    e->custom_id = json_string_value(id);
    e->custom_id_length = json_string_length(id);
    e->method = json_string_value(json_object_get(root, "method"));
    e->url = json_string_value(json_object_get(root, "url"));
    e->body = json_object_get(root, "body");
    return;
  }
  cannot_read(e, line, root ? "invalid_request" : "invalid_json",
              root ? "it must be an object with a string \"custom_id\"" : err.message);
  json_decref(root);
  fg_envelope_free(e, memory);
}

void fg_envelope_free(fg_envelope *e, fg_job_memory *memory) {
  json_decref(e->root);
  e->root = NULL;
  fg_job_memory_give(memory, e->parse_bytes);
  e->parse_bytes = 0;
}
