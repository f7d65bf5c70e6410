// stats.h: figures of an engine's run as one JSON object: what --stats writes, and what the pages about a run
// are drawn from. docs/command-line.md names its keys.
#ifndef FG_REPORT_STATS_H
#define FG_REPORT_STATS_H

#include <jansson.h>

#include "flexgen/engine.h"

// What the engine does not know of its run.
typedef struct fg_stats_run {
  const char *command, *outcome;
  double open_seconds, run_seconds;
  json_t *rows; // what became of requests, or NULL; borrowed
} fg_stats_run;

// New reference; NULL without memory.
json_t *fg_stats_json(const fg_engine *engine, const fg_stats_run *run);
// What was planned as an object, null where nothing is known; new reference.
json_t *fg_stats_predicted(const fg_engine *engine);

// Of a simulation, for how long each unit of the machine was busy; NULL of any other run. New reference.
json_t *fg_stats_simulation(const fg_engine *engine);

#endif
