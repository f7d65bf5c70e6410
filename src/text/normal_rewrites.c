// What the steps of a normalizer do to a text.
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/normalizer.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

// ---- normal forms -------------------------------------------------------------------------------------

// ASCII is in every normal form; what lies below U+0300 is composed and has nothing to compose with.
static bool is_normal(int form, fg_slice text) {
  unsigned char first = form == (UTF8PROC_STABLE | UTF8PROC_COMPOSE) ? 0xcc : 0x80;
  for (size_t i = 0; i < text.length; i++) {
    if ((unsigned char)text.data[i] >= first) return false;
  }
  return true;
}

static fg_status append_form(int form, fg_slice text, fg_text *out, fg_error *err) {
  if (text.length == 0) return FG_OK;
  utf8proc_uint8_t *normal = NULL;
  utf8proc_ssize_t count = utf8proc_map((const utf8proc_uint8_t *)text.data, (utf8proc_ssize_t)text.length,
                                        &normal, (utf8proc_option_t)form);
  if (count < 0) {
    return fg_fail(err, FG_NO_SPACE, "normalizing %zu bytes of text: %s", text.length,
                   utf8proc_errmsg(count));
  }
  fg_text_append(out, normal, (size_t)count);
  free(normal);
  return FG_OK;
}

fg_status fg_rewrite_form(const fg_normal_step *step, const fg_normal_work *work, fg_slice text, fg_text *out,
                          fg_error *err) {
  (void)work;
  if (!is_normal(step->form, text)) return append_form(step->form, text, out, err);
  fg_text_append(out, text.data, text.length);
  return FG_OK;
}

// ---- characters ---------------------------------------------------------------------------------------

static void append_lowercase(fg_slice text, fg_text *out) {
  for (const char *at = text.data; at < text.data + text.length;) {
    uint32_t lower[2];
    size_t count = fg_lowercase(fg_utf8_take(&at), lower);
    for (size_t i = 0; i < count; i++) fg_utf8_append(out, lower[i]);
  }
}

fg_status fg_rewrite_lowercase(const fg_normal_step *step, const fg_normal_work *work, fg_slice text,
                               fg_text *out, fg_error *err) {
  (void)step, (void)work, (void)err;
  append_lowercase(text, out);
  return FG_OK;
}

fg_status fg_rewrite_strip_accents(const fg_normal_step *step, const fg_normal_work *work, fg_slice text,
                                   fg_text *out, fg_error *err) {
  (void)step, (void)work, (void)err;
  for (const char *at = text.data; at < text.data + text.length;) {
    uint32_t c = fg_utf8_take(&at);
    if (!fg_is_mark(c)) fg_utf8_append(out, c);
  }
  return FG_OK;
}

fg_status fg_rewrite_nmt(const fg_normal_step *step, const fg_normal_work *work, fg_slice text, fg_text *out,
                         fg_error *err) {
  (void)step, (void)work, (void)err;
  for (const char *at = text.data; at < text.data + text.length;) {
    uint32_t c = fg_utf8_take(&at);
    bool dropped =
        (c >= 1 && c <= 8) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
    bool space = c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == 0x1680 ||
                 (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff ||
                 c == FG_REPLACEMENT_CHAR;
    if (!dropped) fg_utf8_append(out, space ? ' ' : c);
  }
  return FG_OK;
}

fg_status fg_rewrite_bytes(const fg_normal_step *step, const fg_normal_work *work, fg_slice text,
                           fg_text *out, fg_error *err) {
  (void)step, (void)work, (void)err;
  fg_bytes_to_text(text.data, text.length, out);
  return FG_OK;
}

// ---- BERT ---------------------------------------------------------------------------------------------

static bool is_ideograph(uint32_t c) {
  static const uint32_t ranges[][2] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                                       {0x20000, 0x2a6df}, {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f},
                                       {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f}};
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
  }
  return false;
}

// Without characters that only control; every white space a plain one; ideographs apart.
static void append_clean(const fg_normal_step *step, fg_slice text, fg_text *out) {
  for (const char *at = text.data; at < text.data + text.length;) {
    uint32_t c = fg_utf8_take(&at);
    bool line = c == '\t' || c == '\n' || c == '\r';
    bool dropped = c == 0 || c == FG_REPLACEMENT_CHAR || (!line && fg_is_control(c));
    if (step->clean && dropped) continue;
    if (step->clean && fg_is_space(c)) c = ' ';
    bool apart = step->space_ideographs && is_ideograph(c);
    if (apart) fg_text_append(out, " ", 1);
    fg_utf8_append(out, c);
    if (apart) fg_text_append(out, " ", 1);
  }
}

static fg_status strip_accents(fg_text *text, fg_error *err) {
  fg_text decomposed = {0};
  fg_status status = append_form(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, (fg_slice){text->data, text->length},
                                 &decomposed, err);
  fg_text_clear(text);
  const char *end = decomposed.data + decomposed.length;
  for (const char *at = decomposed.data; decomposed.length && at < end;) {
    uint32_t c = fg_utf8_take(&at);
    if (!fg_is_accent(c)) fg_utf8_append(text, c);
  }
  if (status == FG_OK && fg_text_failed(&decomposed)) {
    status = fg_fail(err, FG_NO_SPACE, "out of memory for normalizing a text");
  }
  fg_text_free(&decomposed);
  return status;
}

fg_status fg_rewrite_bert(const fg_normal_step *step, const fg_normal_work *work, fg_slice text, fg_text *out,
                          fg_error *err) {
  (void)work;
  fg_text clean = {0};
  append_clean(step, text, &clean);
  fg_status status = step->strip_accents && clean.length ? strip_accents(&clean, err) : FG_OK;
  if (step->lowercase) {
    append_lowercase((fg_slice){clean.data, clean.length}, out);
  } else {
    fg_text_append(out, clean.data, clean.length);
  }
  if (status == FG_OK && fg_text_failed(&clean))
    status = fg_fail(err, FG_NO_SPACE, "out of memory for normalizing %zu bytes", text.length);
  fg_text_free(&clean);
  return status;
}

// ---- strings ------------------------------------------------------------------------------------------

fg_status fg_rewrite_replace(const fg_normal_step *step, const fg_normal_work *work, fg_slice text,
                             fg_text *out, fg_error *err) {
  fg_pattern_walk walk = fg_pattern_start(&step->pattern, work->regex, text.data, text.length);
  size_t done = 0;
  for (bool found = text.length > 0; found;) {
    fg_status status = fg_pattern_next(&walk, &found, err);
    if (status) return status;
    if (!found) break;
    fg_text_append(out, text.data + done, walk.begin - done);
    fg_text_append_string(out, step->content);
    done = walk.end;
  }
  fg_text_append(out, text.data + done, text.length - done);
  return FG_OK;
}

fg_status fg_rewrite_prepend(const fg_normal_step *step, const fg_normal_work *work, fg_slice text,
                             fg_text *out, fg_error *err) {
  (void)work, (void)err;
  if (text.length > 0) fg_text_append_string(out, step->content);
  fg_text_append(out, text.data, text.length);
  return FG_OK;
}

fg_status fg_rewrite_strip(const fg_normal_step *step, const fg_normal_work *work, fg_slice text,
                           fg_text *out, fg_error *err) {
  (void)work, (void)err;
  const char *begin = text.data, *end = text.data + text.length, *next;
  while (step->left && begin < end && (next = begin, fg_is_space(fg_utf8_take(&next)))) begin = next;
  while (step->right && begin < end && (next = end, fg_is_space(fg_utf8_take_back(&next)))) end = next;
  fg_text_append(out, begin, (size_t)(end - begin));
  return FG_OK;
}

// ---- SentencePiece's rules ----------------------------------------------------------------------------

// tokenizers looks at grapheme clusters: a short one is replaced as a whole by the rule for its shortest
// beginning that has one (so what follows the beginning is dropped), or else character by character.
enum { CLUSTER_MAX = 5 };

static size_t cluster_length(fg_slice text, size_t at) {
  const char *start = text.data + at, *end = text.data + text.length, *next = start;
  utf8proc_int32_t state = 0, before = (utf8proc_int32_t)fg_utf8_take(&next);
  while (next < end) {
    const char *behind = next;
    utf8proc_int32_t c = (utf8proc_int32_t)fg_utf8_take(&behind);
    if (utf8proc_grapheme_break_stateful(before, c, &state)) break;
    before = c;
    next = behind;
  }
  return (size_t)(next - start);
}

fg_status fg_rewrite_precompiled(const fg_normal_step *step, const fg_normal_work *work, fg_slice text,
                                 fg_text *out, fg_error *err) {
  (void)work, (void)err;
  const char *replacement;
  for (size_t at = 0; at < text.length;) {
    size_t cluster = cluster_length(text, at), end = at + cluster;
    if (cluster <= CLUSTER_MAX &&
        fg_charsmap_match(&step->charsmap, text.data + at, cluster, FG_CHARSMAP_SHORTEST, &replacement)) {
      fg_text_append_string(out, replacement);
      at = end;
    }
    for (size_t size; at < end; at += size) {
      size = fg_utf8_length(text.data[at]);
      if (fg_charsmap_match(&step->charsmap, text.data + at, size, FG_CHARSMAP_SHORTEST, &replacement)) {
        fg_text_append_string(out, replacement);
      } else {
        fg_text_append(out, text.data + at, size);
      }
    }
  }
  return FG_OK;
}

// SentencePiece itself takes the longest rule at each place. Returns how much of the text it is for.
static size_t next_rule(const fg_normal_step *step, fg_slice text, fg_slice *replacement) {
  const char *found;
  size_t length = step->spaces.whole ? fg_trie_longest(step->spaces.whole, text.data, text.length, NULL) : 0;
  if (length == 0) {
    length = fg_charsmap_match(&step->charsmap, text.data, text.length, FG_CHARSMAP_LONGEST, &found);
    if (length > 0) {
      *replacement = (fg_slice){found, strlen(found)};
      return length;
    }
    length = fg_utf8_length(*text.data);
  }
  *replacement = (fg_slice){text.data, length};
  return length;
}

static bool is_lone_space(fg_slice s) {
  return s.length == 1 && *s.data == ' ';
}

static bool ends_with(const fg_text *text, size_t from, fg_slice end) {
  return text->length >= from + end.length &&
         memcmp(text->data + text->length - end.length, end.data, end.length) == 0;
}

fg_status fg_rewrite_spm(const fg_normal_step *step, const fg_normal_work *work, fg_slice text, fg_text *out,
                         fg_error *err) {
  (void)err;
  const fg_spm_spaces *spaces = &step->spaces;
  fg_slice space = spaces->escape ? (fg_slice){"\xe2\x96\x81", 3} : (fg_slice){" ", 1}, piece;
  size_t start = out->length, size;
  bool after_space = spaces->remove_extra;
  while (spaces->remove_extra && text.length > 0 &&
         (size = next_rule(step, text, &piece), is_lone_space(piece))) {
    text = (fg_slice){text.data + size, text.length - size};
  }
  if (text.length == 0) return FG_OK;
  if (spaces->add_prefix && (work->at_start || !spaces->at_start_only))
    fg_text_append(out, space.data, space.length);
  for (; text.length > 0; text = (fg_slice){text.data + size, text.length - size}) {
    size = next_rule(step, text, &piece);
    while (after_space && piece.length > 0 && *piece.data == ' ')
      piece = (fg_slice){piece.data + 1, piece.length - 1};
    for (size_t i = 0; i < piece.length; i++) {
      bool blank = piece.data[i] == ' ';
      fg_text_append(out, blank ? space.data : piece.data + i, blank ? space.length : 1);
    }
    if (piece.length > 0) after_space = spaces->remove_extra && piece.data[piece.length - 1] == ' ';
  }
  while (spaces->remove_extra && !fg_text_failed(out) && ends_with(out, start, space))
    out->length -= space.length;
  return FG_OK;
}
