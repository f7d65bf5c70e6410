#include "guide/guide.h"

#include <stdlib.h>
#include <string.h>

enum {
  FORCED_MAX = 4096, // bytes of a text that is looked for at once
  NOT_BEGUN = UINT32_MAX,
};

// The tokens that may follow in a state: as bits, or as a list where that is shorter.
typedef struct mask {
  uint32_t count;
  bool listed;
  uint64_t data[]; // uint32_t ids [count], or bits [words]
} mask;

// Tokens that must follow in a state, and the state behind them.
typedef struct forced_text {
  uint32_t count;
  fg_guide_state end;
  int32_t tokens[];
} forced_text;

// Of each state of the automaton; NULL: not worked out yet.
typedef struct kept {
  mask *mask;
  forced_text *forced;
} kept;

struct fg_guide {
  const fg_guide_setting *setting;
  fg_grammar grammar;
  fg_automaton *automaton;
  uint64_t own_bytes, kept_bytes; // taken from the pool, but for the automaton's
  kept *kept;                     // [kept_capacity], by state
  uint32_t kept_capacity;
  uint32_t generation;
  fg_guide_state start;
  uint64_t *scratch; // [words]
};

// ---- memory --------------------------------------------------------------------------------------------

static uint32_t words_of(const fg_guide *g) {
  return fg_token_words(g->setting->index->vocab);
}

static fg_status no_room(fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "out of memory for a structured answer; try more --host-memory");
}

static void *keep_block(fg_guide *g, uint64_t bytes) {
  if (!fg_guide_pool_take(g->setting->pool, bytes)) return NULL;
  void *block = malloc(bytes);
  if (block)
    g->kept_bytes += bytes;
  else
    fg_guide_pool_give(g->setting->pool, bytes);
  return block;
}

static fg_status reach_kept(fg_guide *g, fg_guide_state s, fg_error *err) {
  if (s < g->kept_capacity) return FG_OK;
  const uint32_t capacity = s + s / 2 + 16;
  const uint64_t more = (capacity - g->kept_capacity) * sizeof *g->kept;
  if (!fg_guide_pool_take(g->setting->pool, more)) return no_room(err);
  g->kept_bytes += more;
  kept *grown = realloc(g->kept, capacity * sizeof *grown);
  if (!grown) return no_room(err);
  memset(grown + g->kept_capacity, 0, more);
  g->kept = grown;
  g->kept_capacity = capacity;
  return FG_OK;
}

void fg_guide_forget(fg_guide *g) {
  for (uint32_t i = 0; i < g->kept_capacity; i++) {
    free(g->kept[i].mask);
    free(g->kept[i].forced);
  }
  free(g->kept);
  fg_guide_pool_give(g->setting->pool, g->kept_bytes);
  g->kept = NULL;
  g->kept_capacity = 0;
  g->kept_bytes = 0;
  g->start = FG_STATE_NONE;
  g->generation++;
  fg_automaton_forget(g->automaton);
}

fg_status fg_guide_create(fg_guide **out, const fg_guide_setting *setting, fg_grammar *grammar,
                          fg_error *err) {
  fg_guide *g = calloc(1, sizeof *g);
  if (!g) return no_room(err);
  g->setting = setting;
  g->grammar = *grammar;
  *grammar = (fg_grammar){0};
  g->start = FG_STATE_NONE;
  g->own_bytes = sizeof *g + words_of(g) * sizeof *g->scratch + fg_grammar_size(&g->grammar);
  const bool room = fg_guide_pool_take(setting->pool, g->own_bytes);
  if (!room) g->own_bytes = 0;
  if (room) g->scratch = calloc(words_of(g) + 1, sizeof *g->scratch);
  fg_status status =
      g->scratch ? fg_automaton_create(&g->automaton, &g->grammar, setting->pool, err) : no_room(err);
  if (status != FG_OK) {
    fg_guide_destroy(g);
    return status;
  }
  *out = g;
  return FG_OK;
}

void fg_guide_destroy(fg_guide *g) {
  if (!g) return;
  if (g->automaton) fg_guide_forget(g);
  fg_automaton_destroy(g->automaton);
  fg_guide_pool_give(g->setting->pool, g->own_bytes);
  fg_grammar_free(&g->grammar);
  free(g->scratch);
  free(g);
}

// ---- forced texts --------------------------------------------------------------------------------------

// The bytes that must follow in `from`, and the state behind them.
typedef struct only_text {
  uint8_t bytes[FORCED_MAX];
  uint32_t length;
  fg_guide_state end;
} only_text;

static fg_status find_only_text(fg_guide *g, fg_guide_state from, only_text *t, fg_error *err) {
  fg_status status = FG_OK;
  t->length = 0;
  t->end = from;
  while (status == FG_OK && t->length < FORCED_MAX && !fg_automaton_accepts(g->automaton, t->end)) {
    uint32_t count;
    uint8_t byte;
    status = fg_automaton_choices(g->automaton, t->end, &count, &byte, err);
    if (status != FG_OK || count != 1) break;
    status = fg_automaton_step(g->automaton, t->end, byte, &t->end, err);
    t->bytes[t->length++] = byte;
  }
  return status;
}

// Whether the ids stand for exactly these bytes, each for some, and none is special.
static bool spells(const fg_token_index *x, const fg_ids *ids, const only_text *t) {
  uint32_t at = 0;
  for (size_t i = 0; i < ids->count; i++) {
    size_t length = 0;
    const char *bytes = fg_tokenizer_token_bytes(x->tokenizer, ids->data[i], &length);
    if (!bytes || !length || (uint32_t)ids->data[i] >= x->vocab ||
        !fg_tokenizer_adds_bytes(x->tokenizer, ids->data[i]) || length > t->length - at ||
        memcmp(bytes, t->bytes + at, length) != 0)
      return false;
    at += (uint32_t)length;
  }
  return at == t->length;
}

// The tokenizer's tokens of a text; where these do not spell it, always the longest token that fits.
static fg_status tokens_of(const fg_token_index *x, const only_text *t, fg_ids *ids, fg_error *err) {
  fg_error why;
  if (fg_tokenizer_encode(x->tokenizer, (const char *)t->bytes, t->length, false, ids, &why) == FG_OK &&
      spells(x, ids, t))
    return FG_OK;
  ids->count = 0;
  fg_status status = FG_OK;
  for (uint32_t at = 0; status == FG_OK && at < t->length;) {
    const fg_indexed_token *longest = fg_token_index_longest(x, t->bytes + at, t->length - at);
    if (!longest) break; // the rest is drawn, if it can be said at all
    status = fg_ids_append(ids, &longest->id, 1, err);
    at += longest->length;
  }
  return status;
}

// Cuts the tokens where one that reaches beyond the text could stand instead.
static fg_status cut_tokens(fg_guide *g, const only_text *t, fg_ids *ids, uint32_t *read, fg_error *err) {
  const fg_token_index *x = g->setting->index;
  uint32_t at = 0;
  for (size_t i = 0; i < ids->count; i++) {
    size_t length = 0;
    bool crosses = false;
    if (t->length - at < x->longest) {
      const fg_status status =
          fg_token_index_crosses(x, t->bytes + at, t->length - at, g->automaton, t->end, &crosses, err);
      if (status != FG_OK) return status;
    }
    if (crosses) ids->count = i;
    (void)fg_tokenizer_token_bytes(x->tokenizer, ids->data[i], &length);
    if (!crosses) at += (uint32_t)length;
  }
  *read = at;
  return FG_OK;
}

static fg_status walk_bytes(fg_guide *g, const uint8_t *bytes, size_t length, fg_guide_state *state,
                            fg_error *err) {
  fg_status status = FG_OK;
  for (size_t i = 0; status == FG_OK && i < length && *state != FG_STATE_DEAD; i++)
    status = fg_automaton_step(g->automaton, *state, bytes[i], state, err);
  return status;
}

static fg_status work_out_forced(fg_guide *g, fg_guide_state s, const only_text *t, fg_ids *ids,
                                 fg_error *err) {
  uint32_t read = 0;
  fg_guide_state end = s;
  fg_status status = t->length ? tokens_of(g->setting->index, t, ids, err) : FG_OK;
  if (status == FG_OK) status = cut_tokens(g, t, ids, &read, err);
  if (status == FG_OK) status = walk_bytes(g, t->bytes, read, &end, err);
  if (status != FG_OK) return status;
  forced_text *f = keep_block(g, sizeof *f + ids->count * sizeof *f->tokens);
  if (!f) return no_room(err);
  f->count = (uint32_t)ids->count;
  f->end = end;
  if (ids->count) memcpy(f->tokens, ids->data, ids->count * sizeof *f->tokens);
  g->kept[s].forced = f;
  return FG_OK;
}

static fg_status forced_of(fg_guide *g, fg_guide_state s, const forced_text **out, fg_error *err) {
  fg_status status = reach_kept(g, s, err);
  if (status == FG_OK && !g->kept[s].forced) {
    only_text *t = malloc(sizeof *t);
    fg_ids ids = {0};
    status = t ? find_only_text(g, s, t, err) : no_room(err);
    if (status == FG_OK) status = work_out_forced(g, s, t, &ids, err);
    fg_ids_free(&ids);
    free(t);
  }
  if (status == FG_OK) *out = g->kept[s].forced;
  return status;
}

// ---- masks ---------------------------------------------------------------------------------------------

static fg_status work_out_mask(fg_guide *g, fg_guide_state s, fg_error *err) {
  const uint32_t words = words_of(g);
  uint32_t count;
  memset(g->scratch, 0, words * sizeof *g->scratch);
  const fg_status status =
      fg_token_index_allowed(g->setting->index, g->automaton, s, g->scratch, &count, err);
  if (status != FG_OK) return status;
  const bool listed = count < 2 * words;
  mask *m = keep_block(g, sizeof *m + (listed ? (count + 1) / 2 : words) * sizeof *m->data);
  if (!m) return no_room(err);
  *m = (mask){.count = count, .listed = listed};
  if (!listed) memcpy(m->data, g->scratch, words * sizeof *m->data);
  uint32_t *ids = (uint32_t *)m->data;
  for (uint32_t w = 0; listed && w < words; w++)
    for (uint64_t bits = g->scratch[w]; bits; bits &= bits - 1)
      *ids++ = w * 64 + (uint32_t)__builtin_ctzll(bits);
  g->kept[s].mask = m;
  return FG_OK;
}

static void set_bit(uint64_t *bits, uint32_t at) {
  bits[at / 64] |= 1ull << at % 64;
}

static fg_status put_mask(fg_guide *g, fg_guide_state s, uint64_t *bits, fg_error *err) {
  const uint32_t words = words_of(g), vocab = g->setting->index->vocab;
  fg_status status = reach_kept(g, s, err);
  if (status == FG_OK && !g->kept[s].mask) status = work_out_mask(g, s, err);
  if (status != FG_OK) return status;
  const mask *m = g->kept[s].mask;
  if (!m->listed) memcpy(bits, m->data, words * sizeof *bits);
  if (m->listed) memset(bits, 0, words * sizeof *bits);
  for (uint32_t i = 0; m->listed && i < m->count; i++) set_bit(bits, ((const uint32_t *)m->data)[i]);
  const bool ends = fg_automaton_accepts(g->automaton, s);
  for (uint32_t i = 0; ends && i < g->setting->eos_count; i++)
    if ((uint32_t)g->setting->eos[i] < vocab) set_bit(bits, (uint32_t)g->setting->eos[i]);
  if (m->count || ends) return FG_OK;
  return fg_fail(err, FG_UNSUPPORTED,
                 "the model has no token for what must come next in a structured answer");
}

// ---- cursors -------------------------------------------------------------------------------------------

fg_guide_cursor fg_guide_begin(void) {
  return (fg_guide_cursor){.generation = NOT_BEGUN};
}

static fg_status advance(fg_guide *g, fg_guide_cursor *c, int32_t token, bool *taken, fg_error *err) {
  const forced_text *f;
  fg_status status = forced_of(g, c->state, &f, err);
  *taken = false;
  if (status != FG_OK) return status;
  if (f->count) {
    *taken = f->tokens[c->forced] == token;
    if (*taken && ++c->forced == f->count) {
      c->state = f->end;
      c->forced = 0;
    }
    return FG_OK;
  }
  const fg_token_index *x = g->setting->index;
  size_t length = 0;
  const char *bytes = fg_tokenizer_token_bytes(x->tokenizer, token, &length);
  if (!bytes || !length || !fg_tokenizer_adds_bytes(x->tokenizer, token)) return FG_OK;
  fg_guide_state to = c->state;
  status = walk_bytes(g, (const uint8_t *)bytes, length, &to, err);
  *taken = status == FG_OK && to != FG_STATE_DEAD;
  if (*taken) c->state = to;
  return status;
}

// Puts a cursor whose states were forgotten, or that has not begun, where it belongs.
static fg_status find_place(fg_guide *g, fg_guide_cursor *c, fg_said said, fg_error *err) {
  if (c->generation == g->generation) return FG_OK;
  fg_status status = g->start == FG_STATE_NONE ? fg_automaton_start(g->automaton, &g->start, err) : FG_OK;
  *c = (fg_guide_cursor){.state = g->start, .generation = g->generation};
  for (uint32_t i = 0; status == FG_OK && i < said.count; i++) {
    bool taken;
    status = advance(g, c, said.tokens[i], &taken, err);
    if (status == FG_OK && !taken)
      status =
          fg_fail(err, FG_INTERNAL, "token %d of a structured answer is none that its grammar takes", (int)i);
  }
  if (status != FG_OK) c->generation = NOT_BEGUN;
  return status;
}

// What is asked of a guide at a cursor. Where memory is full it is asked once more with nothing kept.
typedef struct question {
  int32_t token;
  bool taken;
  uint64_t *bits;
} question;
typedef fg_status answer(fg_guide *g, fg_guide_cursor *c, question *q, fg_error *err);

static fg_status ask(fg_guide *g, fg_guide_cursor *c, fg_said said, answer *what, question *q,
                     fg_error *err) {
  fg_status status = find_place(g, c, said, err);
  if (status == FG_OK) status = what(g, c, q, err);
  if (status != FG_NO_SPACE) return status;
  if (g->setting->make_room)
    g->setting->make_room(g->setting->user);
  else
    fg_guide_forget(g);
  status = find_place(g, c, said, err);
  return status == FG_OK ? what(g, c, q, err) : status;
}

// The end alone may follow.
static fg_status is_over(fg_guide *g, fg_guide_state s, bool *over, fg_error *err) {
  uint32_t count = 0;
  uint8_t byte;
  *over = fg_automaton_accepts(g->automaton, s);
  const fg_status status = *over ? fg_automaton_choices(g->automaton, s, &count, &byte, err) : FG_OK;
  *over &= count == 0;
  return status;
}

static fg_status answer_forced(fg_guide *g, fg_guide_cursor *c, question *q, fg_error *err) {
  const forced_text *f;
  bool over = false;
  fg_status status = forced_of(g, c->state, &f, err);
  q->token = -1;
  if (status != FG_OK) return status;
  if (f->count)
    q->token = f->tokens[c->forced];
  else
    status = is_over(g, c->state, &over, err);
  if (over) q->token = g->setting->eos[0];
  return status;
}

static fg_status answer_allowed(fg_guide *g, fg_guide_cursor *c, question *q, fg_error *err) {
  fg_status status = answer_forced(g, c, q, err);
  if (status != FG_OK) return status;
  if (q->token < 0) return put_mask(g, c->state, q->bits, err);
  memset(q->bits, 0, words_of(g) * sizeof *q->bits);
  set_bit(q->bits, (uint32_t)q->token);
  return FG_OK;
}

static fg_status answer_advance(fg_guide *g, fg_guide_cursor *c, question *q, fg_error *err) {
  return advance(g, c, q->token, &q->taken, err);
}

fg_status fg_guide_forced(fg_guide *g, fg_guide_cursor *c, fg_said said, int32_t *token, fg_error *err) {
  question q = {0};
  const fg_status status = ask(g, c, said, answer_forced, &q, err);
  *token = q.token;
  return status;
}

fg_status fg_guide_allowed(fg_guide *g, fg_guide_cursor *c, fg_said said, uint64_t *bits, fg_error *err) {
  question q = {.bits = bits};
  return ask(g, c, said, answer_allowed, &q, err);
}

fg_status fg_guide_advance(fg_guide *g, fg_guide_cursor *c, fg_said said, int32_t token, bool *taken,
                           fg_error *err) {
  question q = {.token = token};
  const fg_status status = ask(g, c, said, answer_advance, &q, err);
  *taken = q.taken;
  return status;
}
