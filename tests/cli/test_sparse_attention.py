"""Sparse attention: --attn-sparsity, FlexGen's share of the values that generated tokens read."""
import json
import os

import harness
from harness import Case, read_rows, row, write_rows

LATENT = os.path.join(harness.ORACLE, "models", "deepseek-v2-lite")


class SparseAttention(Case):
    def choices(self, name, *options):
        prompt = harness.golden()["prompts"][2]["ids"]
        write_rows(self.path("in.jsonl"), [row("a", prompt=prompt, max_tokens=30, temperature=0, ignore_eos=True,
                                               return_token_ids=True, echo=True, logprobs=1)])
        self.succeed("batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path(name), "--dtype", "f32",
                     "--stats", self.path("stats.json"), "--speculation", "false",  # a token a step
                     *options)
        with open(self.path("stats.json")) as file:
            stats = json.load(file)["sparse_attention"]
        return read_rows(self.path(name))[0]["response"]["body"]["choices"][0], stats

    def test_a_share_of_one_is_all(self):
        dense, none = self.choices("dense")
        self.assertEqual(none, {"value_bytes": 0, "spared_bytes": 0})
        self.assertEqual(self.choices("one", "--attn-sparsity", "1"), (dense, none))

    def test_prompts_are_dense_and_answers_sparse(self):
        dense, _ = self.choices("dense")
        for cache in ("f32", "f16"):
            sparse, stats = self.choices("sparse-" + cache, "--attn-sparsity", "0.1", "--cache-dtype", cache)
            if cache == "f32":
                prompt = len(harness.golden()["prompts"][2]["ids"])
                ours, theirs = (c["logprobs"]["token_logprobs"] for c in (sparse, dense))
                self.assertEqual(ours[:prompt + 1], theirs[:prompt + 1])
                self.assertNotEqual(ours[prompt + 1:], theirs[prompt + 1:])
            # 29 tokens of 3 layers and 2 heads of 8 values see 41 to 69 rows; 3 query heads choose a tenth each.
            self.assertEqual(stats["value_bytes"], sum(range(41, 70)) * 3 * 2 * 8 * (4 if cache == "f32" else 2))
            self.assertGreater(stats["spared_bytes"], 0.6 * stats["value_bytes"])
            self.assertLess(stats["spared_bytes"], 0.95 * stats["value_bytes"])

    def test_the_end_says_what_was_spared(self):
        done = self.succeed("bench", harness.MODEL, "--prompt-len", 40, "--gen-len", 8, "--num-prompts", 2,
                            "--attn-sparsity", "0.25")
        self.assertRegex(done.stderr.decode(), r"sparse attention: \S+ \S+ of \S+ \S+ of values not read")

    def test_a_job_with_another_share_is_another_job(self):
        self.choices("out")
        again = harness.run("batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out"), "--dtype",
                            "f32", "--attn-sparsity", "0.5")
        self.assertEqual(again.returncode, 1, again.stderr)
        self.assertIn(b"--overwrite", again.stderr)

    def test_shares_that_are_none_are_usage_errors(self):
        for share in ("0", "-0.1", "1.01", "nan", "inf", "a tenth", ""):
            done = harness.run("generate", harness.MODEL, "-p", "x", f"--attn-sparsity={share}")
            self.assertEqual(done.returncode, 2, (share, done.stderr))
            self.assertIn(b"--attn-sparsity needs a number above 0, at most 1", done.stderr, share)

    def test_where_nothing_would_be_spared_it_is_refused(self):
        latent = harness.run("bench", LATENT, "--attn-sparsity", "0.1", "--num-prompts", 1)
        self.assertEqual(latent.returncode, 1)
        self.assertIn(b"values are part of its keys", latent.stderr)
        on_disk = harness.run("bench", harness.MODEL, "--attn-sparsity", "0.1", "--num-prompts", 1, "--percent", 100, 0,
                              50, 0, 100, 0)
        self.assertEqual(on_disk.returncode, 1)
        self.assertIn(b"KV cache on disk", on_disk.stderr)


if __name__ == "__main__":
    harness.main()
