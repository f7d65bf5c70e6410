#include "text/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

static const char replacement[] = "\xef\xbf\xbd"; // U+FFFD

// push: a token, or a fragment of one (`last`: its end). finish: no more tokens will come; the step
// passes on what it held, and the caller then finishes the next step.
struct fg_decode_type {
  const char *name;
  fg_status (*read)(fg_decode_step *step, const json_t *json, fg_error *err);
  fg_status (*push)(fg_decoding *d, size_t index, const char *text, size_t length, bool last, fg_error *err);
  fg_status (*finish)(fg_decoding *d, size_t index, fg_error *err);
  bool joins; // what it makes of a token in the middle of a text depends on this token alone
};

static fg_status pass(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                      fg_error *err) {
  if (index + 1 == d->decoder->count) {
    fg_text_append(d->out, text, length);
    return fg_text_failed(d->out) ? fg_fail(err, FG_NO_SPACE, "out of memory for decoded text") : FG_OK;
  }
  return d->decoder->steps[index + 1].type->push(d, index + 1, text, length, last, err);
}

// Keeps fragments until the token is whole; *text and *length then span all of it.
static bool whole_token(fg_decode_state *state, const char **text, size_t *length, bool last) {
  if (last && !state->inside) return true;
  fg_text_append(&state->held, *text, *length);
  state->inside = !last;
  *text = state->held.data;
  *length = state->held.length;
  return last;
}

static fg_status no_memory(fg_error *err) {
  return fg_fail(err, FG_NO_SPACE, "out of memory for decoded text");
}

// ---- ByteLevel ----------------------------------------------------------------------------------------

static fg_status pass_replacements(fg_decoding *d, size_t index, size_t count, fg_error *err) {
  fg_status status = FG_OK;
  for (size_t i = 0; i < count && status == FG_OK; i++) {
    status = pass(d, index, replacement, sizeof replacement - 1, false, err);
  }
  return status;
}

// Bytes behind those held; passes on whole characters. What is none is one U+FFFD, or (`each`) one a byte.
static fg_status feed_bytes(fg_decoding *d, size_t index, fg_slice bytes, bool each, fg_error *err) {
  fg_text *held = &d->states[index].held;
  fg_text_append(held, bytes.data, bytes.length);
  if (fg_text_failed(held)) return no_memory(err);
  size_t at = 0, done = 0;
  fg_status status = FG_OK;
  while (at < held->length && status == FG_OK) {
    fg_utf8_state state;
    size_t length = fg_utf8_scan(held->data + at, held->length - at, &state);
    if (state == FG_UTF8_INCOMPLETE) break;
    if (state == FG_UTF8_INVALID) {
      status = pass(d, index, held->data + done, at - done, false, err);
      if (status == FG_OK) status = pass_replacements(d, index, each ? length : 1, err);
      done = at + length;
    }
    at += length;
  }
  if (status == FG_OK && at > done) status = pass(d, index, held->data + done, at - done, false, err);
  if (held->length > 0) memmove(held->data, held->data + at, held->length - at);
  held->length -= at;
  return status;
}

static fg_status push_byte_level(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                                 fg_error *err) {
  (void)last; // fragments of one token hold whole characters, so they need not be joined
  char stack[256], *bytes = length <= sizeof stack ? stack : malloc(length);
  if (!bytes) return no_memory(err);
  size_t count;
  bool spelled = fg_text_to_bytes(text, length, bytes, &count);
  fg_slice taken = {spelled ? bytes : text, spelled ? count : length};
  fg_status status = feed_bytes(d, index, taken, false, err);
  if (bytes != stack) free(bytes);
  return status;
}

static fg_status finish_byte_level(fg_decoding *d, size_t index, fg_error *err) {
  fg_text *held = &d->states[index].held;
  bool incomplete = held->length > 0;
  held->length = 0;
  return pass(d, index, replacement, incomplete ? sizeof replacement - 1 : 0, true, err);
}

// ---- ByteFallback -------------------------------------------------------------------------------------

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// The byte that "<0xHH>" names, -1 for other tokens.
static int named_byte(const char *text, size_t length) {
  if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
  int high = hex(text[3]), low = hex(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// A run of bytes is text if all of it is; otherwise every byte becomes U+FFFD.
static fg_status end_run(fg_decoding *d, size_t index, fg_error *err) {
  fg_text *held = &d->states[index].held;
  fg_status status = FG_OK;
  if (held->length > 0 && fg_utf8_valid(held->data, held->length)) {
    status = pass(d, index, held->data, held->length, true, err);
  } else {
    for (size_t i = 0; i < held->length && status == FG_OK; i++) {
      status = pass(d, index, replacement, sizeof replacement - 1, true, err);
    }
  }
  held->length = 0;
  return status;
}

static fg_status push_byte_fallback(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                                    fg_error *err) {
  fg_decode_state *state = &d->states[index];
  int byte = last && !state->inside ? named_byte(text, length) : -1;
  if (byte >= 0) {
    char c = (char)byte;
    fg_text_append(&state->held, &c, 1);
    return fg_text_failed(&state->held) ? no_memory(err) : FG_OK;
  }
  fg_status status = end_run(d, index, err);
  state->inside = !last;
  return status ? status : pass(d, index, text, length, last, err);
}

// ---- Replace, Strip, Metaspace, Fuse, spaces between --------------------------------------------------

static fg_status push_replace(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                              fg_error *err) {
  const fg_decode_step *step = &d->decoder->steps[index];
  fg_decode_state *state = &d->states[index];
  if (!whole_token(state, &text, &length, last)) return fg_text_failed(&state->held) ? no_memory(err) : FG_OK;
  fg_status status = step->pattern.regex && !d->regex ? fg_regex_work_create(&d->regex, err) : FG_OK;
  fg_pattern_walk walk = fg_pattern_start(&step->pattern, d->regex, text, length);
  fg_text changed = {0};
  size_t done = 0;
  for (bool found = length > 0; found && status == FG_OK;) {
    status = fg_pattern_next(&walk, &found, err);
    if (status || !found) break;
    fg_text_append(&changed, text + done, walk.begin - done);
    fg_text_append_string(&changed, step->content);
    done = walk.end;
  }
  fg_text_append(&changed, text + done, length - done);
  if (status == FG_OK && fg_text_failed(&changed)) status = no_memory(err);
  if (status == FG_OK) status = pass(d, index, changed.data, changed.length, true, err);
  fg_text_free(&changed);
  state->held.length = 0;
  return status;
}

// How many of at most `most` characters `c` stand at the end of the token.
static size_t trailing(const char *text, size_t length, uint32_t c, size_t most) {
  const char *at = text + length, *next;
  for (size_t i = 0; i < most && at > text; i++, at = next) {
    next = at;
    if (fg_utf8_take_back(&next) != c) break;
  }
  return (size_t)(text + length - at);
}

static fg_status push_strip(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                            fg_error *err) {
  const fg_decode_step *step = &d->decoder->steps[index];
  fg_decode_state *state = &d->states[index];
  if (d->bare) return pass(d, index, text, length, last, err);
  if (step->stop > 0 && !whole_token(state, &text, &length, last)) {
    return fg_text_failed(&state->held) ? no_memory(err) : FG_OK;
  }
  size_t tail = step->stop > 0 ? trailing(text, length, step->character, step->stop) : 0;
  const char *end = text + length - tail, *at = text, *next;
  while (at < end && state->cut < step->start) {
    next = at;
    bool same = fg_utf8_take(&next) == step->character;
    state->cut = same ? state->cut + 1 : step->start;
    if (!same) break;
    at = next;
  }
  if (last) state->cut = 0;
  fg_status status = pass(d, index, at, (size_t)(end - at), last, err);
  if (step->stop > 0) state->held.length = 0;
  return status;
}

static fg_status push_metaspace(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                                fg_error *err) {
  const fg_decode_step *step = &d->decoder->steps[index];
  fg_decode_state *state = &d->states[index];
  bool drop = state->tokens == 0 && step->drop_first && !d->bare;
  fg_text changed = {0};
  for (const char *at = text; at < text + length;) {
    uint32_t c = fg_utf8_take(&at);
    if (c != step->character) fg_utf8_append(&changed, c);
    if (c == step->character && !drop) fg_text_append(&changed, " ", 1);
  }
  if (last) state->tokens++;
  fg_status status =
      fg_text_failed(&changed) ? no_memory(err) : pass(d, index, changed.data, changed.length, last, err);
  fg_text_free(&changed);
  return status;
}

static fg_status push_fuse(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                           fg_error *err) {
  (void)last;
  return pass(d, index, text, length, false, err);
}

static fg_status finish_fuse(fg_decoding *d, size_t index, fg_error *err) {
  return pass(d, index, "", 0, true, err);
}

// ---- SentencePiece ------------------------------------------------------------------------------------

static fg_status finish_spm(fg_decoding *d, size_t index, fg_error *err) {
  fg_text *held = &d->states[index].held;
  size_t incomplete = held->length;
  held->length = 0;
  return pass_replacements(d, index, incomplete, err);
}

// state->tokens: whether a first space can no longer come. Tokens are whole here: nothing stands before.
static fg_status push_spm(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                          fg_error *err) {
  static const char mark[] = "\xe2\x96\x81";
  const fg_decode_step *step = &d->decoder->steps[index];
  fg_decode_state *state = &d->states[index];
  int byte = step->bytes ? named_byte(text, length) : -1;
  if (byte >= 0) {
    char c = (char)byte;
    state->tokens = 1;
    return feed_bytes(d, index, (fg_slice){&c, 1}, true, err);
  }
  fg_status status = finish_spm(d, index, err);
  if (status) return status;
  if (*step->other && length == strlen(step->other) && memcmp(text, step->other, length) == 0) {
    state->tokens = 1;
    return pass(d, index, step->content, strlen(step->content), last, err);
  }
  if (step->drop_first && state->tokens == 0 && !d->bare && length >= 3 && memcmp(text, mark, 3) == 0) {
    text += 3;
    length -= 3;
    if (!step->drop_more) state->tokens = 1;
  }
  if (length > 0) state->tokens = 1;
  fg_text spaced = {0};
  for (size_t i = 0; i < length; i++) {
    bool space = length - i >= 3 && memcmp(text + i, mark, 3) == 0;
    fg_text_append(&spaced, space ? " " : text + i, 1);
    if (space) i += 2;
  }
  status = fg_text_failed(&spaced) ? no_memory(err) : pass(d, index, spaced.data, spaced.length, last, err);
  fg_text_free(&spaced);
  return status;
}

// ---- words --------------------------------------------------------------------------------------------

static void replace_all(fg_text *text, const char *from, const char *to) {
  size_t length = strlen(from);
  const char *at = text->data, *end = at + text->length, *hit;
  if (text->length < length || !memmem(at, text->length, from, length)) return;
  fg_text changed = {0};
  while ((hit = memmem(at, (size_t)(end - at), from, length)) != NULL) {
    fg_text_append(&changed, at, (size_t)(hit - at));
    fg_text_append_string(&changed, to);
    at = hit + length;
  }
  fg_text_append(&changed, at, (size_t)(end - at));
  fg_text_free(text);
  *text = changed;
}

static void clean_up(fg_text *text) {
  static const char *const pairs[][2] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) replace_all(text, pairs[i][0], pairs[i][1]);
}

static fg_status pass_changed(fg_decoding *d, size_t index, fg_text *changed, fg_error *err) {
  fg_status status =
      fg_text_failed(changed) ? no_memory(err) : pass(d, index, changed->data, changed->length, true, err);
  fg_text_free(changed);
  return status;
}

static fg_status push_wordpiece(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                                fg_error *err) {
  const fg_decode_step *step = &d->decoder->steps[index];
  fg_decode_state *state = &d->states[index];
  if (!whole_token(state, &text, &length, last)) return fg_text_failed(&state->held) ? no_memory(err) : FG_OK;
  size_t prefix = strlen(step->content);
  bool follows = length >= prefix && memcmp(text, step->content, prefix) == 0;
  fg_text changed = {0};
  if (state->tokens++ > 0 || d->bare) {
    if (!follows) fg_text_append(&changed, " ", 1);
    text += follows ? prefix : 0;
    length -= follows ? prefix : 0;
  }
  fg_text_append(&changed, text, length);
  if (step->cleanup && !fg_text_failed(&changed)) clean_up(&changed);
  state->held.length = 0;
  return pass_changed(d, index, &changed, err);
}

// The suffix is a space but behind the last token, so each token waits for the next one.
static fg_status pass_held(fg_decoding *d, size_t index, const char *space, fg_error *err) {
  fg_decode_state *state = &d->states[index];
  fg_text changed = {0};
  if (state->tokens == 0) return FG_OK;
  fg_text_append(&changed, state->held.data, state->held.length);
  if (!fg_text_failed(&changed)) replace_all(&changed, d->decoder->steps[index].content, space);
  state->held.length = 0;
  return pass_changed(d, index, &changed, err);
}

static fg_status push_suffixed(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                               fg_error *err) {
  fg_decode_state *state = &d->states[index];
  fg_status status = state->inside ? FG_OK : pass_held(d, index, " ", err);
  fg_text_append(&state->held, text, length);
  state->inside = !last;
  state->tokens = 1;
  return status == FG_OK && fg_text_failed(&state->held) ? no_memory(err) : status;
}

static fg_status finish_suffixed(fg_decoding *d, size_t index, fg_error *err) {
  return pass_held(d, index, d->bare ? " " : "", err);
}

// A token that repeats the one before says nothing new; padding says that one ends.
static fg_status push_ctc(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                          fg_error *err) {
  const fg_decode_step *step = &d->decoder->steps[index];
  fg_decode_state *state = &d->states[index];
  (void)last; // it stands first: tokens come whole
  bool again = state->tokens > 0 && state->held.length == length &&
               (length == 0 || memcmp(state->held.data, text, length) == 0);
  if (again) return FG_OK;
  fg_text changed = {0};
  state->tokens = 1;
  state->held.length = 0;
  fg_text_append(&state->held, text, length);
  fg_text_append(&changed, text, length);
  if (fg_text_failed(&state->held) || fg_text_failed(&changed)) {
    fg_text_free(&changed);
    return no_memory(err);
  }
  replace_all(&changed, step->content, "");
  if (step->cleanup) clean_up(&changed);
  if (step->cleanup) replace_all(&changed, step->other, " ");
  if (changed.length > 0) return pass_changed(d, index, &changed, err);
  fg_text_free(&changed);
  return FG_OK;
}

static fg_status push_spaced(fg_decoding *d, size_t index, const char *text, size_t length, bool last,
                             fg_error *err) {
  fg_status status = d->states[index].tokens > 0 ? pass(d, index, " ", 1, false, err) : FG_OK;
  d->states[index].tokens++;
  return status ? status : pass(d, index, text, length, last, err);
}

// ---- reading ------------------------------------------------------------------------------------------

static fg_status read_replace(fg_decode_step *step, const json_t *json, fg_error *err) {
  const char *content;
  fg_status status = fg_json_string(json, "content", NULL, &content, err);
  if (status) return status;
  if (!content) return fg_fail(err, FG_CORRUPT, "\"content\" is missing");
  step->content = strdup(content);
  if (!step->content) return fg_fail(err, FG_NO_SPACE, "out of memory for a decoder");
  return fg_pattern_read(&step->pattern, json_object_get(json, "pattern"), err);
}

static fg_status read_character(fg_decode_step *step, const json_t *json, const char *key,
                                const char *fallback, fg_error *err) {
  const char *text;
  fg_status status = fg_json_string(json, key, fallback, &text, err);
  if (status) return status;
  if (!*text || strlen(text) != fg_utf8_length(*text))
    return fg_fail(err, FG_CORRUPT, "\"%s\" must be one character", key);
  step->character = fg_utf8_take(&text);
  return FG_OK;
}

static fg_status read_strip(fg_decode_step *step, const json_t *json, fg_error *err) {
  uint32_t start, stop;
  fg_status status = read_character(step, json, "content", " ", err);
  if (status == FG_OK) status = fg_json_u32(json, "start", 0, &start, err);
  if (status == FG_OK) status = fg_json_u32(json, "stop", 0, &stop, err);
  if (status) return status;
  step->start = start;
  step->stop = stop;
  return FG_OK;
}

static fg_status read_metaspace(fg_decode_step *step, const json_t *json, fg_error *err) {
  const char *scheme;
  bool prefix;
  fg_status status = read_character(step, json, "replacement", "\xe2\x96\x81", err);
  if (status == FG_OK) status = fg_json_bool(json, "add_prefix_space", true, &prefix, err);
  if (status == FG_OK)
    status = fg_json_string(json, "prepend_scheme", prefix ? "always" : "never", &scheme, err);
  if (status == FG_OK) step->drop_first = strcmp(scheme, "never") != 0;
  return status;
}

static fg_status read_text(const json_t *json, const char *key, const char *fallback, char **out,
                           fg_error *err) {
  const char *text;
  fg_status status = fg_json_string(json, key, fallback, &text, err);
  if (status) return status;
  if (!*text) return fg_fail(err, FG_UNSUPPORTED, "\"%s\" is empty", key);
  *out = strdup(text);
  return *out ? FG_OK : no_memory(err);
}

static fg_status read_suffixed(fg_decode_step *step, const json_t *json, fg_error *err) {
  return read_text(json, "suffix", "</w>", &step->content, err);
}

static fg_status read_wordpiece(fg_decode_step *step, const json_t *json, fg_error *err) {
  fg_status status = fg_json_bool(json, "cleanup", true, &step->cleanup, err);
  return status ? status : read_text(json, "prefix", "##", &step->content, err);
}

static fg_status read_ctc(fg_decode_step *step, const json_t *json, fg_error *err) {
  fg_status status = fg_json_bool(json, "cleanup", true, &step->cleanup, err);
  if (status == FG_OK) status = read_text(json, "pad_token", "<pad>", &step->content, err);
  return status ? status : read_text(json, "word_delimiter_token", "|", &step->other, err);
}

static const fg_decode_type spaced = {"null", NULL, push_spaced, NULL, false};
static const fg_decode_type spm = {"SentencePiece", NULL, push_spm, finish_spm, true};
static const fg_decode_type types[] = {
    {"BPEDecoder", read_suffixed, push_suffixed, finish_suffixed, false},
    {"ByteFallback", NULL, push_byte_fallback, end_run, true},
    {"ByteLevel", NULL, push_byte_level, finish_byte_level, true},
    {"CTC", read_ctc, push_ctc, NULL, false},
    {"Fuse", NULL, push_fuse, finish_fuse, true},
    {"Metaspace", read_metaspace, push_metaspace, NULL, true},
    {"Replace", read_replace, push_replace, NULL, true},
    {"Strip", read_strip, push_strip, NULL, true},
    {"WordPiece", read_wordpiece, push_wordpiece, NULL, false},
};

static fg_status read_step(fg_decoder *out, const fg_decode_type *type, const json_t *json, fg_error *err) {
  if (out->count == FG_DECODE_STEPS_MAX) {
    return fg_fail(err, FG_UNSUPPORTED, "a decoder of more than %d steps", FG_DECODE_STEPS_MAX);
  }
  fg_decode_step *step = &out->steps[out->count++];
  step->type = type;
  return type->read ? type->read(step, json, err) : FG_OK;
}

static fg_status read_one(fg_decoder *out, const json_t *json, int depth, fg_error *err) {
  const char *name = json_string_value(json_object_get(json, "type"));
  if (!name) return fg_fail(err, FG_CORRUPT, "a decoder without a type");
  if (strcmp(name, "Sequence") == 0) {
    const json_t *list = json_object_get(json, "decoders"), *one;
    if (!json_is_array(list) || depth == 8)
      return fg_fail(err, FG_CORRUPT, "a decoder Sequence without its list");
    fg_status status = FG_OK;
    for (size_t i = 0; status == FG_OK && (one = json_array_get(list, i)) != NULL; i++) {
      status = read_one(out, one, depth + 1, err);
    }
    return status;
  }
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    if (strcmp(types[i].name, name) != 0) continue;
    return read_step(out, &types[i], json, err) ? fg_fail_prefix(err, "decoder %s", name) : FG_OK;
  }
  return fg_fail(err, FG_UNSUPPORTED, "decoder \"%.60s\" is not supported", name);
}

fg_status fg_decoder_read(fg_decoder *out, const json_t *json, fg_error *err) {
  *out = (fg_decoder){0};
  bool none = !json || json_is_null(json);
  fg_status status = none ? read_step(out, &spaced, NULL, err) : read_one(out, json, 0, err);
  if (status) fg_decoder_free(out);
  return status;
}

fg_status fg_decoder_add_spm(fg_decoder *decoder, const fg_spm_decode *from, fg_error *err) {
  fg_status status = read_step(decoder, &spm, NULL, err);
  if (status) return status;
  fg_decode_step *step = &decoder->steps[decoder->count - 1];
  step->content = strndup(from->unk_surface.data, from->unk_surface.length);
  step->other = strndup(from->unk.length ? from->unk.data : "", from->unk.length);
  step->drop_first = from->drop_first;
  step->drop_more = from->drop_more;
  step->bytes = from->bytes;
  return step->content && step->other ? FG_OK : no_memory(err);
}

void fg_decoder_free(fg_decoder *decoder) {
  for (size_t i = 0; i < decoder->count; i++) {
    free(decoder->steps[i].content);
    free(decoder->steps[i].other);
    fg_pattern_free(&decoder->steps[i].pattern);
  }
  *decoder = (fg_decoder){0};
}

bool fg_decoder_takes_bytes(const fg_decoder *decoder) {
  return decoder->count > 0 && decoder->steps[0].type->push == push_byte_level;
}

// What is stripped off every token, or off the end, is not known of a token alone; nor what is replaced where
// tokens are one text.
static bool step_joins(const fg_decoder *decoder, size_t index, bool fused) {
  const fg_decode_step *step = &decoder->steps[index];
  if (step->type->push == push_strip) return fused && step->stop == 0;
  return step->type->joins && !(fused && step->type->push == push_replace);
}

bool fg_decoder_joins(const fg_decoder *decoder) {
  bool fused = false;
  for (size_t i = 0; i < decoder->count; i++) {
    if (!step_joins(decoder, i, fused)) return false;
    fused |= decoder->steps[i].type->push == push_fuse;
  }
  return true;
}

// ---- a text in the making -----------------------------------------------------------------------------

fg_decoding fg_decoding_start(const fg_decoder *decoder, fg_text *out) {
  return (fg_decoding){.decoder = decoder, .out = out};
}

void fg_decoding_free(fg_decoding *d) {
  for (size_t i = 0; i < d->decoder->count; i++) fg_text_free(&d->states[i].held);
  fg_regex_work_destroy(d->regex);
  d->regex = NULL;
}

fg_status fg_decoding_push(fg_decoding *d, const char *token, size_t length, bool bytes, fg_error *err) {
  if (bytes) return feed_bytes(d, 0, (fg_slice){token, length}, false, err);
  return pass(d, (size_t)-1, token, length, true, err);
}

void fg_decoding_forget(fg_decoding *d) {
  for (size_t i = 0; i < d->decoder->count; i++) {
    d->states[i].held.length = 0;
    d->states[i].inside = false;
  }
}

fg_status fg_decoding_finish(fg_decoding *d, fg_error *err) {
  fg_status status = FG_OK;
  for (size_t i = 0; i < d->decoder->count && status == FG_OK; i++) {
    const fg_decode_type *type = d->decoder->steps[i].type;
    if (type->finish) status = type->finish(d, i, err);
  }
  return status;
}

fg_status fg_decoder_token_bytes(const fg_decoder *decoder, const char *text, size_t length, fg_text *out,
                                 fg_error *err) {
  int byte = named_byte(text, length);
  for (size_t i = 0; i < decoder->count && byte >= 0; i++) {
    bool bytes = decoder->steps[i].type->push == push_byte_fallback || decoder->steps[i].bytes;
    if (!bytes) continue;
    char c = (char)byte;
    fg_text_append(out, &c, 1);
    return fg_text_failed(out) ? no_memory(err) : FG_OK;
  }
  fg_decoding d = fg_decoding_start(decoder, out);
  d.bare = true;
  fg_status status = fg_decoding_push(&d, text, length, false, err);
  if (status == FG_OK) status = fg_decoding_finish(&d, err);
  fg_decoding_free(&d);
  return status;
}
