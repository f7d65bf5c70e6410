#include "serve/patience.h"

static const uint64_t SECOND_NS = 1000000000;

uint64_t fg_patience_end_ns(const fg_patience *p, fg_phase phase, uint64_t began_ns, uint64_t received) {
  uint64_t seconds = 0;
  switch (phase) {
  case FG_PHASE_HEADER: seconds = p->header_seconds; break;
  case FG_PHASE_BODY: seconds = p->header_seconds + received / FG_LEAST_BODY_RATE; break;
  // The next request's header comes in this phase too.
  case FG_PHASE_IDLE: seconds = (uint64_t)p->idle_seconds + p->header_seconds; break;
  case FG_PHASE_ANSWER: return UINT64_MAX;
  }
  return began_ns + seconds * SECOND_NS;
}
