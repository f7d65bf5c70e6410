// charsmap.h: the rules by which SentencePiece rewrites characters, compiled by its trainer.
//
// A file holds them as one block: the size of a double array (Yata et al. 2007, as in Darts-clone), the
// array, and the new texts, each ended by a NUL. The array is walked byte by byte of the text, so whatever
// stands in it, a walk ends with the text.
#ifndef FG_TEXT_CHARSMAP_H
#define FG_TEXT_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

#include "flexgen/error.h"

typedef struct fg_charsmap {
  uint32_t *units; // NULL = no rules
  size_t unit_count;
  char *texts; // valid UTF-8 from every place where a rule may point to; NUL-terminated
  size_t text_bytes;
} fg_charsmap;

fg_status fg_charsmap_read(fg_charsmap *out, const void *block, size_t bytes, fg_error *err);
// The same block in base64, as tokenizer.json writes it.
fg_status fg_charsmap_read_base64(fg_charsmap *out, const char *text, fg_error *err);
void fg_charsmap_free(fg_charsmap *map);

typedef enum fg_charsmap_rule { FG_CHARSMAP_SHORTEST, FG_CHARSMAP_LONGEST } fg_charsmap_rule;

// The rule for the shortest or longest beginning of the text that has one: the beginning's length, 0 = none.
size_t fg_charsmap_match(const fg_charsmap *map, const char *text, size_t length, fg_charsmap_rule rule,
                         const char **replacement);

#endif
