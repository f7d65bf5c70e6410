#include "serve/live.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "report/page.h"
#include "report/stats.h"
#include "serve/batches.h"
#include "serve/server_internal.h"

static const uint64_t OLD_NS = 500000000;
enum {
  BATCHES_SHOWN = 10,
  PAGE_BYTES = 160 << 10, // of the page, or the figures, while their text grows
};

struct fg_live {
  fg_server *server;
  uint64_t began_ns;
  pthread_mutex_t lock;
  fg_text figures; // guarded
  bool wanted;     // guarded
  uint64_t made_ns;
};

static json_t *server_json(const fg_live *live) {
  const fg_server *s = live->server;
  fg_service_figures service;
  fg_httpd_figures http = {0};
  fg_service_get_figures(s->service, &service);
  if (s->http) fg_httpd_get_figures(s->http, &http);
  return json_pack("{s:f,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "uptime_s",
                   1e-9 * (double)(fg_now_ns() - live->began_ns), "connections", (json_int_t)http.connections,
                   "requests_waiting", (json_int_t)service.waiting, "requests_running",
                   (json_int_t)service.started, "requests_accepted", (json_int_t)service.accepted,
                   "requests_ended", (json_int_t)service.ended, "requests_refused",
                   (json_int_t)service.refused, "requests_cancelled", (json_int_t)service.cancelled);
}

// The youngest ones, without what clients wrote to them.
static json_t *batches_json(const fg_server *s) {
  json_t *all = s->batches ? fg_batches_list(s->batches) : json_array(), *shown = json_array();
  for (size_t i = 0; i < json_array_size(all) && i < BATCHES_SHOWN; i++) {
    json_t *batch = json_array_get(all, i);
    json_array_append_new(shown, json_pack("{s:O?,s:O?,s:O?,s:O?}", "id", json_object_get(batch, "id"),
                                           "status", json_object_get(batch, "status"), "created_at",
                                           json_object_get(batch, "created_at"), "request_counts",
                                           json_object_get(batch, "request_counts")));
  }
  json_decref(all);
  return shown;
}

static char *make_figures(const fg_live *live) {
  const fg_server *s = live->server;
  const fg_stats_run run = {.command = "serve",
                            .outcome = atomic_load(&s->draining) ? "going down" : "running",
                            .open_seconds = s->options.open_seconds,
                            .run_seconds = 1e-9 * (double)(fg_now_ns() - live->began_ns)};
  json_t *stats = fg_stats_json(s->engine, &run);
  json_object_set_new(stats, "server", server_json(live));
  json_object_set_new(stats, "batches", batches_json(s));
  char *text = json_dumps(stats, JSON_COMPACT | JSON_REAL_PRECISION(9));
  json_decref(stats);
  return text;
}

void fg_live_look(fg_live *live) {
  const uint64_t now = fg_now_ns();
  pthread_mutex_lock(&live->lock);
  const bool wanted = live->wanted;
  pthread_mutex_unlock(&live->lock);
  if (!wanted || now - live->made_ns < OLD_NS) return;
  live->made_ns = now;
  char *text = make_figures(live);
  pthread_mutex_lock(&live->lock);
  live->wanted = false;
  fg_text_clear(&live->figures);
  if (text) fg_text_append_string(&live->figures, text);
  pthread_mutex_unlock(&live->lock);
  free(text);
}

void fg_live_get(fg_live *live, fg_text *out) {
  pthread_mutex_lock(&live->lock);
  live->wanted = true;
  if (live->figures.length) fg_text_append(out, live->figures.data, live->figures.length);
  pthread_mutex_unlock(&live->lock);
}

fg_status fg_live_create(fg_live **out, fg_server *server, fg_error *err) {
  fg_live *live = calloc(1, sizeof *live);
  if (!live) return fg_fail(err, FG_NO_SPACE, "no memory for the server's figures");
  *live = (fg_live){.server = server, .began_ns = fg_now_ns(), .wanted = true};
  pthread_mutex_init(&live->lock, NULL);
  fg_live_look(live);
  *out = live;
  return FG_OK;
}

void fg_live_destroy(fg_live *live) {
  if (!live) return;
  pthread_mutex_destroy(&live->lock);
  fg_text_free(&live->figures);
  free(live);
}

// ---- handlers --------------------------------------------------------------------------------------------

void fg_handle_page(void *server, fg_exchange *x) {
  fg_text page = {0};
  (void)server;
  if (!fg_server_take(x, PAGE_BYTES)) return;
  (void)fg_report_live_page(&page, "stats", NULL); // a page that failed to grow is answered with 500
  fg_exchange_add_header(x, "Cache-Control", "no-store");
  fg_exchange_answer(x, 200, "text/html; charset=utf-8", &page);
}

void fg_handle_stats(void *server, fg_exchange *x) {
  fg_server *s = server;
  fg_text figures = {0};
  if (!fg_server_take(x, PAGE_BYTES)) return;
  fg_live_get(s->live, &figures);
  fg_service_wake(s->service); // an idle owner has not looked for long
  fg_exchange_add_header(x, "Cache-Control", "no-store");
  fg_exchange_answer(x, 200, FG_JSON_TYPE, &figures);
}
