// sse.h: server-sent events, the form in which answers are streamed: each event a line "data: ..." and an
// empty one.
#ifndef FG_SERVE_SSE_H
#define FG_SERVE_SSE_H

#include "base/text_buffer.h"

#define FG_SSE_TYPE "text/event-stream; charset=utf-8"

// An event is put together in place: begin, append one line of JSON, end.
void fg_sse_begin(fg_text *out);
void fg_sse_end(fg_text *out);
// A comment, which clients pass over: proxies and timeouts see that somebody is there.
void fg_sse_ping(fg_text *out);
// What OpenAI's clients wait for at the end.
void fg_sse_done(fg_text *out);

#endif
