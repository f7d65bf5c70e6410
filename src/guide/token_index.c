#include "guide/token_index.h"

#include <stdlib.h>
#include <string.h>

uint64_t fg_token_index_bytes(const fg_tokenizer *tokenizer, uint32_t vocab) {
  const uint32_t size = fg_tokenizer_size(tokenizer), count = size < vocab ? size : vocab;
  return sizeof(fg_token_index) + count * (sizeof(fg_indexed_token) + sizeof(uint32_t));
}

static int by_bytes(const void *x, const void *y) {
  const fg_indexed_token *a = x, *b = y;
  const uint32_t shorter = a->length < b->length ? a->length : b->length;
  const int order = memcmp(a->bytes, b->bytes, shorter);
  if (order) return order;
  if (a->length != b->length) return a->length < b->length ? -1 : 1;
  return (a->id > b->id) - (a->id < b->id);
}

static void collect(fg_token_index *x) {
  const uint32_t size = fg_tokenizer_size(x->tokenizer);
  for (uint32_t id = 0; id < size && id < x->vocab; id++) {
    size_t length = 0;
    const char *bytes = fg_tokenizer_token_bytes(x->tokenizer, (int32_t)id, &length);
    if (!bytes || !length || !fg_tokenizer_adds_bytes(x->tokenizer, (int32_t)id)) continue;
    x->tokens[x->count++] = (fg_indexed_token){(const uint8_t *)bytes, (uint32_t)length, (int32_t)id};
    if (length > x->longest) x->longest = (uint32_t)length;
  }
}

// What the order tells: common beginnings, and where each first byte begins.
static void relate(fg_token_index *x) {
  uint32_t byte = 0;
  for (uint32_t i = 0; i < x->count; i++) {
    const fg_indexed_token *t = &x->tokens[i];
    uint32_t common = 0;
    while (i && common < t->length && common < t[-1].length && t->bytes[common] == t[-1].bytes[common])
      common++;
    x->common[i] = common;
    while (byte <= t->bytes[0]) x->first[byte++] = i;
  }
  while (byte <= 256) x->first[byte++] = x->count;
}

fg_status fg_token_index_create(fg_token_index **out, const fg_tokenizer *tokenizer, uint32_t vocab,
                                fg_error *err) {
  if (!fg_tokenizer_joins_bytes(tokenizer))
    return fg_fail(err, FG_UNSUPPORTED,
                   "this model's tokenizer does not write a text as its tokens' bytes in a row");
  const uint32_t size = fg_tokenizer_size(tokenizer), most = size < vocab ? size : vocab;
  fg_token_index *x = calloc(1, sizeof *x);
  if (x) x->tokens = malloc((most + 1) * sizeof *x->tokens);
  if (x) x->common = calloc(most + 1, sizeof *x->common);
  if (x && x->tokens && x->common) {
    x->tokenizer = tokenizer;
    x->vocab = vocab;
    collect(x);
    qsort(x->tokens, x->count, sizeof *x->tokens, by_bytes);
    relate(x);
    x->path = malloc((x->longest + 1) * sizeof *x->path);
  }
  if (!x || !x->path) {
    fg_token_index_destroy(x);
    return fg_fail(err, FG_NO_SPACE, "out of memory for the tokens of structured answers");
  }
  *out = x;
  return FG_OK;
}

void fg_token_index_destroy(fg_token_index *x) {
  if (!x) return;
  free(x->tokens);
  free(x->common);
  free(x->path);
  free(x);
}

// Tokens [begin, end) begin with the same byte, behind which x->path[1] stands.
static fg_status walk(fg_token_index *x, fg_automaton *a, uint32_t begin, uint32_t end, uint64_t *bits,
                      uint32_t *count, fg_error *err) {
  uint32_t read = 1; // bytes of the current token's beginning for which x->path holds
  for (uint32_t i = begin; i < end;) {
    const fg_indexed_token *t = &x->tokens[i];
    if (i > begin && x->common[i] < read) read = x->common[i];
    while (read < t->length && x->path[read] != FG_STATE_DEAD) {
      const fg_status status = fg_automaton_step(a, x->path[read], t->bytes[read], &x->path[read + 1], err);
      if (status != FG_OK) return status;
      read++;
    }
    i++;
    if (x->path[read] != FG_STATE_DEAD) {
      bits[(uint32_t)t->id / 64] |= 1ull << t->id % 64;
      ++*count;
    } else {
      while (i < end && x->common[i] >= read) i++; // they begin with what cannot follow
    }
  }
  return FG_OK;
}

fg_status fg_token_index_allowed(fg_token_index *x, fg_automaton *a, fg_guide_state state, uint64_t *bits,
                                 uint32_t *count, fg_error *err) {
  fg_status status = FG_OK;
  *count = 0;
  for (uint32_t byte = 0; status == FG_OK && byte < 256; byte++) {
    if (x->first[byte] == x->first[byte + 1]) continue;
    status = fg_automaton_step(a, state, (uint8_t)byte, &x->path[1], err);
    if (status == FG_OK && x->path[1] != FG_STATE_DEAD)
      status = walk(x, a, x->first[byte], x->first[byte + 1], bits, count, err);
  }
  return status;
}

// Of tokens [*begin, *end), which agree in `depth` bytes, those that have `byte` next.
static void narrow(const fg_token_index *x, uint32_t *begin, uint32_t *end, uint32_t depth, uint8_t byte) {
  uint32_t low = *begin, high = *end;
  while (low < high) { // the first that has this byte or a later one
    const uint32_t middle = low + (high - low) / 2;
    const fg_indexed_token *t = &x->tokens[middle];
    if (t->length <= depth || t->bytes[depth] < byte)
      low = middle + 1;
    else
      high = middle;
  }
  *begin = low;
  high = *end;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (x->tokens[middle].bytes[depth] <= byte)
      low = middle + 1;
    else
      high = middle;
  }
  *end = low;
}

const fg_indexed_token *fg_token_index_longest(const fg_token_index *x, const uint8_t *bytes,
                                               uint32_t length) {
  const fg_indexed_token *found = NULL;
  uint32_t begin = 0, end = x->count;
  for (uint32_t depth = 0; depth < length && begin < end; depth++) {
    narrow(x, &begin, &end, depth, bytes[depth]);
    if (begin < end && x->tokens[begin].length == depth + 1) found = &x->tokens[begin];
  }
  return found;
}

fg_status fg_token_index_crosses(const fg_token_index *x, const uint8_t *bytes, uint32_t length,
                                 fg_automaton *a, fg_guide_state state, bool *out, fg_error *err) {
  uint32_t begin = 0, end = x->count;
  fg_status status = FG_OK;
  *out = false;
  for (uint32_t depth = 0; depth < length && begin < end; depth++)
    narrow(x, &begin, &end, depth, bytes[depth]);
  for (uint32_t i = begin; status == FG_OK && i < end && !*out; i++) {
    const fg_indexed_token *t = &x->tokens[i];
    fg_guide_state at = state;
    for (uint32_t b = length; status == FG_OK && b < t->length && at != FG_STATE_DEAD; b++)
      status = fg_automaton_step(a, at, t->bytes[b], &at, err);
    *out = status == FG_OK && t->length > length && at != FG_STATE_DEAD;
  }
  return status;
}
