#include "text/json_span.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { TREE_MAX = 512 * 1024 };

fg_status fg_json_stream_open(fg_json_scan *scan, fg_json_span json, const char *where, fg_error *err) {
  char *copy = malloc(json.length + 1);
  if (!copy) return fg_fail(err, FG_NO_SPACE, "%s: out of memory for %zu bytes", where, json.length);
  memcpy(copy, json.text, json.length);
  copy[json.length] = 0;
  *scan = (fg_json_scan){.text = copy, .length = json.length, .where = where};
  return FG_OK;
}

void fg_json_stream_close(fg_json_scan *scan) {
  free(scan->text);
  scan->text = NULL;
}

static fg_status visit_one(fg_json_scan *scan, fg_json_span json, bool object, fg_json_visit *visit,
                           void *user, fg_error *err) {
  char *key = NULL;
  fg_status status = object ? fg_scan_key(scan, &key, err) : FG_OK;
  if (status) return status;
  fg_scan_peek(scan);
  size_t begin = scan->at;
  status = fg_scan_skip(scan, err);
  return status ? status : visit(user, key, (fg_json_span){json.text + begin, scan->at - begin}, err);
}

fg_status fg_json_each(fg_json_span json, const char *where, fg_json_visit *visit, void *user,
                       fg_error *err) {
  fg_json_scan scan;
  fg_status status = fg_json_stream_open(&scan, json, where, err);
  if (status) return status;
  bool object = fg_scan_peek(&scan) == '{';
  status = fg_scan_take(&scan, object ? '{' : '[', err);
  for (size_t i = 0; status == FG_OK; i++) {
    bool more = false;
    status = fg_scan_next(&scan, i, object ? '}' : ']', &more, err);
    if (status || !more) break;
    status = visit_one(&scan, json, object, visit, user, err);
  }
  if (status == FG_OK) status = fg_scan_end(&scan, err);
  fg_json_stream_close(&scan);
  return status;
}

typedef struct pick {
  const char *const *keys;
  size_t count;
  fg_json_span *out;
} pick;

static fg_status pick_one(void *user, const char *key, fg_json_span value, fg_error *err) {
  (void)err;
  const pick *p = user;
  for (size_t i = 0; key && i < p->count; i++) {
    if (strcmp(p->keys[i], key) == 0) p->out[i] = value;
  }
  return FG_OK;
}

fg_status fg_json_pick(fg_json_span json, const char *where, const char *const *keys, size_t count,
                       fg_json_span *out, fg_error *err) {
  pick p = {keys, count, out};
  for (size_t i = 0; i < count; i++) out[i] = (fg_json_span){0};
  return fg_json_each(json, where, pick_one, &p, err);
}

fg_status fg_json_tree(fg_json_span json, const char *where, json_t **out, fg_error *err) {
  *out = NULL;
  if (!json.text) return FG_OK;
  if (json.length > TREE_MAX) {
    return fg_fail(err, FG_UNSUPPORTED, "%s: a value of %zu bytes where at most %d are expected", where,
                   json.length, TREE_MAX);
  }
  *out = fg_json_parse(json.text, json.length, where, err);
  return *out ? FG_OK : fg_fail_prefix(err, "tokenizer");
}
