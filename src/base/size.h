// size.h: sizes as people write and read them. K, M, G, T and KiB ... are powers of 1024 (FlexGen's
// GB is 2^30); KB, MB, GB, TB are powers of 1000.
#ifndef FG_BASE_SIZE_H
#define FG_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

fg_status fg_size_parse(const char *text, uint64_t *bytes, fg_error *err);
// "1.4 GiB", "812 KiB"; returns buffer. 16 bytes are enough.
const char *fg_size_format(uint64_t bytes, char buffer[static 16]);

#endif
