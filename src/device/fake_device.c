#include "device/fake_device.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "device/execute.h"

enum {
  QUEUE_COMMANDS = 256, // a queue holds; the host then waits
  LATENESS = 4,         // one of so many commands lets a few run at once
  SEED = 20220603,
};

typedef enum command_kind { COMMAND_RUN, COMMAND_UPLOAD, COMMAND_DOWNLOAD, COMMAND_WAIT } command_kind;

typedef struct command {
  command_kind kind;
  fg_call call;      // RUN
  fg_event event;    // WAIT
  fg_memory *memory; // UPLOAD, DOWNLOAD
  uint64_t offset, bytes;
  const void *source;
  void *target;
} command;

// Commands [done, enqueued) wait in a ring; the oldest stays there until it has run.
typedef struct queue {
  uint64_t enqueued, done;
  command ring[QUEUE_COMMANDS];
} queue;

#define QUEUE_BYTES fg_align_up(FG_QUEUE_COUNT * sizeof(queue), 4096)

typedef struct fake_device {
  fg_device base;
  fg_cpu_executor *executor; // the thread's
  uint32_t track;
  pthread_t thread;
  pthread_mutex_t mutex; // guards what follows
  pthread_cond_t work, progress;
  queue *queues; // [FG_QUEUE_COUNT]
  uint64_t random;
  uint64_t allowed; // commands that may run although nobody waits
  uint32_t waiting; // callers that wait: everything may run
  bool stop;
  fg_error failure; // of the first command that failed
} fake_device;

// ---- the device's thread -------------------------------------------------------------------------------

static uint64_t draw(fake_device *f) { // Marsaglia's xorshift
  f->random ^= f->random << 13;
  f->random ^= f->random >> 7;
  f->random ^= f->random << 17;
  return f->random;
}

static bool is_reached(const fake_device *f, fg_event event) {
  return f->queues[event.queue].done >= event.value;
}

static command *oldest(fake_device *f, uint32_t q) {
  return &f->queues[q].ring[f->queues[q].done % QUEUE_COMMANDS];
}

static bool can_run(fake_device *f, uint32_t q) {
  if (f->queues[q].done == f->queues[q].enqueued) return false;
  const command *c = oldest(f, q);
  return c->kind != COMMAND_WAIT || is_reached(f, c->event);
}

// A queue whose oldest command can run, at random; FG_QUEUE_COUNT if there is none.
static uint32_t pick(fake_device *f) {
  uint32_t first = (uint32_t)(draw(f) % FG_QUEUE_COUNT);
  for (uint32_t i = 0; i < FG_QUEUE_COUNT; i++) {
    uint32_t q = (first + i) % FG_QUEUE_COUNT;
    if (can_run(f, q)) return q;
  }
  return FG_QUEUE_COUNT;
}

static fg_status execute_run(fake_device *f, const command *c, fg_error *err) {
  uint64_t begin = fg_now_ns();
  fg_status status = fg_cpu_executor_run(f->executor, &c->call, err);
  fg_trace_span(f->base.options.trace, f->track, FG_SPAN_COMPUTE, fg_op_name(c->call.op), c->call.layer, 0,
                begin, fg_now_ns());
  return status;
}

static fg_status execute_upload(fake_device *f, const command *c, fg_error *err) {
  uint64_t begin = fg_now_ns();
  fg_status status = fg_cpu_executor_copy_in(c->memory, c->offset, c->source, c->bytes, err);
  fg_trace_span(f->base.options.trace, f->track, FG_SPAN_UPLOAD, NULL, -1, c->bytes, begin, fg_now_ns());
  return status;
}

static fg_status execute_download(fake_device *f, const command *c, fg_error *err) {
  (void)f;
  return fg_cpu_executor_copy_out(c->memory, c->offset, c->target, c->bytes, err);
}

static fg_status execute_wait(fake_device *f, const command *c, fg_error *err) {
  (void)f, (void)c, (void)err;
  return FG_OK;
}

static fg_status (*const execute[])(fake_device *f, const command *c, fg_error *err) = {
    [COMMAND_RUN] = execute_run,
    [COMMAND_UPLOAD] = execute_upload,
    [COMMAND_DOWNLOAD] = execute_download,
    [COMMAND_WAIT] = execute_wait,
};

// Runs one command with the mutex released; the command stays in its ring meanwhile.
static void run_oldest(fake_device *f, uint32_t q) {
  command *c = oldest(f, q);
  bool skip = f->failure.status != FG_OK;
  fg_error error;
  fg_status status = FG_OK;
  pthread_mutex_unlock(&f->mutex);
  if (!skip) status = execute[c->kind](f, c, &error);
  pthread_mutex_lock(&f->mutex);
  if (status && f->failure.status == FG_OK) f->failure = error;
  f->queues[q].done++;
  if (f->allowed) f->allowed--;
  pthread_cond_broadcast(&f->progress);
}

static void *thread_main(void *arg) {
  fake_device *f = arg;
  pthread_mutex_lock(&f->mutex);
  for (;;) {
    uint32_t q = f->allowed || f->waiting || f->stop ? pick(f) : FG_QUEUE_COUNT;
    if (q < FG_QUEUE_COUNT)
      run_oldest(f, q);
    else if (f->stop) // an event is always of a command enqueued before, so the queues are empty
      break;
    else
      pthread_cond_wait(&f->work, &f->mutex);
  }
  pthread_mutex_unlock(&f->mutex);
  return NULL;
}

// ---- the host's side -----------------------------------------------------------------------------------

// Lets everything run until `value` commands of the queue are done. The mutex is held.
static void wait_for(fake_device *f, uint32_t q, uint64_t value) {
  f->waiting++;
  pthread_cond_signal(&f->work);
  while (f->queues[q].done < value) pthread_cond_wait(&f->progress, &f->mutex);
  f->waiting--;
}

static fg_status enqueue(fg_device *d, fg_queue q, const command *c) {
  fake_device *f = (fake_device *)d;
  pthread_mutex_lock(&f->mutex);
  queue *to = &f->queues[q];
  if (to->enqueued - to->done == QUEUE_COMMANDS) wait_for(f, q, to->done + QUEUE_COMMANDS / 2);
  to->ring[to->enqueued++ % QUEUE_COMMANDS] = *c;
  uint64_t chance = draw(f);
  if (chance % LATENESS == 0) {
    f->allowed += chance / LATENESS % 4;
    pthread_cond_signal(&f->work);
  }
  pthread_mutex_unlock(&f->mutex);
  return FG_OK;
}

static fg_status upload(fg_device *d, fg_queue q, fg_memory *m, uint64_t offset, const void *host,
                        uint64_t bytes, fg_error *err) {
  (void)err;
  return enqueue(
      d, q,
      &(command){.kind = COMMAND_UPLOAD, .memory = m, .offset = offset, .bytes = bytes, .source = host});
}

static fg_status download(fg_device *d, fg_queue q, fg_memory *m, uint64_t offset, void *host, uint64_t bytes,
                          fg_error *err) {
  (void)err;
  return enqueue(
      d, q,
      &(command){.kind = COMMAND_DOWNLOAD, .memory = m, .offset = offset, .bytes = bytes, .target = host});
}

static fg_status run(fg_device *d, fg_queue q, const fg_call *call, fg_error *err) {
  (void)err;
  return enqueue(d, q, &(command){.kind = COMMAND_RUN, .call = *call});
}

static fg_status queue_wait(fg_device *d, fg_queue q, fg_event event, fg_error *err) {
  (void)err;
  return enqueue(d, q, &(command){.kind = COMMAND_WAIT, .event = event});
}

static fg_event record(fg_device *d, fg_queue q) {
  fake_device *f = (fake_device *)d;
  pthread_mutex_lock(&f->mutex);
  fg_event event = {.queue = q, .value = f->queues[q].enqueued};
  pthread_mutex_unlock(&f->mutex);
  return event;
}

static fg_status host_wait(fg_device *d, fg_event event, fg_error *err) {
  fake_device *f = (fake_device *)d;
  pthread_mutex_lock(&f->mutex);
  wait_for(f, event.queue, event.value);
  fg_status status = f->failure.status;
  if (status) fg_fail(err, status, "%s", f->failure.message);
  pthread_mutex_unlock(&f->mutex);
  return status;
}

// Asking lets one more command run, so that who polls gets there.
static bool reached(fg_device *d, fg_event event) {
  fake_device *f = (fake_device *)d;
  pthread_mutex_lock(&f->mutex);
  bool yes = is_reached(f, event);
  if (!yes) {
    f->allowed++;
    pthread_cond_signal(&f->work);
  }
  pthread_mutex_unlock(&f->mutex);
  return yes;
}

// ---- memory --------------------------------------------------------------------------------------------

static bool uses(const command *c, const fg_memory *m) {
  const fg_call *call = &c->call;
  const fg_view *views[] = {
      &call->a,
      &call->b,
      &call->c,
      &call->out,
      &call->state,
      &call->batch.positions,
      &call->batch.lengths,
      &call->batch.slots,
      &call->batch.chunk_list,
      &call->batch.page_tables,
      &call->batch.prompts,
      &call->batch.shared_list,
      &call->batch.member_list,
      &call->batch.starts,
  };
  if (c->memory == m) return true;
  for (size_t i = 0; c->kind == COMMAND_RUN && i < sizeof views / sizeof *views; i++)
    if (views[i]->memory == m) return true;
  return false;
}

static fg_status memory_create(fg_device *d, uint64_t bytes, const char *what, fg_memory **out,
                               fg_error *err) {
  fg_status status = fg_cpu_memory_create(d->options.memory, bytes, what, out, err);
  if (status) return status;
  memset((*out)->base, 0xff, bytes); // NaN as a float of any size, -1 as a number: nobody may count on zeros
  return FG_OK;
}

static void memory_destroy(fg_device *d, fg_memory *m) {
  fake_device *f = (fake_device *)d;
  if (!m) return;
  pthread_mutex_lock(&f->mutex);
  for (uint32_t q = 0; q < FG_QUEUE_COUNT; q++)
    for (uint64_t i = f->queues[q].enqueued; i > f->queues[q].done; i--) {
      if (!uses(&f->queues[q].ring[(i - 1) % QUEUE_COMMANDS], m)) continue;
      if (f->failure.status == FG_OK)
        fg_fail(&f->failure, FG_INTERNAL, "device memory is destroyed while a queued command uses it");
      wait_for(f, q, i);
    }
  pthread_mutex_unlock(&f->mutex);
  fg_cpu_memory_destroy(d->options.memory, m);
}

static void *host_pointer(fg_device *d, fg_memory *m) {
  (void)d, (void)m;
  return NULL;
}

// ---- life ----------------------------------------------------------------------------------------------

static void release(fake_device *f) {
  pthread_cond_destroy(&f->progress);
  pthread_cond_destroy(&f->work);
  pthread_mutex_destroy(&f->mutex);
  fg_cpu_executor_destroy(f->executor);
  fg_budget_free(f->base.options.host, f->queues);
  free(f);
}

static fg_sparse_counts sparse_counts(fg_device *d) {
  return fg_cpu_executor_sparse_counts(((fake_device *)d)->executor);
}

// What is queued still runs.
static void destroy(fg_device *d) {
  fake_device *f = (fake_device *)d;
  pthread_mutex_lock(&f->mutex);
  f->stop = true;
  pthread_cond_signal(&f->work);
  pthread_mutex_unlock(&f->mutex);
  pthread_join(f->thread, NULL);
  release(f);
}

static const struct fg_device_ops fake_ops = {
    .name = "fake",
    .memory_create = memory_create,
    .memory_destroy = memory_destroy,
    .host_pointer = host_pointer,
    .upload = upload,
    .download = download,
    .run = run,
    .record = record,
    .queue_wait = queue_wait,
    .host_wait = host_wait,
    .reached = reached,
    .sparse_counts = sparse_counts,
    .destroy = destroy,
};

// It computes on its own thread alone, and its executor must not share a team with the host.
static fg_device_options own_options(const fg_device_options *options) {
  fg_device_options own = *options;
  own.threads = NULL;
  return own;
}

fg_status fg_fake_device_create(fg_device **out, const fg_device_options *options, fg_error *err) {
  fake_device *f = calloc(1, sizeof *f);
  if (!f) return fg_fail(err, FG_NO_SPACE, "no memory for a device");
  f->base = (fg_device){.ops = &fake_ops, .family = fg_layout_family_plain(), .options = *options};
  f->random = SEED;
  fg_device_options own = own_options(options);
  void *queues = NULL;
  fg_status status = fg_budget_alloc(options->host, QUEUE_BYTES, "queues of the fake device", &queues, err);
  f->queues = queues;
  if (!status) status = fg_cpu_executor_create(&f->executor, &own, 0, err);
  if (status) {
    fg_budget_free(options->host, queues);
    free(f);
    return status;
  }
  f->track = fg_trace_track(options->trace, "fake device");
  pthread_mutex_init(&f->mutex, NULL);
  pthread_cond_init(&f->work, NULL);
  pthread_cond_init(&f->progress, NULL);
  sigset_t all, before; // signals go to the threads that the application knows of
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&f->thread, NULL, thread_main, f);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error) {
    release(f);
    return fg_fail(err, FG_NO_SPACE, "cannot start the fake device's thread: %s", strerror(error));
  }
  *out = &f->base;
  return FG_OK;
}

uint64_t fg_fake_device_scratch_bytes(const fg_device_options *options) {
  fg_device_options own = own_options(options);
  return QUEUE_BYTES + fg_cpu_executor_scratch_bytes(&own, 0);
}
