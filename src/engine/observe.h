// observe.h: looking at what a matrix is about to be multiplied by, for a calibration (model/calibration.h).
#ifndef FG_ENGINE_OBSERVE_H
#define FG_ENGINE_OBSERVE_H

#include "device/device.h"
#include "model/calibration.h"

// Adds the rows of call->a, once they are computed, to what is known of the weight; nothing with a
// calibration of NULL. in_step: columns from a segment's input to the next one's.
fg_status fg_observe_input(fg_calibration *calibration, fg_device *device, const fg_weight *weight,
                           const fg_call *call, uint32_t in_step, fg_error *err);

#endif
