"""Experts that do not all fit into memory: what is read from disk is what the steps' tokens use."""
import json
import os

import harness
from harness import Case, read_rows, row, write_rows

MODEL = os.path.join(harness.ORACLE, "models", "olmoe")
LAYERS, EXPERTS, USED = 2, 17, 5
STEPS = 40
SOME = 40  # per cent: all matrices but those of experts stay, and some of these


class Experts(Case):
    def stream(self, share, steps=STEPS):
        """The tokens of one sequence, and the bytes of weights that its steps have read."""
        write_rows(self.path("in.jsonl"), [row("a", prompt=[7], max_tokens=steps, temperature=0, ignore_eos=True,
                                               return_token_ids=True)])
        self.succeed("batch", MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"), "--overwrite",
                     "--offload-dir", self.path("stores"), "--stats", self.path("stats.json"), "--dtype", "f32",
                     "--percent", 0, share, 0, 100, 0, 100,
                     "--speculation", "false")  # a token a step
        with open(self.path("stats.json")) as file:
            stats = json.load(file)
        self.assertEqual(stats["tokens"]["steps"], steps)
        tokens = read_rows(self.path("out.jsonl"))[0]["response"]["body"]["choices"][0]["token_ids"]
        self.experts = stats["experts"]
        return tokens, stats["tiers"]["disk"]["weight_bytes_streamed"]

    def unit(self):
        """Bytes of an expert, as the first step of all, which knows none, has read those that it uses."""
        size, rest = divmod(self.stream(SOME, steps=1)[1], LAYERS * USED)
        self.assertGreater(size, 0)
        self.assertEqual(rest, 0)  # and nothing else
        return size

    def test_only_experts_that_are_used_are_read(self):
        # With room for two experts nearly all that a step uses are read again, and all other matrices too.
        tokens, streamed = self.stream(0)
        others = self.stream(0, steps=1)[1] - LAYERS * USED * self.unit()
        # A tenth of the experts may be read ahead in vain.
        self.assertLessEqual(streamed, STEPS * (LAYERS * USED * self.unit() * 11 // 10 + others))
        self.assertLess(streamed, STEPS * LAYERS * EXPERTS * self.unit() * 3 // 5)
        self.assertEqual(tokens, self.stream(100)[0])

    def test_what_is_read_was_not_there_or_guessed_wrong(self):
        unit = self.unit()
        for share in (0, 30, SOME):
            streamed = self.stream(share)[1]
            e = self.experts
            self.assertEqual(e["used"], STEPS * LAYERS * USED)
            self.assertEqual(e["absent_bytes"], (e["used"] - e["hits"]) * unit)
            self.assertEqual(e["read_bytes"], e["absent_bytes"] + e["wrong_bytes"] + e["open_bytes"])
            self.assertLessEqual(10 * e["wrong_bytes"], e["absent_bytes"])
            self.assertLessEqual(e["wrong_bytes"] + e["open_bytes"], e["ahead_bytes"])
            self.assertLessEqual(e["read_bytes"], streamed)
        self.assertEqual(e["read_bytes"], streamed)  # all but experts has stayed
        self.assertGreater(e["hits"], 0)
        self.stream(100)
        self.assertEqual(set(self.experts.values()), {0})

    def test_experts_that_fit_are_read_once(self):
        tokens, streamed = self.stream(SOME)
        self.assertLessEqual(streamed, LAYERS * EXPERTS * self.unit())
        self.assertEqual(streamed % self.unit(), 0)
        self.assertEqual(self.stream(100), (tokens, 0))


if __name__ == "__main__":
    harness.main()
