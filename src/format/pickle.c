#include "format/pickle.h"

#include <string.h>

#include "format/checkpoint_files.h"
#include "format/pickle_machine.h"

// The dictionary of tensors: the outermost one, or the only one directly in it that holds any.
static fg_status find_dict(const fg_pickle_machine *m, uint64_t *out, fg_error *err) {
  const uint32_t *tensors = m->dict_tensors.data;
  const fg_pickle_item *items = m->items.data;
  fg_pickle_value root = *(const fg_pickle_value *)m->stack.data;
  if (root.kind != FG_PICKLE_DICT)
    return fg_pickle_fail(m, err, FG_UNSUPPORTED, "it holds no dictionary of tensors");
  *out = root.number;
  if (tensors[root.number] > 0) return FG_OK;
  for (size_t i = 0; i < m->items.count; i++) {
    if (items[i].dict != root.number || items[i].value.kind != FG_PICKLE_DICT ||
        tensors[items[i].value.number] == 0)
      continue;
    if (*out != root.number)
      return fg_pickle_fail(m, err, FG_UNSUPPORTED, "it holds several dictionaries of tensors");
    *out = items[i].value.number;
  }
  return *out != root.number ? FG_OK
                             : fg_pickle_fail(m, err, FG_UNSUPPORTED, "its dictionary holds no tensors");
}

// Behind a string stands an instruction, which has been run by now: the name's NUL can take its place.
static fg_status end_name(fg_pickle_machine *m, fg_pickle_value name, const char **out, fg_error *err) {
  unsigned char *begin = m->pickle + fg_pickle_first(name);
  size_t length = fg_pickle_count(name);
  if (length == 0 || length > FG_MAX_TENSOR_NAME || memchr(begin, 0, length)) {
    return fg_pickle_fail(m, err, FG_CORRUPT,
                          "a tensor's name is empty, longer than 1024 bytes or has a NUL");
  }
  begin[length] = 0;
  *out = (const char *)begin;
  return FG_OK;
}

static fg_status visit_item(fg_pickle_machine *m, const fg_pickle_item *i, fg_pickle_visit *visit, void *user,
                            fg_error *err) {
  const fg_pickle_view *t = (const fg_pickle_view *)m->tensors.data + i->value.number;
  const fg_pickle_storage *s = (const fg_pickle_storage *)m->storages.data + t->storage;
  const fg_pickle_value *cells = m->cells.data;
  fg_pickle_tensor out = {
      .dtype = s->dtype,
      .key = (const char *)m->pickle + fg_pickle_first(s->key),
      .key_length = fg_pickle_count(s->key),
      .storage_elements = s->elements,
      .offset = t->offset,
      .dims = t->dims,
  };
  for (uint32_t d = 0; d < t->dims; d++) {
    out.shape[d] = cells[t->shape + d].number;
    out.stride[d] = cells[t->stride + d].number;
  }
  fg_status status = end_name(m, i->key, &out.name, err);
  return status ? status : visit(user, &out, err);
}

static fg_status visit_tensors(fg_pickle_machine *m, fg_pickle_visit *visit, void *user, fg_error *err) {
  const fg_pickle_item *items = m->items.data;
  uint64_t dict = 0;
  fg_status status = find_dict(m, &dict, err);
  for (size_t i = 0; i < m->items.count && status == FG_OK; i++) {
    if (items[i].dict == dict && items[i].value.kind == FG_PICKLE_TENSOR)
      status = visit_item(m, &items[i], visit, user, err);
  }
  return status;
}

fg_status fg_pickle_tensors(void *pickle, size_t bytes, const char *where, fg_pickle_visit *visit, void *user,
                            fg_error *err) {
  fg_pickle_machine m;
  fg_status status = fg_pickle_machine_init(&m, pickle, bytes, where, err);
  if (status) return status;
  status = fg_pickle_machine_run(&m, err);
  if (status == FG_OK) status = visit_tensors(&m, visit, user, err);
  fg_pickle_machine_free(&m);
  return status;
}
