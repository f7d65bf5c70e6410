// live.h: what the page at "/" shows: the figures of the run, and of the server.
//
// Only the engine's owner may look at it. So the figures are made between two steps, when somebody has asked
// for them, and whoever asks gets those of last time; a page asks every second or two.
//
// Threads: fg_live_look is the owner's, the rest anybody's.
#ifndef FG_SERVE_LIVE_H
#define FG_SERVE_LIVE_H

#include "base/text_buffer.h"
#include "flexgen/error.h"

struct fg_server;

typedef struct fg_live fg_live;

fg_status fg_live_create(fg_live **out, struct fg_server *server, fg_error *err);
void fg_live_destroy(fg_live *live);
// Makes them anew where they are wanted and old.
void fg_live_look(fg_live *live);
// Appends them as JSON, and wants newer ones.
void fg_live_get(fg_live *live, fg_text *out);

#endif
