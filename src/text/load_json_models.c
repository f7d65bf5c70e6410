// The models of tokenizer.json, one row a type.
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/tokenizer_internal.h"

enum {
  TYPE,
  UNK_TOKEN,
  UNK_ID,
  PREFIX,
  SUFFIX,
  CHARACTERS_MAX,
  FUSE_UNK,
  BYTE_FALLBACK,
  IGNORE_MERGES,
  VOCAB,
  MERGES,
  FIELD_COUNT
};
static const char *const field_names[FIELD_COUNT] = {
    [TYPE] = "type",
    [UNK_TOKEN] = "unk_token",
    [UNK_ID] = "unk_id",
    [PREFIX] = "continuing_subword_prefix",
    [SUFFIX] = "end_of_word_suffix",
    [CHARACTERS_MAX] = "max_input_chars_per_word",
    [FUSE_UNK] = "fuse_unk",
    [BYTE_FALLBACK] = "byte_fallback",
    [IGNORE_MERGES] = "ignore_merges",
    [VOCAB] = "vocab",
    [MERGES] = "merges",
};

typedef struct model {
  const char *where;
  fg_json_span fields[FIELD_COUNT];
} model;

// ---- fields -------------------------------------------------------------------------------------------

// A string or nothing; "" counts as nothing.
static fg_status read_string(const model *m, int field, char **out, fg_error *err) {
  json_t *json;
  fg_status status = fg_json_tree(m->fields[field], m->where, &json, err);
  if (status || !json) return status;
  const char *text = json_string_value(json);
  if (!text && !json_is_null(json)) {
    status = fg_fail(err, FG_CORRUPT, "%s: \"%s\" is not a string", m->where, field_names[field]);
  } else if (text && *text) {
    *out = strdup(text);
    if (!*out) status = fg_fail(err, FG_NO_SPACE, "out of memory for a tokenizer");
  }
  json_decref(json);
  return status;
}

static fg_status read_bool(const model *m, int field, bool *out, fg_error *err) {
  json_t *json;
  fg_status status = fg_json_tree(m->fields[field], m->where, &json, err);
  if (status || !json) return status;
  *out = json_is_true(json);
  if (!json_is_boolean(json) && !json_is_null(json)) {
    status = fg_fail(err, FG_CORRUPT, "%s: \"%s\" is neither true nor false", m->where, field_names[field]);
  }
  json_decref(json);
  return status;
}

// Missing or null: *out stays.
static fg_status read_u32(const model *m, int field, uint32_t *out, fg_error *err) {
  json_t *json;
  fg_status status = fg_json_tree(m->fields[field], m->where, &json, err);
  if (status || !json || json_is_null(json)) {
    json_decref(json);
    return status;
  }
  if (json_is_integer(json) && json_integer_value(json) >= 0 &&
      json_integer_value(json) < FG_VOCABULARY_MAX) {
    *out = (uint32_t)json_integer_value(json);
  } else {
    status = fg_fail(err, FG_CORRUPT, "%s: \"%s\" is not a number below %d", m->where, field_names[field],
                     FG_VOCABULARY_MAX);
  }
  json_decref(json);
  return status;
}

static fg_status lacks(const model *m, const char *what, fg_error *err) {
  return fg_fail(err, FG_CORRUPT, "%s: the model lacks %s", m->where, what);
}

// ---- BPE ----------------------------------------------------------------------------------------------

// "a b" (old files) or ["a", "b"].
static fg_status read_merge(fg_bpe *bpe, fg_json_scan *scan, fg_error *err) {
  char *left, *right;
  if (fg_scan_peek(scan) == '"') {
    fg_status status = fg_scan_string(scan, &left, err);
    return status ? status : fg_bpe_add_merge_line(bpe, left, strlen(left), err);
  }
  fg_status status = fg_scan_take(scan, '[', err);
  if (status == FG_OK) status = fg_scan_string(scan, &left, err);
  if (status == FG_OK) status = fg_scan_take(scan, ',', err);
  if (status == FG_OK) status = fg_scan_string(scan, &right, err);
  if (status == FG_OK) status = fg_scan_take(scan, ']', err);
  return status ? status : fg_bpe_add_merge(bpe, left, strlen(left), right, strlen(right), err);
}

static fg_status read_merges(const model *m, fg_bpe *bpe, fg_error *err) {
  fg_json_scan scan;
  fg_status status = fg_json_stream_open(&scan, m->fields[MERGES], m->where, err);
  if (status) return status;
  status = fg_scan_take(&scan, '[', err);
  for (size_t i = 0; status == FG_OK; i++) {
    bool more = false;
    status = fg_scan_next(&scan, i, ']', &more, err);
    if (status || !more) break;
    status = read_merge(bpe, &scan, err);
  }
  fg_json_stream_close(&scan);
  return status;
}

static fg_status read_bpe(fg_tokenizer *t, const model *m, fg_error *err) {
  fg_bpe *bpe = &t->bpe;
  if (!m->fields[VOCAB].text || !m->fields[MERGES].text) return lacks(m, "vocab or merges", err);
  fg_status status = read_string(m, UNK_TOKEN, &bpe->unk_token, err);
  if (status == FG_OK) status = read_string(m, PREFIX, &bpe->prefix, err);
  if (status == FG_OK) status = read_string(m, SUFFIX, &bpe->suffix, err);
  if (status == FG_OK) status = read_bool(m, FUSE_UNK, &bpe->fuse_unk, err);
  if (status == FG_OK) status = read_bool(m, BYTE_FALLBACK, &bpe->byte_fallback, err);
  if (status == FG_OK) status = read_bool(m, IGNORE_MERGES, &bpe->ignore_merges, err);
  if (status == FG_OK) status = fg_tokenizer_choose_form(t, err);
  if (status == FG_OK) status = fg_tokenizer_read_vocab(t, m->fields[VOCAB], m->where, err);
  if (status == FG_OK && read_merges(m, bpe, err)) status = fg_fail_prefix(err, "%s", m->where);
  if (status == FG_OK) fg_bpe_finish(bpe);
  return status;
}

// ---- Unigram ------------------------------------------------------------------------------------------

// As tokenizers reads a number: up to 64 bits of digits, then one division. Its last bit may differ from
// the nearest double's, and between ways to cut a text that are equally good the last bit decides.
static double score_of(const char *text, size_t length) {
  bool negative = *text == '-', point = false;
  uint64_t digits = 0;
  int behind = 0;
  for (size_t i = negative; i < length; i++) {
    if (text[i] == '.') {
      point = true;
      continue;
    }
    uint64_t digit = (uint64_t)(text[i] - '0');
    bool fits = digits <= (UINT64_MAX - 9) / 10;
    if (digit > 9 || (!fits && !point) || behind == 22)
      return strtod(text, NULL); // an exponent, or very long
    if (!fits) break;
    digits = digits * 10 + digit;
    behind += point;
  }
  double power = 1; // exact up to 10^22
  for (int i = 0; i < behind; i++) power *= 10;
  return negative ? -((double)digits / power) : (double)digits / power;
}

// ["piece", score]
static fg_status read_piece(fg_tokenizer *t, fg_json_scan *scan, uint32_t id, fg_error *err) {
  char *text;
  fg_status status = fg_scan_take(scan, '[', err);
  if (status == FG_OK) status = fg_scan_string(scan, &text, err);
  if (status == FG_OK) status = fg_scan_take(scan, ',', err);
  if (status) return status;
  char first = fg_scan_peek(scan);
  size_t begin = scan->at;
  status = fg_scan_skip(scan, err);
  if (status == FG_OK && first != '-' && (first < '0' || first > '9')) {
    status = fg_fail(err, FG_CORRUPT, "the score of piece %u is not a number", id);
  }
  if (status == FG_OK)
    status = fg_unigram_add_score(&t->unigram, score_of(scan->text + begin, scan->at - begin), err);
  if (status == FG_OK) status = fg_scan_take(scan, ']', err);
  if (status == FG_OK)
    status = fg_vocabulary_add(&t->vocabulary, id, text, strlen(text), FG_TOKEN_MODEL, err);
  return status ? status : fg_unigram_add_piece(&t->unigram, text, strlen(text), (int32_t)id, err);
}

static fg_status read_pieces(fg_tokenizer *t, const model *m, fg_error *err) {
  fg_json_scan scan;
  fg_status status = fg_json_stream_open(&scan, m->fields[VOCAB], m->where, err);
  if (status) return status;
  status = fg_scan_take(&scan, '[', err);
  for (uint32_t id = 0; status == FG_OK; id++) {
    bool more = false;
    status = fg_scan_next(&scan, id, ']', &more, err);
    if (status || !more) break;
    status = read_piece(t, &scan, id, err);
  }
  fg_json_stream_close(&scan);
  return status ? fg_fail_prefix(err, "%s", m->where) : FG_OK;
}

static fg_status read_unigram(fg_tokenizer *t, const model *m, fg_error *err) {
  static const double unk_penalty = 10; // of the library
  fg_unigram *u = &t->unigram;
  uint32_t unk = UINT32_MAX;
  if (!m->fields[VOCAB].text) return lacks(m, "vocab", err);
  fg_status status = fg_pretokenizer_spell_bytes(&t->pretokenizer, err);
  if (status == FG_OK) status = read_u32(m, UNK_ID, &unk, err);
  if (status == FG_OK) status = read_bool(m, BYTE_FALLBACK, &u->byte_fallback, err);
  if (status == FG_OK) status = read_pieces(t, m, err);
  if (status == FG_OK && unk != UINT32_MAX && unk >= u->score_count) {
    status = fg_fail(err, FG_CORRUPT, "%s: unk_id is %u, there are %u pieces", m->where, unk, u->score_count);
  }
  if (status) return status;
  double least = 0;
  for (uint32_t i = 0; i < u->score_count; i++) least = i == 0 || u->scores[i] < least ? u->scores[i] : least;
  u->unk_score = least - unk_penalty;
  u->unk_id = unk == UINT32_MAX ? -1 : (int32_t)unk;
  fg_vocabulary_find_bytes(&t->vocabulary, u->fallback_ids);
  t->model = fg_model_unigram;
  return fg_unigram_finish(u, err);
}

// ---- words --------------------------------------------------------------------------------------------

static fg_status read_words(fg_tokenizer *t, const model *m, bool whole, fg_error *err) {
  char *prefix = NULL, *unk = NULL;
  fg_wordpiece *words = &t->words;
  *words = (fg_wordpiece){.characters_max = 100, .whole_words = whole, .unk_id = -1};
  if (!m->fields[VOCAB].text) return lacks(m, "vocab", err);
  fg_status status = fg_pretokenizer_spell_bytes(&t->pretokenizer, err);
  if (status == FG_OK) status = read_string(m, UNK_TOKEN, &unk, err);
  if (status == FG_OK) status = read_string(m, PREFIX, &prefix, err);
  if (status == FG_OK) status = read_u32(m, CHARACTERS_MAX, &words->characters_max, err);
  if (status == FG_OK) status = fg_tokenizer_read_vocab(t, m->fields[VOCAB], m->where, err);
  if (status == FG_OK) status = fg_wordpiece_build(words, &t->vocabulary, prefix ? prefix : "", err);
  if (status == FG_OK && unk) words->unk_id = fg_vocabulary_find_model(&t->vocabulary, unk, strlen(unk));
  t->model = fg_model_words;
  free(prefix);
  free(unk);
  return status;
}
static fg_status read_wordpiece(fg_tokenizer *t, const model *m, fg_error *err) {
  return read_words(t, m, false, err);
}
static fg_status read_wordlevel(fg_tokenizer *t, const model *m, fg_error *err) {
  return read_words(t, m, true, err);
}

// ---- which one ----------------------------------------------------------------------------------------

typedef struct model_row {
  const char *type;
  fg_status (*read)(fg_tokenizer *t, const model *m, fg_error *err);
} model_row;
static const model_row models[] = {{"BPE", read_bpe},
                                   {"Unigram", read_unigram},
                                   {"WordLevel", read_wordlevel},
                                   {"WordPiece", read_wordpiece}};

// Old files name no type.
static const char *guess_type(const model *m) {
  if (m->fields[MERGES].text) return "BPE";
  if (m->fields[UNK_ID].text) return "Unigram";
  return m->fields[PREFIX].text ? "WordPiece" : "without a type";
}

fg_status fg_tokenizer_read_model(fg_tokenizer *t, fg_json_span json, const char *where, fg_error *err) {
  model m = {.where = where};
  char *type = NULL;
  if (!json.text) return fg_fail(err, FG_CORRUPT, "%s: there is no model", where);
  fg_status status = fg_json_pick(json, where, field_names, FIELD_COUNT, m.fields, err);
  if (status == FG_OK) status = read_string(&m, TYPE, &type, err);
  if (status) return status;
  const char *wanted = type ? type : guess_type(&m);
  status = fg_fail(err, FG_UNSUPPORTED, "%s: model \"%.60s\" is not supported", where, wanted);
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    if (strcmp(models[i].type, wanted) == 0) status = models[i].read(t, &m, err);
  }
  free(type);
  return status;
}
