// flexgen pack: makes the packed store that a later run would make at its start, and prints its path. With
// --calibrate the store is looked for first; only if it is not there does the model run over the text.
#include <limits.h>
#include <string.h>

#include "base/budget.h"
#include "base/threads.h"
#include "interrupt.h"
#include "job/calibrate.h"
#include "model_input.h"
#include "run.h"
#include "text/tokenizer.h"

// What packing works with besides the model's options.
typedef struct packing {
  fg_budget *host;
  fg_io *io;
  fg_threads *threads;
  fg_model *model;
  fg_ids ids; // of the calibration text
  fg_calibration calibration;
} packing;

enum { ROOM = 24 << 20 }; // heap of the readers, stacks, what the kernel charges for I/O

static fg_status open_parts(packing *p, const fg_options *o, fg_error *err) {
  uint64_t limit = o->host_memory ? o->host_memory : fg_machine_memory_available() / 100 * 85;
  fg_status status = fg_budget_create(&p->host, "host memory", "--host-memory", limit, err);
  if (status == FG_OK)
    status = fg_budget_reserve(p->host, fg_process_rss() + ROOM, "the process itself", err);
  if (status == FG_OK) status = fg_io_for(&p->io, o, p->host, err);
  if (status == FG_OK) status = fg_threads_create(&p->threads, o->threads, err);
  return status;
}

static void close_parts(packing *p) {
  fg_model_close(p->model);
  fg_threads_destroy(p->threads);
  fg_io_destroy(p->io);
  fg_budget_destroy(p->host);
  p->model = NULL;
  p->threads = NULL;
  p->io = NULL;
  p->host = NULL;
}

static void forward_log(void *console, fg_log_level level, const char *line) {
  fg_console_log(console, (int)level, line);
}

static fg_status make_store(packing *p, const fg_options *o, const char *dir, fg_console *console,
                            fg_error *err) {
  fg_status status = open_parts(p, o, err);
  if (status != FG_OK) return status;
  fg_log log = {(fg_log_level)console->level, forward_log, console};
  fg_model_options options = {
      .offload_dir = dir,
      .calibration = o->calibrate ? &p->calibration : NULL,
      .io = p->io,
      .host = p->host,
      .threads = p->threads,
      .log = &log,
      .progress = fg_packing_progress,
      .user = console,
  };
  fg_model_input(&options, o);
  return fg_model_open(&p->model, &options, err);
}

// ---- calibrating ---------------------------------------------------------------------------------------

static fg_status read_ids(packing *p, const fg_options *o, fg_error *err) {
  if (o->synthetic) return fg_fail(err, FG_INVALID, "--calibrate: a synthetic model cannot read a text");
  fg_status status = fg_read_ids(&p->ids, o->arguments[0], o->calibrate, false, err);
  if (status == FG_OK && p->ids.count < 2)
    status = fg_fail(err, FG_INVALID, "--calibrate %s: %zu tokens; at least 2 are needed", o->calibrate,
                     p->ids.count);
  return status;
}

static bool calibrating(void *user, uint64_t done, uint64_t total) {
  fg_console *console = user;
  if (fg_console_progress_due(console))
    fg_console_progress(console, "calibrating: %llu of %llu tokens", (unsigned long long)done,
                        (unsigned long long)total);
  return *fg_interrupt_flag() == 0;
}

// The model runs with all the memory there is, so nothing else is open meanwhile.
static fg_status calibrate(packing *p, const fg_options *o, const char *dir, fg_console *console,
                           fg_error *err) {
  const fg_calibrate_text text = {p->ids.data, p->ids.count};
  const fg_engine_options options = {
      .model = o->arguments[0],
      .adapter = o->adapter,
      .host_memory = o->host_memory,
      .offload_dir = dir,
      .threads = o->threads,
      .io = o->io,
      .log = fg_console_log,
      .log_level = console->level,
      .packing = fg_packing_progress,
      .user = console,
  };
  fg_console_say(console, 1, "calibrating: %zu tokens of %s go through the model", p->ids.count,
                 o->calibrate);
  return fg_calibrate(&p->calibration, &options, &text, calibrating, err);
}

static fg_status pack(packing *p, const fg_options *o, fg_console *console, fg_error *err) {
  fg_options where = *o;
  char dir[PATH_MAX];
  if (o->store) where.offload_dir = o->store;
  fg_status status = o->calibrate ? read_ids(p, o, err) : FG_OK;
  if (status == FG_OK) status = fg_offload_dir(dir, sizeof dir, &where, console, err);
  if (status != FG_OK) return status;
  p->calibration.key = fg_calibrate_key(&(fg_calibrate_text){p->ids.data, p->ids.count});
  status = make_store(p, o, dir, console, err);
  if (status != FG_NOT_FOUND || !o->calibrate) return status;
  close_parts(p);
  status = calibrate(p, o, dir, console, err);
  return status == FG_OK ? make_store(p, o, dir, console, err) : status;
}

static fg_status print_result(const fg_model *model, bool json, fg_error *err) {
  const char *path = fg_file_path(model->store->file);
  if (json)
    return fg_print_json(
        json_pack("{s:s,s:I}", "path", path, "bytes", (json_int_t)fg_file_size(model->store->file)), err);
  puts(path);
  return FG_OK;
}

int fg_command_pack(const fg_options *options, fg_console *console) {
  packing p = {0};
  fg_error err = {FG_OK, ""};
  fg_interrupt_install();
  fg_status status = pack(&p, options, console, &err);
  fg_console_clear(console);
  if (status == FG_OK) status = print_result(p.model, options->json, &err);
  close_parts(&p);
  fg_calibration_free(&p.calibration);
  fg_ids_free(&p.ids);
  if (status == FG_OK) return FG_EXIT_DONE;
  fg_console_error(console, err.message);
  return FG_EXIT_FAILED;
}
