// A Hub's list of files, changed as a JSON value, then as bytes. What is taken names files that stay below
// the snapshot and blobs that are hashes; choosing from it never breaks.
#include <stdlib.h>
#include <string.h>

#include "fuzz_json.h"
#include "hub/choose.h"

#define SHA1   "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
#define SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const char *const words[] = {
    "sha",
    "siblings",
    "rfilename",
    "size",
    "blobId",
    "lfs",
    "sha256",
    "pointerSize",
    "config.json",
    "..",
    "../up",
    "/etc/passwd",
    "a//b",
    "model.safetensors",
    "x.gguf",
    SHA1,
    SHA256,
    "model.safetensors.index.json",
    "a\\b",
    "a\nb",
    "pytorch_model.bin",
    NULL,
};

static void add_file(json_t *files, const char *name, uint64_t bytes, const char *sha256) {
  json_t *file = json_pack("{s:s,s:I,s:s}", "rfilename", name, "size", (json_int_t)bytes, "blobId", SHA1);
  if (sha256)
    json_object_set_new(
        file, "lfs",
        json_pack("{s:s,s:I,s:i}", "sha256", sha256, "size", (json_int_t)bytes, "pointerSize", 134));
  json_array_append_new(files, file);
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  static const char *const names[] = {
      "README.md",   "config.json", "model-1-of-2.safetensors",    "model-2-of-2.safetensors",
      "onnx/a.onnx", "q4.gguf",     "model.safetensors.index.json"};
  json_t *root = json_pack("{s:s,s:s,s:b}", "id", "org/name", "sha", SHA1, "private", 0);
  json_t *files = json_array();
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (fuzz_chance(r, 80)) add_file(files, names[i], fuzz_number(r, 1u << 20) >> 1, i % 2 ? SHA256 : NULL);
  json_object_set_new(root, "siblings", files);
  for (uint64_t n = fuzz_below(r, 4); n > 0; n--) fuzz_json_mutate(r, root, words);
  fuzz_json_put(out, root);
  json_decref(root);
  if (fuzz_chance(r, 10)) fuzz_noise(r, out);
}

static void check(const fg_hub_listing *listing) {
  if (!fg_hub_is_commit(listing->commit)) fuzz_broken("commit %s", listing->commit);
  for (size_t i = 0; i < listing->count; i++) {
    const fg_hub_file *file = &listing->files[i];
    if (!fg_hub_path_is_safe(file->path)) fuzz_broken("path %s", file->path);
    if (i && strcmp(listing->files[i - 1].path, file->path) >= 0)
      fuzz_broken("%s is out of order", file->path);
    if (file->etag && !fg_hub_is_hex(file->etag, 40) && !fg_hub_is_hex(file->etag, 64))
      fuzz_broken("blob %s", file->etag);
  }
}

static void choose(fg_hub_listing *listing) {
  char *patterns[] = {"*.gguf"};
  const fg_hub_wish wishes[] = {
      {.exclude = {NULL, 0}}, {.include = {{patterns, 1}}}, {.exclude = {patterns, 1}}};
  for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
    fg_error err = {0};
    fg_status status = fg_hub_choose(listing, &wishes[i], "org/name", &err);
    size_t chosen = 0;
    for (size_t k = 0; k < listing->count; k++) chosen += listing->files[k].chosen;
    if (status == FG_OK ? chosen == 0 : err.message[0] == 0)
      fuzz_broken("%zu chosen, %s", chosen, err.message);
  }
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  fg_hub_listing listing;
  fg_error err = {0};
  char *text = malloc(input->count + 1);
  (void)path;
  if (!text) fuzz_broken("no memory");
  if (input->count) memcpy(text, input->data, input->count);
  fg_status status = fg_hub_listing_read(&listing, text, input->count, "list", &err);
  if (status != FG_OK) {
    if (err.message[0] == 0) fuzz_broken("refused without a reason");
    return strstr(err.message, "invalid JSON") || strstr(err.message, "no answer of a Hub")
               ? FUZZ_REFUSED
               : FUZZ_PAST_HEADER;
  }
  check(&listing);
  choose(&listing);
  fg_hub_listing_free(&listing);
  return FUZZ_ACCEPTED;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {
      .name = "hub_listing", .file_name = "list.json", .make = make, .run = run};
  return fuzz_main(argc, argv, &target);
}
