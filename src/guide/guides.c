#include "guide/guides.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

// A guide under its text, in a list by last use.
typedef struct entry {
  struct entry *next, *previous;
  fg_guide *guide;
  uint64_t hash;
  uint32_t holders;
  fg_form form;
  size_t length;
  const char *text; // behind the entry
} entry;

struct fg_guides {
  fg_guide_setting setting;
  fg_guide_pool pool;
  entry ends; // of the list: `next` is what was used last
  uint32_t compiled;
};

static uint64_t entry_bytes(size_t length) {
  return sizeof(entry) + length;
}

static void unlink_entry(entry *e) {
  e->next->previous = e->previous;
  e->previous->next = e->next;
}

static void link_first(fg_guides *g, entry *e) {
  e->next = g->ends.next;
  e->previous = &g->ends;
  e->next->previous = e->previous->next = e;
}

static void drop(fg_guides *g, entry *e) {
  unlink_entry(e);
  fg_guide_destroy(e->guide);
  fg_guide_pool_give(&g->pool, entry_bytes(e->length));
  free(e);
}

static void forget_all(void *user) {
  fg_guides *g = user;
  for (entry *e = g->ends.next, *next; e != &g->ends; e = next) {
    next = e->next;
    if (e->holders)
      fg_guide_forget(e->guide);
    else
      drop(g, e);
  }
}

fg_status fg_guides_create(fg_guides **out, const fg_guides_options *o, fg_error *err) {
  if (!o->eos_count) return fg_fail(err, FG_UNSUPPORTED, "the model has no token that ends an answer");
  fg_guides *g = calloc(1, sizeof *g);
  if (!g) return fg_fail(err, FG_NO_SPACE, "out of memory for structured answers");
  g->ends.next = g->ends.previous = &g->ends;
  g->pool.limit = o->bytes;
  g->setting = (fg_guide_setting){
      .eos = o->eos, .eos_count = o->eos_count, .pool = &g->pool, .make_room = forget_all, .user = g};
  const fg_status status = fg_token_index_create(&g->setting.index, o->tokenizer, o->vocab, err);
  if (status != FG_OK) {
    free(g);
    return status;
  }
  *out = g;
  return FG_OK;
}

void fg_guides_destroy(fg_guides *g) {
  if (!g) return;
  while (g->ends.next != &g->ends) drop(g, g->ends.next);
  fg_token_index_destroy(g->setting.index);
  free(g);
}

uint32_t fg_guides_compiled(const fg_guides *g) {
  return g->compiled;
}

static entry *find(fg_guides *g, fg_form form, const char *text, size_t length, uint64_t hash) {
  for (entry *e = g->ends.next; e != &g->ends; e = e->next)
    if (e->hash == hash && e->form == form && e->length == length && memcmp(e->text, text, length) == 0)
      return e;
  return NULL;
}

static fg_status new_entry(fg_guides *g, size_t length, fg_grammar *grammar, entry **out, fg_error *err) {
  const char *what = "out of memory for a structured answer; try more --host-memory";
  if (!fg_guide_pool_take(&g->pool, entry_bytes(length))) return fg_fail(err, FG_NO_SPACE, "%s", what);
  entry *e = calloc(1, entry_bytes(length));
  fg_status status =
      e ? fg_guide_create(&e->guide, &g->setting, grammar, err) : fg_fail(err, FG_NO_SPACE, "%s", what);
  if (status == FG_OK) {
    *out = e;
    return FG_OK;
  }
  fg_guide_pool_give(&g->pool, entry_bytes(length));
  free(e);
  return status;
}

static fg_status compile(fg_guides *g, fg_form form, const char *text, size_t length, entry **out,
                         fg_error *err) {
  fg_grammar grammar;
  fg_status status = FG_NO_SPACE;
  for (uint32_t attempt = 0; attempt < 2 && status == FG_NO_SPACE; attempt++) {
    if (attempt) forget_all(g);
    status = fg_form_compile(form, text, length, &grammar, err);
    if (status != FG_OK) continue;
    status = new_entry(g, length, &grammar, out, err);
    fg_grammar_free(&grammar); // what was taken over is not there any more
  }
  if (status != FG_OK) return status;
  g->compiled++;
  memcpy(*out + 1, text, length);
  (*out)->text = (const char *)(*out + 1);
  (*out)->length = length;
  (*out)->form = form;
  link_first(g, *out);
  return FG_OK;
}

fg_status fg_guides_acquire(fg_guides *g, fg_form form, const char *text, size_t length, fg_guide **out,
                            fg_error *err) {
  const uint64_t hash = fg_hash(text, length);
  entry *e = find(g, form, text, length, hash);
  const fg_status status = e ? FG_OK : compile(g, form, text, length, &e, err);
  if (status != FG_OK) return status;
  unlink_entry(e);
  link_first(g, e);
  e->hash = hash;
  e->holders++;
  *out = e->guide;
  return FG_OK;
}

void fg_guides_release(fg_guides *g, fg_guide *guide) {
  for (entry *e = g->ends.next; e != &g->ends; e = e->next) {
    if (e->guide != guide) continue;
    e->holders--;
    return;
  }
}
