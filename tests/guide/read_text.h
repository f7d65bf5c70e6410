// read_text.h: whether a grammar takes a text, for tests.
#ifndef FG_TESTS_GUIDE_READ_TEXT_H
#define FG_TESTS_GUIDE_READ_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "guide/automaton.h"

typedef struct reader {
  fg_grammar *grammar;
  fg_guide_pool pool;
  fg_automaton *automaton;
} reader;

static inline void reader_open(reader *r, fg_grammar *grammar) {
  *r = (reader){.grammar = grammar, .pool = {.limit = UINT64_MAX}};
  assert_int_equal(fg_automaton_create(&r->automaton, grammar, &r->pool, NULL), FG_OK);
}

static inline void reader_close(reader *r) {
  fg_automaton_destroy(r->automaton);
  assert_true(r->pool.used == 0);
  fg_grammar_free(r->grammar);
}

static inline fg_guide_state reader_state(reader *r, const char *text, size_t length) {
  fg_guide_state state;
  fg_error err = {0};
  if (fg_automaton_start(r->automaton, &state, &err)) fail_msg("%s", err.message);
  for (size_t i = 0; i < length && state != FG_STATE_DEAD; i++)
    if (fg_automaton_step(r->automaton, state, (uint8_t)text[i], &state, &err)) fail_msg("%s", err.message);
  return state;
}

static inline bool reader_takes(reader *r, const char *text, size_t length) {
  return fg_automaton_accepts(r->automaton, reader_state(r, text, length));
}

#endif
