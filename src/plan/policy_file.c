#include "plan/policy_file.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/json.h"

enum { MOST_BYTES = 1 << 20 };

typedef enum kind { NUMBER, BYTES, ORDER, TOLD } kind; // TOLD: no wish

typedef struct key {
  const char *name;
  kind kind;
  size_t offset; // of the wish
  int64_t most;
} key;

#define WISH(field) offsetof(fg_plan_input, field)

static const key keys[] = {
    {"max_num_batched_tokens", NUMBER, WISH(max_tokens), INT32_MAX},
    {"max_num_seqs", NUMBER, WISH(max_seqs), INT32_MAX},
    {"max_model_len", NUMBER, WISH(max_len), INT32_MAX},
    {"row_order", ORDER, WISH(order), 0},
    {"kv_device_pages", NUMBER, WISH(device_pages), INT32_MAX},
    {"kv_disk_pages", NUMBER, WISH(disk_pages), INT32_MAX},
    {"device_weight_bytes", BYTES, WISH(weight_bytes), INT64_MAX},
    {"ring_bytes", BYTES, WISH(wished_ring), INT64_MAX},
    {"kv_frames", NUMBER, WISH(frames), FG_POLICY_MOST_FRAMES},
    {"kv_frame_pages", NUMBER, WISH(frame_pages), FG_POLICY_MOST_FRAME_PAGES},
    {"micro_batch_tokens", NUMBER, WISH(micro_tokens), INT32_MAX},
    {"hidden_memory_tokens", NUMBER, WISH(hidden_rows), INT32_MAX},
    {"hidden_host_tokens", TOLD, 0, 0},
    {"hidden_disk_tokens", TOLD, 0, 0},
    {"device", TOLD, 0, 0},
    {"kv_pages", TOLD, 0, 0},
    {"kv_host_pages", TOLD, 0, 0},
    {"kv_page_tokens", TOLD, 0, 0},
    {"kv_page_bytes", TOLD, 0, 0},
    {"kv_stage_bytes", TOLD, 0, 0},
    {"host_weight_bytes", TOLD, 0, 0},
    {"resident_share", TOLD, 0, 0},
    {"tables_resident", TOLD, 0, 0},
};
enum { KEYS = sizeof keys / sizeof *keys };

static const char *const order_names[] = {[FG_ORDER_INPUT] = "input", [FG_ORDER_LONGEST] = "longest"};
enum { ORDERS = sizeof order_names / sizeof *order_names };

const char *fg_row_order_name(fg_row_order order) {
  return order_names[order];
}

static const key *find_key(const char *name) {
  for (int i = 0; i < KEYS; i++)
    if (strcmp(keys[i].name, name) == 0) return &keys[i];
  return NULL;
}

static fg_status take_number(const key *k, const json_t *value, const char *path, void *wish, fg_error *err) {
  const json_int_t number = json_integer_value(value);
  if (!json_is_integer(value) || number < 0 || number > k->most)
    return fg_fail(err, FG_INVALID, "%s: %s must be a whole number from 0 to %lld", path, k->name,
                   (long long)k->most);
  if (k->kind == BYTES && !*(uint64_t *)wish) *(uint64_t *)wish = (uint64_t)number;
  if (k->kind == NUMBER && !*(uint32_t *)wish) *(uint32_t *)wish = (uint32_t)number;
  return FG_OK;
}

static fg_status take_order(const key *k, const json_t *value, const char *path, fg_row_order *wish,
                            fg_error *err) {
  const char *name = json_string_value(value);
  for (int order = FG_ORDER_INPUT; name && order < ORDERS; order++) {
    if (strcmp(name, order_names[order]) != 0) continue;
    if (*wish == FG_ORDER_CHOOSE) *wish = (fg_row_order)order;
    return FG_OK;
  }
  return fg_fail(err, FG_INVALID, "%s: %s must be \"%s\" or \"%s\"", path, k->name,
                 order_names[FG_ORDER_INPUT], order_names[FG_ORDER_LONGEST]);
}

static fg_status take(const key *k, const json_t *value, const char *path, fg_plan_input *wishes,
                      fg_error *err) {
  if (k->kind == TOLD || json_is_null(value)) return FG_OK;
  void *wish = (char *)wishes + k->offset;
  return k->kind == ORDER ? take_order(k, value, path, wish, err) : take_number(k, value, path, wish, err);
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
