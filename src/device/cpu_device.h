// cpu_device.h: the CPU as a device. Its memory is host memory, and a call has run when it returns.
#ifndef FG_DEVICE_CPU_DEVICE_H
#define FG_DEVICE_CPU_DEVICE_H

#include "device/device.h"

fg_status fg_cpu_device_create(fg_device **out, const fg_device_options *options, fg_error *err);
uint64_t fg_cpu_device_scratch_bytes(const fg_device_options *options);

#endif
