// exchange.h: one request and its answer, as a handler sees them.
//
// In the handler everything of the request can be read. Then either the handler answers, or it holds the
// exchange and gives it a table of functions. From then on whoever works for it says fg_exchange_wake, from
// any thread and as often as it likes, and an HTTP thread calls `ready`, which answers, or begins a stream,
// or waits for the next wake. A stream's `pull` is called whenever the client can take more: it appends what
// there is.
//
// `gone` says that nobody waits for the answer any more: stop working for it. It may come from any thread
// while `ready` or `pull` runs, once, and must not call back into the exchange. `release` is the last call:
// the request is over.
//
// Threads: `ready`, `pull` and `release` of an exchange are never called at the same time. fg_exchange_wake
// must not be called with a lock held that `gone` takes.
#ifndef FG_SERVE_EXCHANGE_H
#define FG_SERVE_EXCHANGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text_buffer.h"
#include "flexgen/error.h"
#include "job/request.h"

typedef struct fg_exchange fg_exchange;

// ---- the request -------------------------------------------------------------------------------------

const char *fg_exchange_part(const fg_exchange *x, uint32_t number);    // of the path, in braces
const char *fg_exchange_query(const fg_exchange *x, const char *name);  // NULL: not there
const char *fg_exchange_header(const fg_exchange *x, const char *name); // NULL: not there
const fg_text *fg_exchange_body(const fg_exchange *x);                  // FG_BODY_WHOLE
void fg_exchange_drop_body(fg_exchange *x);                             // its memory is free for others
uint64_t fg_exchange_length(const fg_exchange *x); // of the body, as announced; UINT64_MAX: not

// Something of the handler's that goes with the exchange, however it ends; from the first `piece` on.
void fg_exchange_keep(fg_exchange *x, void *kept, void (*destroy)(void *kept));
void *fg_exchange_kept(const fg_exchange *x);

// Bytes of the server's memory until the exchange ends. FG_NO_SPACE: others have it now.
fg_status fg_exchange_take(fg_exchange *x, uint64_t bytes, const char *what, fg_error *err);
uint64_t fg_exchange_memory(const fg_exchange *x);     // bytes that the server has for all requests together
void fg_exchange_give(fg_exchange *x, uint64_t bytes); // earlier

// ---- the answer --------------------------------------------------------------------------------------

#define FG_JSON_TYPE "application/json"

// Another header of the answer; at most four. Texts must outlive the exchange.
void fg_exchange_add_header(fg_exchange *x, const char *name, const char *value);
// Takes over the body, which is empty afterwards. A body that failed to grow is answered with 500.
void fg_exchange_answer(fg_exchange *x, int status, const char *type, fg_text *body);
void fg_exchange_answer_json(fg_exchange *x, int status,
                             json_t *object); // takes over the reference; NULL: 500
// Takes over the file; its first `size` bytes are sent.
void fg_exchange_answer_file(fg_exchange *x, const char *type, int fd, uint64_t size);

// Of an answer 429 or 503: when to try again; 1 if this is not called.
void fg_exchange_retry_after(fg_exchange *x, uint32_t seconds);
// OpenAI's error object, with its status.
void fg_exchange_fail(fg_exchange *x, const fg_api_error *error);
// The same of its parts: the type goes by the status; code may be NULL.
void fg_exchange_refuse(fg_exchange *x, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// 429: others have the memory now.
void fg_exchange_refuse_for_now(fg_exchange *x);

// ---- answering later ---------------------------------------------------------------------------------

typedef enum fg_pull { FG_PULL_WAIT, FG_PULL_MORE, FG_PULL_END } fg_pull;

typedef struct fg_held {
  void (*ready)(void *user, fg_exchange *x);
  void (*gone)(void *user);
  void (*release)(void *user);
} fg_held;

// Only in a handler.
void fg_exchange_hold(fg_exchange *x, const fg_held *held, void *user);
// In a handler that holds it, or in `ready`: what `pull` appends is sent. MORE: there may be more at once;
// WAIT: after the next wake; END: that was all.
void fg_exchange_stream(fg_exchange *x, const char *type, fg_pull (*pull)(void *user, fg_text *out));
void fg_exchange_wake(fg_exchange *x);

// Whoever wakes it from another thread owns a reference until it is done with that.
void fg_exchange_acquire(fg_exchange *x);
void fg_exchange_release(fg_exchange *x);

#endif
