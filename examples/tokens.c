// The library in a screen: sixteen greedy tokens after a prompt of token ids.
//   tokens MODEL OFFLOAD-DIR ID...
// Build against an installed library: cc tokens.c $(pkg-config --cflags --libs flexgen)
#include <stdio.h>
#include <stdlib.h>

#include "flexgen/engine.h"

enum { ANSWER = 16, LONGEST = 4096 };

static bool print_token(void *user, const fg_token_info *info) {
  int *count = user;
  printf("%s%d", (*count)++ ? " " : "", info->token);
  return true;
}

static void finish(void *user, fg_finish reason, const fg_error *error) {
  (void)user;
  putchar('\n');
  if (reason == FG_FINISH_ERROR) fprintf(stderr, "tokens: %s\n", error->message);
}

static fg_status answer(fg_engine *engine, const int32_t *prompt, uint32_t count, fg_error *err) {
  int printed = 0;
  fg_request request = {.prompt = prompt,
                        .prompt_count = count,
                        .max_tokens = ANSWER,
                        .sampling = fg_sampling_default(),
                        .logprobs = -1,
                        .prompt_logprobs = -1,
                        .user = &printed,
                        .on_token = print_token,
                        .on_done = finish};
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  fg_request_id id;
  fg_status status = fg_engine_submit(engine, &request, &id, err);
  while (!status && fg_engine_pending(engine)) status = fg_engine_step(engine, err);
  return status;
}

int main(int argc, char **argv) {
  if (argc < 4 || argc > 3 + LONGEST) {
    fprintf(stderr, "usage: tokens MODEL OFFLOAD-DIR ID...\n");
    return 2;
  }
  int32_t prompt[LONGEST];
  for (int i = 3; i < argc; i++) prompt[i - 3] = (int32_t)strtol(argv[i], NULL, 10);

  fg_error err;
  fg_engine *engine;
  fg_engine_options options = {.model = argv[1], .offload_dir = argv[2], .dtype = "f32"};
  fg_status status = fg_engine_open(&engine, &options, &err);
  if (!status) {
    status = answer(engine, prompt, (uint32_t)(argc - 3), &err);
    fg_engine_close(engine);
  }
  if (status) fprintf(stderr, "tokens: %s\n", err.message);
  return status ? 1 : 0;
}
