#include "format/shard_index.h"

#include <stdlib.h>
#include <string.h>

#include "format/json_scan.h"
#include "format/whole_file.h"

// The largest published indexes have some 90,000 tensors in 10 MB.
enum { MAX_INDEX_BYTES = 64 * 1024 * 1024, MAX_ENTRIES = 1 << 20 };

typedef struct reader {
  fg_json_scan scan;
  fg_shard_index *index;
  size_t capacity;
} reader;

static fg_status add_entry(reader *r, const char *tensor, const char *file, fg_error *err) {
  fg_shard_index *index = r->index;
  if (*file == 0 || strpbrk(file, "/\\") || strstr(file, "..")) {
    return fg_fail(err, FG_CORRUPT,
                   "%s: tensor \"%.128s\" is said to be in \"%.128s\", which is no plain file name",
                   r->scan.where, tensor, file);
  }
  if (index->count == MAX_ENTRIES) {
    return fg_fail(err, FG_UNSUPPORTED, "%s lists more than %d tensors", r->scan.where, MAX_ENTRIES);
  }
  if (index->count == r->capacity) {
    size_t capacity = r->capacity ? 2 * r->capacity : 256;
    fg_shard_entry *grown = realloc(index->entries, capacity * sizeof *grown);
    if (!grown) return fg_fail(err, FG_NO_SPACE, "%s: no memory for %zu entries", r->scan.where, capacity);
    index->entries = grown;
    r->capacity = capacity;
  }
  index->entries[index->count++] = (fg_shard_entry){.tensor = tensor, .file = file};
  return FG_OK;
}

static fg_status parse_weight_map(reader *r, fg_error *err) {
  bool more;
  fg_status status = fg_scan_take(&r->scan, '{', err);
  for (size_t i = 0; status == FG_OK; i++) {
    char *tensor, *file;
    status = fg_scan_next(&r->scan, i, '}', &more, err);
    if (status || !more) break;
    status = fg_scan_key(&r->scan, &tensor, err);
    if (status == FG_OK) status = fg_scan_string(&r->scan, &file, err);
    if (status == FG_OK) status = add_entry(r, tensor, file, err);
  }
  return status;
}

static fg_status parse_index(reader *r, fg_error *err) {
  bool more, found = false;
  fg_status status = fg_scan_take(&r->scan, '{', err);
  for (size_t i = 0; status == FG_OK; i++) {
    char *key;
    status = fg_scan_next(&r->scan, i, '}', &more, err);
    if (status || !more) break;
    status = fg_scan_key(&r->scan, &key, err);
    if (status) break;
    bool is_map = strcmp(key, "weight_map") == 0;
    if (is_map && found) return fg_fail(err, FG_CORRUPT, "%s has \"weight_map\" twice", r->scan.where);
    found = found || is_map;
    status = is_map ? parse_weight_map(r, err) : fg_scan_skip(&r->scan, err);
  }
  if (status == FG_OK) status = fg_scan_end(&r->scan, err);
  if (status == FG_OK && r->index->count == 0) {
    status = fg_fail(err, FG_CORRUPT, "%s lists no tensors in a \"weight_map\"", r->scan.where);
  }
  return status;
}

static int by_tensor(const void *a, const void *b) {
  return strcmp(((const fg_shard_entry *)a)->tensor, ((const fg_shard_entry *)b)->tensor);
}

static int by_file(const void *a, const void *b) {
  int order = strcmp(((const fg_shard_entry *)a)->file, ((const fg_shard_entry *)b)->file);
  return order ? order : by_tensor(a, b);
}

static fg_status number_shards(fg_shard_index *index, const char *path, fg_error *err) {
  qsort(index->entries, index->count, sizeof *index->entries, by_tensor);
  for (size_t i = 1; i < index->count; i++) {
    if (by_tensor(&index->entries[i - 1], &index->entries[i]) == 0) {
      return fg_fail(err, FG_CORRUPT, "%s lists tensor \"%.128s\" twice", path, index->entries[i].tensor);
    }
  }
  qsort(index->entries, index->count, sizeof *index->entries, by_file);
  for (size_t i = 1; i < index->count; i++) {
    const fg_shard_entry *before = &index->entries[i - 1];
    index->entries[i].shard = before->shard + (strcmp(before->file, index->entries[i].file) != 0);
  }
  return FG_OK;
}

fg_status fg_shard_index_read(fg_shard_index *out, const char *path, fg_error *err) {
  *out = (fg_shard_index){0};
  void *text;
  size_t bytes;
  fg_status status = fg_read_whole(path, MAX_INDEX_BYTES, &text, &bytes, err);
  if (status) return status;
  out->text = text;
  reader r = {.scan = {.text = out->text, .length = bytes, .where = path}, .index = out};
  status = parse_index(&r, err);
  if (status == FG_OK) status = number_shards(out, path, err);
  if (status) fg_shard_index_free(out);
  return status;
}

void fg_shard_index_free(fg_shard_index *index) {
  free(index->entries);
  free(index->text);
  *index = (fg_shard_index){0};
}
