// calibrate.h: runs a model over a text to learn what its matrices are multiplied by.
//
// The model runs as in any job: weights stream from the store of the checkpoint's own types, within the
// budget, on the CPU. The text goes through in windows of FG_CALIBRATE_WINDOW tokens that know nothing of
// each other, so that what is found does not depend on the memory there is.
#ifndef FG_JOB_CALIBRATE_H
#define FG_JOB_CALIBRATE_H

#include <stddef.h>

#include "flexgen/engine.h"
#include "model/calibration.h"

enum { FG_CALIBRATE_WINDOW = 512 };

typedef struct fg_calibrate_text {
  const int32_t *ids;
  size_t count;
} fg_calibrate_text;

// Called between steps; false interrupts (FG_CANCELLED).
typedef bool fg_calibrate_progress(void *user, uint64_t tokens_done, uint64_t tokens_total);

// What a store of this calibration is known by: a function of the ids.
uint64_t fg_calibrate_key(const fg_calibrate_text *text);

// options: the model, the machine and the offload dir; how weights are held is not looked at. The result is
// finished and owned by the caller.
fg_status fg_calibrate(fg_calibration *out, const fg_engine_options *options, const fg_calibrate_text *text,
                       fg_calibrate_progress *progress, fg_error *err);

#endif
