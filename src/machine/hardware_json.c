#include "machine/hardware_json.h"

#include <math.h>
#include <string.h>

#include "base/json.h"

enum { MOST_BYTES = 1 << 16 };

typedef struct number_field {
  const char *key;
  size_t offset;
  bool bytes; // of 64 bits; else a rate, or seconds
} number_field;

#define FIELD(name, bytes)                                                                                   \
  { #name, offsetof(fg_hardware, name), bytes }

static const number_field fields[] = {
    FIELD(device_bytes, true),   FIELD(host_bytes, true),   FIELD(disk_bytes, true),
    FIELD(device_memory, false), FIELD(host_memory, false), FIELD(link, false),
    FIELD(pageable_out, false),  FIELD(pinning, false),     FIELD(disk_read, false),
    FIELD(disk_write, false),    FIELD(product, false),     FIELD(launch, false),
};
enum { FIELDS = sizeof fields / sizeof *fields };

static double value_of(const fg_hardware *hw, const number_field *f) {
  const char *at = (const char *)hw + f->offset;
  return f->bytes ? (double)*(const uint64_t *)(const void *)at : *(const double *)(const void *)at;
}

static void set_value(fg_hardware *hw, const number_field *f, double value) {
  char *at = (char *)hw + f->offset;
  if (f->bytes)
    *(uint64_t *)(void *)at = (uint64_t)value;
  else
    *(double *)(void *)at = value;
}

static bool is_key(const char *key) {
  for (int i = 0; i < FIELDS; i++)
    if (strcmp(fields[i].key, key) == 0) return true;
  return strcmp(key, "machine") == 0 || strcmp(key, "about") == 0 || strcmp(key, "unified") == 0;
}

static fg_status check_keys(const char *path, const json_t *root, fg_error *err) {
  if (!json_is_object(root)) return fg_fail(err, FG_INVALID, "%s: a machine is a JSON object", path);
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)root, key, value) {
    if (!is_key(key))
      return fg_fail(err, FG_INVALID, "%s: \"%s\" is no figure of a machine; docs/simulator.md lists them",
                     path, key);
  }
  return FG_OK;
}

static fg_status read_base(const char *path, const json_t *root, fg_hardware *out, fg_error *err) {
  const char *name;
  fg_status status = fg_json_string(root, "machine", NULL, &name, err);
  if (status != FG_OK || !name) return status;
  const fg_hardware *known = fg_hardware_known(name);
  char names[128];
  fg_hardware_names(names, sizeof names);
  if (!known)
    return fg_fail(err, FG_INVALID, "%s: no machine is called \"%s\"; there are: %s", path, name, names);
  *out = *known;
  return FG_OK;
}

static fg_status read_numbers(const char *path, const json_t *root, fg_hardware *out, fg_error *err) {
  fg_status status = fg_json_bool(root, "unified", out->unified, &out->unified, err);
  for (int i = 0; status == FG_OK && i < FIELDS; i++) {
    const number_field *f = &fields[i];
    double value;
    status = fg_json_f64(root, f->key, value_of(out, f), &value, err);
    // A machine whose memory is one has none of the device's own.
    const bool may_be_0 = f->offset == offsetof(fg_hardware, device_bytes) && out->unified;
    const double most = f->bytes ? 0x1p60 : 1e18;
    if (status == FG_OK && !(isfinite(value) && value <= most && (value > 0 || (may_be_0 && value == 0))))
      return fg_fail(err, FG_INVALID, "%s: \"%s\" must be a number above 0%s", path, f->key,
                     json_object_get(root, f->key) ? "" : "; it is missing, and no \"machine\" gives it");
    if (status == FG_OK) set_value(out, f, value);
  }
  return status;
}

static fg_status read_file(fg_hardware *out, const char *path, fg_error *err) {
  fg_error cause;
  json_t *root = fg_json_read_file(path, MOST_BYTES, &cause);
  char names[128];
  fg_hardware_names(names, sizeof names);
  if (!root) return fg_fail(err, FG_INVALID, "%s; a machine is a file, or one of %s", cause.message, names);
  fg_status status = check_keys(path, root, err);
  *out = (fg_hardware){.name = "machine", .about = "from a file"};
  if (status == FG_OK) status = read_base(path, root, out, err);
  if (status == FG_OK) status = read_numbers(path, root, out, err);
  json_decref(root);
  return status;
}

fg_status fg_hardware_find(fg_hardware *out, const char *word, fg_error *err) {
  const fg_hardware *known = fg_hardware_known(word);
  if (!known) return read_file(out, word, err);
  *out = *known;
  return FG_OK;
}
