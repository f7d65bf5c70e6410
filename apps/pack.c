// flexgen pack: makes the packed store that a later run would make at its start, and prints its path.
#include <limits.h>
#include <string.h>

#include "base/budget.h"
#include "base/threads.h"
#include "interrupt.h"
#include "model_input.h"
#include "run.h"

// What packing works with besides the model's options.
typedef struct packing {
  fg_budget *host;
  fg_io *io;
  fg_threads *threads;
  fg_model *model;
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
}

static void forward_log(void *console, fg_log_level level, const char *line) {
  fg_console_log(console, (int)level, line);
}

static fg_status pack(packing *p, const fg_options *o, fg_console *console, fg_error *err) {
  fg_options where = *o;
  char dir[PATH_MAX];
  if (o->store) where.offload_dir = o->store;
  fg_status status = fg_offload_dir(dir, sizeof dir, &where, console, err);
  if (status == FG_OK) status = open_parts(p, o, err);
  if (status != FG_OK) return status;
  fg_log log = {(fg_log_level)console->level, forward_log, console};
  fg_model_options options = {
      .offload_dir = dir,
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
  if (status == FG_OK) return FG_EXIT_DONE;
  fg_console_error(console, err.message);
  return FG_EXIT_FAILED;
}
