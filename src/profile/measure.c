#include "profile/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#if defined(__linux__)
#include <sys/sysmacros.h> // major, minor
#else
#include <sys/types.h>
#endif
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "profile/fill.h"
#include "profile/measure_internal.h"

static const double busy_load = 0.5;

enum {
  MIB = 1 << 20,
  LEAST_POOL = 32,
  MOST_POOL = 512,
  FULL_SLICE_MS = 24,
  QUICK_SLICE_MS = 6,
};

// ---- what the machine is ---------------------------------------------------------------------------------

// A disk is the same one while its numbers, its size and its file system are.
static fg_status describe_disk(fg_profile *out, const char *dir, fg_error *err) {
  struct stat st;
  fg_file_system fs;
  if (!dir || stat(dir, &st) != 0 || !fg_file_system_of(dir, &fs))
    return fg_fail(err, FG_IO, "%s: cannot be looked at; choose another folder with --offload-dir",
                   dir ? dir : "no folder");
  char size[16];
  snprintf(out->disk, sizeof out->disk, "%u:%u %s %s", (unsigned)major(st.st_dev), (unsigned)minor(st.st_dev),
           fs.name, fg_size_format(fs.bytes, size));
  int cut = (int)(sizeof out->offload - strlen(fs.name) - sizeof " ()");
  snprintf(out->offload, sizeof out->offload, "%.*s (%s)", cut, dir, fs.name);
  return FG_OK;
}

fg_status fg_profile_describe(fg_profile *out, const fg_profile_options *options, fg_error *err) {
  *out = (fg_profile){.quick = options->quick};
  char name[64];
  fg_kernels kernels;
  fg_kernels_init(&kernels, fg_cpu_features());
  fg_profile_cpu_name(name, sizeof name);
  out->threads = options->threads ? options->threads : fg_machine_cores();
  // Rounded: what a kernel takes for itself varies a little.
  const double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1u << 30);
  snprintf(out->machine, sizeof out->machine, "%s, %u threads, %.0f GiB", name, out->threads, memory);
  snprintf(out->kernels, sizeof out->kernels, "%s %s", fg_device_family("cpu")->name, kernels.name);
  snprintf(out->version, sizeof out->version, "%s", FG_VERSION);
  time_t now = time(NULL);
  struct tm utc;
  if (gmtime_r(&now, &utc)) strftime(out->date, sizeof out->date, "%Y-%m-%dT%H:%M:%SZ", &utc);
  out->memory_bytes = fg_machine_memory_available();
  return describe_disk(out, options->offload_dir, err);
}

bool fg_profile_fits(const fg_profile *profile, const fg_profile *machine) {
  return profile->threads == machine->threads && strcmp(profile->machine, machine->machine) == 0 &&
         strcmp(profile->kernels, machine->kernels) == 0 && strcmp(profile->version, machine->version) == 0 &&
         strcmp(profile->disk, machine->disk) == 0;
}

// ---- what measurements share -----------------------------------------------------------------------------

fg_status fg_taker_tell(const fg_taker *t, const char *what, double share, fg_error *err) {
  const fg_profile_options *o = t->options;
  if (!o->progress || o->progress(o->user, what, share)) return FG_OK;
  return fg_fail(err, FG_CANCELLED, "stopped while %s was measured", what);
}

fg_status fg_taker_run(const fg_taker *t, fg_compute compute, const fg_call *call, uint64_t *ns,
                       fg_error *err) {
  fg_device *d = t->devices[compute];
  uint64_t begin = fg_now_ns();
  fg_status status = d->ops->run(d, FG_QUEUE_COMPUTE, call, err);
  if (status == FG_OK) status = d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_COMPUTE), err);
  *ns += fg_now_ns() - begin;
  return status;
}

fg_status fg_taker_memory(const fg_taker *t, uint64_t bytes, fg_memory **out, fg_error *err) {
  fg_device *d = t->devices[0];
  return d->ops->memory_create(d, bytes, "measuring", out, err);
}

// ---- opening and closing ---------------------------------------------------------------------------------

static uint64_t pool_size(const fg_profile_options *o) {
  uint64_t bytes = o->memory ? o->memory : fg_machine_memory_available() / 4;
  if (bytes > (uint64_t)MOST_POOL * MIB) bytes = (uint64_t)MOST_POOL * MIB;
  bytes = bytes * 3 / 4 / MIB * MIB; // the rest is for activations and scratch
  return bytes < (uint64_t)LEAST_POOL * MIB ? (uint64_t)LEAST_POOL * MIB : bytes;
}

static fg_status open_devices(fg_taker *t, fg_error *err) {
  fg_device_options options = {.max_rows = FG_TAKER_ROWS,
                               .max_width = FG_TAKER_WIDTH,
                               .host = t->budget,
                               .memory = t->budget,
                               .threads = t->threads};
  fg_status status = FG_OK;
  for (uint32_t i = 0; !status && i < FG_TAKER_COMPUTES; i++) {
    options.compute = (fg_compute)i;
    status = fg_device_create(&t->devices[i], "cpu", &options, err);
  }
  return status;
}

static fg_status open_taker(fg_taker *t, fg_error *err) {
  fg_status status = fg_budget_create(&t->budget, "host memory", "--host-memory", 0, err);
  if (!status) status = fg_threads_create(&t->threads, t->out->threads, err);
  if (!status) status = open_devices(t, err);
  const uint64_t activations = (uint64_t)FG_TAKER_ROWS * FG_TAKER_WIDTH * sizeof(float);
  if (!status) status = fg_taker_memory(t, t->pool_bytes, &t->pool, err);
  if (!status) status = fg_taker_memory(t, activations, &t->x, err);
  if (!status) status = fg_taker_memory(t, activations, &t->y, err);
  if (!status) status = fg_taker_memory(t, MIB, &t->small, err);
  if (status) return status;
  t->pool_host = fg_device_host_pointer(t->devices[0], t->pool);
  fg_fill_bytes(t->pool_host, t->pool_bytes);
  fg_fill_floats(fg_device_host_pointer(t->devices[0], t->x), activations / sizeof(float));
  fg_fill_floats(fg_device_host_pointer(t->devices[0], t->y), activations / sizeof(float));
  return FG_OK;
}

static void close_taker(fg_taker *t) {
  fg_memory *const memories[] = {t->pool, t->x, t->y, t->small};
  for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
    if (memories[i]) t->devices[0]->ops->memory_destroy(t->devices[0], memories[i]);
  for (uint32_t i = 0; i < FG_TAKER_COMPUTES; i++)
    if (t->devices[i]) fg_device_destroy(t->devices[i]);
  if (t->threads) fg_threads_destroy(t->threads);
  if (t->budget) fg_budget_destroy(t->budget);
}

static fg_status measure_logit(fg_taker *t, fg_error *err) {
  return t->options->logit ? t->options->logit(t->threads, t->budget, &t->out->logit, err) : FG_OK;
}

fg_status fg_profile_measure(fg_profile *out, const fg_profile_options *options, fg_error *err) {
  fg_status status = fg_profile_describe(out, options, err);
  if (status) return status;
  fg_taker t = {.options = options, .out = out, .pool_bytes = pool_size(options)};
  t.slice_ns = (uint64_t)(options->quick ? QUICK_SLICE_MS : FULL_SLICE_MS) * 1000000;
  if (t.pool_bytes < (uint64_t)128 * MIB)
    fg_log_line(
        options->log, FG_LOG_WARN,
        "memory is short: weights and caches of %llu MiB only are measured with, parts of which may stay "
        "in the processor's caches",
        (unsigned long long)(t.pool_bytes / MIB));
  double load = 0;
  if (getloadavg(&load, 1) == 1 && load > busy_load)
    fg_log_line(
        options->log, FG_LOG_WARN,
        "other processes keep this machine busy (load %.1f): it will be measured as slower than it is", load);
  out->load = load;
  static fg_status (*const parts[])(fg_taker * t, fg_error * err) = {
      fg_measure_memory,     fg_measure_rows, fg_measure_products, fg_measure_layers,
      fg_measure_attentions, measure_logit,   fg_measure_disk};
  status = open_taker(&t, err);
  for (size_t i = 0; !status && i < sizeof parts / sizeof *parts; i++) status = parts[i](&t, err);
  close_taker(&t);
  return status;
}
