#include "engine/draft_model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine_internal.h"

enum { SHARE = 4 }; // of the host memory, one part in so many

static const uint32_t STEP_TOKENS = 256; // a prompt is read in few steps, and what a step holds stays small

struct fg_draft_model {
  fg_engine *engine;
  fg_engine_info info;
  fg_budget *host; // of the large engine
  uint64_t reserved, resident;
};

uint64_t fg_draft_model_share(const fg_engine_options *options, const fg_budget *host) {
  return options->draft_memory ? options->draft_memory : fg_budget_limit(host) / SHARE;
}

static fg_engine_options options_of(const fg_engine_options *large, uint64_t host_memory) {
  return (fg_engine_options){.model = large->draft_model,
                             .host_memory = host_memory,
                             .offload_dir = large->offload_dir,
                             .max_num_seqs = FG_DRAFT_MODEL_ROWS,
                             .max_num_batched_tokens = STEP_TOKENS,
                             .threads = large->threads,
                             .io = large->io,
                             .no_speculation = true,
                             .log = large->log,
                             .log_level = large->log_level,
                             .packing = large->packing,
                             .user = large->user};
}

// The process as it is now is counted by the large engine: the small one may take its part beyond that.
fg_status fg_draft_model_open(fg_draft_model **out, const fg_engine_options *options, fg_budget *host,
                              fg_error *err) {
  *out = NULL;
  fg_draft_model *m = calloc(1, sizeof *m);
  if (!m) return fg_fail(err, FG_NO_SPACE, "no memory for the draft model");
  m->host = host;
  const uint64_t process = fg_process_rss(), share = fg_draft_model_share(options, host);
  const fg_engine_options small = options_of(options, share + process);
  fg_error why = {0};
  fg_status status = fg_engine_open(&m->engine, &small, &why);
  if (status != FG_OK) {
    fg_fail(err, status, "--draft-model, with %" PRIu64 " MiB for itself (--draft-memory): %s", share >> 20,
            why.message);
  } else {
    const uint64_t used = fg_budget_used(fg_engine_host_budget(m->engine)), resident = fg_process_rss();
    fg_engine_describe(m->engine, &m->info);
    m->resident = resident > process ? resident - process : 0;
    m->reserved = used > process ? used - process : 0;
    status = fg_budget_reserve(host, m->reserved, "the draft model", err);
    if (status != FG_OK) m->reserved = 0;
  }
  if (status != FG_OK) {
    fg_draft_model_close(m);
    return status;
  }
  *out = m;
  return FG_OK;
}

void fg_draft_model_close(fg_draft_model *m) {
  if (!m) return;
  fg_engine_close(m->engine);
  fg_budget_release(m->host, m->reserved);
  free(m);
}

uint64_t fg_draft_model_resident(const fg_draft_model *m) {
  return m->resident;
}

// ---- the same tokens -------------------------------------------------------------------------------------

static bool same_token(const fg_tokenizer *a, const fg_tokenizer *b, int32_t id) {
  size_t a_length = 0, b_length = 0;
  const char *a_bytes = fg_tokenizer_token_bytes(a, id, &a_length),
             *b_bytes = fg_tokenizer_token_bytes(b, id, &b_length);
  if (!a_bytes || !b_bytes) return !a_bytes && !b_bytes;
  return a_length == b_length && memcmp(a_bytes, b_bytes, a_length) == 0;
}

fg_status fg_draft_model_check(const fg_draft_model *m, const fg_engine *engine, fg_error *err) {
  const uint32_t vocab = fg_engine_model(engine)->graph->vocab;
  if (m->info.vocab != vocab)
    return fg_fail(err, FG_INVALID,
                   "--draft-model %s has a vocabulary of %" PRIu32 " tokens, the model one of %" PRIu32
                   "; take a small model of the same family",
                   m->info.name, m->info.vocab, vocab);
  const fg_tokenizer *a = fg_engine_tokenizer(engine), *b = fg_engine_tokenizer(m->engine);
  for (uint32_t id = 0; a && b && id < vocab; id++)
    if (!same_token(a, b, (int32_t)id))
      return fg_fail(err, FG_INVALID,
                     "token %" PRIu32
                     " of --draft-model %s is not that of the model; take a small model of the "
                     "same family",
                     id, m->info.name);
  return FG_OK;
}

// ---- asking ----------------------------------------------------------------------------------------------

static bool on_token(void *user, const fg_token_info *info) {
  fg_draft_ask *ask = user;
  ask->out[ask->made++] = info->token;
  return true;
}

static fg_status submit(const fg_draft_model *m, fg_draft_ask *ask, fg_error *err) {
  fg_request request = {.prompt = ask->tokens,
                        .prompt_count = ask->count,
                        .max_tokens = ask->most,
                        .sampling = fg_sampling_default(),
                        .logprobs = -1,
                        .prompt_logprobs = -1,
                        .user = ask,
                        .on_token = on_token};
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  return fg_engine_submit(m->engine, &request, NULL, err);
}

fg_status fg_draft_model_ask(fg_draft_model *m, fg_draft_ask *asks, uint32_t count, fg_error *err) {
  fg_status status = FG_OK;
  for (uint32_t i = 0; status == FG_OK && i < count; i++) {
    asks[i].made = 0;
    if (asks[i].most && asks[i].count + asks[i].most <= m->info.max_model_len)
      status = submit(m, &asks[i], err);
  }
  while (status == FG_OK && fg_engine_pending(m->engine)) status = fg_engine_step(m->engine, err);
  return status;
}
