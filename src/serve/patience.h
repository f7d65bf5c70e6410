// patience.h: how long a connection may take for what it is about to send.
//
// Somebody who sends a byte now and then holds a place among the connections, and memory. So a request's
// header has to be there in a given time; its body may take as long as it comes at a least rate; between two
// requests a connection may be quiet for a while. What the server takes for an answer is not limited.
//
// Pure: times in, times out.
#ifndef FG_SERVE_PATIENCE_H
#define FG_SERVE_PATIENCE_H

#include <stdint.h>

typedef enum fg_phase { FG_PHASE_HEADER, FG_PHASE_BODY, FG_PHASE_ANSWER, FG_PHASE_IDLE } fg_phase;

enum { FG_LEAST_BODY_RATE = 4096 }; // bytes in a second, less than any line that is worth using

typedef struct fg_patience {
  uint32_t header_seconds, idle_seconds;
} fg_patience;

// When a connection that began a phase at `began_ns`, and has sent so many bytes in it, is overdue;
// UINT64_MAX: never.
uint64_t fg_patience_end_ns(const fg_patience *patience, fg_phase phase, uint64_t began_ns,
                            uint64_t received);

#endif
