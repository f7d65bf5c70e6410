// /metrics: figures as Prometheus reads them.
#include <inttypes.h>

#include "serve/server_internal.h"

typedef struct figures {
  fg_service_figures service;
  fg_httpd_figures http;
  uint64_t memory_used, memory_limit;
} figures;

typedef enum figure_type { U32, U64, SECONDS } figure_type;

// Rows of one name stand together.
static const struct {
  const char *name, *labels, *type, *help;
  figure_type as;
  size_t offset;
} rows[] = {
#define AT(member) offsetof(figures, member)
    {"requests_waiting", "", "gauge", "Requests in the queue.", U32, AT(service.waiting)},
    {"requests_running", "", "gauge", "Requests that the engine has.", U32, AT(service.started)},
    {"requests_total", "{outcome=\"accepted\"}", "counter", "Requests for the engine so far.", U64,
     AT(service.accepted)},
    {"requests_total", "{outcome=\"refused\"}", NULL, NULL, U64, AT(service.refused)},
    {"requests_total", "{outcome=\"ended\"}", NULL, NULL, U64, AT(service.ended)},
    {"requests_total", "{outcome=\"cancelled\"}", NULL, NULL, U64, AT(service.cancelled)},
    {"sequences_running", "", "gauge", "Sequences in the engine's steps.", U32, AT(service.engine.running)},
    {"sequences_waiting", "", "gauge", "Sequences that wait for a place in a step.", U32,
     AT(service.engine.waiting)},
    {"prompt_tokens_total", "", "counter", "Prompt tokens computed.", U64, AT(service.engine.prompt_tokens)},
    {"prompt_tokens_shared_total", "", "counter", "Prompt tokens that others had computed.", U64,
     AT(service.engine.prompt_tokens_shared)},
    {"generated_tokens_total", "", "counter", "Tokens generated.", U64, AT(service.engine.generated_tokens)},
    {"steps_total", "", "counter", "Steps of the engine.", U64, AT(service.engine.steps)},
    {"step_seconds_total", "", "counter", "Time in steps.", SECONDS, AT(service.engine.seconds_steps)},
    {"preemptions_total", "", "counter", "Sequences that lost their pages and were computed again.", U64,
     AT(service.engine.preemptions)},
    {"disk_bytes_total", "{direction=\"read\"}", "counter", "Bytes of the disk.", U64,
     AT(service.engine.bytes_read)},
    {"disk_bytes_total", "{direction=\"written\"}", NULL, NULL, U64, AT(service.engine.bytes_written)},
    {"host_memory_bytes", "{what=\"reserved\"}", "gauge", "Host memory by the budget.", U64,
     AT(service.engine.host_used)},
    {"host_memory_bytes", "{what=\"peak\"}", NULL, NULL, U64, AT(service.engine.host_peak)},
    {"host_memory_bytes", "{what=\"resident_peak\"}", NULL, NULL, U64, AT(service.engine.process_peak)},
    {"request_memory_bytes", "{what=\"used\"}", "gauge", "Memory for connections and requests.", U64,
     AT(memory_used)},
    {"request_memory_bytes", "{what=\"limit\"}", NULL, NULL, U64, AT(memory_limit)},
    {"http_connections", "", "gauge", "Open connections.", U32, AT(http.connections)},
    {"http_exchanges", "", "gauge", "Requests over HTTP that are under way.", U32, AT(http.exchanges)},
    {"http_answers_total", "{code=\"2xx\"}", "counter", "Answers by status; none: the client was gone.", U64,
     AT(http.answers[2])},
    {"http_answers_total", "{code=\"4xx\"}", NULL, NULL, U64, AT(http.answers[4])},
    {"http_answers_total", "{code=\"5xx\"}", NULL, NULL, U64, AT(http.answers[5])},
    {"http_answers_total", "{code=\"none\"}", NULL, NULL, U64, AT(http.answers[0])},
#undef AT
};

static void put_value(fg_text *out, figure_type as, const void *value) {
  if (as == U32)
    fg_text_printf(out, " %" PRIu32 "\n", *(const uint32_t *)value);
  else if (as == U64)
    fg_text_printf(out, " %" PRIu64 "\n", *(const uint64_t *)value);
  else
    fg_text_printf(out, " %.9g\n", *(const double *)value);
}

void fg_handle_metrics(void *server, fg_exchange *x) {
  fg_server *s = server;
  figures f = {.memory_used = fg_budget_used(s->memory), .memory_limit = fg_budget_limit(s->memory)};
  fg_service_get_figures(s->service, &f.service);
  fg_httpd_get_figures(fg_httpd_of(x), &f.http);
  fg_text out = {0};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (rows[i].help)
      fg_text_printf(&out, "# HELP flexgen_%s %s\n# TYPE flexgen_%s %s\n", rows[i].name, rows[i].help,
                     rows[i].name, rows[i].type);
    fg_text_printf(&out, "flexgen_%s%s", rows[i].name, rows[i].labels);
    put_value(&out, rows[i].as, (const char *)&f + rows[i].offset);
  }
  fg_exchange_answer(x, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}
