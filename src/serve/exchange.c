#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "job/response.h"
#include "serve/access.h"
#include "serve/httpd_internal.h"

static const uint64_t MOST_DROPPED =
    1ull << 30; // bytes of a refused body that are read so that its sender sees why
enum { STREAM_BLOCK = 8 << 10 };

fg_httpd *fg_httpd_of(const fg_exchange *x) {
  return x->http;
}

// ---- the request -------------------------------------------------------------------------------------

const char *fg_exchange_part(const fg_exchange *x, uint32_t number) {
  return number < FG_ROUTE_PARTS ? x->match.parts[number] : NULL;
}

const char *fg_exchange_query(const fg_exchange *x, const char *name) {
  return x->http->mhd.lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *fg_exchange_header(const fg_exchange *x, const char *name) {
  return x->http->mhd.lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

const fg_text *fg_exchange_body(const fg_exchange *x) {
  return &x->body;
}

void fg_exchange_drop_body(fg_exchange *x) {
  fg_text_free(&x->body);
  fg_exchange_give(x, x->body_taken);
  x->body_taken = 0;
}

uint64_t fg_exchange_length(const fg_exchange *x) {
  return x->length;
}

void fg_exchange_keep(fg_exchange *x, void *kept, void (*destroy)(void *kept)) {
  x->kept = kept;
  x->destroy = destroy;
}

void *fg_exchange_kept(const fg_exchange *x) {
  return x->kept;
}

fg_status fg_exchange_take(fg_exchange *x, uint64_t bytes, const char *what, fg_error *err) {
  fg_status status = fg_budget_reserve(x->http->options.memory, bytes, what, err);
  if (status == FG_OK) x->taken += bytes;
  return status;
}

uint64_t fg_exchange_memory(const fg_exchange *x) {
  return fg_budget_limit(x->http->options.memory);
}

void fg_exchange_give(fg_exchange *x, uint64_t bytes) {
  fg_budget_release(x->http->options.memory, bytes);
  x->taken -= bytes;
}

// ---- the answer --------------------------------------------------------------------------------------

void fg_exchange_add_header(fg_exchange *x, const char *name, const char *value) {
  fg_reply *r = &x->reply;
  if (r->headers == FG_REPLY_HEADERS) return;
  r->names[r->headers] = name;
  r->values[r->headers++] = value;
}

void fg_exchange_answer(fg_exchange *x, int status, const char *type, fg_text *body) {
  if (fg_text_failed(body)) {
    fg_text_free(body);
    fg_exchange_refuse(x, 500, NULL, "out of memory for the answer");
    return;
  }
  x->reply.kind = FG_REPLY_BODY;
  x->reply.status = status;
  x->reply.type = type;
  x->reply.body = *body;
  x->reply.size = body->length;
  *body = (fg_text){0};
}

void fg_exchange_answer_json(fg_exchange *x, int status, json_t *object) {
  char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
  json_decref(object);
  fg_text body = {.data = text, .length = text ? strlen(text) : 0, .failed = !text};
  body.capacity = body.length;
  fg_exchange_answer(x, status, FG_JSON_TYPE, &body);
}

void fg_exchange_answer_file(fg_exchange *x, const char *type, int fd, uint64_t size) {
  x->reply.kind = FG_REPLY_FILE;
  x->reply.status = 200;
  x->reply.type = type;
  x->reply.fd = fd;
  x->reply.size = size;
}

void fg_exchange_retry_after(fg_exchange *x, uint32_t seconds) {
  snprintf(x->retry_after, sizeof x->retry_after, "%" PRIu32, seconds);
}

void fg_exchange_fail(fg_exchange *x, const fg_api_error *error) {
  fg_text body = {0};
  fg_response_error(&body, error);
  if (error->status == 401) fg_exchange_add_header(x, "WWW-Authenticate", "Bearer");
  if (error->status == 429 || error->status == 503) fg_exchange_add_header(x, "Retry-After", x->retry_after);
  if (!fg_text_failed(&body)) {
    fg_exchange_answer(x, error->status, FG_JSON_TYPE, &body);
    return;
  }
  fg_text_free(&body); // not even for the reason
  x->reply.kind = FG_REPLY_BODY;
  x->reply.status = 500;
  x->reply.type = FG_JSON_TYPE;
}

static const char *error_type(int status) {
  static const struct {
    int status;
    const char *type;
  } types[] = {{401, "authentication_error"}, {403, "permission_error"}, {429, "rate_limit_error"}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (types[i].status == status) return types[i].type;
  return status >= 500 ? "server_error" : "invalid_request_error";
}

void fg_exchange_refuse(fg_exchange *x, int status, const char *code, const char *format, ...) {
  fg_api_error error = {.status = status, .type = error_type(status), .code = code};
  va_list args;
  va_start(args, format);
  vsnprintf(error.message, sizeof error.message, format, args);
  va_end(args);
  fg_exchange_fail(x, &error);
}

void fg_exchange_refuse_for_now(fg_exchange *x) {
  fg_exchange_refuse(x, 429, NULL, "other requests take the memory that this server has for them; try again");
}

// ---- later -------------------------------------------------------------------------------------------

void fg_exchange_hold(fg_exchange *x, const fg_held *held, void *user) {
  pthread_mutex_lock(&x->http->lock);
  x->user = user;
  x->held = held;
  pthread_mutex_unlock(&x->http->lock);
}

void fg_exchange_stream(fg_exchange *x, const char *type, fg_pull (*pull)(void *user, fg_text *out)) {
  x->reply.kind = FG_REPLY_STREAM;
  x->reply.status = 200;
  x->reply.type = type;
  x->reply.pull = pull;
}

void fg_exchange_wake_locked(fg_exchange *x) {
  x->woken = true;
  if (!x->suspended) return;
  x->suspended = false;
  x->http->mhd.resume_connection(x->connection);
}

void fg_exchange_wake(fg_exchange *x) {
  pthread_mutex_lock(&x->http->lock);
  fg_exchange_wake_locked(x);
  pthread_mutex_unlock(&x->http->lock);
}

void fg_exchange_gone_locked(fg_exchange *x) {
  if (x->gone || !x->held) return;
  x->gone = true;
  x->held->gone(x->user);
  fg_exchange_wake_locked(x);
}

void fg_exchange_acquire(fg_exchange *x) {
  pthread_mutex_lock(&x->http->lock);
  x->references++;
  pthread_mutex_unlock(&x->http->lock);
}

void fg_exchange_release(fg_exchange *x) {
  pthread_mutex_lock(&x->http->lock);
  const bool last = --x->references == 0;
  pthread_mutex_unlock(&x->http->lock);
  if (last) free(x);
}

// Sleeps unless it was woken since the last look; false: it was, or there is nobody to sleep for.
static bool sleep_until_woken(fg_exchange *x) {
  pthread_mutex_lock(&x->http->lock);
  const bool sleeps = !x->woken && !x->gone && !x->http->stopping;
  x->woken = false;
  if (sleeps) {
    x->suspended = true;
    x->slept_ns = fg_now_ns();
    x->http->mhd.suspend_connection(x->connection);
  }
  pthread_mutex_unlock(&x->http->lock);
  return sleeps;
}

static bool is_gone(fg_exchange *x) {
  pthread_mutex_lock(&x->http->lock);
  const bool gone = x->gone || x->http->stopping;
  pthread_mutex_unlock(&x->http->lock);
  return gone;
}

// ---- to libmicrohttpd --------------------------------------------------------------------------------

static ssize_t copy_out(fg_exchange *x, char *buffer, size_t size) {
  fg_text *body = &x->reply.body;
  size_t count = body->length - x->sent;
  if (count > size) count = size;
  memcpy(buffer, body->data + x->sent, count);
  x->sent += count;
  x->reply.size += count;
  if (x->sent < body->length) return (ssize_t)count;
  fg_text_clear(body);
  x->sent = 0;
  return (ssize_t)count;
}

static ssize_t read_stream(void *cls, uint64_t position, char *buffer, size_t size) {
  (void)position;
  fg_exchange *x = cls;
  for (;;) {
    if (x->reply.body.length) return copy_out(x, buffer, size);
    if (x->ended) return MHD_CONTENT_READER_END_OF_STREAM;
    if (is_gone(x)) return MHD_CONTENT_READER_END_WITH_ERROR;
    const fg_pull more = x->reply.pull(x->user, &x->reply.body);
    if (fg_text_failed(&x->reply.body)) return MHD_CONTENT_READER_END_WITH_ERROR;
    x->ended = more == FG_PULL_END;
    if (more == FG_PULL_WAIT && !x->reply.body.length && sleep_until_woken(x)) return 0;
  }
}

static struct MHD_Response *make_response(fg_exchange *x) {
  fg_reply *r = &x->reply;
  struct MHD_Response *response = NULL;
  if (r->kind == FG_REPLY_STREAM)
    return x->http->mhd.create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, x, NULL);
  if (r->kind == FG_REPLY_FILE) {
    response = x->http->mhd.create_response_from_fd64(r->size, r->fd);
    if (response) r->fd = -1;
    return response;
  }
  response = x->http->mhd.create_response_from_buffer(r->body.length, r->body.length ? r->body.data : NULL,
                                                      r->body.length ? MHD_RESPMEM_MUST_FREE
                                                                     : MHD_RESPMEM_PERSISTENT);
  if (response && r->body.length) r->body = (fg_text){0};
  return response;
}

static enum MHD_Result send_reply(fg_exchange *x) {
  const fg_reply *r = &x->reply;
  struct MHD_Response *response = make_response(x);
  if (!response) return MHD_NO;
  bool ok = !r->type ||
            x->http->mhd.add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->type) == MHD_YES;
  for (uint32_t i = 0; i < r->headers; i++)
    ok = ok && x->http->mhd.add_response_header(response, r->names[i], r->values[i]) == MHD_YES;
  const enum MHD_Result queued =
      ok ? x->http->mhd.queue_response(x->connection, (unsigned)r->status, response) : MHD_NO;
  x->http->mhd.destroy_response(response);
  pthread_mutex_lock(&x->http->lock);
  x->http->figures.answers[r->status / 100 % 6]++;
  pthread_mutex_unlock(&x->http->lock);
  return queued;
}

// ---- a request comes ---------------------------------------------------------------------------------

static bool check_sender(fg_exchange *x) {
  const fg_httpd *http = x->http;
  const char *host = fg_exchange_header(x, MHD_HTTP_HEADER_HOST);
  if (http->loopback && !fg_access_loopback_host(host)) {
    fg_exchange_refuse(x, 403, NULL,
                       "this server is bound to the loopback address; call it by that or localhost");
    return false;
  }
  if (!fg_access_origin(fg_exchange_header(x, MHD_HTTP_HEADER_ORIGIN), host)) {
    fg_exchange_refuse(x, 403, NULL, "pages of other sites may not use this server");
    return false;
  }
  return true;
}

static bool check_route(fg_exchange *x, const char *method, const char *path) {
  const fg_httpd_options *o = &x->http->options;
  fg_api_route_find(&x->match, o->routes, o->route_count, method, path);
  if (x->match.out_of_memory) {
    fg_exchange_refuse(x, 500, NULL, "out of memory");
  } else if (!x->match.route && x->match.allow[0]) {
    fg_exchange_add_header(x, MHD_HTTP_HEADER_ALLOW, x->match.allow);
    fg_exchange_refuse(x, 405, NULL, "%s is not answered here, only %s", method, x->match.allow);
  } else if (!x->match.route) {
    fg_exchange_refuse(x, 404, NULL, "there is no %.200s here", path);
  } else if (x->match.route->access == FG_ACCESS_KEY &&
             !fg_access_key(fg_exchange_header(x, MHD_HTTP_HEADER_AUTHORIZATION), o->keys, o->key_count)) {
    fg_exchange_refuse(x, 401, "invalid_api_key", "this server wants a key: Authorization: Bearer KEY");
  } else {
    return true;
  }
  return false;
}

static void refuse_length(fg_exchange *x) {
  fg_exchange_drop_body(x);
  fg_exchange_refuse(x, 413, NULL, "the body is larger than the %" PRIu64 " bytes that this server takes",
                     x->http->options.max_body);
}

static void read_length(fg_exchange *x) {
  const char *text = fg_exchange_header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
  x->length = text ? strtoull(text, NULL, 10) : UINT64_MAX; // libmicrohttpd has checked that it is a number
  if (!text && !fg_exchange_header(x, MHD_HTTP_HEADER_TRANSFER_ENCODING)) x->length = 0;
}

static void look_at_header(fg_exchange *x, const char *method, const char *path) {
  read_length(x);
  pthread_mutex_lock(&x->http->lock);
  const bool refusing = x->http->refusing;
  pthread_mutex_unlock(&x->http->lock);
  if (refusing) {
    fg_exchange_add_header(x, MHD_HTTP_HEADER_CONNECTION, "close");
    fg_exchange_refuse(x, 503, NULL, "this server is going down");
    return;
  }
  if (!check_sender(x) || !check_route(x, method, path)) return;
  if (x->match.route->body != FG_BODY_PIECES && x->length != UINT64_MAX &&
      x->length > x->http->options.max_body)
    refuse_length(x);
}

static void keep_first_line(fg_exchange *x, const char *method, const char *path, const char *version) {
  enum { LOGGED_PATH = 1024 };
  fg_first_line *line = &x->first_line;
  if (!x->http->options.log) return;
  snprintf(line->method, sizeof line->method, "%s", method);
  snprintf(line->version, sizeof line->version, "%s", version);
  line->path = strndup(path, LOGGED_PATH);
}

static fg_exchange *begin(fg_httpd *http, struct MHD_Connection *connection) {
  const union MHD_ConnectionInfo *info =
      http->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  fg_exchange *x = info && info->socket_context ? calloc(1, sizeof *x) : NULL;
  if (!x) return NULL;
  *x = (fg_exchange){.http = http,
                     .of = info->socket_context,
                     .connection = connection,
                     .references = 1,
                     .reply = {.fd = -1},
                     .retry_after = "1",
                     .time = (int64_t)time(NULL),
                     .began_ns = fg_now_ns()};
  pthread_mutex_lock(&http->lock);
  x->of->exchange = x;
  x->of->phase = FG_PHASE_BODY;
  x->of->began_ns = fg_now_ns();
  x->of->received = 0;
  http->figures.exchanges++;
  pthread_mutex_unlock(&http->lock);
  return x;
}

// A buffer that grows is there twice for a moment.
static bool take_for_body(fg_exchange *x, size_t more) {
  const uint64_t wanted = 2 * (x->body.length + more);
  if (wanted <= x->body_taken) return true;
  fg_error err;
  const uint64_t step = wanted - x->body_taken < 4096 ? 4096 : wanted - x->body_taken;
  if (fg_exchange_take(x, step, "a request's body", &err) == FG_OK) {
    x->body_taken += step;
    return true;
  }
  fg_exchange_drop_body(x);
  fg_exchange_refuse_for_now(x);
  return false;
}

static void collect(fg_exchange *x, const char *bytes, size_t size) {
  if (x->received > x->http->options.max_body) {
    refuse_length(x);
    return;
  }
  if (!take_for_body(x, size)) return;
  fg_text_append(&x->body, bytes, size);
  if (!fg_text_failed(&x->body)) return;
  fg_exchange_drop_body(x);
  fg_exchange_refuse(x, 500, NULL, "out of memory for the body");
}

static enum MHD_Result take_piece(fg_exchange *x, const char *bytes, size_t size) {
  x->received += size;
  pthread_mutex_lock(&x->http->lock);
  x->of->received += size;
  pthread_mutex_unlock(&x->http->lock);
  const fg_api_route *route = x->match.route;
  if (x->reply.kind) return x->received > MOST_DROPPED ? MHD_NO : MHD_YES; // what was refused is dropped
  if (route->body == FG_BODY_WHOLE)
    collect(x, bytes, size);
  else if (route->body == FG_BODY_PIECES)
    route->piece(x->http->options.server, x, bytes, size);
  else if (x->received > x->http->options.max_body)
    refuse_length(x);
  return MHD_YES;
}

static void answer_the_gone(fg_exchange *x) {
  pthread_mutex_lock(&x->http->lock);
  const bool stopping = x->http->stopping;
  pthread_mutex_unlock(&x->http->lock);
  fg_exchange_add_header(x, MHD_HTTP_HEADER_CONNECTION, "close");
  x->deserted = !stopping;
  if (stopping)
    fg_exchange_refuse(x, 503, NULL, "this server is going down");
  else
    fg_exchange_refuse(x, 400, NULL, "the connection was closed on your side before the answer was there");
}

// All of the request is there: handles it, then sends what there is, or sleeps.
static enum MHD_Result go_on(fg_exchange *x) {
  if (!x->reply.kind && !x->handled) {
    pthread_mutex_lock(&x->http->lock);
    x->of->phase = FG_PHASE_ANSWER;
    pthread_mutex_unlock(&x->http->lock);
    x->handled = true;
    x->match.route->handle(x->http->options.server, x);
  }
  while (!x->reply.kind && x->held) {
    if (is_gone(x)) {
      answer_the_gone(x);
      break;
    }
    x->held->ready(x->user, x);
    if (!x->reply.kind && sleep_until_woken(x)) return MHD_YES;
  }
  if (!x->reply.kind) fg_exchange_refuse(x, 500, NULL, "nothing answers this request");
  return send_reply(x);
}

enum MHD_Result fg_on_request(void *http, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data, size_t *size,
                              void **slot) {
  fg_exchange *x = *slot;
  if (!x) {
    *slot = x = begin(http, connection);
    if (!x) return MHD_NO;
    keep_first_line(x, method, url, version);
    look_at_header(x, method, url);
    // Who asks before sending hears it now.
    return x->reply.kind && fg_exchange_header(x, MHD_HTTP_HEADER_EXPECT) ? send_reply(x) : MHD_YES;
  }
  if (!*size) return go_on(x);
  enum MHD_Result result = take_piece(x, data, *size);
  *size = 0;
  return result;
}

// ---- a request ends ----------------------------------------------------------------------------------

static void end_locked(fg_exchange *x) {
  fg_httpd *http = x->http;
  if (!x->ended && x->reply.kind != FG_REPLY_BODY) fg_exchange_gone_locked(x);
  if (!x->reply.kind) http->figures.answers[0]++;
  x->connection = NULL;
  x->of->exchange = NULL;
  x->of->phase = FG_PHASE_IDLE;
  x->of->began_ns = fg_now_ns();
  x->of->received = 0;
  http->figures.exchanges--;
  pthread_cond_broadcast(&http->changed);
}

static void name_client(const fg_exchange *x, struct MHD_Connection *connection, char *out, size_t size) {
  const union MHD_ConnectionInfo *info =
      x->http->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  const struct sockaddr *address = info ? info->client_addr : NULL;
  const socklen_t length =
      address && address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  if (!address || getnameinfo(address, length, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0)
    snprintf(out, size, "-");
}

static void log_request(const fg_exchange *x, struct MHD_Connection *connection) {
  const fg_first_line *line = &x->first_line;
  const bool answered = x->reply.kind && !x->deserted;
  char address[64]; // with room for a zone
  if (!x->http->options.log) return;
  name_client(x, connection, address, sizeof address);
  fg_access_log_put(
      x->http->options.log,
      &(fg_access_entry){.address = address,
                         .method = line->method,
                         .path = line->path ? line->path : "-",
                         .version = line->version,
                         .time = x->time,
                         .status = answered ? x->reply.status : FG_STATUS_GONE,
                         .bytes = answered && strcmp(line->method, "HEAD") != 0 ? x->reply.size : 0,
                         .milliseconds = (fg_now_ns() - x->began_ns) / 1000000});
}

void fg_on_completed(void *http, struct MHD_Connection *connection, void **slot,
                     enum MHD_RequestTerminationCode how) {
  (void)http, (void)how;
  fg_exchange *x = *slot;
  if (!x) return;
  *slot = NULL;
  log_request(x, connection);
  pthread_mutex_lock(&x->http->lock);
  end_locked(x);
  pthread_mutex_unlock(&x->http->lock);
  if (x->held) x->held->release(x->user);
  if (x->destroy) x->destroy(x->kept);
  fg_budget_release(x->http->options.memory, x->taken);
  if (x->reply.fd >= 0) close(x->reply.fd);
  free(x->first_line.path);
  fg_text_free(&x->reply.body);
  fg_text_free(&x->body);
  fg_api_route_free(&x->match);
  fg_exchange_release(x);
}
