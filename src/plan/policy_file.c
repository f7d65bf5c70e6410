#include "plan/policy_file.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/json.h"

enum { MOST_BYTES = 1 << 20 };

typedef struct key {
  const char *name;
  size_t offset; // of the wish
  bool wide;     // 64 bits
  bool told;     // no wish
} key;

#define WISH(field) offsetof(fg_plan_input, field)

static const key keys[] = {
    {"max_num_batched_tokens", WISH(max_tokens), false, false},
    {"max_num_seqs", WISH(max_seqs), false, false},
    {"max_model_len", WISH(max_len), false, false},
    {"kv_device_pages", WISH(device_pages), false, false},
    {"kv_disk_pages", WISH(disk_pages), false, false},
    {"device_weight_bytes", WISH(weight_bytes), true, false},
    {"ring_bytes", WISH(wished_ring), true, false},
    {"device", 0, false, true},
    {"kv_pages", 0, false, true},
    {"kv_host_pages", 0, false, true},
    {"kv_page_tokens", 0, false, true},
    {"kv_page_bytes", 0, false, true},
    {"kv_stage_bytes", 0, false, true},
    {"host_weight_bytes", 0, false, true},
    {"resident_share", 0, false, true},
    {"tables_resident", 0, false, true},
};
enum { KEYS = sizeof keys / sizeof *keys };

static const key *find_key(const char *name) {
  for (int i = 0; i < KEYS; i++)
    if (strcmp(keys[i].name, name) == 0) return &keys[i];
  return NULL;
}

static fg_status take(const key *k, const json_t *value, const char *path, fg_plan_input *wishes,
                      fg_error *err) {
  if (k->told || json_is_null(value)) return FG_OK;
  const json_int_t most = k->wide ? INT64_MAX : INT32_MAX;
  const json_int_t number = json_integer_value(value);
  if (!json_is_integer(value) || number < 0 || number > most)
    return fg_fail(err, FG_INVALID, "%s: %s must be a whole number from 0 to %lld", path, k->name,
                   (long long)most);
  void *wish = (char *)wishes + k->offset;
  if (k->wide && !*(uint64_t *)wish) *(uint64_t *)wish = (uint64_t)number;
  if (!k->wide && !*(uint32_t *)wish) *(uint32_t *)wish = (uint32_t)number;
  return FG_OK;
}

fg_status fg_policy_file_read(const char *path, fg_plan_input *wishes, fg_error *err) {
  json_t *root = fg_json_read_file(path, MOST_BYTES, err);
  if (!root) return err ? err->status : FG_INVALID;
  json_t *inner = json_object_get(root, "policy"), *policy = inner ? inner : root;
  fg_status status = FG_OK;
  if (!json_is_object(policy))
    status = fg_fail(err, FG_INVALID, "%s: a policy is an object, as flexgen plan --json prints it", path);
  const char *name;
  json_t *value;
  if (status == FG_OK) json_object_foreach(policy, name, value) {
      const key *k = find_key(name);
      status = k ? take(k, value, path, wishes, err)
                 : fg_fail(err, FG_INVALID, "%s: a policy has no key \"%.60s\"", path, name);
      if (status != FG_OK) break;
    }
  json_decref(root);
  return status;
}
