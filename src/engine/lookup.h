// lookup.h: how a text may go on, as far as it says so itself.
//
// Who extracts, corrects or repeats writes again what stands in the text already. So the end of the text is
// looked for further up, and what followed there is the guess. Of several places the one counts whose
// beginning agrees longest, at most FG_LOOKUP_LONGEST tokens, and of equal ones the last. A guess that comes
// to the end of the text goes on with itself: who repeats himself may do so again.
//
// Pure. A lookup goes backwards once over at most FG_LOOKUP_REACH tokens, mostly with one comparison for each
// and never with more than FG_LOOKUP_LONGEST; no index is kept, which would have to be held for every row: 64
// Ki tokens take some 20 microseconds, where a step that reads a model takes milliseconds.
#ifndef FG_ENGINE_LOOKUP_H
#define FG_ENGINE_LOOKUP_H

#include <stdint.h>

enum { FG_LOOKUP_LONGEST = 8, FG_LOOKUP_REACH = 1 << 16 };

typedef struct fg_guess {
  uint32_t count; // tokens of the guess; 0: the last token stands nowhere else
  uint32_t match; // tokens by which the place was found
} fg_guess;

// What may follow `tokens`, at most `most` tokens. `out` may lie right behind them.
fg_guess fg_lookup(const int32_t *tokens, uint32_t count, uint32_t most, int32_t *out);

#endif
