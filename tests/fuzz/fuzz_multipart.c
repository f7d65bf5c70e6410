// Forms of uploads, changed as bytes. However it comes, in one piece or in many, a form is read alike: the
// same parts, the same data, or refused. Parts do not nest, and no more data comes out than went in.
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "fuzz_driver.h"
#include "serve/multipart.h"

static const char type[] = "multipart/form-data; boundary=b--b";

static void make(fuzz_random *r, fuzz_bytes *out) {
  static const char *const heads[] = {"name=\"purpose\"", "name=file; filename=\"in.jsonl\"",
                                      "name=\"a\\\"b\"; filename=\"\"", "filename=x; name=\"y\"; z=\"q;r\""};
  static const char *const datas[] = {
      "batch", "", "\r\n--b--", "\r\r\n--b--b", "{\"custom_id\":\"1\"}\n\r\n", "--b--b--"};
  const char *next_line[] = {"\r\n", "\r\n", "\r\n", "\n"};
  if (fuzz_chance(r, 10)) fuzz_put_text(out, "preamble\r\n");
  for (uint64_t parts = fuzz_below(r, 4); parts > 0; parts--) {
    const char *line = next_line[fuzz_below(r, 4)];
    fuzz_put_format(out, "--b--b%sContent-Disposition: form-data; %s%s", line, heads[fuzz_below(r, 4)], line);
    if (fuzz_chance(r, 30)) fuzz_put_format(out, "Content-Type: text/plain%s", line);
    fuzz_put_format(out, "%s%s\r\n", line, datas[fuzz_below(r, 6)]);
  }
  fuzz_put_text(out, "--b--b--");
  for (uint64_t n = fuzz_below(r, 3); n > 0; n--) fuzz_noise(r, out);
}

typedef struct account {
  uint64_t hash, parts, bytes;
  bool open;
} account;

static bool begin(void *user, const fg_multipart_part *part) {
  account *a = user;
  if (a->open) fuzz_broken("a part began in another one");
  a->open = true;
  a->parts++;
  a->hash = fg_hash_more(a->hash, part->name, strlen(part->name) + 1);
  if (part->filename) a->hash = fg_hash_more(a->hash, part->filename, strlen(part->filename) + 1);
  return true;
}

static bool data(void *user, const char *bytes, size_t count) {
  account *a = user;
  if (!a->open || count == 0) fuzz_broken("%zu bytes outside of a part, or none", count);
  for (size_t i = 0; i < count; i++) a->hash = fg_hash_more(a->hash, bytes + i, 1);
  a->bytes += count;
  return true;
}

static bool end(void *user) {
  account *a = user;
  if (!a->open) fuzz_broken("a part ended that had not begun");
  a->open = false;
  a->hash = fg_hash_more(a->hash, "", 1);
  return true;
}

static fg_status read_form(account *a, const fuzz_bytes *input, size_t piece) {
  const fg_multipart_sink sink = {begin, data, end, a};
  fg_multipart *form;
  fg_error err = {FG_OK, ""};
  *a = (account){0};
  if (fg_multipart_create(&form, type, &sink, &err) != FG_OK) fuzz_broken("%s", err.message);
  fg_status status = FG_OK;
  for (size_t at = 0; at < input->count && status == FG_OK; at += piece) {
    // Of its own size, so that what is read behind its end is seen.
    const size_t count = input->count - at < piece ? input->count - at : piece;
    char *copy = malloc(count);
    if (!copy) fuzz_broken("no memory");
    memcpy(copy, input->data + at, count);
    status = fg_multipart_feed(form, copy, count, &err);
    free(copy);
  }
  if (status == FG_OK) status = fg_multipart_finish(form, &err);
  if (status != FG_OK && err.message[0] == 0) fuzz_broken("refused without a reason");
  if (status == FG_OK && a->open) fuzz_broken("the form ended, a part did not");
  fg_multipart_destroy(form);
  return status;
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  static const size_t pieces[] = {1, 2, 3, 7, 64};
  account whole, other;
  (void)path;
  const fg_status status = read_form(&whole, input, input->count + 1);
  if (whole.bytes > input->count) fuzz_broken("more data than went in");
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
    if (read_form(&other, input, pieces[i]) != status || other.hash != whole.hash ||
        other.parts != whole.parts)
      fuzz_broken("pieces of %zu bytes make another form", pieces[i]);
  return status == FG_OK ? FUZZ_ACCEPTED : whole.parts ? FUZZ_PAST_HEADER : FUZZ_REFUSED;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {.name = "multipart", .file_name = "form", .make = make, .run = run};
  return fuzz_main(argc, argv, &target);
}
