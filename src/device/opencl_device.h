// opencl_device.h: a GPU, or whatever else an OpenCL 1.2 driver offers, as a device.
//
// Three in-order queues of the driver are the device's queues. Each command has an event of the driver's,
// kept until it is known to be done; a point in a queue is the number of its last command. Everything is
// computed in float32, quantised weights are expanded on the device, in layout "plain". What kernels find
// wrong with numbers in device memory they note in a word that is read when the host waits; a failure stays,
// as on the fake device. Device memory is taken from the driver when it is created, not when it is first
// used.
#ifndef FG_DEVICE_OPENCL_DEVICE_H
#define FG_DEVICE_OPENCL_DEVICE_H

#include "device/device.h"

fg_status fg_opencl_device_create(fg_device **out, const fg_device_options *options, fg_error *err);
uint64_t fg_opencl_device_scratch_bytes(const fg_device_options *options);
// Whether device `number` is there and can be used.
fg_status fg_opencl_device_find(uint32_t number, fg_device_found *out, fg_error *err);

#endif
