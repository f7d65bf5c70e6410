// measure.h: making a profile of this machine, by short measurements of what the engine does itself.
//
// Products, attention and the operations on rows run through the device's interface as the executor calls
// them; the disk is read and written through io/io.h, with its settings of a run. Every time is the median
// of several short takes over memory larger than the caches, because that is where weights, keys and
// values come from. A machine that others use meanwhile is measured as slower than it is; the log says so.
// What a rate is divided by is said at fg_profile's fields.
//
// Threads: one owner; the work is split over a team.
#ifndef FG_PROFILE_MEASURE_H
#define FG_PROFILE_MEASURE_H

#include "base/budget.h"
#include "base/log.h"
#include "base/threads.h"
#include "io/io.h"
#include "plan/profile.h"

typedef struct fg_profile_options {
  const char *offload_dir; // exists; a file is written there and removed
  uint32_t threads;        // 0 = the cores that this process may use
  fg_io_backend_id backend;
  bool quick;        // fewer points: about a quarter of the time
  uint64_t memory;   // bytes to measure in; 0 = a quarter of what is free, at most 512 MiB
  const fg_log *log; // may be NULL
  // Called between takes with what is being measured and how much of all is done; false stops. May be NULL.
  bool (*progress)(void *user, const char *what, double share);
  // Seconds of reading out one logit by this team (engine/readout_cost.h); what is below the engine cannot
  // measure it. NULL: it is left at 0.
  fg_status (*logit)(fg_threads *threads, fg_budget *budget, double *seconds, fg_error *err);
  void *user;
} fg_profile_options;

// What identifies the machine: all of the profile that is not measured. Threads as they will be.
void fg_profile_cpu_name(char *out, size_t size); // "unknown CPU" where it has none
fg_status fg_profile_describe(fg_profile *out, const fg_profile_options *options, fg_error *err);
// Whether a profile was made on such a machine by such a program.
bool fg_profile_fits(const fg_profile *profile, const fg_profile *machine);

// Measures everything; FG_CANCELLED if progress said so.
fg_status fg_profile_measure(fg_profile *out, const fg_profile_options *options, fg_error *err);

#endif
