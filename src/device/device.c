#include "device/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cpu_device.h"
#include "device/fake_device.h"
#include "device/opencl_device.h"
#include "device/simulated_device.h"

typedef struct device_kind {
  const char *name;
  fg_status (*create)(fg_device **out, const fg_device_options *options, fg_error *err);
  uint64_t (*scratch_bytes)(const fg_device_options *options);
  const fg_layout_family *(*family)(void);
  bool in_host_memory;
  bool only_f32; // whatever arithmetic is asked for
  bool sparse;   // has kernels for sparse attention
  // NULL: there is one, whose memory is what a user says.
  fg_status (*find)(uint32_t number, fg_device_found *out, fg_error *err);
} device_kind;

static const device_kind kinds[] = {
    {"cpu", fg_cpu_device_create, fg_cpu_device_scratch_bytes, fg_layout_family_cpu, true, false, true, NULL},
    {"fake", fg_fake_device_create, fg_fake_device_scratch_bytes, fg_layout_family_plain, false, false, true,
     NULL},
    {"opencl", fg_opencl_device_create, fg_opencl_device_scratch_bytes, fg_layout_family_plain, false, true,
     false, fg_opencl_device_find},
    {"simulated", fg_simulated_device_create, fg_simulated_device_scratch_bytes, fg_layout_family_plain,
     false, false, true, NULL},
    {"simulated-unified", fg_simulated_device_create, fg_simulated_device_scratch_bytes,
     fg_layout_family_plain, true, false, true, NULL},
};

// "opencl:1" is device 1 of a kind of which there may be several, "opencl" is number 0.
static const device_kind *find_numbered(const char *name, uint32_t *number) {
  const size_t length = strcspn(name, ":");
  *number = 0;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strlen(kinds[i].name) != length || strncmp(kinds[i].name, name, length) != 0) continue;
    if (!name[length]) return &kinds[i];
    const char *digits = name + length + 1;
    const size_t count = strspn(digits, "0123456789");
    if (!kinds[i].find || count == 0 || count > 4 || digits[count]) return NULL;
    *number = (uint32_t)strtoul(digits, NULL, 10);
    return &kinds[i];
  }
  return NULL;
}

static const device_kind *find(const char *name) {
  uint32_t number;
  return find_numbered(name, &number);
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
  fg_device_options own = *options;
  const device_kind *kind = find_numbered(name, &own.number);
  if (!kind) return unknown(name, err);
  return kind->create(out, &own, err);
}

void fg_device_destroy(fg_device *device) {
  if (device) device->ops->destroy(device);
}

fg_status fg_device_host_create(fg_device *d, uint64_t bytes, const char *what, void **out, fg_error *err) {
  if (d->ops->host_create) return d->ops->host_create(d, bytes, what, out, err);
  return fg_budget_alloc(d->options.host, bytes, what, out, err);
}

void fg_device_host_destroy(fg_device *d, void *block) {
  if (block && d->ops->host_destroy)
    d->ops->host_destroy(d, block);
  else
    fg_budget_free(d->options.host, block);
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

bool fg_device_only_f32(const char *name) {
  const device_kind *kind = find(name);
  return kind && kind->only_f32;
}

bool fg_device_can_be_sparse(const char *name) {
  const device_kind *kind = find(name);
  return kind && kind->sparse;
}

fg_status fg_device_find(const char *name, fg_device_found *out, fg_error *err) {
  uint32_t number;
  const device_kind *kind = find_numbered(name, &number);
  *out = (fg_device_found){0};
  if (!kind) return unknown(name, err);
  return kind->find ? kind->find(number, out, err) : FG_OK;
}
