// flexgen devices: what can compute on this machine, and where each kind has been tried.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "base/size.h"
#include "base/threads.h"
#include "device/list.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "profile/measure.h"
#include "run.h"

// What a kind has been tried on (docs/devices.md).
static const char cpu_tried[] = "every golden, on this kind of device",
                  opencl_tried[] = "goldens on PoCL, OpenCL on a CPU; not run on a GPU";

typedef struct machine {
  char model[128];
  const char *kernels;
  uint32_t cores;
  uint64_t memory; // free for this process
  fg_device_entry *others;
  uint32_t count;
  fg_error missing; // why OpenCL has none
} machine;

static fg_status look(machine *m, fg_error *err) {
  fg_kernels kernels;
  fg_kernels_init(&kernels, fg_cpu_features());
  *m = (machine){.kernels = kernels.name,
                 .cores = fg_machine_cores(),
                 .memory = fg_machine_memory_available(),
                 .others = malloc(FG_MOST_LISTED_DEVICES * sizeof *m->others)};
  if (!m->others) return fg_fail(err, FG_NO_SPACE, "no memory for a list of devices");
  fg_profile_cpu_name(m->model, sizeof m->model);
  if (fg_device_list_opencl(m->others, &m->count, &m->missing) == FG_OK && m->count == 0)
    fg_fail(&m->missing, FG_NOT_FOUND, "OpenCL is installed, but no driver of a device");
  return FG_OK;
}

static json_t *json_of(const fg_device_entry *d) {
  return json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:b,s:b,s:s?,s:s}", "name", d->name, "kind", d->kind,
                   "model", d->model, "platform", d->platform, "driver", d->driver, "units",
                   (json_int_t)d->units, "memory_bytes", (json_int_t)d->memory, "max_block_bytes",
                   (json_int_t)d->most_block, "is_cpu", d->in_host_memory, "usable", !d->unusable[0],
                   "unusable", d->unusable[0] ? d->unusable : NULL, "tried", opencl_tried);
}

static fg_status print_json(const machine *m, fg_error *err) {
  json_t *array = json_array();
  json_array_append_new(array, json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:b,s:b,s:s}", "name", "cpu", "kind",
                                         "cpu", "model", m->model, "kernels", m->kernels, "units",
                                         (json_int_t)m->cores, "memory_bytes", (json_int_t)m->memory,
                                         "is_cpu", 1, "usable", 1, "tried", cpu_tried));
  for (uint32_t i = 0; i < m->count; i++) json_array_append_new(array, json_of(&m->others[i]));
  return fg_print_json(array, err);
}

static void print_table(const machine *m, fg_console *console) {
  char size[16], block[16];
  printf("%-10s %10s %6s  %s\n", "device", "memory", "units", "what it is");
  printf("%-10s %10s %6u  %s, kernels for %s\n", "cpu", fg_size_format(m->memory, size), m->cores, m->model,
         m->kernels);
  printf("%-10s %10s %6s  tried: %s\n", "", "", "", cpu_tried);
  for (uint32_t i = 0; i < m->count; i++) {
    const fg_device_entry *d = &m->others[i];
    printf("%-10s %10s %6u  %s; %s, driver %s; %s at most in one block\n", d->name,
           fg_size_format(d->memory, size), d->units, d->model, d->platform, d->driver,
           fg_size_format(d->most_block, block));
    printf("%-10s %10s %6s  %s%s\n", "", "", "",
           d->unusable[0] ? "cannot be used: " : "tried: ", d->unusable[0] ? d->unusable : opencl_tried);
  }
  if (m->count == 0) fg_console_say(console, 1, "no OpenCL device: %s", m->missing.message);
}

int fg_command_devices(const fg_options *options, fg_console *console) {
  fg_error err = {FG_OK, ""};
  machine m = {0};
  if (options->argument_count) {
    fg_console_error(console, "devices takes no argument");
    return FG_EXIT_USAGE;
  }
  fg_status status = look(&m, &err);
  if (status == FG_OK && options->json)
    status = print_json(&m, &err);
  else if (status == FG_OK)
    print_table(&m, console);
  free(m.others);
  if (status == FG_OK) return FG_EXIT_DONE;
  fg_console_error(console, err.message);
  return FG_EXIT_FAILED;
}
