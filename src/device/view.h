// view.h: whether what a view says lies within its memory; every device asks before it touches anything.
#ifndef FG_DEVICE_VIEW_H
#define FG_DEVICE_VIEW_H

#include "device/op.h"
#include "flexgen/error.h"

// [rows, width] of elements of `size` bytes in a memory of `total` bytes. `name` is for the message.
fg_status fg_view_check(const fg_view *view, const char *name, uint64_t rows, uint64_t width, uint64_t size,
                        uint64_t total, fg_error *err);

#endif
