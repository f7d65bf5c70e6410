#include "base/reasons.h"

#include <stdbool.h>

fg_status fg_reasons_keep(fg_reasons *reasons, fg_status status, const fg_error *err) {
  const bool fault =
      status == FG_INVALID || status == FG_NOT_FOUND || status == FG_CORRUPT || status == FG_UNSUPPORTED;
  if (!reasons || !fault) return status;
  if (reasons->count < FG_REASONS_KEPT) reasons->items[reasons->count] = *err;
  reasons->count++;
  return FG_OK;
}

uint32_t fg_reasons_kept(const fg_reasons *reasons) {
  return reasons->count < FG_REASONS_KEPT ? reasons->count : FG_REASONS_KEPT;
}
