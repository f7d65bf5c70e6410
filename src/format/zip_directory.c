#include "format/zip_directory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "format/little_endian.h"

// Sizes of the fixed parts of the records, and their signatures.
enum {
  END_BYTES = 22,
  END64_BYTES = 56,
  LOCATOR_BYTES = 20,
  CENTRAL_BYTES = 46,
  LOCAL_BYTES = 30,
  MAX_COMMENT = 65535
};
enum {
  END_MARK = 0x06054b50,
  END64_MARK = 0x06064b50,
  LOCATOR_MARK = 0x07064b50,
  CENTRAL_MARK = 0x02014b50,
  LOCAL_MARK = 0x04034b50
};
enum { ZIP64_EXTRA = 1, FLAG_ENCRYPTED = 1, METHOD_STORED = 0 };

// What the end records say about the central directory.
typedef struct directory {
  uint64_t entries, offset, bytes;
} directory;

static fg_status fail(const fg_file *file, fg_error *err, const char *what) {
  return fg_fail(err, FG_CORRUPT, "%s: broken zip archive: %s", fg_file_path(file), what);
}

static fg_status read_end64(fg_io *io, fg_file *file, uint64_t end, directory *out, fg_error *err) {
  unsigned char locator[LOCATOR_BYTES], record[END64_BYTES];
  if (end < LOCATOR_BYTES) return fail(file, err, "no ZIP64 locator");
  fg_status status = fg_io_read_now(io, file, end - LOCATOR_BYTES, locator, sizeof locator, err);
  if (status) return status;
  if (fg_le32(locator) != LOCATOR_MARK) return fail(file, err, "no ZIP64 locator");
  uint64_t at = fg_le64(locator + 8);
  if (!fg_range_ok(at, END64_BYTES, end - LOCATOR_BYTES))
    return fail(file, err, "ZIP64 end record out of bounds");
  status = fg_io_read_now(io, file, at, record, sizeof record, err);
  if (status) return status;
  if (fg_le32(record) != END64_MARK) return fail(file, err, "no ZIP64 end record");
  if (fg_le32(record + 16) || fg_le32(record + 20)) return fail(file, err, "split over several disks");
  *out = (directory){
      .entries = fg_le64(record + 32), .bytes = fg_le64(record + 40), .offset = fg_le64(record + 48)};
  return FG_OK;
}

// The end record is the last in the file, behind it at most a comment of the length that it states.
static fg_status find_end(fg_io *io, fg_file *file, directory *out, fg_error *err) {
  const uint64_t size = fg_file_size(file);
  if (size < END_BYTES) return fail(file, err, "too short");
  size_t tail = size < END_BYTES + MAX_COMMENT ? (size_t)size : END_BYTES + MAX_COMMENT;
  unsigned char *data = malloc(tail + 1);
  if (!data) return fg_fail(err, FG_NO_SPACE, "%s: no memory for %zu bytes", fg_file_path(file), tail);
  fg_status status = fg_io_read_now(io, file, size - tail, data, tail, err);
  if (status) {
    free(data);
    return status;
  }
  uint64_t end = UINT64_MAX;
  for (size_t at = tail - END_BYTES + 1; at-- > 0 && end == UINT64_MAX;) {
    if (fg_le32(data + at) != END_MARK || fg_le16(data + at + 20) != tail - END_BYTES - at) continue;
    end = size - tail + at;
    *out = (directory){fg_le16(data + at + 10), fg_le32(data + at + 16), fg_le32(data + at + 12)};
    if (fg_le16(data + at + 4) || fg_le16(data + at + 6))
      status = fail(file, err, "split over several disks");
  }
  free(data);
  if (status) return status;
  if (end == UINT64_MAX) return fail(file, err, "no end record (not a zip archive, or cut short)");
  if (out->entries == UINT16_MAX || out->offset == UINT32_MAX || out->bytes == UINT32_MAX) {
    status = read_end64(io, file, end, out, err);
  }
  if (status == FG_OK && !fg_range_ok(out->offset, out->bytes, end))
    status = fail(file, err, "directory out of bounds");
  if (status == FG_OK && out->entries > out->bytes / CENTRAL_BYTES)
    status = fail(file, err, "more entries than its directory can hold");
  return status;
}

// Replaces the fields that say "see ZIP64" by those of the extra field, in its fixed order.
static bool apply_zip64(const unsigned char *extra, size_t length, uint64_t *fields[3]) {
  while (length >= 4) {
    size_t bytes = fg_le16(extra + 2);
    if (bytes > length - 4) return false;
    const unsigned char *value = extra + 4;
    for (int i = 0; fg_le16(extra) == ZIP64_EXTRA && i < 3; i++) {
      if (*fields[i] != UINT32_MAX) continue;
      if ((size_t)(value - extra) + 8 > bytes + 4) return false;
      *fields[i] = fg_le64(value);
      value += 8;
    }
    extra += 4 + bytes;
    length -= 4 + bytes;
  }
  return true;
}

// One record of the central directory; gives its length.
static fg_status read_central(const fg_file *file, const unsigned char *p, size_t left, fg_zip_entry *out,
                              size_t *length, fg_error *err) {
  if (left < CENTRAL_BYTES || fg_le32(p) != CENTRAL_MARK) return fail(file, err, "directory record expected");
  size_t name = fg_le16(p + 28), extra = fg_le16(p + 30);
  *length = CENTRAL_BYTES + name + extra + fg_le16(p + 32);
  if (*length > left) return fail(file, err, "directory record out of bounds");
  uint64_t packed = fg_le32(p + 20), bytes = fg_le32(p + 24), header = fg_le32(p + 42);
  if (!apply_zip64(p + CENTRAL_BYTES + name, extra, (uint64_t *[3]){&bytes, &packed, &header})) {
    return fail(file, err, "ZIP64 field out of bounds");
  }
  *out = (fg_zip_entry){(const char *)p + CENTRAL_BYTES, name, header, bytes};
  int shown = name < 128 ? (int)name : 128;
  if (fg_le16(p + 8) & FLAG_ENCRYPTED || fg_le16(p + 10) != METHOD_STORED) {
    return fg_fail(err, FG_UNSUPPORTED,
                   "%s: zip entry \"%.*s\" is compressed or encrypted; torch stores entries as they are",
                   fg_file_path(file), shown, out->name);
  }
  if (packed != bytes) return fail(file, err, "stored entry with two sizes");
  return FG_OK;
}

static int compare(const char *a, size_t a_length, const char *b, size_t b_length) {
  int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
  return order ? order : a_length < b_length ? -1 : a_length > b_length;
}

static int by_name(const void *a, const void *b) {
  const fg_zip_entry *x = a, *y = b;
  return compare(x->name, x->name_length, y->name, y->name_length);
}

static fg_status read_directory(fg_zip *zip, fg_io *io, fg_file *file, const directory *from, fg_error *err) {
  zip->raw = malloc(from->bytes + 1);
  zip->entries = malloc((from->entries + 1) * sizeof *zip->entries);
  if (!zip->raw || !zip->entries) {
    return fg_fail(err, FG_NO_SPACE, "%s: no memory for a directory of %" PRIu64 " bytes", fg_file_path(file),
                   from->bytes);
  }
  fg_status status = fg_io_read_now(io, file, from->offset, zip->raw, from->bytes, err);
  const unsigned char *p = zip->raw;
  size_t at = 0, length = 0;
  while (status == FG_OK && zip->count < from->entries) {
    status = read_central(file, p + at, from->bytes - at, &zip->entries[zip->count], &length, err);
    if (status) break;
    zip->count++;
    at += length;
  }
  if (status) return status;
  if (at != from->bytes) return fail(file, err, "directory has bytes behind its last entry");
  zip->directory = from->offset;
  qsort(zip->entries, zip->count, sizeof *zip->entries, by_name);
  for (size_t i = 1; i < zip->count; i++) {
    if (by_name(&zip->entries[i - 1], &zip->entries[i]) == 0)
      return fail(file, err, "two entries of one name");
  }
  return FG_OK;
}

fg_status fg_zip_read(fg_zip *out, fg_io *io, fg_file *file, fg_error *err) {
  directory where = {0};
  *out = (fg_zip){0};
  fg_status status = find_end(io, file, &where, err);
  if (status == FG_OK) status = read_directory(out, io, file, &where, err);
  if (status) fg_zip_free(out);
  return status;
}

void fg_zip_free(fg_zip *zip) {
  free(zip->entries);
  free(zip->raw);
  *zip = (fg_zip){0};
}

const fg_zip_entry *fg_zip_find(const fg_zip *zip, const char *name, size_t name_length) {
  fg_zip_entry key = {.name = name, .name_length = name_length};
  return zip->count ? bsearch(&key, zip->entries, zip->count, sizeof key, by_name) : NULL;
}

fg_status fg_zip_locate(const fg_zip *zip, const fg_zip_entry *entry, fg_io *io, fg_file *file,
                        uint64_t *offset, fg_error *err) {
  unsigned char local[LOCAL_BYTES];
  if (!fg_range_ok(entry->header, LOCAL_BYTES, zip->directory)) return fail(file, err, "entry out of bounds");
  fg_status status = fg_io_read_now(io, file, entry->header, local, sizeof local, err);
  if (status) return status;
  if (fg_le32(local) != LOCAL_MARK) return fail(file, err, "entry without its header");
  uint64_t begin = entry->header + LOCAL_BYTES + fg_le16(local + 26) + fg_le16(local + 28);
  if (fg_le16(local + 26) != entry->name_length || fg_le16(local + 8) != METHOD_STORED) {
    return fail(file, err, "entry and directory disagree");
  }
  if (!fg_range_ok(begin, entry->bytes, zip->directory)) return fail(file, err, "entry out of bounds");
  *offset = begin;
  return FG_OK;
}
