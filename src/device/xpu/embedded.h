// embedded.h: the kernels' sources, in the binary (cmake/embed.cmake).
#ifndef FG_DEVICE_XPU_EMBEDDED_H
#define FG_DEVICE_XPU_EMBEDDED_H

#include <stddef.h>

extern const unsigned char fg_embedded_prelude_h[], fg_embedded_call_h[];
extern const size_t fg_embedded_prelude_h_length, fg_embedded_call_h_length;
extern const unsigned char fg_embedded_rows_xpu[], fg_embedded_matmul_xpu[], fg_embedded_cache_xpu[];
extern const size_t fg_embedded_rows_xpu_length, fg_embedded_matmul_xpu_length, fg_embedded_cache_xpu_length;

#endif
