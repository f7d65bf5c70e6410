// flexgen profile: what this machine can do, measured once and kept.
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/readout_cost.h"
#include "interrupt.h"
#include "model_input.h"
#include "plan/profile_json.h"
#include "profile/kept.h"
#include "run.h"

static bool tell(void *user, const char *what, double share) {
  fg_console *console = user;
  if (fg_console_progress_due(console))
    fg_console_progress(console, "measuring %s, %.0f %% done", what, 100 * share);
  return *fg_interrupt_flag() == 0;
}

static void forward_log(void *user, fg_log_level level, const char *line) {
  fg_console_log(user, (int)level, line);
}

// ---- for a person ----------------------------------------------------------------------------------------

// A weight and a row make a multiplication and an addition.
static double gops(double seconds, double rows) {
  return 2e-9 * rows / seconds;
}

// The best of all arithmetics that are alike, which the others are a share of.
static double best_of(const fg_profile *p, int compute) {
  double best = 0;
  for (uint32_t i = 0; i < p->product_count; i++)
    for (uint32_t r = 0; p->products[i].compute == compute && r < FG_PROFILE_ROW_POINTS; r++) {
      double rate = gops(p->products[i].seconds[r], fg_profile_rows[r]);
      if (rate > best) best = rate;
    }
  return best;
}

static void print_products(const fg_profile *p) {
  static const uint32_t shown[] = {1, 4, 16, 64, 256, 1024};
  enum { SHOWN = sizeof shown / sizeof *shown };
  printf("\nProducts, Gop/s (with 256 rows also in %% of the best of this arithmetic); rows:\n"
         "  %-5s %-7s %6s",
         "", "weights", "k");
  for (uint32_t s = 0; s < SHOWN; s++) printf(" %7u", shown[s]);
  printf("    256\n");
  for (uint32_t i = 0; i < p->product_count; i++) {
    const fg_profile_product *e = &p->products[i];
    printf("  %-5s %-7s %6u", fg_profile_compute_name(e->compute), fg_dtype_get(e->dtype)->name, e->k);
    for (uint32_t s = 0; s < SHOWN; s++)
      printf(" %7.1f", gops(fg_profile_at_rows(e->seconds, shown[s]), shown[s]));
    printf(" %4.0f %%\n", 100 * gops(fg_profile_at_rows(e->seconds, 256), 256) / best_of(p, e->compute));
  }
}

static void print_attentions(const fg_profile *p) {
  if (p->attention_count) printf("\nAttention, decode (GB/s of the cache) and prefill (Gop/s):\n");
  for (uint32_t i = 0; i < p->attention_count; i++) {
    const fg_profile_attention *e = &p->attentions[i];
    double bytes = 2.0 * (double)fg_kv_row_bytes(e->cache, e->k_dim);
    printf("  %-7s head %4u, group %2u %9.1f %9.1f\n", fg_dtype_get(e->cache)->name, e->k_dim, e->group,
           1e-9 * bytes / e->decode, 4e-9 * e->k_dim / e->prefill);
  }
}

static void print_disk(const fg_profile *p) {
  if (!p->disk_count) {
    printf("\nDisk: not measured\n");
    return;
  }
  printf("\nDisk %s, %s, in GB/s:\n", p->offload, p->disk_direct ? "direct" : "buffered: a cache took part");
  printf("  reading for long %.2f (first second %.2f%s), writing %.2f\n", 1e-9 * p->disk_read,
         1e-9 * p->disk_burst, p->disk_read < 0.95 * p->disk_burst ? ": it is throttled" : "",
         1e-9 * p->disk_write);
  printf("  reading takes %.1f %% of the processors, a product beside it is %.1f %% slower\n",
         100 * p->read_cost, 100 * p->read_slowdown);
  printf("  %10s %6s %8s %8s\n", "request", "depth", "read", "write");
  for (uint32_t i = 0; i < p->disk_count; i++) {
    char size[16];
    const fg_profile_disk *e = &p->disks[i];
    printf("  %10s %6u %8.2f %8.2f\n", fg_size_format(e->bytes, size), e->depth, 1e-9 * e->read,
           1e-9 * e->write);
  }
}

static void print_profile(const fg_profile *p) {
  char size[16];
  printf("%s, %s; %s of memory free\n%s; flexgen %s; measured %s%s\n", p->machine, p->kernels,
         fg_size_format(p->memory_bytes, size), p->offload, p->version, p->date,
         p->quick ? " with --quick; --force measures all" : "");
  printf("\nMemory, GB/s: read %.1f, copied %.1f\n", 1e-9 * p->memory_read, 1e-9 * p->memory_copy);
  printf("Operations on rows %.2f G values/s, KV stored %.2f, logits read out %.2f; a launch %.2f us\n",
         1e-9 / p->row_value, 1e-9 / p->store_value, p->logit > 0 ? 1e-9 / p->logit : 0, 1e6 * p->launch);
  printf("Rows made ready for products, G values/s:");
  for (int i = 0; i < FG_PROFILE_COMPUTES; i++)
    if (p->input_value[i] > 0) printf(" %s %.2f", fg_profile_compute_name(i), 1e-9 / p->input_value[i]);
  printf("\nIn a step a product takes, times as long as by itself:");
  for (int i = 0; i < FG_PROFILE_COMPUTES; i++)
    printf(" %s %.2f (%u rows) %.2f (%u)", fg_profile_compute_name(i), p->in_step[i][0],
           fg_profile_step_rows[0], p->in_step[i][1], fg_profile_step_rows[1]);
  printf("\n");
  print_products(p);
  print_attentions(p);
  print_disk(p);
}

// ---- the command -----------------------------------------------------------------------------------------

static fg_status run_profile(const fg_options *o, fg_console *console, fg_error *err) {
  static const fg_io_backend_id backends[] = {FG_IO_AUTO, FG_IO_URING, FG_IO_THREADS};
  static const char *const names[] = {"auto", "uring", "threads"};
  char dir[PATH_MAX];
  fg_status status = fg_offload_dir(dir, sizeof dir, o, console, err);
  if (status) return status;
  const fg_log log = {(fg_log_level)console->level, forward_log, console};
  fg_profile_options options = {.offload_dir = dir,
                                .threads = o->threads,
                                .quick = o->quick,
                                .log = &log,
                                .progress = tell,
                                .logit = fg_readout_cost,
                                .user = console};
  for (size_t i = 0; o->io && i < sizeof names / sizeof *names; i++)
    if (strcmp(o->io, names[i]) == 0) options.backend = backends[i];
  bool measured = false;
  uint64_t begin = fg_now_ns();
  fg_profile profile;
  status = fg_profile_load_or_measure(
      &profile, &options, o->force ? FG_PROFILE_MEASURE : FG_PROFILE_KEPT_OR_MEASURE, &measured, err);
  fg_console_clear(console);
  if (status) return status;
  if (measured)
    fg_console_say(console, 1, "measured in %.0f s", 1e-9 * (double)(fg_now_ns() - begin));
  else
    fg_console_say(console, 1, "kept since %s; --force measures again", profile.date);
  if (o->json) return fg_print_json(fg_profile_to_json(&profile), err);
  print_profile(&profile);
  return FG_OK;
}

int fg_command_profile(const fg_options *options, fg_console *console) {
  fg_error err = {FG_OK, ""};
  if (options->argument_count) {
    fg_console_error(console, "profile takes no argument");
    return FG_EXIT_USAGE;
  }
  fg_interrupt_install();
  if (run_profile(options, console, &err) == FG_OK) return FG_EXIT_DONE;
  fg_console_error(console, err.message);
  return FG_EXIT_FAILED;
}
