// flexgen plan: the policy that a job would run with, and how long it would take. Nothing is run.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/size.h"
#include "engine/engine_internal.h"
#include "job_size.h"

enum { ONE_GIB = 1 << 30 };

// What a change of the machine or the job would bring, beside the plan as it is.
typedef struct change {
  const char *what, *key;
  fg_engine_change change;
} change;

static const change changes[] = {
    {"with one GiB more of memory", "one_more_gib", {.more_memory = ONE_GIB}},
    {"with a second disk beside the first", "second_disk", {.disk_factor = 2}},
    {"if rows shared nothing", "nothing_shared", {.nothing_shared = true}},
};
enum { CHANGES = sizeof changes / sizeof *changes };

static const char *size_of(double bytes, char text[16]) {
  return fg_size_format(bytes > 0 ? (uint64_t)bytes : 0, text);
}

// ---- for people
// --------------------------------------------------------------------------------------------

static double number(const json_t *policy, const char *key) {
  return json_number_value(json_object_get(policy, key));
}

static void print_passes(const fg_engine_info *info, const json_t *p, double page_of_layer) {
  char a[16];
  printf("  KV cache  of one layer and one batch: %.0f tokens (%s)\n",
         number(p, "kv_device_pages") * number(p, "kv_page_tokens"),
         size_of(number(p, "kv_device_pages") * page_of_layer, a));
  printf("  a step    is a layer pass over up to %u whole rows of %u tokens, %.0f tokens at a time\n",
         info->max_num_seqs, info->max_num_batched_tokens, number(p, "micro_batch_tokens"));
  printf("            residual stream of %.0f tokens in memory, %.0f on disk; %s of weights on their way\n",
         number(p, "hidden_memory_tokens"), number(p, "hidden_disk_tokens"),
         size_of(number(p, "ring_bytes"), a));
}

static void print_policy(const fg_run *run, const json_t *p) {
  const fg_engine_info *info = &run->info;
  char a[16], b[16], c[16];
  const double page = number(p, "kv_page_bytes") * fg_engine_model(run->engine)->graph->layers;
  printf("%s on %s: products in %s, weights in %s, KV cache in %s\n", info->name, info->device, info->dtype,
         info->weight_dtype, info->cache_dtype);
  printf("  weights   %s; %s in memory, the rest read by every step\n",
         size_of((double)info->weight_bytes, a), size_of((double)info->resident_weight_bytes, b));
  if (number(p, "micro_batch_tokens") > 0) {
    print_passes(info, p, number(p, "kv_page_bytes"));
    return;
  }
  printf("  KV cache  %.0f tokens in memory (%s)", number(p, "kv_device_pages") * number(p, "kv_page_tokens"),
         size_of(number(p, "kv_device_pages") * page, a));
  if (number(p, "kv_disk_pages") > 0)
    printf(", %.0f on disk (%s)", number(p, "kv_disk_pages") * number(p, "kv_page_tokens"),
           size_of(number(p, "kv_disk_pages") * page, c));
  if (number(p, "kv_frames") > 0)
    printf("; %.0f x %.0f pages of a layer on their way", number(p, "kv_frames"),
           number(p, "kv_frame_pages"));
  printf("\n  a step    up to %u sequences and %u tokens; %s of weights on their way\n", info->max_num_seqs,
         info->max_num_batched_tokens, size_of(number(p, "ring_bytes"), a));
  printf("  rows      %s\n", info->order == FG_ORDER_LONGEST ? "longest first" : "as they come");
}

static void print_forecast(const fg_run *run, const fg_engine_forecast *f) {
  char a[16], b[16], time[32];
  if (f->shared_tokens > 0)
    printf("  shared    %.0f of %.0f prompt tokens: computed once for several rows, not again\n",
           f->shared_tokens, f->seconds * f->prompt_tokens_per_s);
  if (f->kept_tokens > 0)
    printf("  kept      %.0f of %.0f prompt tokens: read from --prefix-cache, not computed\n", f->kept_tokens,
           f->seconds * f->prompt_tokens_per_s);
  printf("  memory    %s of %s\n", size_of((double)f->host_bytes, a),
         size_of((double)run->info.host_budget, b));
  printf("  disk      %s read", size_of(f->bytes_read, a));
  if (f->bytes_written > 0) printf(", %s written", size_of(f->bytes_written, b));
  printf("\n  expected  %s: %.1f prompt and %.1f generated tokens a second in %.0f steps, bound by %s\n",
         fg_format_duration(f->seconds, time), f->prompt_tokens_per_s, f->generated_tokens_per_s, f->steps,
         f->bound_by);
  if (f->drafting_steps >= 1)
    printf("  drafts    in %.0f of these steps tokens that texts suggest may pay (--speculation); what they "
           "spare "
           "is not in these figures\n",
           f->drafting_steps);
}

static void print_changes(const fg_run *run, const fg_engine_forecast *now) {
  for (int i = 0; i < CHANGES; i++) {
    fg_engine_forecast then;
    char time[32];
    if (!fg_engine_what_if(run->engine, &changes[i].change, &then)) continue;
    printf("  %s: %s, %+.0f %% tokens a second\n", changes[i].what, fg_format_duration(then.seconds, time),
           100 * (now->seconds / then.seconds - 1));
  }
}

static void print_plan(const fg_run *run, const json_t *policy) {
  fg_engine_forecast f;
  fg_engine_get_forecast(run->engine, &f);
  print_policy(run, policy);
  if (!f.known) {
    puts("  expected  not known: this machine was not measured (flexgen profile), or the job tells nothing");
    return;
  }
  print_forecast(run, &f);
  print_changes(run, &f);
}

// ---- for programs
// --------------------------------------------------------------------------------------------

static json_t *changes_json(const fg_run *run) {
  json_t *all = json_object();
  for (int i = 0; i < CHANGES; i++) {
    fg_engine_forecast then;
    if (!fg_engine_what_if(run->engine, &changes[i].change, &then)) continue;
    json_object_set_new(all, changes[i].key,
                        json_pack("{s:f,s:f}", "seconds", then.seconds, "generated_tokens_per_s",
                                  then.generated_tokens_per_s));
  }
  return all;
}

static fg_status print_json(const fg_run *run, json_t *policy, fg_error *err) {
  const fg_engine_info *i = &run->info;
  return fg_print_json(
      json_pack("{s:{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I},s:O,s:o,s:o}", "model", "name", i->name, "device",
                i->device, "dtype", i->dtype, "weight_dtype", i->weight_dtype, "cache_dtype", i->cache_dtype,
                "weight_bytes", (json_int_t)i->weight_bytes, "resident_weight_bytes",
                (json_int_t)i->resident_weight_bytes, "host_budget_bytes", (json_int_t)i->host_budget,
                "policy", policy, "predicted", fg_run_predicted(run), "with", changes_json(run)),
      err);
}

int fg_command_plan(const fg_options *options, fg_console *console) {
  fg_error err = {FG_OK, ""};
  fg_run run;
  if (options->input && access(options->input, R_OK) != 0) {
    fg_console_error(console, "the input of -i cannot be read");
    return FG_EXIT_FAILED;
  }
  int code = fg_run_open_job(&run, "plan", options, console, true);
  if (code != FG_EXIT_DONE) return code;
  json_t *policy = fg_engine_policy_json(run.engine);
  fg_status status = policy ? FG_OK : fg_fail(&err, FG_NO_SPACE, "no memory for the plan");
  if (status == FG_OK && options->save_policy) status = fg_write_json(policy, options->save_policy, &err);
  if (status == FG_OK && options->json)
    status = print_json(&run, policy, &err);
  else if (status == FG_OK)
    print_plan(&run, policy);
  if (status != FG_OK) fg_console_error(console, err.message);
  json_decref(policy);
  fg_engine_close(run.engine);
  return status == FG_OK ? FG_EXIT_DONE : FG_EXIT_FAILED;
}
