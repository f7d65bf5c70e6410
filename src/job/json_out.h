// json_out.h: writing JSON by hand, piece by piece, into a text buffer. What comes out is always valid
// UTF-8 on one line, and equal numbers are written equally, whatever the locale.
#ifndef FG_JOB_JSON_OUT_H
#define FG_JOB_JSON_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/text_buffer.h"

// A quoted string. Bytes that are not UTF-8 become U+FFFD.
void fg_json_put_string(fg_text *out, const char *bytes, size_t length);
void fg_json_put_cstring(fg_text *out, const char *string); // NULL: null
// A float32 with nine digits, which tell every value from its neighbours. Minus infinity, which JSON does not
// have, is -9999.0.
void fg_json_put_logprob(fg_text *out, float value);
// The array of the bytes' values.
void fg_json_put_bytes(fg_text *out, const char *bytes, size_t length);
void fg_json_put_ids(fg_text *out, const int32_t *ids, size_t count);

#endif
