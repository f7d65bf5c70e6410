// The engine's owner on a small engine: the queue, cancelling, draining, failing, background work.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// after the three above
#include <cmocka.h>

#include "../job/fake_engine.h"
#include "serve/service.h"

enum { WORKS = 16 };

typedef struct fixture fixture;

// A work of one sequence.
typedef struct job {
  fg_work work;
  fixture *f;
  fg_request_id id;
  uint32_t tokens; // wanted
  bool started, ended, dropped;
  fg_finish finish;
  fg_status why; // it was dropped
  uint64_t step; // in which it ended
} job;

struct fixture {
  fg_engine *engine;
  fg_service *service;
  job jobs[WORKS];
  volatile sig_atomic_t stop;
  uint64_t stop_at; // steps
  job *cancel_at_step;
  uint32_t filled, most_room, background_left, background_done;
  bool background_stopped, drained;
};

static bool go_on(void *user, const fg_token_info *info) {
  (void)user, (void)info;
  return true;
}

static void on_done(void *user, fg_finish finish, const fg_error *error) {
  (void)error;
  job *j = user;
  j->finish = finish;
  j->ended = true;
  j->step = j->f->engine->steps;
  fg_service_end(j->f->service, &j->work);
}

static fg_request request_of(uint32_t tokens, void *user, void (*done)(void *, fg_finish, const fg_error *)) {
  static const int32_t prompt[] = {'a', 'b'};
  fg_request r = {.prompt = prompt,
                  .prompt_count = 2,
                  .max_tokens = tokens,
                  .sampling = fg_sampling_default(),
                  .logprobs = -1,
                  .prompt_logprobs = -1,
                  .user = user,
                  .on_token = go_on,
                  .on_done = done};
  r.sampling.ignore_eos = true;
  return r;
}

static void start(fg_work *work) {
  job *j = (job *)work;
  const fg_request r = request_of(j->tokens, j, on_done);
  j->started = true;
  assert_int_equal(fg_engine_submit(j->f->engine, &r, &j->id, NULL), FG_OK);
}

static void cancel(fg_work *work) {
  job *j = (job *)work;
  fg_engine_cancel(j->f->engine, j->id);
}

static void drop(fg_work *work, const fg_error *why) {
  job *j = (job *)work;
  j->dropped = true;
  j->why = why ? why->status : FG_OK;
}

static const fg_work_kind kind = {start, cancel, drop};

static void after_step(fg_engine *engine) {
  fixture *f = engine->user;
  if (f->cancel_at_step && engine->steps == 2) fg_service_cancel(f->service, &f->cancel_at_step->work);
  if (engine->steps == f->stop_at) {
    f->stop = 1;
    fg_service_wake(f->service);
  }
}

static void set_up(fixture *f, uint32_t max_seqs, uint32_t max_queue) {
  *f = (fixture){.engine = fake_open(max_seqs, 0), .stop_at = 1};
  f->engine->user = f;
  f->engine->after_step = after_step;
  assert_int_equal(fg_service_create(&f->service, f->engine, max_queue, NULL), FG_OK);
}

static fg_status submit(fixture *f, uint32_t number, uint32_t tokens) {
  f->jobs[number] = (job){.work = {.kind = &kind}, .f = f, .tokens = tokens};
  return fg_service_submit(f->service, &f->jobs[number].work, NULL);
}

static void drained(void *user) {
  ((fixture *)user)->drained = true;
}

static fg_status run(fixture *f) {
  fg_error err;
  return fg_service_run(f->service, &(fg_service_run_options){&f->stop, drained, f}, &err);
}

static void tear_down(fixture *f) {
  fg_service_destroy(f->service);
  assert_int_equal(fake_close(f->engine), 0);
}

static void test_what_was_accepted_is_finished_before_the_end(void **state) {
  (void)state;
  fixture f;
  set_up(&f, 2, WORKS);
  for (uint32_t i = 0; i < WORKS; i++) assert_int_equal(submit(&f, i, 3), FG_OK);
  assert_int_equal(run(&f), FG_CANCELLED); // asked to stop in the first step
  assert_true(f.drained);
  for (uint32_t i = 0; i < WORKS; i++) {
    assert_int_equal(f.jobs[i].finish, FG_FINISH_LENGTH);
    if (i) assert_true(f.jobs[i].step >= f.jobs[i - 1].step); // first come, first served
  }
  assert_int_equal(submit(&f, 0, 3), FG_CANCELLED);
  tear_down(&f);
}

static void test_a_full_queue_takes_no_more(void **state) {
  (void)state;
  fixture f;
  set_up(&f, 2, 3);
  for (uint32_t i = 0; i < 3; i++) assert_int_equal(submit(&f, i, 2), FG_OK);
  assert_int_equal(submit(&f, 3, 2), FG_BUSY);
  fg_service_figures figures;
  fg_service_get_figures(f.service, &figures);
  assert_int_equal(figures.waiting, 3);
  assert_int_equal(figures.refused, 1);
  assert_int_equal(run(&f), FG_CANCELLED);
  fg_service_get_figures(f.service, &figures);
  assert_int_equal(figures.ended, 3);
  assert_int_equal(figures.waiting + figures.started, 0);
  tear_down(&f);
}

static void test_work_that_waits_is_dropped_when_it_is_cancelled(void **state) {
  (void)state;
  fixture f;
  set_up(&f, 1, WORKS);
  for (uint32_t i = 0; i < 5; i++) assert_int_equal(submit(&f, i, 4), FG_OK);
  f.cancel_at_step = &f.jobs[4]; // the engine has taken two
  assert_int_equal(run(&f), FG_CANCELLED);
  assert_true(f.jobs[4].dropped);
  assert_false(f.jobs[4].started);
  assert_int_equal(f.jobs[4].why, FG_OK);
  for (uint32_t i = 0; i < 4; i++) assert_int_equal(f.jobs[i].finish, FG_FINISH_LENGTH);
  tear_down(&f);
}

static void test_work_that_runs_is_ended_when_it_is_cancelled(void **state) {
  (void)state;
  fixture f;
  set_up(&f, 2, WORKS);
  for (uint32_t i = 0; i < 2; i++) assert_int_equal(submit(&f, i, 100), FG_OK);
  f.cancel_at_step = &f.jobs[0];
  assert_int_equal(run(&f), FG_CANCELLED);
  assert_int_equal(f.jobs[0].finish, FG_FINISH_CANCELLED);
  assert_int_equal(f.jobs[0].step, 2); // with the beginning of the next one
  assert_int_equal(f.jobs[1].finish, FG_FINISH_LENGTH);
  tear_down(&f);
}

static void test_cancelling_what_has_ended_changes_nothing(void **state) {
  (void)state;
  fixture f;
  set_up(&f, 2, WORKS);
  assert_int_equal(submit(&f, 0, 1), FG_OK);
  assert_int_equal(submit(&f, 1, 5), FG_OK);
  f.cancel_at_step = &f.jobs[0];
  assert_int_equal(run(&f), FG_CANCELLED);
  assert_int_equal(f.jobs[0].finish, FG_FINISH_LENGTH);
  fg_service_figures figures;
  fg_service_get_figures(f.service, &figures);
  assert_int_equal(figures.cancelled, 0);
  tear_down(&f);
}

static void test_nothing_is_left_waiting_when_the_engine_fails(void **state) {
  (void)state;
  fixture f;
  set_up(&f, 1, WORKS);
  f.stop_at = 0;
  f.engine->fail_at = 3;
  for (uint32_t i = 0; i < 6; i++) assert_int_equal(submit(&f, i, 50), FG_OK);
  assert_int_equal(run(&f), FG_IO);
  for (uint32_t i = 0; i < 6; i++) {
    assert_true(f.jobs[i].started ? f.jobs[i].ended : f.jobs[i].dropped);
    assert_int_equal(f.jobs[i].started ? (int)f.jobs[i].finish : (int)f.jobs[i].why,
                     f.jobs[i].started ? (int)FG_FINISH_ERROR : (int)FG_IO);
  }
  fg_service_figures figures;
  fg_service_get_figures(f.service, &figures);
  assert_true(figures.failed);
  assert_int_equal(submit(&f, 7, 1), FG_CANCELLED);
  tear_down(&f);
}

static void background_done(void *user, fg_finish finish, const fg_error *error) {
  (void)finish, (void)error;
  fixture *f = user;
  f->background_done++;
}

static void fill(void *user, uint32_t room) {
  fixture *f = user;
  f->filled++;
  if (room > f->most_room) f->most_room = room;
  fg_service_figures figures;
  fg_service_get_figures(f->service, &figures);
  assert_int_equal(figures.waiting, 0);
  for (; room && f->background_left; room--, f->background_left--) {
    const fg_request r = request_of(2, f, background_done);
    fg_request_id id;
    assert_int_equal(fg_engine_submit(f->engine, &r, &id, NULL), FG_OK);
  }
}

static void stop_background(void *user) {
  ((fixture *)user)->background_stopped = true;
}

static void test_background_work_fills_what_others_leave(void **state) {
  (void)state;
  fixture f;
  set_up(&f, 4, WORKS);
  f.stop_at = 40;
  f.background_left = 60;
  fg_service_set_background(f.service, &(fg_background){.fill = fill, .stop = stop_background, .user = &f});
  for (uint32_t i = 0; i < 3; i++) assert_int_equal(submit(&f, i, 20), FG_OK);
  assert_int_equal(run(&f), FG_CANCELLED);
  assert_true(f.background_stopped);
  assert_int_equal(f.background_done, 60 - f.background_left);
  assert_true(f.background_done > 10);
  assert_int_equal(f.jobs[2].step, 20); // nothing of it stood in their way
  tear_down(&f);
}

static void stop_at_third_fill(void *user, uint32_t room) {
  fixture *f = user;
  (void)room;
  f->stop = ++f->filled == 3;
}

static int a_millisecond(void *user) {
  return (void)user, 1;
}

static void test_background_work_is_asked_again_when_it_wants_to_be(void **state) {
  (void)state;
  fixture f;
  set_up(&f, 4, WORKS);
  fg_service_set_background(f.service, &(fg_background){.fill = stop_at_third_fill,
                                                        .sleep_ms = a_millisecond,
                                                        .stop = stop_background,
                                                        .user = &f});
  assert_int_equal(run(&f), FG_CANCELLED); // nobody wakes it
  assert_int_equal(f.filled, 3);
  tear_down(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_was_accepted_is_finished_before_the_end),
      cmocka_unit_test(test_a_full_queue_takes_no_more),
      cmocka_unit_test(test_work_that_waits_is_dropped_when_it_is_cancelled),
      cmocka_unit_test(test_work_that_runs_is_ended_when_it_is_cancelled),
      cmocka_unit_test(test_cancelling_what_has_ended_changes_nothing),
      cmocka_unit_test(test_nothing_is_left_waiting_when_the_engine_fails),
      cmocka_unit_test(test_background_work_fills_what_others_leave),
      cmocka_unit_test(test_background_work_is_asked_again_when_it_wants_to_be),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
