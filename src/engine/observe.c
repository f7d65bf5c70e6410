#include "engine/observe.h"

#include "engine/engine_internal.h"
#include "engine/engine_state.h"

fg_status fg_observe_input(fg_calibration *calibration, fg_device *d, const fg_weight *weight,
                           const fg_call *call, uint32_t in_step, fg_error *err) {
  if (!calibration) return FG_OK;
  fg_calibration_item *item = fg_calibration_find(calibration, weight->name, calibration->near);
  const char *reach = fg_device_host_pointer(d, call->a.memory);
  if (!item || item->k != weight->k || !reach)
    return fg_fail(err, FG_INTERNAL, "%s: its input cannot be looked at", weight->name);
  calibration->near = (uint32_t)(item - calibration->items) + 1;
  fg_status status = d->ops->host_wait(d, d->ops->record(d, FG_QUEUE_COMPUTE), err);
  if (status != FG_OK) return status;
  const float *x = (const float *)(const void *)(reach + call->a.offset);
  for (uint32_t s = 0; s < item->segments; s++)
    fg_calibration_add(item, s, x + (uint64_t)s * in_step, call->rows, call->a.stride);
  return FG_OK;
}

fg_status fg_engine_observe(fg_engine *e, fg_calibration *calibration, fg_error *err) {
  if (!fg_device_in_host_memory(e->device_name))
    return fg_fail(err, FG_UNSUPPORTED, "--calibrate: the memory of the %s device is out of reach",
                   e->device_name);
  fg_executor_observe(e->executor, calibration);
  return FG_OK;
}
