// /v1/completions and /v1/chat/completions: a request becomes an answer of the engine's, whole or in pieces.
//
// A call belongs to two: to the client's side, HTTP threads that hold its exchange, and to the engine's, from
// submission until the last choice is done. Each lets go of it once; the last one frees it. The choices are
// the engine's to write and the client's to read, with the call's lock.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "job/answer.h"
#include "job/response.h"
#include "serve/body.h"
#include "serve/sse.h"

enum { PIECES_AT_ONCE = 16 << 10 }; // bytes of a stream that are made ready at once

typedef struct call {
  fg_work work; // first: the service knows nothing else
  fg_server *server;
  fg_exchange *exchange;
  fg_answer answer;
  fg_choice_sent *sent; // [choices], of a stream
  char id[32];
  int64_t created;
  uint64_t taken;   // of the server's memory
  uint64_t said_ns; // when the client heard of it last; the client's side
  atomic_int owners;
  // guarded
  pthread_mutex_t lock;
  bool done, dropped;
  fg_error why; // of one that was dropped
} call;

static void let_go(call *c) {
  if (atomic_fetch_sub(&c->owners, 1) != 1) return;
  fg_answer_free(&c->answer);
  fg_budget_release(c->server->memory, c->taken);
  pthread_mutex_destroy(&c->lock);
  free(c->sent);
  free(c);
}

// ---- the engine's side -------------------------------------------------------------------------------

static void answer_grew(void *user, fg_answer *answer) {
  (void)answer;
  call *c = user;
  fg_exchange_wake(c->exchange);
}

static void end(call *c) {
  pthread_mutex_lock(&c->lock);
  c->done = true;
  pthread_mutex_unlock(&c->lock);
  fg_exchange_wake(c->exchange);
  fg_exchange_release(c->exchange);
  let_go(c);
}

static void answer_done(void *user, fg_answer *answer) {
  (void)answer;
  call *c = user;
  fg_service_end(c->server->service, &c->work);
  end(c);
}

static void start(fg_work *work) {
  fg_answer_submit(&((call *)work)->answer);
}

static void cancel(fg_work *work) {
  fg_answer_cancel(&((call *)work)->answer);
}

static void drop(fg_work *work, const fg_error *why) {
  call *c = (call *)work;
  pthread_mutex_lock(&c->lock);
  c->dropped = true;
  c->why = why ? *why : (fg_error){FG_CANCELLED, "the request was cancelled"};
  pthread_mutex_unlock(&c->lock);
  end(c);
}

static const fg_work_kind kind = {start, cancel, drop};

// ---- the client's side -------------------------------------------------------------------------------

static fg_response_head head_of(const call *c) {
  return (fg_response_head){.id = c->id, .created = c->created, .model = c->server->model_name};
}

static bool server_error(fg_api_error *error, const char *message) {
  fg_api_fail(error, NULL, "%s", message);
  error->status = 500;
  error->type = "server_error";
  return false;
}

// Whether a call that is done has an answer.
static bool check(const call *c, fg_api_error *error) {
  *error = (fg_api_error){0};
  return c->dropped ? server_error(error, c->why.message) : fg_answer_check(&c->answer, error);
}

static void put_error_event(fg_text *out, const fg_api_error *error) {
  fg_sse_begin(out);
  fg_response_error(out, error);
  fg_sse_end(out);
}

static bool put_pieces(call *c, fg_text *out) {
  const fg_response_head head = head_of(c);
  bool any = false;
  for (uint32_t i = 0; i < c->answer.count && out->length < PIECES_AT_ONCE; i++) {
    const size_t before = out->length;
    fg_sse_begin(out);
    if (fg_response_chunk(out, &head, &c->answer.choices[i], &c->sent[i])) {
      fg_sse_end(out);
      any = true;
    } else {
      out->length = before;
    }
  }
  return any;
}

static void put_last_pieces(call *c, fg_text *out) {
  const fg_response_head head = head_of(c);
  if (c->answer.request->include_usage) {
    fg_sse_begin(out);
    fg_response_usage_chunk(out, &head, c->answer.choices, c->answer.count);
    fg_sse_end(out);
  }
  fg_sse_done(out);
}

static bool is_quiet(const call *c) {
  return fg_now_ns() - c->said_ns >= (uint64_t)c->server->options.quiet_ms * 1000000;
}

static fg_pull pull(void *user, fg_text *out) {
  call *c = user;
  fg_api_error error;
  fg_pull next = FG_PULL_WAIT;
  pthread_mutex_lock(&c->lock);
  if (c->done && !check(c, &error)) {
    put_error_event(out, &error);
    fg_sse_done(out);
    next = FG_PULL_END;
  } else if (put_pieces(c, out)) {
    next = FG_PULL_MORE;
  } else if (c->done) {
    put_last_pieces(c, out);
    next = FG_PULL_END;
  } else if (is_quiet(c)) {
    fg_sse_ping(out);
  }
  if (out->length) c->said_ns = fg_now_ns();
  pthread_mutex_unlock(&c->lock);
  return next;
}

static void answer_whole(call *c, fg_exchange *x) {
  fg_api_error error;
  if (!check(c, &error)) {
    fg_exchange_fail(x, &error);
    return;
  }
  const fg_response_head head = head_of(c);
  fg_text body = {0};
  fg_response_body(&body, &head, c->answer.choices, c->answer.count);
  fg_exchange_answer(x, 200, FG_JSON_TYPE, &body);
}

static bool has_begun(const call *c) {
  for (uint32_t i = 0; i < c->answer.count; i++)
    if (c->answer.choices[i].ids.count) return true;
  return false;
}

// A stream begins with its first token, as what fails before has a status of its own, but not later than its
// client should hear something.
static void ready(void *user, fg_exchange *x) {
  call *c = user;
  fg_api_error error;
  pthread_mutex_lock(&c->lock);
  const bool streams = c->answer.request->stream;
  if (c->done && (!streams || !check(c, &error))) {
    answer_whole(c, x);
  } else if (streams && (c->done || has_begun(c) || is_quiet(c))) {
    fg_exchange_add_header(x, "Cache-Control", "no-cache");
    fg_exchange_add_header(x, "X-Accel-Buffering", "no"); // proxies keep nothing back
    fg_exchange_stream(x, FG_SSE_TYPE, pull);
  }
  pthread_mutex_unlock(&c->lock);
}

static void gone(void *user) {
  call *c = user;
  fg_service_cancel(c->server->service, &c->work);
}

static void release(void *user) {
  let_go(user);
}

static const fg_held held = {ready, gone, release};

// ---- a request ---------------------------------------------------------------------------------------

static fg_job_request *read_request(fg_server *s, fg_exchange *x, fg_endpoint endpoint) {
  fg_json_body body;
  if (!fg_json_body_read(&body, x)) return NULL;
  fg_job_request *request = NULL;
  fg_api_error error;
  if (fg_server_check_model(s, x, json_string_value(json_object_get(body.root, "model"))) &&
      !fg_job_request_read(&request, &s->context, endpoint, body.root, &error))
    fg_exchange_fail(x, &error);
  fg_json_body_free(&body, x);
  return request;
}

// What it takes from now until the engine and the client are done with it. A stream's pieces are as much as
// the whole answer where a client reads slowly.
static uint64_t cost_of(const fg_server *s, const fg_job_request *q) {
  const uint64_t sent = q->stream ? fg_job_request_choices(q) * sizeof(fg_choice_sent) + PIECES_AT_ONCE : 0;
  const uint64_t form = fg_json_parse_cost(q->form.text, q->form.length);
  return sizeof(call) + sent + form + fg_job_request_bytes(q) + fg_answer_cost(q, &s->context) +
         fg_answer_json_cost(q, &s->context);
}

static bool take_memory(fg_server *s, fg_exchange *x, uint64_t bytes) {
  fg_error err;
  if (bytes > fg_budget_limit(s->memory)) {
    fg_exchange_refuse(x, 400, NULL,
                       "the request may take %" PRIu64 " bytes and the server has %" PRIu64
                       " for requests; ask for less at once",
                       bytes, fg_budget_limit(s->memory));
    return false;
  }
  if (fg_budget_reserve(s->memory, bytes, "a request", &err) == FG_OK) return true;
  fg_exchange_refuse_for_now(x);
  return false;
}

static void set_up(call *c, fg_server *s, fg_exchange *x, fg_job_request *request) {
  const uint64_t number = atomic_fetch_add(&s->next_row, 1);
  const bool chat = request->endpoint == FG_ENDPOINT_CHAT;
  c->work.kind = &kind;
  c->server = s;
  c->exchange = x;
  c->created = (int64_t)time(NULL);
  c->said_ns = fg_now_ns();
  atomic_init(&c->owners, 2);
  pthread_mutex_init(&c->lock, NULL);
  snprintf(c->id, sizeof c->id, "%s-%016" PRIx64, chat ? "chatcmpl" : "cmpl", fg_server_new_id(s));
  c->answer = (fg_answer){.engine = s->engine,
                          .context = &s->context,
                          .request = request,
                          .key = {s->options.seed, number},
                          .lock = &c->lock,
                          .grew = request->stream ? answer_grew : NULL,
                          .done = answer_done,
                          .user = c};
}

// NULL: the exchange is answered.
static call *make_call(fg_server *s, fg_exchange *x, fg_job_request *request) {
  const uint64_t bytes = cost_of(s, request);
  if (!take_memory(s, x, bytes)) {
    fg_job_request_destroy(request);
    return NULL;
  }
  call *c = calloc(1, sizeof *c);
  fg_choice_sent *sent = c && request->stream ? calloc(fg_job_request_choices(request), sizeof *sent) : NULL;
  if (!c || (request->stream && !sent)) {
    free(c);
    fg_job_request_destroy(request);
    fg_budget_release(s->memory, bytes);
    fg_exchange_refuse(x, 500, NULL, "out of memory");
    return NULL;
  }
  set_up(c, s, x, request);
  c->sent = sent;
  c->taken = bytes;
  return c;
}

static void complete(fg_server *s, fg_exchange *x, fg_endpoint endpoint) {
  fg_job_request *request = read_request(s, x, endpoint);
  call *c = request ? make_call(s, x, request) : NULL;
  if (!c) return;
  fg_exchange_acquire(x); // the engine's side wakes it
  fg_exchange_hold(x, &held, c);
  fg_error err;
  const fg_status status = fg_service_submit(s->service, &c->work, &err);
  if (status == FG_OK) return;
  fg_exchange_retry_after(x, fg_service_retry_seconds(s->service));
  fg_exchange_refuse(x, status == FG_BUSY ? 429 : 503, NULL, "%s", err.message);
  fg_exchange_release(x);
  let_go(c);
}

void fg_handle_completions(void *server, fg_exchange *x) {
  complete(server, x, FG_ENDPOINT_COMPLETIONS);
}

void fg_handle_chat(void *server, fg_exchange *x) {
  complete(server, x, FG_ENDPOINT_CHAT);
}
