#include "serve/httpd_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/system.h"
#include "serve/access.h"

enum {
  HTTP_THREADS = 2,                        // they parse and write; the work is elsewhere
  STACK_BYTES = 1 << 20,                   // JSON nests up to 2048 deep
  POOL_BYTES = 24 << 10,                   // of a connection: its header and what is being written
  PER_CONNECTION = POOL_BYTES + (8 << 10), // and what libmicrohttpd and we keep of it
  BACKLOG = 1024,
  KEEPER_MS = 100, // as often we look for who is gone
};

// macOS has no epoll, and its conditions know the time of day only.
#if defined(__APPLE__)
enum { POLLING = MHD_USE_POLL };
#define WAIT_CLOCK CLOCK_REALTIME
#define POLLRDHUP  0 // POLLHUP, which nobody has to ask for, is all there is
#else
enum { POLLING = MHD_USE_EPOLL };
#define WAIT_CLOCK CLOCK_MONOTONIC
#endif

uint64_t fg_httpd_memory(uint32_t max_connections) {
  return (uint64_t)max_connections * PER_CONNECTION + HTTP_THREADS * STACK_BYTES / 4;
}

// ---- connections -------------------------------------------------------------------------------------

static void link_connection(fg_httpd *http, fg_connection *c) {
  c->next = http->connections;
  if (c->next) c->next->previous = c;
  http->connections = c;
  http->figures.connections++;
}

static void unlink_connection(fg_httpd *http, fg_connection *c) {
  if (c->previous)
    c->previous->next = c->next;
  else
    http->connections = c->next;
  if (c->next) c->next->previous = c->previous;
  http->figures.connections--;
}

static int socket_of(const fg_httpd *http, struct MHD_Connection *connection) {
  const union MHD_ConnectionInfo *info =
      http->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  return info ? info->connect_fd : -1;
}

// Of a connection for which there is no memory nothing is kept, and its requests are turned away.
static void on_connection(void *cls, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code) {
  fg_httpd *http = cls;
  fg_connection *c = code == MHD_CONNECTION_NOTIFY_STARTED ? calloc(1, sizeof *c) : *slot;
  if (!c) return;
  pthread_mutex_lock(&http->lock);
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    *c =
        (fg_connection){.fd = socket_of(http, connection), .phase = FG_PHASE_HEADER, .began_ns = fg_now_ns()};
    *slot = c;
    link_connection(http, c);
    pthread_cond_broadcast(&http->changed);
  } else {
    *slot = NULL;
    unlink_connection(http, c);
  }
  pthread_mutex_unlock(&http->lock);
  if (code == MHD_CONNECTION_NOTIFY_CLOSED) free(c);
}

// ---- the keeper --------------------------------------------------------------------------------------

// A socket that is shut down reads as closed, so the thread that serves it lets it go.
static void close_overdue(fg_httpd *http, uint64_t now) {
  for (fg_connection *c = http->connections; c; c = c->next)
    if (now > fg_patience_end_ns(&http->options.patience, c->phase, c->began_ns, c->received))
      shutdown(c->fd, SHUT_RDWR);
}

static void wake_the_quiet(fg_httpd *http, uint64_t now) {
  const uint64_t quiet_ns = (uint64_t)http->options.quiet_ms * 1000000;
  for (fg_connection *c = http->connections; c; c = c->next)
    if (c->exchange && c->exchange->suspended && now - c->exchange->slept_ns >= quiet_ns)
      fg_exchange_wake_locked(c->exchange);
}

static bool is_watched(const fg_connection *c) {
  return c->phase == FG_PHASE_ANSWER && c->exchange && c->exchange->held && !c->exchange->gone;
}

static void notice_gone(fg_httpd *http) {
  nfds_t count = 0;
  for (fg_connection *c = http->connections; c; c = c->next)
    if (is_watched(c) && count < http->options.max_connections)
      http->polled[count++] = (struct pollfd){.fd = c->fd, .events = POLLRDHUP};
  if (!count || poll(http->polled, count, 0) <= 0) return;
  nfds_t i = 0;
  for (fg_connection *c = http->connections; c && i < count; c = c->next)
    if (is_watched(c) && http->polled[i++].revents) fg_exchange_gone_locked(c->exchange);
}

static struct timespec in_milliseconds(uint32_t ms) {
  struct timespec time;
  clock_gettime(WAIT_CLOCK, &time);
  time.tv_nsec += (long)(ms % 1000) * 1000000;
  time.tv_sec += ms / 1000 + time.tv_nsec / 1000000000;
  time.tv_nsec %= 1000000000;
  return time;
}

static void *keep(void *cls) {
  fg_httpd *http = cls;
  pthread_mutex_lock(&http->lock);
  while (!http->stopping) {
    if (!http->connections) {
      pthread_cond_wait(&http->changed, &http->lock);
      continue;
    }
    const uint64_t now = fg_now_ns();
    close_overdue(http, now);
    wake_the_quiet(http, now);
    notice_gone(http);
    const struct timespec next = in_milliseconds(KEEPER_MS);
    while (!http->stopping && pthread_cond_timedwait(&http->changed, &http->lock, &next) != ETIMEDOUT) {
    }
  }
  pthread_mutex_unlock(&http->lock);
  return NULL;
}

// ---- start -------------------------------------------------------------------------------------------

static int listen_at(const struct addrinfo *address) {
  const int yes = 1;
  int fd = fg_stream_socket(address->ai_family);
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
  const int reason = errno;
  close(fd);
  errno = reason;
  return -1;
}

static uint16_t port_of(int fd) {
  struct sockaddr_storage bound = {0};
  socklen_t length = sizeof bound;
  if (getsockname(fd, (struct sockaddr *)&bound, &length) != 0) return 0;
  return ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                           : ((struct sockaddr_in *)&bound)->sin_port);
}

static fg_status listen_on(fg_httpd *http, fg_error *err) {
  const fg_httpd_options *o = &http->options;
  char port[8];
  snprintf(port, sizeof port, "%u", o->port);
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  struct addrinfo *found = NULL;
  const int failed = getaddrinfo(o->host, port, &hints, &found);
  if (failed) return fg_fail(err, FG_INVALID, "--host %s: %s", o->host, gai_strerror(failed));
  int reason = 0;
  for (const struct addrinfo *a = found; a && http->listener < 0; a = a->ai_next) {
    http->listener = listen_at(a);
    reason = errno;
  }
  freeaddrinfo(found);
  if (http->listener < 0)
    return fg_fail(err, FG_IO, "cannot listen on %s port %u: %s; choose another with --host or --port",
                   o->host, o->port, strerror(reason));
  http->port = port_of(http->listener);
  return FG_OK;
}

static fg_status start_daemon(fg_httpd *http, fg_error *err) {
  const fg_httpd_options *o = &http->options;
  const unsigned threads =
      o->max_connections < HTTP_THREADS ? 1 : HTTP_THREADS; // each takes its share of them
  const unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | POLLING | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;
  http->daemon = http->mhd.start_daemon(
      flags, 0, NULL, NULL, fg_on_request, http, MHD_OPTION_LISTEN_SOCKET, http->listener,
      MHD_OPTION_THREAD_POOL_SIZE, threads, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
      MHD_OPTION_CONNECTION_LIMIT, o->max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
      MHD_OPTION_CONNECTION_TIMEOUT, o->patience.idle_seconds, MHD_OPTION_NOTIFY_COMPLETED, fg_on_completed,
      http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
  return http->daemon ? FG_OK : fg_fail(err, FG_IO, "cannot start the HTTP threads: %s", strerror(errno));
}

static fg_status start_keeper(fg_httpd *http, fg_error *err) {
  const int failed = pthread_create(&http->keeper, NULL, keep, http);
  http->keeping = !failed;
  return failed ? fg_fail(err, FG_IO, "cannot start a thread: %s", strerror(failed)) : FG_OK;
}

static void set_up_lock(fg_httpd *http) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
#if !defined(__APPLE__)
  pthread_condattr_setclock(&monotonic, WAIT_CLOCK);
#endif
  pthread_cond_init(&http->changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
  pthread_mutex_init(&http->lock, NULL);
}

fg_status fg_httpd_start(fg_httpd **out, const fg_httpd_options *options, fg_error *err) {
  fg_httpd *http = calloc(1, sizeof *http);
  if (!http) return fg_fail(err, FG_NO_SPACE, "out of memory for the server");
  http->options = *options;
  http->listener = -1;
  http->loopback = fg_access_is_loopback(options->host);
  set_up_lock(http);
  const uint64_t bytes = fg_httpd_memory(options->max_connections);
  fg_status status = fg_budget_reserve(options->memory, bytes, "connections", err);
  if (status == FG_OK) http->taken = bytes;
  http->polled = calloc(options->max_connections, sizeof *http->polled);
  if (status == FG_OK && !http->polled) status = fg_fail(err, FG_NO_SPACE, "out of memory for connections");
  if (status == FG_OK) status = fg_mhd_load(&http->mhd, err);
  if (status == FG_OK) status = listen_on(http, err);
  if (status == FG_OK) status = start_daemon(http, err);
  if (status == FG_OK) status = start_keeper(http, err);
  if (status != FG_OK) {
    fg_httpd_stop(http, 0);
    return status;
  }
  *out = http;
  return FG_OK;
}

uint16_t fg_httpd_port(const fg_httpd *http) {
  return http->port;
}

void fg_httpd_get_figures(fg_httpd *http, fg_httpd_figures *out) {
  pthread_mutex_lock(&http->lock);
  *out = http->figures;
  pthread_mutex_unlock(&http->lock);
}

// ---- stop --------------------------------------------------------------------------------------------

void fg_httpd_refuse_new(fg_httpd *http) {
  pthread_mutex_lock(&http->lock);
  const bool before = http->refusing;
  http->refusing = true;
  pthread_mutex_unlock(&http->lock);
  if (before || !http->daemon) return;
  http->mhd.quiesce_daemon(http->daemon);
  close(http->listener); // whoever connects now is told so at once
  http->listener = -1;
}

static void wait_for_exchanges(fg_httpd *http, uint32_t seconds) {
  const struct timespec end = in_milliseconds(seconds * 1000);
  pthread_mutex_lock(&http->lock);
  while (http->figures.exchanges && pthread_cond_timedwait(&http->changed, &http->lock, &end) != ETIMEDOUT) {
  }
  // A daemon must not be stopped while connections sleep.
  for (fg_connection *c = http->connections; c; c = c->next)
    if (c->exchange) fg_exchange_gone_locked(c->exchange);
  http->stopping = true;
  pthread_cond_broadcast(&http->changed);
  pthread_mutex_unlock(&http->lock);
}

void fg_httpd_stop(fg_httpd *http, uint32_t seconds) {
  if (!http) return;
  if (http->daemon) fg_httpd_refuse_new(http);
  wait_for_exchanges(http, seconds);
  if (http->keeping) pthread_join(http->keeper, NULL);
  if (http->daemon) http->mhd.stop_daemon(http->daemon);
  if (http->listener >= 0) close(http->listener);
  fg_budget_release(http->options.memory, http->taken);
  pthread_cond_destroy(&http->changed);
  pthread_mutex_destroy(&http->lock);
  free(http->polled);
  free(http);
}
