#include "job/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "job/safe_file.h"

typedef struct record_head {
  uint32_t magic, length;
  uint64_t row, checksum;
} record_head;

static const uint32_t MAGIC = 0x314a4746; // "FGJ1"
static const uint64_t HEADER_ROW = UINT64_MAX;
enum {
  LARGEST_RECORD = 1 << 30,
  LARGEST_WINDOW = 1 << 28,
  FIRST_CAPACITY = 1024,
  READ_CHUNK = 64 << 10,
  SPARE = 16 << 20, // rewriting less is not worth its syncs
};

// Where a waiting row stands; length 0: it does not wait.
typedef struct place {
  uint64_t offset;
  uint32_t length;
} place;

struct fg_journal {
  fg_safe_file file;
  char *path, *new_path; // new_path NULL: a file without a name
  uint64_t header_bytes, spare;
  fg_job_memory *memory;
  uint64_t first, end, waiting; // rows in [first, end) have places
  uint64_t waiting_bytes;       // of their records
  place *ring;                  // [capacity], by row modulo capacity
  uint64_t capacity;
  fg_text scratch;
};

static uint64_t checksum(const record_head *head, const void *payload) {
  uint64_t fields[2] = {head->length, head->row};
  return fg_hash_more(fg_hash(fields, sizeof fields), payload, head->length);
}

// ---- reading what stands there -----------------------------------------------------------------------

// The record at `offset` into `payload`; *whole is false where the file ends or is torn.
static fg_status read_record(const fg_safe_file *file, uint64_t offset, record_head *head, fg_text *payload,
                             bool *whole, fg_error *err) {
  *whole = false;
  fg_text_clear(payload);
  if (offset > file->size || file->size - offset < sizeof *head) return FG_OK;
  fg_status status = fg_safe_file_read(file, offset, head, sizeof *head, err);
  if (status != FG_OK) return status;
  if (head->magic != MAGIC || head->length > LARGEST_RECORD ||
      head->length > file->size - offset - sizeof *head)
    return FG_OK;
  char chunk[READ_CHUNK];
  for (uint32_t done = 0; done < head->length;) {
    uint32_t count = head->length - done < sizeof chunk ? head->length - done : (uint32_t)sizeof chunk;
    status = fg_safe_file_read(file, offset + sizeof *head + done, chunk, count, err);
    if (status != FG_OK) return status;
    fg_text_append(payload, chunk, count);
    done += count;
  }
  if (fg_text_failed(payload)) return fg_fail(err, FG_NO_SPACE, "%s: out of memory for a row", file->path);
  *whole = checksum(head, payload->data ? payload->data : "") == head->checksum;
  return FG_OK;
}

static void name_difference(const char *a, const char *b, char differs[64]) {
  while (*a && *b) {
    size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
    if (n != m || memcmp(a, b, n) != 0) break;
    a += n + (a[n] != 0);
    b += m + (b[m] != 0);
  }
  snprintf(differs, 64, "%.*s", (int)strcspn(*b ? b : a, " \n"), *b ? b : a);
}

fg_status fg_journal_look(const char *path, const fg_journal_key *key, fg_journal_state *state,
                          char differs[64], fg_error *err) {
  *state = FG_JOURNAL_NONE;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT ? FG_OK : fg_fail(err, FG_IO, "%s: cannot open: %s", path, strerror(errno));
  struct stat st;
  fg_safe_file file = {.fd = fd, .path = path, .regular = true};
  if (fstat(fd, &st) == 0) file.size = (uint64_t)st.st_size;
  fg_text payload = {0};
  record_head head;
  bool whole;
  fg_status status = read_record(&file, 0, &head, &payload, &whole, err);
  if (status == FG_OK && whole && head.row == HEADER_ROW) {
    bool same = payload.length == strlen(key->text) && memcmp(payload.data, key->text, payload.length) == 0;
    *state = same ? FG_JOURNAL_THIS_JOB : FG_JOURNAL_OTHER_JOB;
    if (!same) name_difference(payload.data ? payload.data : "", key->text, differs);
  }
  fg_text_free(&payload);
  close(fd);
  return status;
}

// ---- places in memory --------------------------------------------------------------------------------

static place *place_of(const fg_journal *j, uint64_t row) {
  return &j->ring[row & (j->capacity - 1)];
}

fg_status fg_journal_expect(fg_journal *j, uint64_t row, fg_error *err) {
  if (row - j->first >= LARGEST_WINDOW)
    return fg_fail(err, FG_NO_SPACE, "%s: row %" PRIu64 " is too far ahead of row %" PRIu64 " to wait for it",
                   j->file.path, row, j->first);
  uint64_t capacity = j->capacity ? j->capacity : FIRST_CAPACITY;
  while (row - j->first >= capacity) capacity *= 2;
  if (capacity == j->capacity) return FG_OK;
  fg_status status =
      fg_job_memory_take(j->memory, capacity * sizeof(place), "rows that wait for an earlier one", err);
  if (status != FG_OK) return status;
  place *ring = calloc(capacity, sizeof *ring);
  if (!ring) {
    fg_job_memory_give(j->memory, capacity * sizeof(place));
    return fg_fail(err, FG_NO_SPACE, "out of memory for rows that wait for an earlier one");
  }
  for (uint64_t r = j->first; r < j->end; r++) ring[r & (capacity - 1)] = *place_of(j, r);
  fg_job_memory_give(j->memory, j->capacity * sizeof(place));
  free(j->ring);
  j->ring = ring;
  j->capacity = capacity;
  return FG_OK;
}

static void keep_place(fg_journal *j, uint64_t row, uint64_t offset, uint32_t length) {
  for (; j->end <= row; j->end++) *place_of(j, j->end) = (place){0};
  fg_journal_forget(j, row); // the later record counts
  j->waiting++;
  j->waiting_bytes += sizeof(record_head) + length;
  *place_of(j, row) = (place){offset, length};
}

bool fg_journal_has(const fg_journal *j, uint64_t row) {
  return row >= j->first && row < j->end && place_of(j, row)->length;
}

void fg_journal_forget(fg_journal *j, uint64_t row) {
  if (!fg_journal_has(j, row)) return;
  j->waiting_bytes -= sizeof(record_head) + place_of(j, row)->length;
  place_of(j, row)->length = 0;
  j->waiting--;
}

void fg_journal_set_first(fg_journal *j, uint64_t first) {
  for (uint64_t row = j->first; row < first && row < j->end; row++) fg_journal_forget(j, row);
  j->first = first;
  if (j->end < first) j->end = first;
}

uint64_t fg_journal_waiting(const fg_journal *j) {
  return j->waiting;
}
uint64_t fg_journal_end(const fg_journal *j) {
  return j->end;
}

// ---- open --------------------------------------------------------------------------------------------

static fg_status append_record(fg_safe_file *file, fg_text *scratch, uint64_t row, const char *bytes,
                               size_t length, fg_error *err) {
  record_head head = {.magic = MAGIC, .length = (uint32_t)length, .row = row};
  head.checksum = checksum(&head, bytes);
  fg_text_clear(scratch);
  fg_text_append(scratch, &head, sizeof head);
  fg_text_append(scratch, bytes, length);
  if (fg_text_failed(scratch)) return fg_fail(err, FG_NO_SPACE, "%s: out of memory for a row", file->path);
  return fg_safe_file_append(file, scratch->data, scratch->length, err);
}

// Takes over the records of an earlier run and cuts off what is torn behind them.
static fg_status load(fg_journal *j, fg_error *err) {
  uint64_t offset = 0;
  for (;;) {
    record_head head;
    bool whole;
    fg_status status = read_record(&j->file, offset, &head, &j->scratch, &whole, err);
    if (status != FG_OK) return status;
    if (!whole) return offset == j->file.size ? FG_OK : fg_safe_file_cut(&j->file, offset, err);
    uint64_t payload = offset + sizeof head;
    offset = payload + head.length;
    if (head.row == HEADER_ROW) {
      j->header_bytes = offset;
      continue;
    }
    if (head.row < j->first || !head.length) continue;
    status = fg_journal_expect(j, head.row, err);
    if (status != FG_OK) return status;
    keep_place(j, head.row, payload, head.length);
  }
}

static int open_unnamed(void) {
  const char *folder = getenv("TMPDIR");
  char path[256];
  if ((size_t)snprintf(path, sizeof path, "%s/flexgen-rows-XXXXXX", folder && *folder ? folder : "/tmp") >=
      sizeof path)
    return -1;
  int fd = mkostemp(path, O_APPEND | O_CLOEXEC);
  if (fd >= 0) unlink(path);
  return fd;
}

static fg_status name_files(fg_journal *j, const char *path, fg_error *err) {
  j->path = strdup(path ? path : "the file for rows that wait");
  if (path && asprintf(&j->new_path, "%s.new", path) < 0) j->new_path = NULL;
  if (!j->path || (path && !j->new_path)) return fg_fail(err, FG_NO_SPACE, "out of memory for the journal");
  if (path) unlink(j->new_path); // a crash may have left one; it was never the journal
  return FG_OK;
}

static fg_status start(fg_journal *j, const fg_journal_options *options, fg_error *err) {
  const char *path = options->path;
  fg_status named = name_files(j, path, err);
  if (named != FG_OK) return named;
  int flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | (options->keep ? 0 : O_TRUNC);
  int fd = path ? open(path, flags, 0666) : open_unnamed();
  j->file = (fg_safe_file){.fd = fd, .path = j->path, .regular = true};
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0)
    return fg_fail(err, FG_IO, "%s: cannot open: %s", j->path, strerror(errno));
  j->file.size = (uint64_t)st.st_size;
  if (options->keep) return load(j, err);
  fg_status status =
      append_record(&j->file, &j->scratch, HEADER_ROW, options->key->text, strlen(options->key->text), err);
  j->header_bytes = j->file.size;
  if (status == FG_OK && path) status = fg_safe_file_sync(&j->file, err);
  if (status == FG_OK && path) fg_safe_file_sync_name(path);
  return status;
}

fg_status fg_journal_open(fg_journal **out, const fg_journal_options *options, fg_error *err) {
  *out = NULL;
  fg_journal *j = calloc(1, sizeof *j);
  if (!j) return fg_fail(err, FG_NO_SPACE, "out of memory for the journal");
  j->memory = options->memory;
  j->spare = options->spare ? options->spare : SPARE;
  j->first = j->end = options->first;
  j->file.fd = -1;
  fg_status status = start(j, options, err);
  if (status != FG_OK) {
    fg_journal_close(j);
    return status;
  }
  *out = j;
  return FG_OK;
}

void fg_journal_close(fg_journal *j) {
  if (!j) return;
  if (j->file.fd >= 0) close(j->file.fd);
  fg_job_memory_give(j->memory, j->capacity * sizeof(place));
  fg_text_free(&j->scratch);
  free(j->ring);
  free(j->path);
  free(j->new_path);
  free(j);
}

// ---- rows --------------------------------------------------------------------------------------------

fg_status fg_journal_append(fg_journal *j, uint64_t row, const char *bytes, size_t length, fg_error *err) {
  if (length == 0 || length > LARGEST_RECORD)
    return fg_fail(err, FG_UNSUPPORTED, "row %" PRIu64 " has %zu bytes, at most %d can be kept", row, length,
                   LARGEST_RECORD);
  fg_status status = fg_journal_expect(j, row, err);
  uint64_t payload = j->file.size + sizeof(record_head);
  if (status == FG_OK) status = append_record(&j->file, &j->scratch, row, bytes, length, err);
  if (status == FG_OK) keep_place(j, row, payload, (uint32_t)length);
  return status;
}

fg_status fg_journal_read(fg_journal *j, uint64_t row, fg_text *bytes, fg_error *err) {
  const place *p = place_of(j, row);
  record_head head;
  bool whole;
  fg_status status = read_record(&j->file, p->offset - sizeof head, &head, bytes, &whole, err);
  if (status == FG_OK && (!whole || head.row != row))
    status = fg_fail(err, FG_CORRUPT, "%s: the record of row %" PRIu64 " has changed under way", j->file.path,
                     row);
  return status;
}

fg_status fg_journal_sync(fg_journal *j, fg_error *err) {
  return fg_safe_file_sync(&j->file, err);
}

// ---- what nobody waits for goes ------------------------------------------------------------------------

static fg_status copy_waiting(fg_journal *j, fg_safe_file *to, fg_error *err) {
  fg_text payload = {0};
  record_head head;
  bool whole;
  fg_status status = read_record(&j->file, 0, &head, &payload, &whole, err);
  if (status == FG_OK && !whole) status = fg_fail(err, FG_CORRUPT, "%s: its head has changed", j->file.path);
  if (status == FG_OK) status = append_record(to, &j->scratch, HEADER_ROW, payload.data, payload.length, err);
  for (uint64_t row = j->first; status == FG_OK && row < j->end; row++) {
    if (!fg_journal_has(j, row)) continue;
    status = fg_journal_read(j, row, &payload, err);
    if (status == FG_OK) status = append_record(to, &j->scratch, row, payload.data, payload.length, err);
  }
  fg_text_free(&payload);
  if (status == FG_OK && j->new_path) status = fg_safe_file_sync(to, err);
  return status;
}

static fg_status change_files(fg_journal *j, const fg_safe_file *to, fg_error *err) {
  if (j->new_path && rename(j->new_path, j->path) != 0)
    return fg_fail(err, FG_IO, "%s: cannot rename: %s", j->new_path, strerror(errno));
  if (j->new_path) fg_safe_file_sync_name(j->path);
  close(j->file.fd);
  j->file = *to;
  uint64_t offset = j->header_bytes;
  for (uint64_t row = j->first; row < j->end; row++) {
    if (!fg_journal_has(j, row)) continue;
    place *p = place_of(j, row);
    p->offset = offset + sizeof(record_head);
    offset = p->offset + p->length;
  }
  return FG_OK;
}

static fg_status rewrite(fg_journal *j, fg_error *err) {
  int fd = j->new_path ? open(j->new_path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666)
                       : open_unnamed();
  if (fd < 0) return fg_fail(err, FG_IO, "%s: cannot open a new one: %s", j->path, strerror(errno));
  fg_safe_file to = {.fd = fd, .path = j->path, .regular = true};
  fg_status status = copy_waiting(j, &to, err);
  if (status == FG_OK) status = change_files(j, &to, err);
  if (status == FG_OK) return FG_OK;
  close(fd);
  if (j->new_path) unlink(j->new_path);
  return status == FG_DISK_FULL ? FG_OK : status; // the old one serves as well
}

fg_status fg_journal_trim(fg_journal *j, fg_error *err) {
  const uint64_t records = j->file.size - j->header_bytes, dead = records - j->waiting_bytes;
  if (!dead) return FG_OK;
  if (!j->waiting) return fg_safe_file_cut(&j->file, j->header_bytes, err);
  return dead > j->spare && dead > j->waiting_bytes ? rewrite(j, err) : FG_OK;
}
