// engine_internal.h: what other layers of this project may ask an engine for, beyond the public API.
#ifndef FG_ENGINE_ENGINE_INTERNAL_H
#define FG_ENGINE_ENGINE_INTERNAL_H

#include "base/budget.h"
#include "base/trace.h"
#include "engine/history.h"
#include "flexgen/engine.h"
#include "format/assets.h"
#include "machine/timeline.h"
#include "model/calibration.h"
#include "model/model.h"
#include "text/chat.h"
#include "text/tokenizer.h"

const fg_tokenizer *fg_engine_tokenizer(const fg_engine *engine); // NULL: token ids only
const fg_chat *fg_engine_chat(const fg_engine *engine);           // NULL: the model has no template
const fg_model *fg_engine_model(const fg_engine *engine);
fg_budget *fg_engine_host_budget(fg_engine *engine);
fg_trace *fg_engine_trace(fg_engine *engine);
// An engine that can be asked for its policy and forecast, and closed: nothing is packed, and weights are
// read and computed with only to try some steps (rehearsal.h).
fg_status fg_engine_open_plan(fg_engine **out, const fg_engine_options *options, fg_error *err);
// Of the first tokens of a request's prompt, those that the folder of kept prefixes has: they need not be
// computed. For whoever tells the engine of the job; 0 without such a folder.
uint32_t fg_engine_kept_tokens(const fg_engine *engine, const fg_request *request);
// What is otherwise: so much more host memory, a disk so many times as fast (0 = 1), rows without common
// prefixes.
typedef struct fg_engine_change {
  uint64_t more_memory;
  double disk_factor;
  bool nothing_shared;
} fg_engine_change;

// The forecast of the job after a change. False: not known, or the change is none.
bool fg_engine_what_if(const fg_engine *engine, const fg_engine_change *change, fg_engine_forecast *out);
// Of a simulation so far: its time, and that for which each unit of the machine was busy. False: it is none.
typedef struct fg_engine_simulation {
  const char *machine;
  double seconds, busy[FG_UNIT_COUNT];
} fg_engine_simulation;
bool fg_engine_get_simulation(const fg_engine *engine, fg_engine_simulation *out);
struct fg_flexgen_run;
struct fg_flexgen_time;
// FlexGen's schedule on the simulated machine, of this engine's model (plan/flexgen_stream.h): `run` without
// its shape and trace. FG_UNSUPPORTED: the model is none that FlexGen runs.
fg_status fg_engine_run_flexgen(fg_engine *engine, const struct fg_flexgen_run *run,
                                struct fg_flexgen_time *out, fg_error *err);
// By the engine's clock: that of the machine, or a simulated one.
uint64_t fg_engine_now_ns(const fg_engine *engine);
// How the run went so far.
const fg_history *fg_engine_history(const fg_engine *engine);
// The policy as a JSON object (new reference), for --stats and bench.
struct json_t *fg_engine_policy_json(const fg_engine *engine);
// Every matrix shows its input to `calibration`, which outlives the engine. FG_UNSUPPORTED: the device's
// memory is out of reach.
fg_status fg_engine_observe(fg_engine *engine, fg_calibration *calibration, fg_error *err);

#endif
