#include "hub/repo.h"

#include <string.h>

// A part leaves room for what is put behind it while a file is under way; a path for the cache before it.
enum { MAX_PART = 200, MAX_PATH = 1024, MAX_NAME = 96 };

static bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// The Hub's own rule for an organisation's or a model's name.
static bool is_name(const char *text, size_t length) {
  if (length == 0 || length > MAX_NAME) return false;
  for (size_t i = 0; i < length; i++) {
    if (!is_alnum(text[i]) && !strchr("-_.", text[i])) return false;
    if (i > 0 && text[i] == text[i - 1] && strchr("-.", text[i])) return false; // "--" separates in the cache
  }
  return !strchr("-.", text[0]) && !strchr("-.", text[length - 1]);
}

static bool is_id(const char *id) {
  const char *slash = strchr(id, '/');
  if (!slash) return is_name(id, strlen(id));
  return is_name(id, (size_t)(slash - id)) && is_name(slash + 1, strlen(slash + 1));
}

fg_status fg_hub_repo_parse(fg_hub_repo *out, const char *text, fg_error *err) {
  const char *at = strchr(text, '@');
  size_t length = at ? (size_t)(at - text) : strlen(text);
  const char *revision = at ? at + 1 : "main";
  if (length < sizeof out->id) {
    memcpy(out->id, text, length);
    out->id[length] = 0;
  }
  if (length >= sizeof out->id || !is_id(out->id))
    return fg_fail(err, FG_INVALID, "'%.100s' names no model: ORG/NAME is wanted, as on the Hub", text);
  if (strlen(revision) >= sizeof out->revision || !fg_hub_path_is_safe(revision))
    return fg_fail(err, FG_INVALID, "'%.100s' names no revision: a branch, a tag or a commit is wanted",
                   revision);
  strcpy(out->revision, revision);
  return FG_OK;
}

bool fg_hub_is_hex(const char *text, size_t digits) {
  return strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

bool fg_hub_is_commit(const char *text) {
  return fg_hub_is_hex(text, FG_HUB_COMMIT_BYTES - 1);
}

// A control character of ASCII or, in UTF-8, of Latin 1.
static bool is_control(unsigned char c, unsigned char next) {
  return c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

bool fg_hub_path_is_safe(const char *path) {
  size_t length = strlen(path), begin = 0;
  if (length == 0 || length > MAX_PATH) return false;
  for (size_t i = 0; i <= length; i++) {
    unsigned char c = (unsigned char)path[i];
    if (c == '/' || c == 0) {
      size_t part = i - begin;
      if (part == 0 || part > MAX_PART || (path[begin] == '.' && part <= 2 && path[i - 1] == '.'))
        return false;
      begin = i + 1;
    } else if (is_control(c, (unsigned char)path[i + 1]) || c == '\\') {
      return false;
    }
  }
  return true;
}

bool fg_hub_etag_is_safe(const char *etag) {
  size_t length = strlen(etag);
  if (length == 0 || length >= FG_HUB_ETAG_BYTES || etag[0] == '.') return false;
  for (size_t i = 0; i < length; i++)
    if (!is_alnum(etag[i]) && !strchr("-_.", etag[i])) return false;
  return true;
}

void fg_hub_quote(fg_text *out, const char *text, const char *keep) {
  for (; *text; text++) {
    if (is_alnum(*text) || strchr("-._~", *text) || strchr(keep, *text))
      fg_text_append(out, text, 1);
    else
      fg_text_printf(out, "%%%02X", (unsigned char)*text);
  }
}
