// encoding.h: the bytes of a cell as text, and back.
//
// A table is UTF-8 where all of it is valid UTF-8, else ISO-8859-1, in which every byte is a character:
// decided for the whole table, since single cells would pass as either. Prompts are UTF-8; answers are
// written beside a table in the table's own encoding.
#ifndef FG_WRANGLE_ENCODING_H
#define FG_WRANGLE_ENCODING_H

#include <string.h>

#include "base/text_buffer.h"
#include "text/unicode.h"

typedef enum fg_encoding { FG_UTF_8, FG_LATIN_1 } fg_encoding;

// `bytes`, valid in `encoding`, as UTF-8.
void fg_decode(fg_text *out, fg_encoding encoding, const char *bytes, size_t length);
// Valid UTF-8 as `encoding`; what Latin-1 does not have becomes a question mark. Returns how often.
size_t fg_encode(fg_text *out, fg_encoding encoding, const char *text, size_t length);

// A C string as a slice.
static inline fg_slice fg_words(const char *text) {
  return (fg_slice){text, strlen(text)};
}

// Valid UTF-8 without white space at its ends, at its front, as Python's str.strip and str.lstrip leave it.
fg_slice fg_strip(fg_slice text);
fg_slice fg_strip_front(fg_slice text);

#endif
