// fuzz_json.h: changes to a JSON value that know what JSON is: members dropped, doubled, renamed, moved,
// values of other types in their place, numbers and strings at their limits.
#ifndef TESTS_FUZZ_FUZZ_JSON_H
#define TESTS_FUZZ_FUZZ_JSON_H

#include <jansson.h>

#include "fuzz_driver.h"

// One change somewhere below `root`, which is an object or an array. `words` (NULL at the end) are
// strings that mean something to the reader: names of fields and types.
void fuzz_json_mutate(fuzz_random *r, json_t *root, const char *const *words);
// The text of a value.
void fuzz_json_put(fuzz_bytes *out, const json_t *value);

#endif
