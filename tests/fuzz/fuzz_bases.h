// fuzz_bases.h: valid values that the JSON fuzzers begin with.
#ifndef TESTS_FUZZ_FUZZ_BASES_H
#define TESTS_FUZZ_FUZZ_BASES_H

#include <jansson.h>

// A tokenizer.json with all 256 bytes, a few merges and one of several pipelines. NULL without memory.
enum { FUZZ_TOKENIZERS = 4 };
json_t *fuzz_base_tokenizer(int number);

#endif
