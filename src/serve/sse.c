#include "serve/sse.h"

void fg_sse_begin(fg_text *out) {
  fg_text_append_string(out, "data: ");
}

void fg_sse_end(fg_text *out) {
  fg_text_append_string(out, "\n\n");
}

void fg_sse_ping(fg_text *out) {
  fg_text_append_string(out, ": waiting\n\n");
}

void fg_sse_done(fg_text *out) {
  fg_text_append_string(out, "data: [DONE]\n\n");
}
