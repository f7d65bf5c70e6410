// byte_context.h: what a request is read in, with the byte model.
#ifndef FG_TESTS_BYTE_CONTEXT_H
#define FG_TESTS_BYTE_CONTEXT_H

#include "byte_model.h"
#include "job/request.h"

static fg_request_context context;

static int set_up(void **state) {
  (void)state;
  context.tokenizer = byte_tokenizer();
  context.info = (fg_engine_info){
      .name = "byte", .vocab = BYTE_VOCAB, .max_model_len = 100, .eos = byte_eos, .eos_count = 2};
  return context.tokenizer ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  fg_tokenizer_destroy((fg_tokenizer *)(uintptr_t)context.tokenizer);
  return 0;
}

#endif
