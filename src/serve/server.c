#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/system.h"
#include "engine/engine_internal.h"
#include "serve/server_internal.h"

enum {
  MEMORY_PART = 16,        // of the host budget, one part in so many
  LIBRARY_BYTES = 3 << 20, // libmicrohttpd and what it brings: 2.5 MiB were resident
  QUIET_MS = 15000,        // proxies give up after a minute, some after half of one
  DRAIN_SECONDS = 10,      // for clients to take what is left of their answers
};
static const uint64_t MEMORY_LEAST = 8ull << 20, MEMORY_MOST = 1ull << 30;

uint64_t fg_server_memory(uint64_t host_budget) {
  const uint64_t part = host_budget / MEMORY_PART;
  if (!host_budget || part > MEMORY_MOST) return MEMORY_MOST + LIBRARY_BYTES;
  return (part < MEMORY_LEAST ? MEMORY_LEAST : part) + LIBRARY_BYTES;
}

static void forward_log(void *user, fg_log_level level, const char *line) {
  const fg_server *s = user;
  s->options.log(s->options.user, (int)level, line);
}

// At most half of the memory is for connections, and so many as there is room for; the rest is for what they
// ask.
static uint32_t connections_that_fit(const fg_server *s, uint64_t bytes) {
  uint32_t count = s->options.max_connections;
  while (count > 1 && fg_httpd_memory(count) > bytes / 2) count -= (count + 15) / 16;
  if (count < s->options.max_connections)
    fg_log_line(&s->log, FG_LOG_INFO,
                "%u connections at once, not %u: a larger --host-memory has room for more", count,
                s->options.max_connections);
  return count;
}

static fg_status take_memory(fg_server *s, fg_error *err) {
  const uint64_t bytes = fg_server_memory(s->context.info.host_budget);
  fg_status status =
      fg_budget_reserve(fg_engine_host_budget(s->engine), bytes, "requests of the server", err);
  if (status != FG_OK) return status;
  s->taken = bytes;
  status = fg_budget_create(&s->memory, "memory for requests", "--host-memory", bytes - LIBRARY_BYTES, err);
  s->form_memory = (fg_job_memory){.host = s->memory, .used = FG_JOB_ALLOWANCE}; // that one is a batch's
  return status;
}

// A body that grows is there twice, and it has to be read besides.
static uint64_t max_body(const fg_server *s) {
  const uint64_t most = fg_budget_limit(s->memory) / 4;
  return s->options.max_body < most ? s->options.max_body : most;
}

static fg_status start_http(fg_server *s, fg_error *err) {
  const fg_server_options *o = &s->options;
  const fg_status status = o->access_log ? fg_access_log_open(&s->access_log, o->access_log, err) : FG_OK;
  if (status != FG_OK) return status;
  const fg_httpd_options options = {
      .host = o->host,
      .port = o->port,
      .routes = fg_server_routes,
      .route_count = fg_server_route_count,
      .server = s,
      .keys = o->keys,
      .key_count = o->key_count,
      .max_connections = connections_that_fit(s, fg_budget_limit(s->memory)),
      .max_body = max_body(s),
      .patience = {.header_seconds = o->header_seconds, .idle_seconds = o->idle_seconds},
      .quiet_ms = o->quiet_ms,
      .log = s->access_log,
      .memory = s->memory,
  };
  return fg_httpd_start(&s->http, &options, err);
}

static void describe(fg_server *s) {
  s->context = (fg_request_context){.tokenizer = fg_engine_tokenizer(s->engine),
                                    .chat = fg_engine_chat(s->engine),
                                    .streams = true,
                                    .forms = &s->forms,
                                    .forms_later = true};
  atomic_init(&s->next_row, 1); // as the first line of a batch

  fg_engine_describe(s->engine, &s->context.info);
  s->model_name = s->options.model_name_count ? s->options.model_names[0] : s->context.info.name;
  s->started = (int64_t)time(NULL);
  if (!fg_random_bytes(&s->id_seed, sizeof s->id_seed)) s->id_seed = fg_now_ns();
}

// *why says why there are none, where a server can do without.
static fg_status open_files(fg_server *s, fg_error *why, fg_error *err) {
  const fg_status status = fg_server_open_files(s, why);
  if (status == FG_OK || s->options.data_optional) return FG_OK;
  return fg_fail(err, status, "%s", why->message);
}

// ---- what the owner does besides -------------------------------------------------------------------------

static void fill(void *user, uint32_t room) {
  fg_server *s = user;
  if (s->batches) fg_batches_fill(s->batches, room);
  fg_live_look(s->live);
}

static void stepped(void *user) {
  fg_server *s = user;
  if (s->batches) fg_batches_stepped(s->batches);
  fg_live_look(s->live);
}

static int sleep_ms(void *user) {
  const fg_server *s = user;
  return s->batches ? fg_batches_sleep_ms(s->batches) : -1;
}

static void stop_batches(void *user) {
  fg_server *s = user;
  if (s->batches) fg_batches_stop(s->batches);
}

fg_status fg_server_create(fg_server **out, fg_engine *engine, const fg_server_options *options,
                           fg_error *err) {
  fg_server *s = calloc(1, sizeof *s);
  if (!s) return fg_fail(err, FG_NO_SPACE, "out of memory for the server");
  fg_error without = {FG_OK, ""};
  s->options = *options;
  if (options->log) s->log = (fg_log){FG_LOG_DEBUG, forward_log, s};
  if (!s->options.quiet_ms) s->options.quiet_ms = QUIET_MS;
  if (!s->options.batch_expiry_seconds) s->options.batch_expiry_seconds = FG_BATCH_SECONDS;
  s->engine = engine;
  s->forms.memory = &s->form_memory;
  describe(s);
  fg_status status = take_memory(s, err);
  if (status == FG_OK) status = fg_service_create(&s->service, engine, options->max_queue, err);
  if (status == FG_OK) status = open_files(s, &without, err);
  if (status == FG_OK) status = fg_live_create(&s->live, s, err);
  if (status == FG_OK)
    fg_service_set_background(
        s->service,
        &(fg_background){
            .fill = fill, .stepped = stepped, .sleep_ms = sleep_ms, .stop = stop_batches, .user = s});
  if (status == FG_OK) status = start_http(s, err);
  if (status != FG_OK) {
    fg_server_destroy(s);
    return status;
  }
  if (without.status != FG_OK)
    fg_log_line(&s->log, FG_LOG_WARN, "no files and batches: %s; --data-dir names another folder",
                without.message);
  *out = s;
  return FG_OK;
}

void fg_server_destroy(fg_server *s) {
  if (!s) return;
  fg_httpd_stop(s->http, 0);
  fg_access_log_close(s->access_log);
  fg_live_destroy(s->live);
  fg_server_close_files(s);
  fg_service_destroy(s->service);
  fg_form_store_close(&s->forms);
  if (s->memory) fg_budget_destroy(s->memory);
  if (s->taken) fg_budget_release(fg_engine_host_budget(s->engine), s->taken);
  free(s);
}

uint16_t fg_server_port(const fg_server *s) {
  return fg_httpd_port(s->http);
}

int fg_server_wake_fd(const fg_server *s) {
  return fg_service_wake_fd(s->service);
}

uint64_t fg_server_new_id(fg_server *s) {
  const uint64_t number = atomic_fetch_add(&s->next_id, 1);
  return fg_hash_more(s->id_seed, &number, sizeof number);
}

static void begin_to_drain(void *user) {
  fg_server *s = user;
  fg_service_figures figures;
  fg_service_get_figures(s->service, &figures);
  atomic_store(&s->draining, true);
  fg_httpd_refuse_new(s->http);
  fg_log_line(&s->log, FG_LOG_INFO, "no more requests are taken; finishing %u that run and %u that wait",
              figures.started, figures.waiting);
}

static void say_what_the_log_lacks(const fg_server *s) {
  int reason = 0;
  const uint64_t lost = s->access_log ? fg_access_log_lost(s->access_log, &reason) : 0;
  if (lost)
    fg_log_line(&s->log, FG_LOG_WARN, "--access-log: %" PRIu64 " lines could not be written: %s", lost,
                strerror(reason));
}

fg_status fg_server_run(fg_server *s, const volatile sig_atomic_t *stop, fg_error *err) {
  const fg_service_run_options options = {.stop = stop, .draining = begin_to_drain, .user = s};
  fg_status status = fg_service_run(s->service, &options, err);
  fg_httpd_stop(s->http, DRAIN_SECONDS);
  s->http = NULL;
  say_what_the_log_lacks(s);
  fg_service_figures figures;
  fg_service_get_figures(s->service, &figures);
  fg_log_line(&s->log, FG_LOG_INFO,
              "%" PRIu64 " requests were answered, %" PRIu64 " of them cancelled, and %" PRIu64 " sent away",
              figures.ended, figures.cancelled, figures.refused);
  return status;
}
