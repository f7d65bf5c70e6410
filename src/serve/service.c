#include "serve/service.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/system.h"

static const uint64_t FIGURES_NS = 500000000;

typedef struct work_list {
  fg_work *first, *last;
  uint32_t count;
} work_list;

struct fg_service {
  fg_engine *engine;
  uint32_t max_queue, max_running;
  int wait_fd, wake_fd;
  fg_background background;
  uint64_t begun_ns, shown_ns;
  // guarded
  pthread_mutex_t lock;
  work_list waiting, started;
  uint32_t cancels; // works that were cancelled and do not know it yet
  bool refusing;
  fg_service_figures figures;
};

// ---- lists -------------------------------------------------------------------------------------------

static void list_append(work_list *list, fg_work *work) {
  work->next = NULL;
  work->previous = list->last;
  if (list->last)
    list->last->next = work;
  else
    list->first = work;
  list->last = work;
  list->count++;
}

static void list_remove(work_list *list, fg_work *work) {
  if (work->previous)
    work->previous->next = work->next;
  else
    list->first = work->next;
  if (work->next)
    work->next->previous = work->previous;
  else
    list->last = work->previous;
  list->count--;
}

// ---- from any thread ---------------------------------------------------------------------------------

void fg_service_wake(fg_service *s) {
  const uint64_t one = 1;
  // A counter that is full wakes as well.
  while (write(s->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

int fg_service_wake_fd(const fg_service *s) {
  return s->wake_fd;
}

static fg_status accept_locked(fg_service *s, fg_work *work, fg_error *err) {
  if (s->refusing) return fg_fail(err, FG_CANCELLED, "this server is going down");
  if (s->waiting.count >= s->max_queue) {
    s->figures.refused++;
    return fg_fail(err, FG_BUSY, "%" PRIu32 " requests wait already; try again later", s->waiting.count);
  }
  work->state = FG_WORK_WAITING;
  work->cancelled = false;
  list_append(&s->waiting, work);
  s->figures.accepted++;
  return FG_OK;
}

fg_status fg_service_submit(fg_service *s, fg_work *work, fg_error *err) {
  pthread_mutex_lock(&s->lock);
  fg_status status = accept_locked(s, work, err);
  pthread_mutex_unlock(&s->lock);
  if (status == FG_OK) fg_service_wake(s);
  return status;
}

void fg_service_cancel(fg_service *s, fg_work *work) {
  pthread_mutex_lock(&s->lock);
  const bool open = work->state == FG_WORK_WAITING || work->state == FG_WORK_STARTED;
  if (open && !work->cancelled) {
    work->cancelled = true;
    s->cancels++;
    s->figures.cancelled++;
  }
  pthread_mutex_unlock(&s->lock);
  fg_service_wake(s);
}

void fg_service_get_figures(fg_service *s, fg_service_figures *out) {
  pthread_mutex_lock(&s->lock);
  *out = s->figures;
  out->waiting = s->waiting.count;
  out->started = s->started.count;
  pthread_mutex_unlock(&s->lock);
}

uint32_t fg_service_retry_seconds(fg_service *s) {
  enum { LONGEST = 60 };
  pthread_mutex_lock(&s->lock);
  const double seconds = 1e-9 * (double)(fg_now_ns() - s->begun_ns);
  const double each = s->figures.ended ? seconds / (double)s->figures.ended : seconds;
  const double wait = each * s->waiting.count;
  pthread_mutex_unlock(&s->lock);
  return wait < 1 ? 1 : wait > LONGEST ? LONGEST : (uint32_t)wait;
}

// ---- the owner ---------------------------------------------------------------------------------------

void fg_service_end(fg_service *s, fg_work *work) {
  pthread_mutex_lock(&s->lock);
  list_remove(&s->started, work);
  work->state = FG_WORK_ENDED;
  s->cancels -= work->cancelled; // it ended before it heard of that
  s->figures.ended++;
  pthread_mutex_unlock(&s->lock);
}

static fg_work *find_cancelled(const work_list *list) {
  for (fg_work *w = list->first; w; w = w->next)
    if (w->cancelled) return w;
  return NULL;
}

// The next of the works that were cancelled and do not know it; one that waits is taken off the queue.
static fg_work *next_cancelled(fg_service *s, bool *was_started) {
  pthread_mutex_lock(&s->lock);
  fg_work *found = s->cancels ? find_cancelled(&s->waiting) : NULL;
  *was_started = !found;
  if (found) {
    list_remove(&s->waiting, found);
    found->state = FG_WORK_ENDED;
  } else if (s->cancels) {
    found = find_cancelled(&s->started);
  }
  if (found) {
    found->cancelled = false; // it hears of it once
    s->cancels--;
  }
  pthread_mutex_unlock(&s->lock);
  return found;
}

static void pass_cancels_on(fg_service *s) {
  bool started;
  for (fg_work *w; (w = next_cancelled(s, &started));) {
    if (started)
      w->kind->cancel(w);
    else
      w->kind->drop(w, NULL);
  }
}

static fg_work *take_waiting(fg_service *s) {
  pthread_mutex_lock(&s->lock);
  fg_work *w = s->waiting.first;
  if (w) {
    list_remove(&s->waiting, w);
    w->state = FG_WORK_STARTED;
    list_append(&s->started, w);
  }
  pthread_mutex_unlock(&s->lock);
  return w;
}

// As much as keeps the engine busy; at least one, since an engine that runs nothing must be able to go on.
static void start_waiting(fg_service *s) {
  while (fg_engine_wants(s->engine) > 0 || fg_engine_pending(s->engine) == 0) {
    fg_work *w = take_waiting(s);
    if (!w) return;
    w->kind->start(w);
  }
}

static void fill_up(fg_service *s) {
  const uint32_t pending = fg_engine_pending(s->engine);
  if (s->background.fill && pending < s->max_running)
    s->background.fill(s->background.user, s->max_running - pending);
}

static void publish(fg_service *s, bool now) {
  const uint64_t time = fg_now_ns();
  if (!now && time - s->shown_ns < FIGURES_NS) return;
  s->shown_ns = time;
  fg_engine_stats stats;
  fg_engine_get_stats(s->engine, &stats);
  pthread_mutex_lock(&s->lock);
  s->figures.engine = stats;
  pthread_mutex_unlock(&s->lock);
}

static void sleep_until_woken(const fg_service *s) {
  struct pollfd wait = {.fd = s->wait_fd, .events = POLLIN};
  const fg_background *b = &s->background;
  const int ms = b->sleep_ms ? b->sleep_ms(b->user) : -1;
  uint64_t count;
  if (poll(&wait, 1, ms) > 0 && read(s->wait_fd, &count, sizeof count) < 0)
    return; // somebody else was quicker
}

static void refuse_new(fg_service *s) {
  pthread_mutex_lock(&s->lock);
  s->refusing = true;
  pthread_mutex_unlock(&s->lock);
}

static void begin_to_drain(fg_service *s, const fg_service_run_options *o) {
  refuse_new(s);
  if (s->background.stop) s->background.stop(s->background.user);
  s->background.fill = NULL;
  if (o->draining) o->draining(o->user);
}

static bool is_idle(fg_service *s) {
  pthread_mutex_lock(&s->lock);
  const bool idle = !s->waiting.count && !s->started.count;
  pthread_mutex_unlock(&s->lock);
  return idle && !fg_engine_pending(s->engine);
}

static fg_status step(fg_service *s, fg_error *err) {
  fg_status status = fg_engine_step(s->engine, err);
  if (status == FG_OK && s->background.stepped) s->background.stepped(s->background.user);
  return status;
}

// What waits will not be answered.
static void give_up(fg_service *s, const fg_error *why) {
  refuse_new(s);
  pthread_mutex_lock(&s->lock);
  s->figures.failed = true;
  pthread_mutex_unlock(&s->lock);
  for (;;) {
    pthread_mutex_lock(&s->lock);
    fg_work *w = s->waiting.first;
    if (w) {
      list_remove(&s->waiting, w);
      w->state = FG_WORK_ENDED;
      s->cancels -= w->cancelled;
    }
    pthread_mutex_unlock(&s->lock);
    if (!w) return;
    w->kind->drop(w, why);
  }
}

fg_status fg_service_run(fg_service *s, const fg_service_run_options *o, fg_error *err) {
  bool draining = false;
  for (;;) {
    if (!draining && *o->stop) {
      draining = true;
      begin_to_drain(s, o);
    }
    pass_cancels_on(s);
    start_waiting(s);
    fill_up(s);
    if (is_idle(s)) {
      publish(s, true);
      if (draining) return fg_fail(err, FG_CANCELLED, "stopped");
      sleep_until_woken(s);
      continue;
    }
    if (step(s, err) != FG_OK) {
      give_up(s, err);
      return err->status;
    }
    publish(s, false);
  }
}

// ---- start and end -----------------------------------------------------------------------------------

fg_status fg_service_create(fg_service **out, fg_engine *engine, uint32_t max_queue, fg_error *err) {
  fg_service *s = calloc(1, sizeof *s);
  if (!s) return fg_fail(err, FG_NO_SPACE, "out of memory for the queue");
  fg_engine_info info;
  fg_engine_describe(engine, &info);
  s->engine = engine;
  s->max_queue = max_queue;
  s->begun_ns = fg_now_ns();
  s->max_running = info.max_num_seqs;
  pthread_mutex_init(&s->lock, NULL);
  s->wait_fd = s->wake_fd = -1;
  if (fg_wake_open(&s->wait_fd, &s->wake_fd) != 0) {
    const int reason = errno;
    fg_service_destroy(s);
    return fg_fail(err, FG_IO, "no descriptor to wake the server by: %s", strerror(reason));
  }
  fg_engine_get_stats(engine, &s->figures.engine);
  *out = s;
  return FG_OK;
}

void fg_service_set_background(fg_service *s, const fg_background *background) {
  s->background = *background;
}

void fg_service_destroy(fg_service *s) {
  if (!s) return;
  fg_wake_close(s->wait_fd, s->wake_fd);
  pthread_mutex_destroy(&s->lock);
  free(s);
}
