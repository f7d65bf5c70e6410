// guide.h: which token may come next in an answer that must have a certain form.
//
// A guide is a grammar over a vocabulary, shared by all answers of that form; a cursor is where one answer
// stands. At a cursor there is either one token that must come next, or a set of those that may. So a guided
// answer is: draw from the set, or take the one without a draw, advance, until the end token, which is in the
// set where the answer may end.
//
// Where the grammar leaves one text only, its tokens are those of the tokenizer for that text, one after the
// other, as far as no longer token may reach beyond it; that is what makes a forced token one and the same
// wherever it is looked for. Where bytes are open, every token that the grammar takes is in the set.
//
// What is worked out is kept: states, sets, forced texts. Where there is no memory for more it is forgotten
// and worked out anew, which changes no answer; a cursor then finds its place again by the tokens that were
// said.
//
// Threads: one owner.
#ifndef FG_GUIDE_GUIDE_H
#define FG_GUIDE_GUIDE_H

#include "guide/token_index.h"

typedef struct fg_guide fg_guide;

// What is common to guides of a model.
typedef struct fg_guide_setting {
  fg_token_index *index;
  const int32_t *eos; // any of them may end an answer; the first one does where nothing else may follow
  uint32_t eos_count; // at least 1
  fg_guide_pool *pool;
  void (*make_room)(void *user); // forgets what guides keep; NULL: the one that needs room does
  void *user;
} fg_guide_setting;

// Takes the grammar over and leaves an empty one. The setting must outlive the guide.
fg_status fg_guide_create(fg_guide **out, const fg_guide_setting *setting, fg_grammar *grammar,
                          fg_error *err);
void fg_guide_destroy(fg_guide *guide); // NULL is allowed
void fg_guide_forget(fg_guide *guide);  // what it keeps

typedef struct fg_guide_cursor {
  fg_guide_state state;
  uint32_t forced;     // tokens of the state's forced text that were said
  uint32_t generation; // of what the guide has kept
} fg_guide_cursor;

// What was said up to the cursor.
typedef struct fg_said {
  const int32_t *tokens;
  uint32_t count;
} fg_said;

// Before the first token.
fg_guide_cursor fg_guide_begin(void);
// *token: the only one that may come next; -1: there are several.
fg_status fg_guide_forced(fg_guide *guide, fg_guide_cursor *cursor, fg_said said, int32_t *token,
                          fg_error *err);
// bits: [fg_token_words(vocab)], one for each token that may come next; at least one is set.
// FG_UNSUPPORTED: no token of the vocabulary can go on.
fg_status fg_guide_allowed(fg_guide *guide, fg_guide_cursor *cursor, fg_said said, uint64_t *bits,
                           fg_error *err);
// Behind `token`. *taken false: it may not come next, and the cursor stays.
fg_status fg_guide_advance(fg_guide *guide, fg_guide_cursor *cursor, fg_said said, int32_t token, bool *taken,
                           fg_error *err);

#endif
