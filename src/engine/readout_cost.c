#include "engine/readout_cost.h"

#include "base/clock.h"
#include "engine/readout.h"

enum { VOCAB = 32000, ROWS = 64, TAKES = 9, COLUMNS = 4000 };

static void fill(float *logits, uint64_t count) {
  uint64_t state = 1;
  for (uint64_t i = 0; i < count; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    logits[i] = (float)((int64_t)state >> 39) / (float)(1 << 22);
  }
}

// One step's rows, in blocks of columns as the head's panels give them.
static void read_out(fg_readout *readout, const float *logits, const fg_sampling *sampling) {
  const fg_sampler_input input = {.vocab = VOCAB, .sampling = sampling};
  fg_readout_begin(readout);
  for (uint32_t i = 0; i < ROWS; i++) fg_readout_draw(readout, &input, -1);
  for (uint32_t column = 0; column < VOCAB; column += COLUMNS)
    fg_readout_block(
        readout,
        &(fg_logits_block){
            .rows = ROWS, .column = column, .columns = COLUMNS, .stride = VOCAB, .logits = logits + column});
  fg_readout_finish(readout);
}

fg_status fg_readout_cost(fg_threads *threads, fg_budget *budget, double *seconds, fg_error *err) {
  const fg_readout_shape shape = {.vocab = VOCAB, .rows = ROWS, .draws = ROWS, .top = FG_MAX_TOP};
  const uint64_t count = (uint64_t)ROWS * VOCAB;
  fg_sampling sampling = fg_sampling_default();
  sampling.temperature = 0;
  fg_readout *readout = NULL;
  void *logits = NULL;
  fg_status status = fg_readout_create(&readout, &shape, threads, budget, err);
  if (!status) status = fg_budget_alloc(budget, count * sizeof(float), "measuring", &logits, err);
  uint64_t least = UINT64_MAX;
  if (!status) fill(logits, count);
  for (uint32_t i = 0; !status && i < TAKES; i++) {
    uint64_t begin = fg_now_ns();
    read_out(readout, logits, &sampling);
    uint64_t ns = fg_now_ns() - begin;
    if (ns < least) least = ns;
  }
  *seconds = status ? 0 : 1e-9 * (double)least / (double)count;
  fg_budget_free(budget, logits);
  fg_readout_destroy(readout);
  return status;
}
