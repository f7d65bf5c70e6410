#include "device/device.h"

#include <stdio.h>
#include <string.h>

#include "device/cpu_device.h"
#include "device/fake_device.h"

typedef struct device_kind {
  const char *name;
  fg_status (*create)(fg_device **out, const fg_device_options *options, fg_error *err);
  uint64_t (*scratch_bytes)(const fg_device_options *options);
  const fg_layout_family *(*family)(void);
  bool in_host_memory;
} device_kind;

static const device_kind kinds[] = {
    {"cpu", fg_cpu_device_create, fg_cpu_device_scratch_bytes, fg_layout_family_cpu, true},
    {"fake", fg_fake_device_create, fg_fake_device_scratch_bytes, fg_layout_family_plain, false},
};

static const device_kind *find(const char *name) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
  return NULL;
}

static fg_status unknown(const char *name, fg_error *err) {
  char known[128] = "";
  size_t used = 0;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds && used < sizeof known; i++)
    used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", kinds[i].name);
  return fg_fail(err, FG_INVALID, "no device is called '%s'; there are: %s", name, known);
}

fg_status fg_device_create(fg_device **out, const char *name, const fg_device_options *options,
                           fg_error *err) {
  const device_kind *kind = find(name);
  if (!kind) return unknown(name, err);
  return kind->create(out, options, err);
}

void fg_device_destroy(fg_device *device) {
  if (device) device->ops->destroy(device);
}

uint64_t fg_device_scratch_bytes(const char *name, const fg_device_options *options) {
  const device_kind *kind = find(name);
  return kind ? kind->scratch_bytes(options) : 0;
}

const fg_layout_family *fg_device_family(const char *name) {
  const device_kind *kind = find(name);
  return kind ? kind->family() : NULL;
}

bool fg_device_in_host_memory(const char *name) {
  const device_kind *kind = find(name);
  return kind && kind->in_host_memory;
}
