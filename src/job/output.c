#include "job/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "job/safe_file.h"

struct fg_output {
  fg_output_options options;
  fg_safe_file file;
  char *journal_path; // NULL: no name
  fg_journal *journal;
  uint64_t next; // rows in OUT
  uint64_t earlier, earlier_failed;
  fg_text row;
  fg_output_visitor *visit; // while rows are visited
  void *visitor;
};

bool fg_output_row_failed(const char *line, size_t length) {
  // Outside of strings no quote follows a letter but at a string's end, so this cannot stand inside one.
  static const char good[] = "\"response\":{\"status_code\":200,";
  return !memmem(line, length, good, sizeof good - 1);
}

// ---- the rows that stand in OUT --------------------------------------------------------------------------

enum { SCAN_CHUNK = 64 << 10 };

// What a scan finds. A torn last line, or a block that a crash of the machine left empty, is behind `end`.
typedef struct out_scan {
  uint64_t rows, end;
  uint64_t failed, first_failed, good_end; // good_end: where the first failed row begins
} out_scan;

typedef fg_status row_visitor(fg_output *o, uint64_t row, const char *line, size_t length, fg_error *err);

static bool is_whole_row(const fg_text *line) {
  return line->data[0] == '{' && !memchr(line->data, '\0', line->length);
}

static fg_status visit_row(fg_output *o, row_visitor *visit, out_scan *s, const fg_text *line,
                           fg_error *err) {
  if (fg_output_row_failed(line->data, line->length) && s->failed++ == 0) {
    s->first_failed = s->rows;
    s->good_end = s->end;
  }
  fg_status status = visit ? visit(o, s->rows, line->data, line->length, err) : FG_OK;
  s->rows++;
  s->end += line->length;
  return status;
}

// Visits the rows of OUT in order, until one is not whole.
static fg_status scan(fg_output *o, row_visitor *visit, out_scan *s, fg_error *err) {
  *s = (out_scan){0};
  fg_text line = {0};
  char chunk[SCAN_CHUNK];
  bool whole = true;
  fg_status status = FG_OK;
  for (uint64_t at = 0; status == FG_OK && whole && at < o->file.size;) {
    size_t count = o->file.size - at < sizeof chunk ? (size_t)(o->file.size - at) : sizeof chunk;
    status = fg_safe_file_read(&o->file, at, chunk, count, err);
    at += count;
    for (const char *from = chunk; status == FG_OK && whole && from < chunk + count;) {
      const char *newline = memchr(from, '\n', (size_t)(chunk + count - from));
      const char *to = newline ? newline + 1 : chunk + count;
      fg_text_append(&line, from, (size_t)(to - from));
      from = to;
      if (fg_text_failed(&line))
        status = fg_fail(err, FG_NO_SPACE, "%s: out of memory for a row", o->file.path);
      if (status != FG_OK || !newline) continue;
      whole = is_whole_row(&line);
      if (whole) status = visit_row(o, visit, s, &line, err);
      fg_text_clear(&line);
    }
  }
  fg_text_free(&line);
  return status;
}

// ---- open --------------------------------------------------------------------------------------------

static fg_status open_file(fg_output *o, fg_error *err) {
  const char *path = o->options.path;
  struct stat st;
  bool standard = strcmp(path, "-") == 0, special = !standard && stat(path, &st) == 0 && !S_ISREG(st.st_mode);
  int flags = special ? O_WRONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC;
  int fd = standard ? dup(STDOUT_FILENO) : open(path, flags, 0666);
  o->file = (fg_safe_file){.fd = fd, .path = standard ? "standard output" : path};
  if (fd < 0) return fg_fail(err, FG_IO, "%s: cannot open: %s", path, strerror(errno));
  if (standard || special) return FG_OK;
  if (flock(fd, LOCK_EX | LOCK_NB) != 0)
    return fg_fail(err, errno == EWOULDBLOCK ? FG_BUSY : FG_IO, "%s: %s", path,
                   errno == EWOULDBLOCK ? "another run is writing it" : strerror(errno));
  if (fstat(fd, &st) != 0) return fg_fail(err, FG_IO, "%s: cannot open: %s", path, strerror(errno));
  o->file.regular = true;
  o->file.size = (uint64_t)st.st_size;
  size_t size = strlen(path) + sizeof ".journal";
  o->journal_path = malloc(size);
  if (!o->journal_path) return fg_fail(err, FG_NO_SPACE, "out of memory for the output");
  snprintf(o->journal_path, size, "%s.journal", path);
  return FG_OK;
}

static fg_status refuse(const fg_output *o, const char *why, fg_error *err) {
  return fg_fail(err, FG_INVALID, "%s: %s; --overwrite starts from the beginning, or choose another -o",
                 o->file.path, why);
}

// What to do with what is there: start anew, go on with this job's journal, or run the failed rows of a
// finished job again. What belongs to something else is refused, untouched.
typedef enum out_plan { OUT_START, OUT_RESUME, OUT_RETRY_FINISHED } out_plan;

static fg_status decide(const fg_output *o, out_plan *plan, fg_error *err) {
  const fg_output_options *options = &o->options;
  *plan = OUT_START;
  if (options->resume == FG_RESUME_OVERWRITE) return FG_OK;
  fg_journal_state state;
  char differs[64], why[128];
  fg_status status = fg_journal_look(o->journal_path, options->key, &state, differs, err);
  if (status != FG_OK) return status;
  if (state == FG_JOURNAL_OTHER_JOB) {
    snprintf(why, sizeof why, "it was begun by another job (%s differs)", differs);
    return refuse(o, why, err);
  }
  if (state == FG_JOURNAL_THIS_JOB) {
    *plan = OUT_RESUME;
    return options->repeatable ? FG_OK
                               : refuse(o, "it was begun from an input that cannot be read again", err);
  }
  if (o->file.size && options->retry_errors && options->repeatable)
    *plan = OUT_RETRY_FINISHED;
  else if (o->file.size)
    return refuse(o, "it exists and has no journal (a finished job leaves none)", err);
  else if (options->resume == FG_RESUME_REQUIRE)
    return fg_fail(err, FG_NOT_FOUND, "%s: nothing to resume, it does not exist or is empty", o->file.path);
  return FG_OK;
}

static fg_status ask_belongs(fg_output *o, uint64_t row, const char *line, size_t length, fg_error *err) {
  return o->options.belongs(o->options.user, row, line, length, err);
}

// Without a journal only the rows themselves can say that OUT answers this input.
static fg_status check_finished(fg_output *o, fg_error *err) {
  out_scan s;
  fg_status status = scan(o, ask_belongs, &s, err);
  if (status == FG_OK && (s.end != o->file.size || s.rows != o->options.rows))
    status = fg_fail(err, FG_INVALID, "%s: it does not answer this input: %" PRIu64 " rows for %" PRIu64,
                     o->file.path, s.rows, o->options.rows);
  return status;
}

// OUT's whole rows, without its torn end.
static fg_status take_over(fg_output *o, out_scan *s, fg_error *err) {
  fg_status status = scan(o, NULL, s, err);
  if (status == FG_OK && s->rows > o->options.rows)
    status = fg_fail(err, FG_INVALID, "%s: it has %" PRIu64 " rows, the input %" PRIu64, o->file.path,
                     s->rows, o->options.rows);
  if (status == FG_OK && s->end < o->file.size) status = fg_safe_file_cut(&o->file, s->end, err);
  return status;
}

static fg_status move_good_row(fg_output *o, uint64_t row, const char *line, size_t length, fg_error *err) {
  if (row < o->next || fg_output_row_failed(line, length)) return FG_OK;
  return fg_journal_append(o->journal, row, line, length, err);
}

// Calls a row that waits failed or not; drop: failed ones are to run again.
static fg_status look_at_waiting(fg_output *o, bool drop, fg_error *err) {
  for (uint64_t row = o->next; row < fg_journal_end(o->journal); row++) {
    if (!fg_journal_has(o->journal, row)) continue;
    fg_status status = fg_journal_read(o->journal, row, &o->row, err);
    if (status != FG_OK) return status;
    if (!fg_output_row_failed(o->row.data, o->row.length)) continue;
    if (drop)
      fg_journal_forget(o->journal, row);
    else
      o->earlier_failed++;
  }
  return FG_OK;
}

// From the first failed row on, good rows move to the journal; OUT is cut only when they are safe there.
static fg_status retry(fg_output *o, const out_scan *found, fg_error *err) {
  out_scan s;
  fg_status status = look_at_waiting(o, true, err);
  if (status != FG_OK || !found->failed) return status;
  status = scan(o, move_good_row, &s, err);
  if (status == FG_OK) status = fg_journal_sync(o->journal, err);
  if (status == FG_OK) status = fg_safe_file_cut(&o->file, found->good_end, err);
  return status;
}

static fg_status write_waiting(fg_output *o, fg_error *err) {
  fg_status status = FG_OK;
  while (status == FG_OK && fg_journal_has(o->journal, o->next)) {
    status = fg_journal_read(o->journal, o->next, &o->row, err);
    if (status == FG_OK) status = fg_safe_file_append(&o->file, o->row.data, o->row.length, err);
    if (status == FG_OK) fg_journal_set_first(o->journal, ++o->next);
  }
  return status;
}

static fg_status open_regular(fg_output *o, fg_error *err) {
  const fg_output_options *options = &o->options;
  out_plan plan;
  out_scan found = {0};
  fg_status status = decide(o, &plan, err);
  bool again = options->retry_errors && plan != OUT_START;
  if (status == FG_OK && plan == OUT_RETRY_FINISHED) status = check_finished(o, err);
  if (status == FG_OK)
    status = plan == OUT_START ? fg_safe_file_cut(&o->file, 0, err) : take_over(o, &found, err);
  if (status == FG_OK) status = fg_safe_file_sync(&o->file, err);
  if (status != FG_OK) return status;
  o->next = again && found.failed ? found.first_failed : found.rows;
  if (!again) o->earlier_failed = found.failed;
  fg_journal_options journal = {.path = o->journal_path,
                                .key = options->key,
                                .keep = plan == OUT_RESUME,
                                .first = o->next,
                                .memory = options->memory};
  status = fg_journal_open(&o->journal, &journal, err);
  if (status == FG_OK && again) status = retry(o, &found, err);
  if (status == FG_OK) status = look_at_waiting(o, false, err);
  if (status == FG_OK) o->earlier = o->next + fg_journal_waiting(o->journal);
  if (status == FG_OK) status = write_waiting(o, err);
  return status;
}

static fg_status open_pipe(fg_output *o, fg_error *err) {
  fg_journal_options journal = {.key = o->options.key, .memory = o->options.memory};
  return fg_journal_open(&o->journal, &journal, err);
}

fg_status fg_output_open(fg_output **out, const fg_output_options *options, fg_error *err) {
  *out = NULL;
  fg_output *o = calloc(1, sizeof *o);
  if (!o) return fg_fail(err, FG_NO_SPACE, "out of memory for the output");
  o->options = *options;
  o->file.fd = -1;
  fg_status status = open_file(o, err);
  if (status == FG_OK) status = o->file.regular ? open_regular(o, err) : open_pipe(o, err);
  if (status != FG_OK) {
    (void)fg_output_close(o, false, NULL);
    return status;
  }
  *out = o;
  return FG_OK;
}

fg_status fg_output_close(fg_output *o, bool complete, fg_error *err) {
  if (!o) return FG_OK;
  fg_status status = FG_OK;
  if (o->journal) status = fg_output_sync(o, err);
  if (o->journal && status == FG_OK && complete && o->journal_path) unlink(o->journal_path);
  fg_journal_close(o->journal);
  if (o->file.fd >= 0 && close(o->file.fd) != 0 && status == FG_OK) // a full disk may show only here (NFS)
    status = fg_fail(err, FG_IO, "%s: cannot close: %s", o->file.path, strerror(errno));
  fg_text_free(&o->row);
  free(o->journal_path);
  free(o);
  return status;
}

// ---- rows --------------------------------------------------------------------------------------------

bool fg_output_has(const fg_output *o, uint64_t row) {
  return row < o->next || fg_journal_has(o->journal, row);
}

uint64_t fg_output_next(const fg_output *o) {
  return o->next;
}

fg_status fg_output_expect(fg_output *o, uint64_t row, fg_error *err) {
  return fg_journal_expect(o->journal, row, err);
}

fg_status fg_output_put(fg_output *o, uint64_t row, const char *line, size_t length, fg_error *err) {
  if (row != o->next) return fg_journal_append(o->journal, row, line, length, err);
  fg_status status = fg_safe_file_append(&o->file, line, length, err);
  if (status != FG_OK) return status;
  fg_journal_set_first(o->journal, ++o->next);
  return write_waiting(o, err);
}

fg_status fg_output_sync(fg_output *o, fg_error *err) {
  fg_status status = fg_safe_file_sync(&o->file, err);
  if (status == FG_OK) fg_safe_file_uncache(&o->file);
  if (status == FG_OK)
    status = fg_journal_trim(o->journal, err); // what it held is in OUT, and OUT is on the disk
  if (status == FG_OK && o->journal_path) status = fg_journal_sync(o->journal, err);
  return status;
}

void fg_output_earlier(const fg_output *o, uint64_t *rows, uint64_t *failed) {
  *rows = o->earlier;
  *failed = o->earlier_failed;
}

static fg_status show_row(fg_output *o, uint64_t row, const char *line, size_t length, fg_error *err) {
  (void)row;
  return o->visit(o->visitor, line, length, fg_output_row_failed(line, length), err);
}

fg_status fg_output_visit(fg_output *o, fg_output_visitor *visit, void *user, fg_error *err) {
  out_scan s;
  o->visit = visit;
  o->visitor = user;
  fg_status status = scan(o, show_row, &s, err);
  for (uint64_t row = o->next; status == FG_OK && row < fg_journal_end(o->journal); row++) {
    if (!fg_journal_has(o->journal, row)) continue;
    status = fg_journal_read(o->journal, row, &o->row, err);
    if (status == FG_OK) status = show_row(o, row, o->row.data, o->row.length, err);
  }
  return status;
}
