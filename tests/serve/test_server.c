// A whole server on a small engine, whose steps wait for what the clients have seen.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// after the three above
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../job/fake_engine.h"
#include "serve/server.h"

typedef struct fixture {
  fg_engine *engine;
  fg_server *server;
  volatile sig_atomic_t stop;
  pthread_t clients;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool held, released;   // the engine is in a step; it may go on
  fg_text first, second; // what the clients heard
} fixture;

// ---- the engine: holds its first step until it is released --------------------------------------------

static void after_step(fg_engine *engine) {
  fixture *f = engine->user;
  pthread_mutex_lock(&f->lock);
  f->held = true;
  pthread_cond_broadcast(&f->changed);
  while (!f->released) pthread_cond_wait(&f->changed, &f->lock);
  pthread_mutex_unlock(&f->lock);
}

static void wait_until_held(fixture *f) {
  pthread_mutex_lock(&f->lock);
  while (!f->held) pthread_cond_wait(&f->changed, &f->lock);
  pthread_mutex_unlock(&f->lock);
}

static void release(fixture *f) {
  pthread_mutex_lock(&f->lock);
  f->released = true;
  pthread_cond_broadcast(&f->changed);
  pthread_mutex_unlock(&f->lock);
}

// ---- clients -------------------------------------------------------------------------------------------

static int ask(const fixture *f, const char *body) {
  const struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons(fg_server_port(f->server)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char request[512];
  const int length = snprintf(request, sizeof request,
                              "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                              "Content-Length: %zu\r\n\r\n%s",
                              strlen(body), body);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 &&
      write(fd, request, (size_t)length) == length)
    return fd;
  if (fd >= 0) close(fd);
  return -1;
}

// Until `what` was heard, or the other side closes.
static bool hear(int fd, fg_text *heard, const char *what) {
  char block[1024];
  ssize_t count;
  while (!(heard->data && what && strstr(heard->data, what))) {
    if ((count = read(fd, block, sizeof block)) <= 0) break;
    fg_text_append(heard, block, (size_t)count);
  }
  return heard->data && what && strstr(heard->data, what);
}

static uint32_t occurrences(const char *text, const char *what) {
  uint32_t count = 0;
  for (; (text = strstr(text, what)); text += strlen(what)) count++;
  return count;
}

static void end(fixture *f, int first, int second) {
  release(f);
  hear(first, &f->first, NULL);
  hear(second, &f->second, NULL);
  close(first);
  close(second);
  f->stop = 1;
  const uint64_t one = 1;
  if (write(fg_server_wake_fd(f->server), &one, sizeof one) < 0) perror("wake");
}

static void *stream_waits(void *user) {
  fixture *f = user;
  int first = ask(f, "{\"prompt\":\"x>abc\",\"stream\":true}");
  wait_until_held(f);
  int second = ask(f, "{\"prompt\":\"x>defg\",\"stream\":true}");
  hear(second, &f->second, ": waiting");
  end(f, first, second);
  return NULL;
}

static void *whole_waits(void *user) {
  fixture *f = user;
  int first = ask(f, "{\"prompt\":\"x>abc\"}");
  wait_until_held(f);
  int second = ask(f, "{\"prompt\":\"x>defg\",\"stream\":true}");
  hear(second, &f->second, ": waiting"); // by then the whole one was woken as well
  end(f, first, second);
  return NULL;
}

static void *both_are_refused(void *user) {
  fixture *f = user;
  end(f, ask(f, "{\"prompt\":\"x>abc\"}"), ask(f, "{\"prompt\":\"x>abc\",\"stream\":true}"));
  return NULL;
}

static void open_engine(fixture *f) {
  *f = (fixture){
      .engine = fake_open(1, 0), .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  f->engine->user = f;
  f->engine->after_step = after_step;
}

static void serve(fixture *f, void *(*clients)(void *)) {
  const fg_server_options options = {.host = "127.0.0.1",
                                     .max_connections = 16,
                                     .max_queue = 16,
                                     .max_body = 1 << 16,
                                     .header_seconds = 60,
                                     .idle_seconds = 60,
                                     .quiet_ms = 1};
  fg_error err;
  if (fg_server_create(&f->server, f->engine, &options, &err) != FG_OK) fail_msg("%s", err.message);
  assert_int_equal(pthread_create(&f->clients, NULL, clients, f), 0);
  assert_int_equal(fg_server_run(f->server, &f->stop, &err), FG_CANCELLED);
  pthread_join(f->clients, NULL);
  fg_server_destroy(f->server);
  assert_int_equal(fake_close(f->engine), 0); // all memory was given back
}

static void done(fixture *f) {
  fg_text_free(&f->first);
  fg_text_free(&f->second);
}

// ---- tests ---------------------------------------------------------------------------------------------

static void test_a_stream_that_waits_says_so(void **state) {
  (void)state;
  fixture f;
  open_engine(&f);
  serve(&f, stream_waits);
  assert_int_equal(strncmp(f.second.data, "HTTP/1.1 200 ", 13), 0);
  assert_true(occurrences(f.second.data, ": waiting\n\n") >= 1);
  assert_true(strstr(f.second.data, "\"finish_reason\":\"stop\"") != NULL);
  assert_int_equal(occurrences(f.second.data, "data: [DONE]\n\n"), 1);
  assert_int_equal(occurrences(f.first.data, "data: [DONE]\n\n"), 1);
  done(&f);
}

static void test_a_whole_answer_has_nothing_before_it(void **state) {
  (void)state;
  fixture f;
  open_engine(&f);
  serve(&f, whole_waits);
  assert_int_equal(strncmp(f.first.data, "HTTP/1.1 200 ", 13), 0);
  assert_int_equal(occurrences(f.first.data, ": waiting"), 0);
  assert_true(strstr(f.first.data, "\"text\":\"abc\"") != NULL);
  done(&f);
}

static void test_what_the_engine_cannot_take_is_the_clients_fault(void **state) {
  (void)state;
  fixture f;
  open_engine(&f);
  f.engine->refuse_every = 1;
  f.engine->refusal = (fg_error){FG_UNSUPPORTED, "this engine has no penalties"};
  serve(&f, both_are_refused);
  for (int i = 0; i < 2; i++) {
    const char *heard = i ? f.second.data : f.first.data;
    assert_int_equal(strncmp(heard, "HTTP/1.1 400 ", 13), 0);
    assert_non_null(strstr(heard, "{\"error\":{\"message\":\"this engine has no penalties\",\"type\":"
                                  "\"invalid_request_error\",\"param\":null,"
                                  "\"code\":\"unsupported_parameter\"}}"));
  }
  done(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_stream_that_waits_says_so),
      cmocka_unit_test(test_a_whole_answer_has_nothing_before_it),
      cmocka_unit_test(test_what_the_engine_cannot_take_is_the_clients_fault),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
