#include "hub/settings.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "format/whole_file.h"

static const char default_endpoint[] = "https://huggingface.co";
enum { DEFAULT_STALL_S = 10, MAX_TOKEN_FILE = 4096 };

static const char *get_set(fg_hub_environment *get, const char *name) {
  const char *value = get(name);
  return value && value[0] ? value : NULL;
}

static bool is_true(const char *value) {
  static const char *const words[] = {"1", "ON", "YES", "TRUE"};
  for (size_t i = 0; value && i < sizeof words / sizeof *words; i++)
    if (strcasecmp(words[i], value) == 0) return true;
  return false;
}

// ---- folders --------------------------------------------------------------------------------------------

// `path` with a leading "~" as the home folder, and `more` behind it.
static fg_status expand(char out[PATH_MAX], const char *path, const char *more, fg_hub_environment *get,
                        fg_error *err) {
  const char *home = "";
  if (path[0] == '~' && (path[1] == '/' || path[1] == 0)) {
    home = get_set(get, "HOME");
    if (!home) return fg_fail(err, FG_INVALID, "HOME says nothing, so '%.100s' is no folder", path);
    path++;
  }
  int length = snprintf(out, PATH_MAX, "%s%s%s", home, path, more);
  if (length < 0 || length >= PATH_MAX) return fg_fail(err, FG_INVALID, "%.100s...: path too long", path);
  return FG_OK;
}

// HF_HOME, with `more` behind it.
static fg_status home_of_hub(char out[PATH_MAX], const char *more, fg_hub_environment *get, fg_error *err) {
  const char *home = get_set(get, "HF_HOME"), *cache = get_set(get, "XDG_CACHE_HOME");
  char path[PATH_MAX];
  if (home) return expand(out, home, more, get, err);
  fg_status status = expand(path, cache ? cache : "~/.cache", "/huggingface", get, err);
  return status ? status : expand(out, path, more, get, err);
}

fg_status fg_hub_cache_folder(char out[PATH_MAX], fg_hub_environment *get, fg_error *err) {
  const char *cache = get_set(get, "HF_HUB_CACHE");
  if (!cache) cache = get_set(get, "HUGGINGFACE_HUB_CACHE"); // its older name
  return cache ? expand(out, cache, "", get, err) : home_of_hub(out, "/hub", get, err);
}

// ---- the token ------------------------------------------------------------------------------------------

// White space around it goes; what could end a header's line is refused, without being shown.
static fg_status set_token(fg_hub_settings *out, const char *text, const char *where, fg_error *err) {
  text += strspn(text, " \t\r\n");
  size_t length = strlen(text);
  while (length > 0 && strchr(" \t\r\n", text[length - 1])) length--;
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7f)
      return fg_fail(err, FG_INVALID, "%s holds no token: there is a character in it that tokens do not have",
                     where);
  if (length >= sizeof out->token)
    return fg_fail(err, FG_INVALID, "%s holds no token: it is too long", where);
  memcpy(out->token, text, length);
  out->token[length] = 0;
  return FG_OK;
}

static fg_status read_token_file(fg_hub_settings *out, fg_hub_environment *get, fg_error *err) {
  char path[PATH_MAX];
  void *text = NULL;
  size_t bytes;
  const char *named = get_set(get, "HF_TOKEN_PATH");
  fg_status status = named ? expand(path, named, "", get, err) : home_of_hub(path, "/token", get, err);
  if (status != FG_OK) return status;
  status = fg_read_whole(path, MAX_TOKEN_FILE, &text, &bytes, err);
  if (status == FG_NOT_FOUND) return FG_OK;
  if (status == FG_OK) status = set_token(out, text, path, err);
  free(text);
  return status;
}

static fg_status find_token(fg_hub_settings *out, fg_hub_environment *get, fg_error *err) {
  static const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
  out->token[0] = 0;
  if (is_true(get("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return FG_OK;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *value = get_set(get, names[i]);
    if (value) return set_token(out, value, names[i], err);
  }
  return read_token_file(out, get, err);
}

// ---- the rest -------------------------------------------------------------------------------------------

static fg_status find_endpoint(fg_hub_settings *out, fg_hub_environment *get, fg_error *err) {
  const char *url = get_set(get, "HF_ENDPOINT");
  if (!url) url = default_endpoint;
  size_t length = strlen(url);
  while (length > 0 && url[length - 1] == '/') length--;
  bool web = strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0;
  if (!web || length >= sizeof out->endpoint || strcspn(url, " ?#") < length)
    return fg_fail(err, FG_INVALID, "HF_ENDPOINT is '%.100s'; a URL such as %s is wanted", url,
                   default_endpoint);
  memcpy(out->endpoint, url, length);
  out->endpoint[length] = 0;
  return FG_OK;
}

static fg_status find_stall(fg_hub_settings *out, fg_hub_environment *get, fg_error *err) {
  const char *value = get_set(get, "HF_HUB_DOWNLOAD_TIMEOUT");
  out->stall_s = DEFAULT_STALL_S;
  if (!value) return FG_OK;
  char *end;
  errno = 0;
  unsigned long seconds = strtoul(value, &end, 10);
  if (errno || *end || value[0] == '-' || seconds < 1 || seconds > 86400)
    return fg_fail(err, FG_INVALID, "HF_HUB_DOWNLOAD_TIMEOUT is '%.40s'; seconds from 1 to 86400 are wanted",
                   value);
  out->stall_s = (unsigned)seconds;
  return FG_OK;
}

fg_status fg_hub_settings_read(fg_hub_settings *out, fg_hub_environment *get, fg_error *err) {
  out->offline = is_true(get("HF_HUB_OFFLINE")) || is_true(get("TRANSFORMERS_OFFLINE"));
  fg_status status = find_endpoint(out, get, err);
  if (status == FG_OK) status = find_stall(out, get, err);
  if (status == FG_OK) status = fg_hub_cache_folder(out->cache, get, err);
  if (status == FG_OK) status = find_token(out, get, err);
  return status;
}
