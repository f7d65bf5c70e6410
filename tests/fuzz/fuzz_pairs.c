// Pairs of records written as "COL name VAL value": refused with a reason that names the line, or read into
// prompts that are valid UTF-8.
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fuzz_driver.h"
#include "wrangle/samples.h"

static const char *const pieces[] = {
    "COL ", "VAL ",         " ",        "Beer_Name ", "Style ", "id ",  "a b", "7.60 %", "\xc3\xa9", "COL",
    " VAL", "\xe2\x80\x83", "COL COL ", "VAL VAL ",   "\t",     "\xe9", "-"};

static void put_side(fuzz_random *r, fuzz_bytes *out) {
  for (uint64_t i = fuzz_below(r, 5); i > 0; i--)
    fuzz_put_format(out, "COL %s VAL value %d ", fuzz_chance(r, 50) ? "Beer_Name" : "ABV",
                    (int)fuzz_below(r, 9));
  while (fuzz_chance(r, 10)) fuzz_put_text(out, pieces[fuzz_below(r, sizeof pieces / sizeof *pieces)]);
  if (fuzz_chance(r, 97)) fuzz_put_text(out, "COL Brew_Factory_Name VAL Bräu ");
}

static void make(fuzz_random *r, fuzz_bytes *out) {
  for (uint64_t i = 1 + fuzz_below(r, 8); i > 0; i--) {
    put_side(r, out);
    fuzz_put_text(out, "\t");
    put_side(r, out);
    fuzz_put_text(out, fuzz_chance(r, 98) ? "\t1\n" : "\n");
  }
  if (fuzz_chance(r, 30)) fuzz_noise(r, out);
}

static fuzz_outcome run(const char *path, const fuzz_bytes *input) {
  char folder[PATH_MAX];
  fg_samples samples;
  fg_error err = {0};
  const fg_row_style style = {.separator = ".", .missing = "nan"};
  snprintf(folder, sizeof folder, "%s", path);
  (void)input;
  if (fg_samples_load(&samples, fg_dataset_find("Beer"), dirname(folder), FG_SPLIT_TEST, &style, &err) !=
      FG_OK) {
    if (!strstr(err.message, ": line ")) fuzz_broken("refused without a line: %s", err.message);
    return strstr(err.message, "line 1:") ? FUZZ_REFUSED : FUZZ_PAST_HEADER;
  }
  for (size_t i = 0; i < samples.count; i++)
    if (!fg_utf8_valid(samples.items[i].text.data, samples.items[i].text.length))
      fuzz_broken("prompt %zu is no text", i);
  fg_samples_free(&samples);
  return FUZZ_ACCEPTED;
}

int main(int argc, char **argv) {
  static const fuzz_target target = {.name = "pairs", .file_name = "test.txt", .make = make, .run = run};
  return fuzz_main(argc, argv, &target);
}
