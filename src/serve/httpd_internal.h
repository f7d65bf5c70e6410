// httpd_internal.h: between httpd.c (the daemon, its connections, their patience) and exchange.c (requests).
#ifndef FG_SERVE_HTTPD_INTERNAL_H
#define FG_SERVE_HTTPD_INTERNAL_H

#include <poll.h>
#include <pthread.h>

#include "serve/httpd.h"
#include "serve/mhd.h"

typedef struct fg_connection {
  int fd;
  fg_phase phase;
  uint64_t began_ns, received; // of the phase
  fg_exchange *exchange;       // NULL: between two
  struct fg_connection *previous, *next;
} fg_connection;

struct fg_httpd {
  fg_httpd_options options;
  fg_mhd mhd;
  struct MHD_Daemon *daemon;
  int listener;
  uint16_t port;
  bool loopback;
  uint64_t taken; // of the budget, for connections
  // One lock for the list of connections and for the state of every exchange: all it guards is short.
  pthread_mutex_t lock;
  pthread_cond_t changed; // an exchange ended, or the keeper has something to do
  fg_connection *connections;
  fg_httpd_figures figures;
  bool refusing, stopping;
  // The keeper closes what is overdue and notices who is gone.
  pthread_t keeper;
  bool keeping;
  struct pollfd *polled; // [max_connections]
};

typedef enum fg_reply_kind { FG_REPLY_NONE, FG_REPLY_BODY, FG_REPLY_FILE, FG_REPLY_STREAM } fg_reply_kind;

enum { FG_REPLY_HEADERS = 4 };

typedef struct fg_reply {
  fg_reply_kind kind;
  int status;
  const char *type;
  fg_text body; // of a stream: what is to be sent next
  int fd;
  uint64_t size; // of the body or the file; of a stream what was sent so far
  fg_pull (*pull)(void *user, fg_text *out);
  const char *names[FG_REPLY_HEADERS], *values[FG_REPLY_HEADERS];
  uint32_t headers;
} fg_reply;

// Of a request's first line, for the log.
typedef struct fg_first_line {
  char method[24], version[16];
  char *path; // NULL: there is no log, or no memory
} fg_first_line;

struct fg_exchange {
  fg_httpd *http;
  fg_connection *of;
  struct MHD_Connection *connection; // NULL: over
  fg_api_route_match match;
  uint64_t length, received; // of the body
  fg_text body;
  uint64_t taken, body_taken; // of the budget
  void *kept;
  void (*destroy)(void *kept);
  fg_reply reply;
  char retry_after[12];
  uint64_t sent; // of reply.body, in a stream
  fg_first_line first_line;
  int64_t time;      // seconds since 1970, when its header was there
  uint64_t began_ns; // the same
  bool handled;      // the handler was called
  bool deserted;     // the client was gone before there was an answer
  bool ended;        // a stream has nothing more
  const fg_held *held;
  void *user;
  // guarded by the server's lock
  uint32_t references;
  bool woken, suspended, gone;
  uint64_t slept_ns; // since when it is suspended
};

// What libmicrohttpd calls.
enum MHD_Result fg_on_request(void *http, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data, size_t *size,
                              void **slot);
void fg_on_completed(void *http, struct MHD_Connection *connection, void **slot,
                     enum MHD_RequestTerminationCode how);

void fg_exchange_wake_locked(fg_exchange *x);
// Nobody waits for it.
void fg_exchange_gone_locked(fg_exchange *x);

#endif
