#include "engine/lookup.h"

// Tokens before and at `end` that are those at the end of the text.
static uint32_t match_at(const int32_t *tokens, uint32_t count, uint32_t end) {
  uint32_t length = 0;
  while (length < FG_LOOKUP_LONGEST && length <= end && tokens[end - length] == tokens[count - 1 - length])
    length++;
  return length;
}

fg_guess fg_lookup(const int32_t *tokens, uint32_t count, uint32_t most, int32_t *out) {
  fg_guess guess = {0};
  if (count < 2 || !most) return guess;
  const uint32_t least = count - 1 > FG_LOOKUP_REACH ? count - 1 - FG_LOOKUP_REACH : 0;
  uint32_t next = 0;
  for (uint32_t end = count - 1; end-- > least && guess.match < FG_LOOKUP_LONGEST;) {
    if (tokens[end] != tokens[count - 1]) continue;
    const uint32_t length = match_at(tokens, count, end);
    if (length <= guess.match) continue;
    guess.match = length;
    next = end + 1;
  }
  if (!guess.match) return guess;
  for (; guess.count < most; guess.count++) {
    const uint32_t from = next + guess.count;
    out[guess.count] = from < count ? tokens[from] : out[from - count];
  }
  return guess;
}
