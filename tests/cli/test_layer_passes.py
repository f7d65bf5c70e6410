"""Rows that are only scored, or get one token, run in layer passes where the model does not fit: with the same results,
within the promised memory, reading the weights a few times. Rows that a pass cannot take are answered all the same."""
import json
import os
import random

import harness
import wide_model
from harness import Case, read_rows, row, write_rows

# 32 layers of 2 MiB.
SHAPE = {"hidden": 256, "layers": 32, "heads": 4, "dim": 64, "ffn": 1024, "vocab": 256}
BUDGET = 60 << 20
FORCED = {"micro_batch_tokens": 64, "max_num_batched_tokens": 200}


class LayerPasses(Case):
    def batch(self, name, model, *options):
        """The choices of every row, the figures, and what was said."""
        done = self.succeed("batch", model, "-i", self.path("in.jsonl"), "-o", self.path(name), "--offload-dir",
                            self.path("stores"), "--deterministic-ids", "-v", "--stats", self.path("stats.json"),
                            "--dtype", "f32", "--overwrite", *options)
        with open(self.path("stats.json")) as file:
            figures = json.load(file)
        return [r["response"]["body"]["choices"] for r in read_rows(self.path(name))], figures, done.stderr.decode()

    def policy(self, **wishes):
        with open(self.path("policy.json"), "w") as file:
            json.dump(wishes, file)
        return "--policy", self.path("policy.json")

    def rows(self, count, longest, vocab, **body):
        draw = random.Random(3)
        for i in range(count):
            prompt = [draw.randrange(3, vocab) for _ in range(draw.randrange(longest // 2, longest))]
            yield row(f"r{i}", prompt=prompt, **{"temperature": 0, "return_tokens_as_token_ids": True, **body})

    def test_model_larger_than_memory_is_read_once_a_pass(self):
        model = wide_model.write(self.path("deep"), **SHAPE)
        scored = list(self.rows(40, 60, 256, max_tokens=0, echo=True, logprobs=3))
        one = [{**r, "custom_id": r["custom_id"] + "-one",
                "body": {**r["body"], "prompt": r["body"]["prompt"][::-1], "max_tokens": 1, "echo": False}} for r in scored]
        write_rows(self.path("in.jsonl"), scored + one)
        free, figures, _ = self.batch("free.jsonl", model)
        self.assertEqual(figures["policy"]["micro_batch_tokens"], 0)
        capped, figures, said = self.batch("capped.jsonl", model, "--host-memory", BUDGET)
        self.assertEqual(capped, free)
        self.assertGreater(figures["policy"]["micro_batch_tokens"], 0)
        self.assertIn("layer passes", said)
        self.assertLess(figures["policy"]["resident_share"], 0.8)
        self.check_passes(model, figures)
        # Fewer tokens a pass, more passes; twenty rows of about 45 tokens fill one.
        small, figures, _ = self.batch("small.jsonl", model, "--host-memory", BUDGET,
                                       *self.policy(micro_batch_tokens=256, max_num_batched_tokens=900))
        self.assertEqual(small, free)
        self.assertGreater(figures["tokens"]["steps"], 2)
        self.check_passes(model, figures)

    def check_passes(self, model, figures):
        """Weights are read once a pass, and there are no more of these than it takes; memory is what was promised."""
        policy, tokens, disk = figures["policy"], figures["tokens"], figures["tiers"]["disk"]
        # Whole rows leave a step short of its tokens by less than the longest of them.
        self.assertLessEqual(tokens["steps"], -(-tokens["prompt"] // (policy["max_num_batched_tokens"] - 60)))
        weights = os.path.getsize(os.path.join(model, "model.safetensors"))
        self.assertLessEqual(disk["weight_bytes_streamed"],
                             tokens["steps"] * (1 - policy["resident_share"]) * 1.1 * weights + policy["ring_bytes"])
        peak = figures["tiers"]["host"]["process_peak_bytes"]
        self.assertLessEqual(peak, BUDGET)
        print(f"{tokens['steps']} passes, {disk['weight_bytes_streamed'] >> 20} MiB of weights read, of {weights >> 20} MiB "
              f"{100 * policy['resident_share']:.0f} % resident, peak {peak >> 20} MiB")

    def test_plan_says_so_and_its_policy_can_be_given_back(self):
        model = wide_model.write(self.path("deep"), **SHAPE)
        write_rows(self.path("in.jsonl"), self.rows(60, 60, 256, max_tokens=1))
        ask = ("plan", model, "-i", self.path("in.jsonl"), "--host-memory", BUDGET, "--offload-dir", self.path("stores"),
               "--dtype", "f32")
        self.assertIn("is a layer pass over", self.succeed(*ask, "--quiet").stdout.decode())
        self.succeed(*ask, "--save-policy", self.path("saved.json"), "--quiet")
        with open(self.path("saved.json")) as file:
            saved = json.load(file)
        self.assertGreater(saved["micro_batch_tokens"], 0)
        _, figures, _ = self.batch("out.jsonl", model, "--host-memory", BUDGET, "--policy", self.path("saved.json"))
        for name in ("micro_batch_tokens", "max_num_batched_tokens", "max_num_seqs", "hidden_memory_tokens"):
            self.assertEqual(figures["policy"][name], saved[name], name)

    def test_what_has_no_room_in_memory_comes_from_disk(self):
        write_rows(self.path("in.jsonl"), self.rows(30, 60, 333, max_tokens=1, echo=True, logprobs=2))
        memory, figures, _ = self.batch("memory.jsonl", harness.MODEL)
        self.assertEqual(figures["tiers"]["disk"]["hidden_bytes_read"], 0)
        for wishes in (FORCED, {**FORCED, "hidden_memory_tokens": 70}, {**FORCED, "hidden_memory_tokens": 1}):
            there, figures, _ = self.batch("there.jsonl", harness.MODEL, *self.policy(**wishes))
            self.assertEqual(there, memory, wishes)
            self.assertEqual(figures["policy"]["micro_batch_tokens"], 64)
            spilled = figures["tiers"]["disk"]["hidden_bytes_written"]
            (self.assertGreater if "hidden_memory_tokens" in wishes else self.assertEqual)(spilled, 0)

    def drawn_rows(self):
        kinds = ({"temperature": 0.9, "seed": 4, "logprobs": 3}, {"temperature": 1.3, "top_p": 0.7, "top_k": 40},
                 {"logit_bias": {"7": 2}, "logprobs": 0}, {"temperature": 0.7, "min_p": 0.01, "presence_penalty": 1},
                 {"temperature": 0.8, "echo": True, "logprobs": 2}, {})
        for i, r in enumerate(self.rows(48, 30, 333, max_tokens=1)):
            yield {**r, "body": {**r["body"], **kinds[i % len(kinds)]}}

    # Their logits are kept whole; what is drawn is what ordinary steps draw.
    def test_one_token_that_is_drawn_comes_from_a_pass_too(self):
        write_rows(self.path("in.jsonl"), self.drawn_rows())
        for options in ((), ("--device", "fake", "--device-memory", "64M")):
            expected, figures, _ = self.batch("memory.jsonl", harness.MODEL, *options)
            self.assertEqual(figures["policy"]["micro_batch_tokens"], 0)
            there, figures, said = self.batch("there.jsonl", harness.MODEL, *self.policy(**FORCED), *options)
            self.assertEqual(there, expected, options)
            self.assertEqual(figures["policy"]["micro_batch_tokens"], 64)
            self.assertNotIn("a layer pass cannot take", said)

    # Nobody could look at what comes through a pipe: a pass takes as many of these rows as it has room for.
    def test_more_rows_that_are_drawn_than_were_expected_make_shorter_passes(self):
        write_rows(self.path("in.jsonl"), self.drawn_rows())
        expected, _, _ = self.batch("memory.jsonl", harness.MODEL)
        with open(self.path("in.jsonl"), "rb") as file:
            rows = file.read()
        for options, most in ((("--speculation", "false"), 8), ((), 64)):
            self.succeed("batch", harness.MODEL, "-i", "-", "--max-num-seqs", 64, "-o", self.path("there.jsonl"), "--offload-dir",
                         self.path("stores"), "--deterministic-ids", "--dtype", "f32", "--overwrite", "--stats",
                         self.path("stats.json"), *self.policy(micro_batch_tokens=64, max_num_batched_tokens=2000),
                         *options, stdin=rows)
            there = [r["response"]["body"]["choices"] for r in read_rows(self.path("there.jsonl"))]
            self.assertEqual(there, expected)
            with open(self.path("stats.json")) as file:
                figures = json.load(file)
            self.assertEqual(figures["policy"]["micro_batch_tokens"], 64)
            drawn = 48 - 48 // 6
            self.assertGreaterEqual(figures["tokens"]["steps"], -(-drawn // most))
            (self.assertGreater if most < drawn else self.assertLess)(figures["tokens"]["steps"], 4, options)

    # Each of these ends the passes; nobody loses a row.
    def test_rows_that_a_pass_cannot_take_are_answered_by_ordinary_steps(self):
        beyond = {"more tokens": {"max_tokens": 7}, "many candidates": {"max_tokens": 1, "logprobs": 20}}
        for what, body in beyond.items():
            scored = list(self.rows(12, 60, 333, max_tokens=0, echo=True, logprobs=2))
            other = next(self.rows(1, 60, 333, **body))
            write_rows(self.path("in.jsonl"), [*scored, {**other, "custom_id": "other"}])
            expected, _, _ = self.batch("memory.jsonl", harness.MODEL)
            there, figures, said = self.batch("there.jsonl", harness.MODEL, *self.policy(**FORCED), "--max-num-seqs", 2)
            self.assertEqual(there, expected, what)
            self.assertIn("a layer pass cannot take", said, what)
            self.assertEqual(figures["policy"]["micro_batch_tokens"], 0, what)
            # The others had begun in passes: of up to two rows, a few were ready.
            self.assertGreater(figures["tokens"]["steps"], 6, what)

    def test_row_longer_than_a_batch_is_answered_too(self):
        rows = [*self.rows(6, 50, 333, max_tokens=0, echo=True, logprobs=2)]
        rows.append(row("long", prompt=[3 + i % 300 for i in range(150)], max_tokens=0, echo=True, logprobs=2, temperature=0,
                        return_tokens_as_token_ids=True))
        write_rows(self.path("in.jsonl"), rows)
        expected, _, _ = self.batch("memory.jsonl", harness.MODEL)
        there, figures, _ = self.batch("there.jsonl", harness.MODEL, *self.policy(**FORCED))
        self.assertEqual(there, expected)
        self.assertEqual(figures["policy"]["micro_batch_tokens"], 0)

    def test_wish_for_passes_and_for_shares_is_refused(self):
        write_rows(self.path("in.jsonl"), self.rows(2, 20, 333, max_tokens=0, echo=True))
        done = harness.run("batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"), *self.policy(**FORCED),
                           "--percent", 100, 0, 100, 0, 100, 0)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"--percent", done.stderr)


if __name__ == "__main__":
    harness.main()
