#include "device/view.h"

#include <inttypes.h>

#include "base/checked.h"

fg_status fg_view_check(const fg_view *view, const char *name, uint64_t rows, uint64_t width, uint64_t size,
                        uint64_t total, fg_error *err) {
  // Counts are 32-bit numbers and widths sums of few of them, so only the products need care.
  uint64_t elements = 0, bytes;
  if (rows > 0 && (!fg_mul_u64(rows - 1, view->stride, &elements) || !fg_add_u64(elements, width, &elements)))
    elements = UINT64_MAX;
  if (fg_mul_u64(elements, size, &bytes) && fg_range_ok(view->offset, bytes, total)) return FG_OK;
  return fg_fail(err, FG_INTERNAL,
                 "operand %s [%" PRIu64 ", %" PRIu64 "] (stride %" PRIu32 ", offset %" PRIu64
                 ") leaves its memory of %" PRIu64 " bytes",
                 name, rows, width, view->stride, view->offset, total);
}
