#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"
#include "text/unicode.h"

typedef struct lexer {
  fg_jinja_env *env;
  const char *at, *end;
  fg_jinja_token *tokens;
  size_t count, capacity;
  bool line_starting; // the last tag ended with a line
} lexer;

static fg_status add(lexer *x, fg_jinja_token_kind kind, fg_slice text, fg_value value) {
  if (x->count == x->capacity) {
    size_t capacity = x->capacity ? x->capacity * 2 : 256;
    fg_jinja_token *tokens = fg_arena_alloc(&x->env->arena, capacity * sizeof *tokens);
    if (!tokens) return fg_jinja_no_memory(x->env);
    if (x->count) memcpy(tokens, x->tokens, x->count * sizeof *tokens);
    x->tokens = tokens;
    x->capacity = capacity;
  }
  x->tokens[x->count++] = (fg_jinja_token){kind, x->env->line, text, value};
  return FG_OK;
}

// Moves on and counts the lines that went by.
static void advance(lexer *x, const char *to) {
  for (; x->at < to; x->at++) x->env->line += *x->at == '\n';
}

static bool looking_at(const lexer *x, const char *text) {
  size_t length = strlen(text);
  return (size_t)(x->end - x->at) >= length && memcmp(x->at, text, length) == 0;
}

static void skip_space(lexer *x) {
  fg_slice rest = {x->at, (size_t)(x->end - x->at)};
  advance(x, fg_py_strip(rest, true, false).data);
}

// ---- between tags -------------------------------------------------------------------------------------

// Behind a tag's end: a minus strips all white space, a block or comment else takes its line end along.
static void after_tag(lexer *x, bool minus, bool plus, bool output) {
  const char *before = x->at;
  if (minus) skip_space(x);
  if (!minus && !plus && !output && x->at < x->end && *x->at == '\n') advance(x, x->at + 1);
  x->line_starting = x->at > before && x->at[-1] == '\n';
}

// Takes "-", "+" or nothing and then `close` at the current place.
static bool take_close(lexer *x, const char *close, bool output) {
  bool minus = looking_at(x, "-"), plus = looking_at(x, "+") && !output;
  const char *at = x->at + (minus || plus);
  size_t length = strlen(close);
  if ((size_t)(x->end - at) < length || memcmp(at, close, length) != 0) return false;
  advance(x, at + length);
  after_tag(x, minus, plus, output);
  return true;
}

static const char *find_tag(const lexer *x) {
  for (const char *at = x->at; at + 1 < x->end; at++) {
    if (*at == '{' && (at[1] == '{' || at[1] == '%' || at[1] == '#')) return at;
  }
  return x->end;
}

// Text before a tag: a minus in the tag strips its end; else a block or comment that stands alone on its
// line takes the line's indentation along.
static fg_slice before_tag(const lexer *x, const char *tag) {
  fg_slice text = {x->at, (size_t)(tag - x->at)};
  if (tag == x->end) return text;
  char sign = tag + 2 < x->end ? tag[2] : 0;
  if (sign == '-') return fg_py_strip(text, false, true);
  if (sign == '+' || tag[1] == '{') return text;
  const char *line = tag;
  while (line > x->at && line[-1] != '\n') line--;
  bool starts_line = line > x->at || x->line_starting;
  if (starts_line && fg_py_strip((fg_slice){line, (size_t)(tag - line)}, true, false).length == 0) {
    text.length = (size_t)(line - x->at);
  }
  return text;
}

static fg_status comment(lexer *x) {
  while (x->at < x->end) {
    if (take_close(x, "#}", false)) return FG_OK;
    advance(x, x->at + 1);
  }
  return fg_jinja_fail(x->env, "a comment without end");
}

// Whether "name" and then a closing tag stand here; moves behind it.
static bool take_word_tag(lexer *x, const char *word) {
  lexer saved = *x;
  uint32_t line = x->env->line;
  skip_space(x);
  if (looking_at(x, word)) {
    advance(x, x->at + strlen(word));
    skip_space(x);
    if (take_close(x, "%}", false)) return true;
  }
  *x = saved;
  x->env->line = line;
  return false;
}

// {% raw %} ... {% endraw %}, behind the first tag.
static fg_status raw(lexer *x) {
  const char *start = x->at;
  while (x->at < x->end) {
    const char *tag = x->at;
    if (!looking_at(x, "{%")) {
      advance(x, x->at + 1);
      continue;
    }
    lexer here = *x;
    here.at = start;
    fg_slice text = before_tag(&here, tag);
    advance(x, tag + 2);
    if (looking_at(x, "-") || looking_at(x, "+")) advance(x, x->at + 1);
    if (take_word_tag(x, "endraw")) return text.length ? add(x, FG_LEX_TEXT, text, fg_none()) : FG_OK;
  }
  return fg_jinja_fail(x->env, "a raw block without end");
}

// ---- inside tags --------------------------------------------------------------------------------------

static bool is_name(char c, bool first) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (!first && c >= '0' && c <= '9');
}

static fg_status number(lexer *x) {
  char digits[64];
  size_t count = 0;
  bool real = false;
  const char *at = x->at;
  for (; at < x->end && count + 1 < sizeof digits; at++) {
    bool point = *at == '.' && at + 1 < x->end && at[1] >= '0' && at[1] <= '9' && !real;
    bool exponent = (*at == 'e' || *at == 'E') && at + 1 < x->end &&
                    (at[1] == '-' || at[1] == '+' || (at[1] >= '0' && at[1] <= '9'));
    bool sign = (*at == '-' || *at == '+') && count > 0 && (digits[count - 1] | 0x20) == 'e';
    if (*at == '_') continue;
    if (!(*at >= '0' && *at <= '9') && !point && !exponent && !sign) break;
    real = real || point || exponent;
    digits[count++] = *at;
  }
  digits[count] = 0;
  char *stop;
  long long integer = strtoll(digits, &stop, 10);
  if (!real && (*stop || count > 18)) return fg_jinja_fail(x->env, "a number that is too long");
  fg_slice text = {x->at, (size_t)(at - x->at)};
  fg_value value = real ? fg_float(strtod(digits, NULL)) : fg_int(integer);
  fg_status status = add(x, FG_LEX_NUMBER, text, value);
  advance(x, at);
  return status;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// An escape as in Python's strings; `*at` is behind the backslash.
static bool escape(const char **at, const char *end, fg_text *out) {
  static const char letters[] = "\\'\"abfnrtv", values[] = "\\'\"\a\b\f\n\r\t\v";
  char c = *(*at)++;
  const char *hit = c ? strchr(letters, c) : NULL;
  if (hit) {
    fg_text_append(out, &values[hit - letters], 1);
    return true;
  }
  int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  uint32_t code = 0;
  if (c == '\n') return true;
  if (digits == 0) { // unknown escapes stay as they are, but octal ones are not worth having
    fg_text_append(out, "\\", 1);
    fg_text_append(out, &c, 1);
    return !(c >= '0' && c <= '7') && c != 'N';
  }
  for (int i = 0; i < digits; i++, (*at)++) {
    int digit = *at < end ? hex_digit(**at) : -1;
    if (digit < 0) return false;
    code = code << 4 | (uint32_t)digit;
  }
  if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
  fg_utf8_append(out, code);
  return true;
}

static fg_status string(lexer *x) {
  char quote = *x->at;
  fg_text text = {0};
  fg_value value;
  const char *at = x->at + 1;
  while (at < x->end && *at != quote) {
    if (*at != '\\') {
      fg_text_append(&text, at++, 1);
      continue;
    }
    at++;
    if (at == x->end || !escape(&at, x->end, &text)) {
      fg_text_free(&text);
      return fg_jinja_fail(x->env, "an escape that is not supported in a string");
    }
  }
  if (at == x->end) {
    fg_text_free(&text);
    return fg_jinja_fail(x->env, "a string without end");
  }
  fg_status status = fg_string_take(x->env, &text, &value);
  if (status == FG_OK) status = add(x, FG_LEX_STRING, value.string, value);
  advance(x, at + 1);
  return status;
}

static fg_status operator(lexer *x, int *brackets) {
  static const char *const operators[] = {"//", "**", "==", "!=", "<=", ">=", "+", "-", "*",
                                          "/",  "%",  "~",  "<",  ">",  "=",  "(", ")", "[",
                                          "]",  "{",  "}",  ",",  ":",  ".",  "|"};
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
    if (!looking_at(x, operators[i])) continue;
    size_t length = strlen(operators[i]);
    *brackets += strchr("([{", *x->at) != NULL;
    *brackets -= strchr(")]}", *x->at) != NULL;
    if (*brackets < 0) return fg_jinja_fail(x->env, "unexpected '%c'", *x->at);
    fg_status status = add(x, FG_LEX_OPERATOR, (fg_slice){x->at, length}, fg_none());
    advance(x, x->at + length);
    return status;
  }
  return fg_jinja_fail(x->env, "unexpected character '%c'", *x->at);
}

static fg_status tag(lexer *x, bool output) {
  const char *close = output ? "}}" : "%}";
  fg_status status = add(x, output ? FG_LEX_OUTPUT_BEGIN : FG_LEX_BLOCK_BEGIN, (fg_slice){0}, fg_none());
  int brackets = 0;
  while (status == FG_OK) {
    skip_space(x);
    if (x->at == x->end) return fg_jinja_fail(x->env, "a tag without end");
    if (brackets == 0 && take_close(x, close, output)) {
      return add(x, output ? FG_LEX_OUTPUT_END : FG_LEX_BLOCK_END, (fg_slice){0}, fg_none());
    }
    if (*x->at >= '0' && *x->at <= '9') {
      status = number(x);
    } else if (*x->at == '"' || *x->at == '\'') {
      status = string(x);
    } else if (is_name(*x->at, true)) {
      const char *at = x->at;
      while (at < x->end && is_name(*at, false)) at++;
      status = add(x, FG_LEX_NAME, (fg_slice){x->at, (size_t)(at - x->at)}, fg_none());
      advance(x, at);
    } else {
      status = operator(x, &brackets);
    }
  }
  return status;
}

// ---- a whole template ---------------------------------------------------------------------------------

// Line ends become \n, and a last one is dropped.
static fg_status normalize(fg_jinja_env *env, fg_slice *source) {
  char *copy = fg_arena_alloc(&env->arena, source->length + 1);
  if (!copy) return fg_jinja_no_memory(env);
  size_t count = 0;
  for (size_t i = 0; i < source->length; i++) {
    char c = source->data[i];
    if (c == '\n' && i > 0 && source->data[i - 1] == '\r') continue;
    copy[count++] = c == '\r' ? '\n' : c;
  }
  if (count > 0 && copy[count - 1] == '\n') count--;
  *source = (fg_slice){copy, count};
  return FG_OK;
}

fg_status fg_jinja_lex(fg_jinja_env *env, fg_slice source, fg_jinja_token **tokens) {
  env->line = 1;
  if (!fg_utf8_valid(source.data, source.length)) return fg_jinja_fail(env, "it is not valid UTF-8");
  fg_status status = normalize(env, &source);
  lexer x = {.env = env, .at = source.data, .end = source.data + source.length, .line_starting = true};
  while (status == FG_OK && x.at < x.end) {
    const char *start = find_tag(&x);
    fg_slice text = before_tag(&x, start);
    if (text.length) status = add(&x, FG_LEX_TEXT, text, fg_none());
    advance(&x, start);
    if (status || start == x.end) break;
    char kind = start[1];
    advance(&x, start + 2);
    if (x.at < x.end && (*x.at == '-' || *x.at == '+')) advance(&x, x.at + 1);
    if (kind == '#') {
      status = comment(&x);
    } else if (kind == '%' && take_word_tag(&x, "raw")) {
      status = raw(&x);
    } else {
      status = tag(&x, kind == '{');
    }
  }
  if (status == FG_OK) status = add(&x, FG_LEX_END, (fg_slice){0}, fg_none());
  *tokens = x.tokens;
  return status;
}
