// fake_device.h: the device that keeps code honest.
//
// It has an address space of its own (nothing it holds can be dereferenced by the host, and fresh
// memory is filled with NaNs), and a thread that runs queued commands late: a few now and then, picked from
// the queues at random as far as their events allow, and the rest only when the host waits for them or the
// queues are full. An upload reads the host's bytes when it runs, a download writes them then. A failed
// command is reported by the next host_wait, and what was queued behind it is skipped. Memory that is
// destroyed while queued commands use it is a failure too. Choices come from a fixed seed. It computes
// with the reference kernels.
#ifndef FG_DEVICE_FAKE_DEVICE_H
#define FG_DEVICE_FAKE_DEVICE_H

#include "device/device.h"

fg_status fg_fake_device_create(fg_device **out, const fg_device_options *options, fg_error *err);
uint64_t fg_fake_device_scratch_bytes(const fg_device_options *options);

#endif
