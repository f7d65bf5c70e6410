// service.h: one engine, and many who want something of it.
//
// The engine has one owner: the thread that calls fg_service_run. Others hand it work through a queue of
// bounded length; between two steps the owner starts as much of it as keeps the engine busy, so a request
// joins the step that is next, beside those that are under way. Work that nobody wants any more is cancelled
// between two steps as well, and its pages are free for others.
//
// Besides there may be background work (batches): it is asked for sequences only where no work waits and the
// engine would have empty places in its step, so whoever comes next finds nothing of it in the way but what
// is running.
//
// Threads: submit, cancel, wake, figures: any. Everything in fg_work and fg_background is called by the
// owner.
#ifndef FG_SERVE_SERVICE_H
#define FG_SERVE_SERVICE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "flexgen/engine.h"

typedef struct fg_service fg_service;
typedef struct fg_work fg_work;

typedef struct fg_work_kind {
  void (*start)(
      fg_work *work); // submits it to the engine; it ends with fg_service_end, perhaps before this returns
  void (*cancel)(fg_work *work); // it was started: asks the engine to end it
  void (*drop)(fg_work *work,
               const fg_error *why); // it was not started and will not be: its last call; NULL: cancelled
} fg_work_kind;

typedef enum fg_work_state { FG_WORK_NEW, FG_WORK_WAITING, FG_WORK_STARTED, FG_WORK_ENDED } fg_work_state;

// Stands at the beginning of what a caller submits.
struct fg_work {
  const fg_work_kind *kind;
  // the service's
  fg_work *previous, *next;
  fg_work_state state;
  bool cancelled;
};

typedef struct fg_background {
  // Submits up to `room` sequences to the engine.
  void (*fill)(void *user, uint32_t room);
  void (*stepped)(void *user); // after each step
  // How long nothing has to be asked of it where nobody wakes the service; -1: for ever, as NULL.
  int (*sleep_ms)(void *user);
  // The service goes down: no more `fill`; what of it runs is cancelled now.
  void (*stop)(void *user);
  void *user;
} fg_background;

typedef struct fg_service_figures {
  uint32_t waiting, started;                    // now
  uint64_t accepted, refused, ended, cancelled; // so far
  bool failed;                                  // the engine: nothing will be answered
  fg_engine_stats engine;                       // of the last half second or so
} fg_service_figures;

// max_queue: works that wait, not counting those that were started.
fg_status fg_service_create(fg_service **out, fg_engine *engine, uint32_t max_queue, fg_error *err);
void fg_service_destroy(fg_service *service);
void fg_service_set_background(fg_service *service, const fg_background *background); // before it runs

// FG_BUSY: the queue is full; FG_CANCELLED: the service goes down. Then nothing was submitted.
fg_status fg_service_submit(fg_service *service, fg_work *work, fg_error *err);
// Nobody wants it any more. It still ends, by fg_service_end or `drop`. May be called with any lock held.
void fg_service_cancel(fg_service *service, fg_work *work);
// By the owner: work that was started is over.
void fg_service_end(fg_service *service, fg_work *work);
// There is background work to ask for.
void fg_service_wake(fg_service *service);
// The same from a signal handler: 8 bytes that are not 0, written to this.
int fg_service_wake_fd(const fg_service *service);
// When it is worth asking again: about the time that what waits will take, by what was done so far; 1 to 60.
uint32_t fg_service_retry_seconds(fg_service *service);
void fg_service_get_figures(fg_service *service, fg_service_figures *out);

// Works until *stop is set, then takes no more, finishes what was accepted, and returns FG_CANCELLED; or
// until the engine fails. `draining` is called once when it begins to finish. May be NULL.
typedef struct fg_service_run_options {
  const volatile sig_atomic_t *stop;
  void (*draining)(void *user);
  void *user;
} fg_service_run_options;
fg_status fg_service_run(fg_service *service, const fg_service_run_options *options, fg_error *err);

#endif
