// Prints what llama.cpp computes for prompts of token ids: built and called by beside_llama_cpp.
//
//     llama_logprobs MODEL.gguf < prompts
//
// A prompt is a line of ids with spaces between them. For each the log-probabilities of the whole vocabulary
// behind each of its tokens are written as float32, [tokens, vocab]; the vocabulary's size, an int32, comes
// first of all. Keys and values are float32 and nothing is fused, so that only the arithmetic of its products
// is its own.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "llama.h"

enum { TOKENS_MAX = 1024, LINE_MAX_BYTES = 16384 };

static int failed(const char *what) {
  fprintf(stderr, "llama_logprobs: %s\n", what);
  return 1;
}

static void quiet(enum ggml_log_level level, const char *text, void *user) {
  (void)user;
  if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static void write_logprobs(const float *logits, int32_t vocab) {
  double most = logits[0], sum = 0;
  for (int32_t i = 1; i < vocab; i++) most = fmax(most, logits[i]);
  for (int32_t i = 0; i < vocab; i++) sum += exp(logits[i] - most);
  for (int32_t i = 0; i < vocab; i++) {
    const float value = (float)(logits[i] - most - log(sum));
    fwrite(&value, sizeof value, 1, stdout);
  }
}

static int32_t read_ids(char *line, llama_token *ids) {
  int32_t count = 0;
  for (char *end, *p = line; count < TOKENS_MAX; p = end) {
    const long id = strtol(p, &end, 10);
    if (end == p) break;
    ids[count++] = (llama_token)id;
  }
  return count;
}

static int run_prompt(struct llama_context *context, const llama_token *ids, int32_t count, int32_t vocab) {
  struct llama_batch batch = llama_batch_init(count, 0, 1);
  for (int32_t i = 0; i < count; i++) {
    batch.token[i] = ids[i];
    batch.pos[i] = i;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  batch.n_tokens = count;
  llama_memory_clear(llama_get_memory(context), true);
  const int32_t status = llama_decode(context, batch);
  for (int32_t i = 0; status == 0 && i < count; i++) write_logprobs(llama_get_logits_ith(context, i), vocab);
  llama_batch_free(batch);
  return status;
}

int main(int argc, char **argv) {
  if (argc != 2) return failed("one MODEL.gguf is wanted");
  llama_log_set(quiet, NULL);
  llama_backend_init();
  struct llama_model_params model_params = llama_model_default_params();
  model_params.n_gpu_layers = 0;
  struct llama_model *model = llama_model_load_from_file(argv[1], model_params);
  if (!model) return failed("the model can't be loaded");
  struct llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = TOKENS_MAX;
  params.type_k = params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.n_threads = params.n_threads_batch = 1;
  params.swa_full = true;
  struct llama_context *context = llama_init_from_model(model, params);
  if (!context) return failed("no context");
  const int32_t vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  fwrite(&vocab, sizeof vocab, 1, stdout);
  static char line[LINE_MAX_BYTES];
  static llama_token ids[TOKENS_MAX];
  while (fgets(line, sizeof line, stdin)) {
    const int32_t count = read_ids(line, ids);
    if (count && run_prompt(context, ids, count, vocab)) return failed("llama_decode failed");
  }
  llama_free(context);
  llama_model_free(model);
  return fflush(stdout) || ferror(stdout) ? failed("the results can't be written") : 0;
}
