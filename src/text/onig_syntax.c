// Oniguruma's syntax (Ruby flavour) rewritten for PCRE2 with UTF and UCP. What passes here means the
// same in both; everything else is refused.
#include <ctype.h>
#include <string.h>

#include "text/regex.h"
#include "text/unicode.h"

enum { DEPTH_MAX = 50 };

typedef struct rewriter {
  const char *pattern, *at;
  fg_text *out;
  fg_error *err;
  bool caseless[DEPTH_MAX + 1]; // by depth of groups
  int depth;
} rewriter;

static fg_status refuse(const rewriter *r, const char *what) {
  return fg_fail(r->err, FG_UNSUPPORTED, "regular expression \"%.200s\", character %zu: %s", r->pattern,
                 (size_t)(r->at - r->pattern), what);
}

static void put(rewriter *r, const char *text) {
  fg_text_append_string(r->out, text);
}

// A literal character, escaped where PCRE2 would see an operator.
static void put_literal(rewriter *r, uint32_t c) {
  if (c < 0x80 && !isalnum((int)c)) {
    fg_text_printf(r->out, "\\x{%x}", (unsigned)c);
  } else {
    fg_utf8_append(r->out, c);
  }
}

// ---- escapes ------------------------------------------------------------------------------------------

#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
// Outside brackets Oniguruma asks a table of Latin-1 in which these are word characters.
#define LATIN1_NUMBERS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

// Sets whose letters mean slightly different things in the two engines. `in_class` is NULL where the set
// cannot stand inside brackets.
typedef struct set {
  char letter;
  const char *alone, *in_class;
} set;
static const set sets[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"},
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'d', "\\p{Nd}", "\\p{Nd}"},
    {'D', "\\P{Nd}", "\\P{Nd}"},
    {'w', "[" WORD LATIN1_NUMBERS "]", WORD},
    {'W', "[^" WORD LATIN1_NUMBERS "]", NULL},
    {'h', "[0-9a-fA-F]", "0-9a-fA-F"},
    {'A', "\\A", NULL},
    {'z', "\\z", NULL},
};

static const char *const categories[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me",
                                         "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi",
                                         "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl",
                                         "Zp", "C",  "Cc", "Cf", "Cn", "Co", "Cs"};
static const char *const scripts[] = {"Arabic",   "Armenian", "Bengali", "Cyrillic", "Devanagari",
                                      "Georgian", "Greek",    "Han",     "Hangul",   "Hebrew",
                                      "Hiragana", "Katakana", "Khmer",   "Latin",    "Myanmar",
                                      "Tamil",    "Telugu",   "Thai",    "Tibetan"};

static bool listed(const char *const *list, size_t count, const char *name, size_t length) {
  for (size_t i = 0; i < count; i++) {
    if (strlen(list[i]) == length && memcmp(list[i], name, length) == 0) return true;
  }
  return false;
}

// \p{...} with `at` at the p.
static fg_status property(rewriter *r) {
  bool negated = *r->at == 'P';
  const char *name = r->at + 1, *close = *name == '{' ? strchr(name, '}') : NULL;
  if (!close) return refuse(r, "\\p without a name in braces");
  name++;
  if (*name == '^') {
    negated = !negated;
    name++;
  }
  size_t length = (size_t)(close - name);
  bool category = listed(categories, sizeof categories / sizeof *categories, name, length);
  bool script = listed(scripts, sizeof scripts / sizeof *scripts, name, length);
  if (!category && !script) return refuse(r, "an unknown property");
  bool cased = length == 2 && name[0] == 'L' && strchr("ult", name[1]);
  if (cased && r->caseless[r->depth]) return refuse(r, "a property of case where case is ignored");
  // PCRE2 takes a bare script name for its extensions, Oniguruma for the script itself.
  fg_text_printf(r->out, "\\%c{%s%.*s}", negated ? 'P' : 'p', script ? "sc:" : "", (int)length, name);
  r->at = close + 1;
  return FG_OK;
}

static bool take_hex(rewriter *r, int least, int most, uint32_t *value) {
  int digits = 0;
  *value = 0;
  for (; digits < most && isxdigit((unsigned char)*r->at); digits++, r->at++) {
    int c = tolower((unsigned char)*r->at);
    *value = *value * 16 + (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return digits >= least;
}

// An escape that stands for one character; `at` behind the backslash. False if it is none.
static bool escaped_char(rewriter *r, uint32_t *c) {
  static const char letters[] = "tnrfvae", values[] = "\t\n\r\f\v\a\x1b";
  const char *start = r->at, *hit = *r->at ? strchr(letters, *r->at) : NULL;
  if (hit) {
    *c = (unsigned char)values[hit - letters];
    r->at++;
    return true;
  }
  if (*r->at == 'u' || *r->at == 'x') {
    bool ok;
    if (r->at[0] == 'x' && r->at[1] == '{') {
      r->at += 2;
      ok = take_hex(r, 1, 6, c) && *r->at++ == '}';
    } else {
      bool u = *r->at++ == 'u';
      ok = take_hex(r, u ? 4 : 2, u ? 4 : 2, c) && (u || *c < 0x80);
    }
    if (ok && *c <= 0x10ffff && (*c < 0xd800 || *c > 0xdfff)) return true;
    r->at = start;
    return false;
  }
  if (*r->at > ' ' && *r->at < 0x7f && !isalnum((unsigned char)*r->at)) {
    *c = (unsigned char)*r->at++;
    return true;
  }
  if (*r->at == ' ') {
    *c = ' ';
    r->at++;
    return true;
  }
  return false;
}

static fg_status set_escape(rewriter *r, bool in_class) {
  if (*r->at == 'p' || *r->at == 'P') return property(r);
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    const char *text = in_class ? sets[i].in_class : sets[i].alone;
    if (sets[i].letter != *r->at || !text) continue;
    put(r, text);
    r->at++;
    return FG_OK;
  }
  return refuse(r, "an escape that is not supported");
}

// ---- brackets -----------------------------------------------------------------------------------------

// One character of a class, or -1 when a set stands there (which is then written).
static fg_status class_item(rewriter *r, int64_t *c) {
  uint32_t value;
  *c = -1;
  if (*r->at == '\\') {
    r->at++;
    if (!escaped_char(r, &value)) return set_escape(r, true);
  } else if (*r->at == '[') {
    return refuse(r, "a class within a class");
  } else if (r->at[0] == '&' && r->at[1] == '&') {
    return refuse(r, "an intersection of classes");
  } else {
    value = fg_utf8_take(&r->at);
  }
  if (value >= 0x80 && r->caseless[r->depth] && fg_classify(value) == FG_CHAR_LETTER) {
    return refuse(r, "a letter beyond ASCII where case is ignored");
  }
  *c = value;
  return FG_OK;
}

static fg_status bracket(rewriter *r) {
  r->at++;
  put(r, "[");
  if (*r->at == '^') {
    put(r, "^");
    r->at++;
  }
  if (*r->at == ']') return refuse(r, "an empty class");
  while (*r->at != ']') {
    if (!*r->at) return refuse(r, "a class without end");
    int64_t low, high;
    fg_status status = class_item(r, &low);
    if (status) return status;
    if (low >= 0) put_literal(r, (uint32_t)low);
    if (r->at[0] != '-' || r->at[1] == ']') continue;
    if (low < 0) return refuse(r, "a range that starts with a set");
    r->at++;
    put(r, "-");
    if (!*r->at) return refuse(r, "a class without end");
    status = class_item(r, &high);
    if (status) return status;
    if (high < low) return refuse(r, "a range that ends before it starts");
    put_literal(r, (uint32_t)high);
  }
  r->at++;
  put(r, "]");
  return FG_OK;
}

// ---- groups and quantifiers ---------------------------------------------------------------------------

static bool starts(const rewriter *r, const char *what) {
  return strncmp(r->at, what, strlen(what)) == 0;
}

// "(?i)" holds to the end of its group in Ruby, across bars; PCRE2 agrees only at the group's beginning.
static bool at_group_start(const rewriter *r) {
  return r->at == r->pattern || (r->at[-1] == '(') ||
         (r->at - r->pattern >= 3 && strncmp(r->at - 3, "(?:", 3) == 0);
}

static fg_status open_group(rewriter *r) {
  static const char *const same[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
  if (starts(r, "(?i)")) {
    if (!at_group_start(r)) return refuse(r, "(?i) in the middle of a group");
    put(r, "(?i)");
    r->at += 4;
    r->caseless[r->depth] = true;
    return FG_OK;
  }
  if (r->depth == DEPTH_MAX) return refuse(r, "groups nested more than 50 deep");
  r->caseless[r->depth + 1] = r->caseless[r->depth];
  r->depth++;
  if (r->at[1] != '?' && r->at[1] != '*') {
    put(r, "(?:"); // nothing here refers to captures
    r->at++;
    return FG_OK;
  }
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    if (!starts(r, same[i])) continue;
    put(r, same[i]);
    r->at += strlen(same[i]);
    if (strcmp(same[i], "(?i:") == 0) r->caseless[r->depth] = true;
    return FG_OK;
  }
  return refuse(r, "a kind of group that is not supported");
}

// {n}, {n,}, {,n}, {n,m}: false if the brace is a literal.
static bool interval(rewriter *r) {
  const char *at = r->at + 1;
  size_t low = strspn(at, "0123456789");
  const char *comma = at + low, *high = comma + (*comma == ',');
  size_t high_digits = *comma == ',' ? strspn(high, "0123456789") : 0;
  if (high[high_digits] != '}' || low + high_digits == 0) return false;
  fg_text_printf(r->out, "{%.*s%s%.*s}", low ? (int)low : 1, low ? at : "0", *comma == ',' ? "," : "",
                 (int)high_digits, high);
  r->at = high + high_digits + 1;
  return true;
}

static fg_status quantifier(rewriter *r) {
  bool braces = *r->at == '{';
  if (braces) {
    const char *brace = r->at;
    bool exact = !memchr(brace, ',', strcspn(brace, "}"));
    if (!interval(r)) {
      r->at++;
      put(r, "\\x{7b}");
      return FG_OK;
    }
    if (*r->at == '+' || (*r->at == '?' && exact)) return refuse(r, "a quantifier behind another");
  } else {
    fg_text_append(r->out, r->at++, 1);
  }
  if (*r->at == '?' || (*r->at == '+' && !braces)) fg_text_append(r->out, r->at++, 1);
  if (*r->at && strchr("*+?", *r->at)) return refuse(r, "a quantifier behind another");
  return FG_OK;
}

// Full case folding, which Oniguruma does and PCRE2 does not, knows letters that stand for two of these.
static fg_status literal(rewriter *r, uint32_t c) {
  if (r->caseless[r->depth]) {
    if (c >= 0x80 && fg_classify(c) == FG_CHAR_LETTER)
      return refuse(r, "a letter beyond ASCII where case is ignored");
    static const char *const folded[] = {"ss", "st", "ff", "fi", "fl"};
    char pair[3] = {(char)tolower((int)(c & 0x7f)), (char)tolower((unsigned char)*r->at), 0};
    if (c < 0x80 && listed(folded, sizeof folded / sizeof *folded, pair, 2)) {
      return refuse(r, "a pair of letters that one character may stand for where case is ignored");
    }
  }
  put_literal(r, c);
  return FG_OK;
}

static fg_status item(rewriter *r) {
  uint32_t c;
  switch (*r->at) {
  case '(': return open_group(r);
  case '[': return bracket(r);
  case '*':
  case '+':
  case '?':
  case '{': return quantifier(r);
  case ')':
    if (r->depth-- == 0) return refuse(r, "a closing parenthesis too many");
    put(r, ")");
    r->at++;
    return FG_OK;
  case '|':
    put(r, "|");
    r->at++;
    return FG_OK;
  case '^': // Ruby's anchors are those of lines
    put(r, "(?m:^)");
    r->at++;
    return FG_OK;
  case '$':
    put(r, "(?m:$)");
    r->at++;
    return FG_OK;
  case '.':
    put(r, "[^\\n]");
    r->at++;
    return FG_OK;
  case '\\': r->at++; return escaped_char(r, &c) ? literal(r, c) : set_escape(r, false);
  default: return literal(r, fg_utf8_take(&r->at));
  }
}

fg_status fg_onig_to_pcre2(const char *oniguruma, fg_text *pcre2, fg_error *err) {
  rewriter r = {.pattern = oniguruma, .at = oniguruma, .out = pcre2, .err = err};
  if (!fg_utf8_valid(oniguruma, strlen(oniguruma))) return refuse(&r, "not UTF-8");
  while (*r.at) {
    fg_status status = item(&r);
    if (status) return status;
  }
  if (r.depth > 0) return refuse(&r, "a group without end");
  return fg_text_failed(pcre2) ? fg_fail(err, FG_NO_SPACE, "out of memory for a regular expression") : FG_OK;
}
