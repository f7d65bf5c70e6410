#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "text/bpe_work.h"
#include "text/unicode.h"

enum {
  FREE = -1,
  SCAN_MAX = 32,          // symbols up to which scanning beats the heap
  KEEP_SYMBOLS = 1 << 16, // work memory for more symbols is given back after use
};
enum { END = -1, DEAD = -2 };

fg_status fg_bpe_work_create(fg_bpe_work **out, fg_error *err) {
  *out = calloc(1, sizeof **out);
  return *out ? FG_OK : fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer's work memory");
}

void fg_bpe_work_destroy(fg_bpe_work *work) {
  if (!work) return;
  free(work->symbols);
  free(work->heap);
  free(work->halves);
  fg_text_free(&work->spelled);
  free(work);
}

void fg_bpe_free(fg_bpe *bpe) {
  free(bpe->merges);
  free(bpe->unk_token);
  free(bpe->prefix);
  free(bpe->suffix);
  fg_trie_free(&bpe->whole);
  *bpe = (fg_bpe){0};
}

// ---- the table of merges ------------------------------------------------------------------------------

static uint32_t pair_slot(const fg_bpe *bpe, uint32_t left, uint32_t right) {
  uint64_t key = (uint64_t)left << 32 | right;
  key = (key ^ key >> 29) * 0x9e3779b97f4a7c15u; // Fibonacci hashing: the high bits are well mixed
  return (uint32_t)(key >> 32) & (bpe->slot_count - 1);
}

static fg_bpe_merge *find_merge(const fg_bpe *bpe, uint32_t left, uint32_t right) {
  for (uint32_t slot = pair_slot(bpe, left, right);; slot = (slot + 1) & (bpe->slot_count - 1)) {
    fg_bpe_merge *merge = &bpe->merges[slot];
    if ((merge->left == left && merge->right == right) || merge->left == (uint32_t)FREE) return merge;
  }
}

static fg_status grow_merges(fg_bpe *bpe, fg_error *err) {
  if (bpe->slot_count / 4 * 3 > bpe->merge_count) return FG_OK; // at most three quarters full
  fg_bpe grown = *bpe;
  grown.slot_count = bpe->slot_count ? bpe->slot_count * 2 : 1024;
  grown.merges = malloc(grown.slot_count * sizeof *grown.merges);
  if (!grown.merges) return fg_fail(err, FG_NO_SPACE, "out of memory for %u merges", bpe->merge_count);
  for (uint32_t i = 0; i < grown.slot_count; i++) grown.merges[i].left = (uint32_t)FREE;
  for (uint32_t i = 0; i < bpe->slot_count; i++) {
    const fg_bpe_merge *merge = &bpe->merges[i];
    if (merge->left != (uint32_t)FREE) *find_merge(&grown, merge->left, merge->right) = *merge;
  }
  free(bpe->merges);
  *bpe = grown;
  return FG_OK;
}

// Tokens that were only added beside the model are not seen by it.
static int32_t only_model(const fg_vocabulary *v, int32_t id) {
  bool seen = id >= 0 && (v->tokens[id].flags & (FG_TOKEN_MODEL | FG_TOKEN_APART)) == FG_TOKEN_MODEL;
  return seen ? id : -1;
}

static int32_t model_id(const fg_bpe *bpe, const char *text, size_t length) {
  return only_model(bpe->vocabulary, fg_vocabulary_find_text(bpe->vocabulary, text, length));
}

fg_status fg_bpe_put_merge(fg_bpe *bpe, fg_bpe_merge merge, fg_error *err) {
  fg_status status = grow_merges(bpe, err);
  if (status) return status;
  fg_bpe_merge *slot = find_merge(bpe, merge.left, merge.right);
  if (slot->left == (uint32_t)FREE) bpe->merge_count++;
  *slot = merge;
  return FG_OK;
}

static fg_status unknown_part(uint32_t rank, const char *text, size_t length, fg_error *err) {
  return fg_fail(err, FG_CORRUPT, "merge %u uses \"%.*s\", which is not in the vocabulary", rank,
                 length < 60 ? (int)length : 60, text);
}

fg_status fg_bpe_add_merge(fg_bpe *bpe, const char *left, size_t left_length, const char *right,
                           size_t right_length, fg_error *err) {
  uint32_t rank = bpe->next_rank;
  size_t skip = bpe->prefix ? strlen(bpe->prefix) : 0;
  if (left_length + right_length > FG_TOKEN_LENGTH_MAX || right_length < skip) {
    return fg_fail(err, FG_CORRUPT, "merge %u has %zu bytes, which no token has", rank,
                   left_length + right_length);
  }
  fg_status status = FG_OK;
  fg_text both = {0};
  fg_text_append(&both, left, left_length);
  fg_text_append(&both, right + skip, right_length - skip);
  if (fg_text_failed(&both))
    return fg_fail(err, FG_NO_SPACE, "out of memory for %u merges", bpe->merge_count);
  int32_t left_id = model_id(bpe, left, left_length), right_id = model_id(bpe, right, right_length);
  int32_t result = model_id(bpe, both.data, both.length);
  if (left_id < 0) status = unknown_part(rank, left, left_length, err);
  if (left_id >= 0 && right_id < 0) status = unknown_part(rank, right, right_length, err);
  if (left_id >= 0 && right_id >= 0 && result < 0) status = unknown_part(rank, both.data, both.length, err);
  fg_text_free(&both);
  if (status) return status;
  bpe->next_rank++;
  fg_bpe_merge merge = {(uint32_t)left_id, (uint32_t)right_id, rank, (uint32_t)result};
  return fg_bpe_put_merge(bpe, merge, err);
}

fg_status fg_bpe_add_merge_line(fg_bpe *bpe, const char *line, size_t length, fg_error *err) {
  const char *space = length > 1 ? memchr(line + 1, ' ', length - 1) : NULL;
  if (!space) {
    return fg_fail(err, FG_CORRUPT, "merge %u is \"%.*s\", not two tokens with a space between them",
                   bpe->next_rank, length < 60 ? (int)length : 60, line);
  }
  size_t left = (size_t)(space - line);
  return fg_bpe_add_merge(bpe, line, left, space + 1, length - left - 1, err);
}

void fg_bpe_finish(fg_bpe *bpe) {
  const fg_vocabulary *v = bpe->vocabulary;
  fg_vocabulary_find_bytes(v, bpe->fallback_ids);
  for (int i = 0; i < 256; i++) {
    char byte = (char)i;
    bool known = v->byte_level || i < 128;
    bpe->first_ids[i] =
        known ? only_model(v, fg_vocabulary_find(v, &byte, 1, v->byte_level ? FG_TOKEN_BYTES : 0)) : -1;
  }
  bpe->unk_id = bpe->unk_token ? fg_vocabulary_find_model(v, bpe->unk_token, strlen(bpe->unk_token)) : -1;
}

// ---- first symbols ------------------------------------------------------------------------------------

static fg_status out_of_memory(size_t symbols, fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "out of memory for tokenizing %zu characters without a break", symbols);
}

fg_status fg_bpe_push_symbol(fg_bpe_work *work, int32_t id, fg_error *err) {
  if (work->symbol_count == work->symbol_capacity) {
    size_t capacity = work->symbol_capacity ? work->symbol_capacity * 2 : 256;
    fg_bpe_symbol *grown = realloc(work->symbols, capacity * sizeof *grown);
    if (!grown) return out_of_memory(capacity, err);
    work->symbols = grown;
    work->symbol_capacity = capacity;
  }
  work->symbols[work->symbol_count++].id = id;
  return FG_OK;
}

// A character that has no token: its UTF-8 bytes' tokens if all exist, else the unknown token, else
// nothing. `*unknown` counts unknown tokens that wait to be pushed (as the Rust library does, byte
// tokens go ahead of one that waits).
static fg_status push_unknown(const fg_bpe *bpe, fg_bpe_work *work, const char *text, size_t length,
                              bool *unknown, fg_error *err) {
  bool all = bpe->byte_fallback;
  for (size_t i = 0; i < length && all; i++) all = bpe->fallback_ids[(uint8_t)text[i]] >= 0;
  fg_status status = FG_OK;
  if (all) {
    for (size_t i = 0; i < length && status == FG_OK; i++) {
      status = fg_bpe_push_symbol(work, bpe->fallback_ids[(uint8_t)text[i]], err);
    }
    return status;
  }
  if (!bpe->unk_token) return FG_OK;
  if (bpe->unk_id < 0) {
    return fg_fail(err, FG_INVALID,
                   "character \"%.*s\" has no token, and neither has the unknown token \"%.60s\"",
                   (int)length, text, bpe->unk_token);
  }
  if (*unknown && !bpe->fuse_unk) status = fg_bpe_push_symbol(work, bpe->unk_id, err);
  *unknown = true;
  return status;
}

static fg_status push_known(const fg_bpe *bpe, fg_bpe_work *work, int32_t id, bool *unknown, fg_error *err) {
  fg_status status = *unknown ? fg_bpe_push_symbol(work, bpe->unk_id, err) : FG_OK;
  *unknown = false;
  return status ? status : fg_bpe_push_symbol(work, id, err);
}

static fg_status symbols_of_bytes(const fg_bpe *bpe, fg_bpe_work *work, const char *piece, size_t length,
                                  bool *unknown, fg_error *err) {
  fg_status status = FG_OK;
  for (size_t i = 0; i < length && status == FG_OK; i++) {
    int32_t id = bpe->first_ids[(uint8_t)piece[i]];
    char text[4];
    status = id >= 0 ? push_known(bpe, work, id, unknown, err)
                     : push_unknown(bpe, work, text, fg_utf8_put(fg_byte_char((uint8_t)piece[i]), text),
                                    unknown, err);
  }
  return status;
}

static fg_status symbols_of_chars(const fg_bpe *bpe, fg_bpe_work *work, const char *piece, size_t length,
                                  bool *unknown, fg_error *err) {
  const fg_vocabulary *v = bpe->vocabulary;
  const char *end = piece + length;
  bool bare = !bpe->prefix && !bpe->suffix;
  fg_status status = FG_OK;
  for (const char *at = piece; at < end && status == FG_OK;) {
    size_t size = fg_utf8_length(*at);
    const char *text = at;
    size_t text_length = size;
    if (!bare) {
      fg_text_clear(&work->spelled);
      if (at > piece && bpe->prefix) fg_text_append_string(&work->spelled, bpe->prefix);
      fg_text_append(&work->spelled, at, size);
      if (at + size == end && bpe->suffix) fg_text_append_string(&work->spelled, bpe->suffix);
      if (fg_text_failed(&work->spelled)) return out_of_memory(1, err);
      text = work->spelled.data;
      text_length = work->spelled.length;
    }
    int32_t id = bare && size == 1 ? bpe->first_ids[(uint8_t)*at]
                                   : only_model(v, fg_vocabulary_find_text(v, text, text_length));
    status = id >= 0 ? push_known(bpe, work, id, unknown, err)
                     : push_unknown(bpe, work, text, text_length, unknown, err);
    at += size;
  }
  return status;
}

// ---- merging ------------------------------------------------------------------------------------------

// rank << 32 | result of a pair, UINT64_MAX when it has none.
static uint64_t ranked(const fg_bpe *bpe, int32_t left, int32_t right) {
  const fg_bpe_merge *merge = find_merge(bpe, (uint32_t)left, (uint32_t)right);
  return merge->left == (uint32_t)FREE ? UINT64_MAX : (uint64_t)merge->rank << 32 | merge->result;
}

// Few symbols: ids in a row, the ranks of adjacent pairs beside them.
static void merge_by_scan(const fg_bpe *bpe, fg_bpe_symbol *symbols, size_t *count) {
  uint64_t pairs[SCAN_MAX];
  size_t n = *count;
  for (size_t i = 0; i + 1 < n; i++) pairs[i] = ranked(bpe, symbols[i].id, symbols[i + 1].id);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; i++) {
      if (pairs[i] < pairs[best]) best = i;
    }
    if (pairs[best] == UINT64_MAX) break;
    symbols[best].id = (int32_t)(pairs[best] & UINT32_MAX);
    n--;
    for (size_t i = best + 1; i < n; i++) {
      symbols[i].id = symbols[i + 1].id;
      pairs[i - 1] = pairs[i];
    }
    if (best + 1 < n) pairs[best] = ranked(bpe, symbols[best].id, symbols[best + 1].id);
    if (best > 0) pairs[best - 1] = ranked(bpe, symbols[best - 1].id, symbols[best].id);
  }
  *count = n;
}

fg_status fg_bpe_heap_push(fg_bpe_work *work, uint64_t key, fg_error *err) {
  if (work->heap_count == work->heap_capacity) {
    size_t capacity = work->heap_capacity ? work->heap_capacity * 2 : 256;
    uint64_t *grown = realloc(work->heap, capacity * sizeof *grown);
    if (!grown) return out_of_memory(capacity, err);
    work->heap = grown;
    work->heap_capacity = capacity;
  }
  size_t at = work->heap_count++;
  for (; at > 0 && work->heap[(at - 1) / 2] > key; at = (at - 1) / 2)
    work->heap[at] = work->heap[(at - 1) / 2];
  work->heap[at] = key;
  return FG_OK;
}

static uint64_t heap_pop(fg_bpe_work *work) {
  uint64_t top = work->heap[0], last = work->heap[--work->heap_count];
  size_t at = 0, n = work->heap_count;
  for (size_t child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && work->heap[child + 1] < work->heap[child]) child++;
    if (work->heap[child] >= last) break;
    work->heap[at] = work->heap[child];
  }
  work->heap[at] = last;
  return top;
}

static fg_status heap_pair(const fg_bpe *bpe, fg_bpe_work *work, int32_t left, fg_error *err) {
  if (left < 0 || work->symbols[left].next < 0) return FG_OK;
  uint64_t pair = ranked(bpe, work->symbols[left].id, work->symbols[work->symbols[left].next].id);
  if (pair == UINT64_MAX) return FG_OK;
  if (bpe->has_unused) fg_bpe_note_halves(bpe, work, left, (int32_t)(pair & UINT32_MAX));
  return fg_bpe_heap_push(work, (pair >> 32) << 32 | (uint32_t)left, err);
}

static fg_status merge_by_heap(const fg_bpe *bpe, fg_bpe_work *work, fg_error *err) {
  fg_bpe_symbol *symbols = work->symbols;
  int32_t n = (int32_t)work->symbol_count;
  fg_status status = FG_OK;
  work->heap_count = 0;
  for (int32_t i = 0; i < n; i++) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < n ? i + 1 : END;
  }
  for (int32_t i = 0; i < n && status == FG_OK; i++) status = heap_pair(bpe, work, i, err);
  while (status == FG_OK && work->heap_count > 0) {
    uint64_t top = heap_pop(work);
    int32_t at = (int32_t)(top & UINT32_MAX), right = symbols[at].next;
    if (right < 0) continue; // merged away since it was pushed, or now the last
    uint64_t pair = ranked(bpe, symbols[at].id, symbols[right].id);
    if (pair >> 32 != top >> 32) continue; // the pair here is another one by now
    symbols[at].id = (int32_t)(pair & UINT32_MAX);
    symbols[at].next = symbols[right].next;
    if (symbols[at].next >= 0) symbols[symbols[at].next].previous = at;
    symbols[right].next = DEAD;
    status = heap_pair(bpe, work, symbols[at].previous, err);
    if (status == FG_OK) status = heap_pair(bpe, work, at, err);
  }
  size_t kept = 0;
  for (int32_t i = 0; i >= 0 && n > 0; i = symbols[i].next) symbols[kept++].id = symbols[i].id;
  work->symbol_count = kept;
  return status;
}

static void give_back(fg_bpe_work *work) {
  if (work->symbol_capacity <= KEEP_SYMBOLS) return;
  free(work->symbols);
  free(work->heap);
  work->symbols = NULL;
  work->heap = NULL;
  work->symbol_capacity = work->heap_capacity = 0;
}

static fg_status append_symbols(fg_bpe_work *work, fg_ids *ids, fg_error *err) {
  fg_status status = FG_OK;
  for (size_t i = 0; i < work->symbol_count && status == FG_OK; i++) {
    status = fg_ids_append(ids, &work->symbols[i].id, 1, err);
  }
  return status;
}

static fg_status first_symbols(const fg_bpe *bpe, fg_bpe_work *work, const char *piece, size_t length,
                               fg_error *err) {
  bool unknown = false;
  if (bpe->by_score) return fg_bpe_symbols_of_pieces(bpe, work, piece, length, err);
  fg_status status = bpe->vocabulary->byte_level ? symbols_of_bytes(bpe, work, piece, length, &unknown, err)
                                                 : symbols_of_chars(bpe, work, piece, length, &unknown, err);
  return status == FG_OK && unknown ? fg_bpe_push_symbol(work, bpe->unk_id, err) : status;
}

fg_status fg_bpe_encode(const fg_bpe *bpe, fg_bpe_work *work, const char *piece, size_t length, fg_ids *ids,
                        fg_error *err) {
  const fg_vocabulary *v = bpe->vocabulary;
  if (bpe->ignore_merges) {
    int32_t whole = v->byte_level ? fg_vocabulary_find(v, piece, length, FG_TOKEN_BYTES)
                                  : fg_vocabulary_find_text(v, piece, length);
    whole = only_model(v, whole);
    if (whole >= 0) return fg_ids_append(ids, &whole, 1, err);
  }
  if (length > INT32_MAX / 2) return out_of_memory(length, err);
  work->symbol_count = 0;
  fg_status status = first_symbols(bpe, work, piece, length, err);
  if (status == FG_OK && bpe->merge_count > 0) {
    if (work->symbol_count <= SCAN_MAX && !bpe->has_unused) {
      merge_by_scan(bpe, work->symbols, &work->symbol_count);
    } else {
      status = merge_by_heap(bpe, work, err);
    }
  }
  if (status == FG_OK) {
    status = bpe->by_score ? fg_bpe_append_pieces(bpe, work, ids, err) : append_symbols(work, ids, err);
  }
  give_back(work);
  return status;
}
