// fuzz_tokenizer.h: what the fuzzers of tokenizers share: a file among assets, loaded and used.
#ifndef TESTS_FUZZ_FUZZ_TOKENIZER_H
#define TESTS_FUZZ_FUZZ_TOKENIZER_H

#include "fuzz_driver.h"

// Loads the input as the asset `name`; what loads must encode texts and decode what it made of them. An error
// that says `early` was found before anything that the file describes was looked at.
fuzz_outcome fuzz_tokenizer_run(const char *name, const fuzz_bytes *input, const char *early);

#endif
