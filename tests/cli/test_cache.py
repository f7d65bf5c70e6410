"""How keys and values are held: --cache-dtype, and FlexGen's --compress-cache."""
import json
import os

import harness
from harness import Case, read_rows, row, write_rows

MODEL = os.path.join(harness.ORACLE, "models", "gguf-llama-mixed.gguf")
# Options, what the statistics call it, and how far log-probabilities may be from those of a float32 cache in the mean.
CACHES = [(["--cache-dtype", "bf16"], "bf16", 0.05),
          (["--cache-dtype", "int8"], "i8g64m", 0.05),
          (["--cache-dtype", "int4"], "i4g64m, rotated", 0.5),
          (["--cache-dtype", "flexgen"], "i4g64m", 0.5),
          (["--compress-cache"], "i4g64m", 0.5)]


class Cache(Case):
    def logprobs(self, *options):
        write_rows(self.path("in.jsonl"), [row("a", prompt=list(range(5, 45)), max_tokens=0, echo=True, logprobs=1)])
        self.succeed("batch", MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out"), "--overwrite", "--dtype", "f32",
                     "--stats", self.path("stats.json"), *options)
        with open(self.path("stats.json")) as file:
            name = json.load(file)["model"]["cache_dtype"]
        return read_rows(self.path("out"))[0]["response"]["body"]["choices"][0]["logprobs"]["token_logprobs"][1:], name

    def test_results_stay_near_those_of_float32(self):
        own, name = self.logprobs()
        self.assertEqual(name, "f32")
        found = {}
        for options, name, allowed in CACHES:
            got, held = self.logprobs(*options)
            self.assertEqual(held, name)
            mean = sum(abs(a - b) for a, b in zip(got, own)) / len(own)
            self.assertGreater(mean, 0, options)
            self.assertLess(mean, allowed, options)
            found.setdefault(name, []).append(got)
        self.assertEqual(*found["i4g64m"])  # two words for one form
        self.assertNotEqual(found["i4g64m"][0], found["i4g64m, rotated"][0])

    def test_words_that_do_not_go_together_are_usage_errors(self):
        for word in ("int4", "bf16"):
            said = self.fail_with(2, "bench", MODEL, "--compress-cache", "--cache-dtype", word)
            self.assertIn("--compress-cache means FlexGen's 4 bits", said)
        self.succeed("bench", MODEL, "--compress-cache", "--cache-dtype", "flexgen", "--prompt-len", 8, "--gen-len", 2,
                     "--num-prompts", 1)


if __name__ == "__main__":
    harness.main()
