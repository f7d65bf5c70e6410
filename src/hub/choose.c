#include "hub/choose.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "format/assets.h"

// The forms that weights come in, best first: the first one of which all patterns have a file is taken.
enum { PATTERNS_OF_FORM = 2 };
static const char *const forms[][PATTERNS_OF_FORM] = {
    {"model.safetensors"},
    {"model.safetensors.index.json", "model*-of-*.safetensors"},
    {"pytorch_model.bin"},
    {"pytorch_model.bin.index.json", "pytorch_model*-of-*.bin"},
    {"adapter_config.json", "adapter_model.safetensors"},
    {"adapter_config.json", "adapter_model.bin"},
};
enum { FORMS = sizeof forms / sizeof *forms };

// ---- patterns -------------------------------------------------------------------------------------------

static bool matches(const char *pattern, const char *path) {
  size_t length = strlen(pattern);
  if (length > 0 && pattern[length - 1] == '/') return strncmp(pattern, path, length) == 0;
  return fnmatch(pattern, path, FNM_NOESCAPE) == 0;
}

static bool matches_any(const fg_hub_patterns *patterns, const char *path) {
  for (size_t i = 0; i < patterns->count; i++)
    if (matches(patterns->items[i], path)) return true;
  return false;
}

// Files without a folder only.
static size_t choose_pattern(fg_hub_listing *listing, const char *pattern, bool choose) {
  size_t count = 0;
  for (size_t i = 0; i < listing->count; i++) {
    fg_hub_file *file = &listing->files[i];
    if (fnmatch(pattern, file->path, FNM_PATHNAME) != 0) continue;
    if (choose) file->chosen = true;
    count++;
  }
  return count;
}

// ---- messages -------------------------------------------------------------------------------------------

// "a.gguf (1.2 GiB), b.gguf (4 GiB) and 3 more": files that end in `suffix`, as many as fit into a message.
static void name_files(const fg_hub_listing *listing, const char *suffix, char *out, size_t bytes) {
  enum { ROOM_FOR_MORE = 24 };
  size_t used = 0, named = 0, left = 0;
  out[0] = 0;
  for (size_t i = 0; i < listing->count; i++) {
    const fg_hub_file *file = &listing->files[i];
    size_t length = strlen(file->path), tail = strlen(suffix);
    if (length < tail || strcmp(file->path + length - tail, suffix) != 0) continue;
    char entry[320], size[16] = "?";
    if (file->bytes != FG_HUB_UNKNOWN_SIZE) fg_size_format(file->bytes, size);
    int n = snprintf(entry, sizeof entry, "%s%.280s (%s)", named ? ", " : "", file->path, size);
    if (left || used + (size_t)n + ROOM_FOR_MORE > bytes) {
      left++;
      continue;
    }
    memcpy(out + used, entry, (size_t)n + 1);
    used += (size_t)n;
    named++;
  }
  if (left) snprintf(out + used, bytes - used, "%s%zu more", named ? " and " : "", left);
}

static fg_status no_weights(const fg_hub_listing *listing, const char *repo, fg_error *err) {
  char names[320];
  name_files(listing, ".gguf", names, sizeof names);
  if (names[0])
    return fg_fail(err, FG_NOT_FOUND, "%s is GGUF only; say which file: flexgen pull %s FILE, with one of %s",
                   repo, repo, names);
  name_files(listing, "", names, sizeof names);
  return fg_fail(
      err, FG_NOT_FOUND,
      "%s holds no weights that can be run (safetensors, pytorch_model.bin, GGUF), only %s; a pattern "
      "such as '*' takes them nevertheless",
      repo, names[0] ? names : "nothing");
}

// ---- choosing -------------------------------------------------------------------------------------------

static bool choose_form(fg_hub_listing *listing, const char *const *patterns) {
  for (size_t p = 0; p < PATTERNS_OF_FORM && patterns[p]; p++)
    if (choose_pattern(listing, patterns[p], false) == 0) return false;
  for (size_t p = 0; p < PATTERNS_OF_FORM && patterns[p]; p++) choose_pattern(listing, patterns[p], true);
  return true;
}

static fg_status choose_default(fg_hub_listing *listing, const char *repo, fg_error *err) {
  size_t form = 0;
  while (form < FORMS && !choose_form(listing, forms[form])) form++;
  if (form == FORMS) return no_weights(listing, repo, err);
  const char *name;
  for (size_t i = 0; (name = fg_assets_name(i)); i++) choose_pattern(listing, name, true);
  return FG_OK;
}

// Each pattern must mean something: a mistyped one is not passed over.
static fg_status choose_named(fg_hub_listing *listing, const fg_hub_patterns *patterns, const char *repo,
                              fg_error *err) {
  for (size_t p = 0; p < patterns->count; p++) {
    size_t count = 0;
    for (size_t i = 0; i < listing->count; i++) {
      if (!matches(patterns->items[p], listing->files[i].path)) continue;
      listing->files[i].chosen = true;
      count++;
    }
    if (count) continue;
    char names[320];
    name_files(listing, "", names, sizeof names);
    return fg_fail(err, FG_NOT_FOUND, "%s has no file '%.80s'; it has %s", repo, patterns->items[p],
                   names[0] ? names : "none");
  }
  return FG_OK;
}

fg_status fg_hub_choose(fg_hub_listing *listing, const fg_hub_wish *wish, const char *repo, fg_error *err) {
  fg_status status = FG_OK;
  for (size_t i = 0; i < listing->count; i++) listing->files[i].chosen = false;
  if (wish->include[0].count + wish->include[1].count == 0) status = choose_default(listing, repo, err);
  for (size_t i = 0; status == FG_OK && i < 2; i++)
    status = choose_named(listing, &wish->include[i], repo, err);
  if (status != FG_OK) return status;
  size_t left = 0;
  for (size_t i = 0; i < listing->count; i++) {
    fg_hub_file *file = &listing->files[i];
    if (file->chosen && matches_any(&wish->exclude, file->path)) file->chosen = false;
    left += file->chosen;
  }
  return left ? FG_OK
              : fg_fail(err, FG_NOT_FOUND, "%s: nothing is left to download, --exclude takes all", repo);
}
