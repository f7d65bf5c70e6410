"""Tokens that a row's own text suggests, tried ahead: nobody can tell from the results. Drawn in any way, with any end,
arithmetic, attention and home of the cache; a number is fixed, so that no case depends on the time that steps take."""
import json
import os
import random

import harness
from harness import ALL_ON_DISK, ATTENTIONS, FAKE, MODELS, SHARED, Case, read_rows, row, write_rows

ALWAYS = ("--num-speculative-tokens", 7)
NEVER = ("--speculation", "false")
IDS = {"return_token_ids": True, "return_tokens_as_token_ids": True}


def prompts(count, vocab, seed=9):
    """Texts in which things come again, and some beginnings in common."""
    draw = random.Random(seed)
    instruction = [draw.randrange(3, vocab) for _ in range(40)]
    for i in range(count):
        phrase = [draw.randrange(3, vocab) for _ in range(draw.randrange(2, 9))]
        yield instruction * (i % 2) + phrase * draw.randrange(1, 6) + phrase[:draw.randrange(1, len(phrase))]


def rows(vocab=200, count=24, answer=90):
    """Every way to draw a token and to come to an end."""
    draws = [{"temperature": 0}, {"temperature": 0.2, "seed": 5}, {"temperature": 1, "top_k": 2},
             {"temperature": 0.4, "top_p": 0.8, "min_p": 0.01},
             {"temperature": 0, "presence_penalty": 0.1, "frequency_penalty": 0.02, "repetition_penalty": 1.01},
             {"temperature": 0.1, "logit_bias": {"7": 3.5, "9": 3.5}}, {"temperature": 0, "logprobs": 3},
             {"temperature": 0.3, "logprobs": 0, "n": 3}]
    ends = [{"ignore_eos": True}, {}, {"stop_token_ids": list(range(3, vocab, 9)), "min_tokens": 11},
            {"ignore_eos": True, "echo": True, "logprobs": 1}]
    for i, prompt in enumerate(prompts(count, vocab)):
        yield row(f"row-{i}", prompt=prompt, max_tokens=1 + 37 * i % answer, **{**draws[i % 8], **ends[i // 3 % 4], **IDS})


class Speculation(Case):
    def compare(self, model, *options, least=30):
        """Both ways give the same, and at least so many drafted tokens were right; returns the figures."""
        what = f"{model} {options}"
        plain, tokens = self.choices("plain.jsonl", model, *NEVER, *options)
        self.assertEqual((tokens["drafted"], tokens["accepted"]), (0, 0), what)
        drafted, figures = self.choices("drafted.jsonl", model, *ALWAYS, *options)
        self.assertTrue(drafted == plain, what)
        self.assertEqual(figures["generated"], tokens["generated"], what)
        self.assertGreaterEqual(figures["accepted"], least, what)
        self.assertGreater(figures["drafted"], figures["accepted"], what)  # some were wrong
        self.assertLess(figures["steps"], tokens["steps"], what)
        return figures

    def test_every_kind_of_attention_gives_the_same(self):
        write_rows(self.path("in.jsonl"), rows())
        for model in ATTENTIONS:
            self.compare(model, "--dtype", "f32")

    # Texts that grow beyond a length are computed anew.
    def test_texts_that_begin_again_give_the_same(self):
        write_rows(self.path("in.jsonl"), rows(answer=200))
        self.compare(os.path.join(MODELS, "phi3-longrope"), "--dtype", "f32")

    def test_every_arithmetic_and_cache_gives_the_same(self):
        write_rows(self.path("in.jsonl"), rows())
        model = os.path.join(MODELS, "gguf-llama-mixed.gguf")
        for options in (("--dtype", "bf16"), ("--dtype", "int8", "--cache-dtype", "int8"),
                        ("--dtype", "bf16", "--cache-dtype", "int4"), ("--dtype", "int8", "--compress-cache"),
                        ("--dtype", "f32", "--attn-sparsity", "0.3")):
            self.compare(model, "--deterministic", *options)

    def test_pages_on_slower_tiers_give_the_same(self):
        write_rows(self.path("in.jsonl"), rows())
        for device in ((), FAKE, (*FAKE, "--cpu-cache-compute")):
            for tiers in (ALL_ON_DISK, SHARED):
                self.compare(harness.MODEL, "--dtype", "f32", *device, *tiers, "--max-num-batched-tokens", 64,
                             "--max-num-seqs", 6)

    def test_few_pages_give_the_same(self):
        write_rows(self.path("in.jsonl"), rows(answer=300))
        with open(self.path("policy.json"), "w") as file:
            json.dump({"kv_device_pages": 16, "kv_disk_pages": 0}, file)
        figures = self.compare(harness.MODEL, "--dtype", "f32", "--policy", self.path("policy.json"), "--max-num-seqs", 8,
                               "--max-model-len", 450)
        self.assertGreater(figures["preemptions"], 0)

    def test_no_more_tokens_than_a_step_has(self):
        write_rows(self.path("in.jsonl"), rows())
        for tokens in (3, 5):
            self.compare(harness.MODEL, "--dtype", "f32", "--max-num-batched-tokens", tokens, "--max-num-seqs", 2, least=1)

    def test_stop_strings_end_a_row_in_the_middle_of_a_draft(self):
        model = self.path("model")
        golden = harness.golden()
        text = harness.text_model(model, golden["prompts"][0]["ids"][:6])
        with open(os.path.join(model, "config.json")) as file:
            without_text = {str(i): -100 for i in range(259, json.load(file)["vocab_size"])}
        asked = []
        for i in range(12):
            prompt = text[i % 3:] * (1 + i % 4)
            asked.append(row(f"row-{i}", prompt=prompt, max_tokens=60, temperature=0, ignore_eos=True,
                             logit_bias=without_text, return_token_ids=True))
        write_rows(self.path("in.jsonl"), asked)
        free, _ = self.choices("free.jsonl", model, *NEVER, "--dtype", "f32")
        for i, choices in enumerate(free):
            said = choices[0]["text"].rstrip("\ufffd")
            asked[i]["body"].update(stop=[said[-2 - i % 3:]], n=2, temperature=0.2 * (i % 2))
        write_rows(self.path("in.jsonl"), asked)
        self.compare(model, "--dtype", "f32", least=10)
        stopped = [r["response"]["body"]["choices"][0] for r in read_rows(self.path("drafted.jsonl"))][::2]
        self.assertGreater(sum(choice["finish_reason"] == "stop" for choice in stopped), 3)

    def test_it_is_on_by_itself_and_changes_nothing(self):
        write_rows(self.path("in.jsonl"), rows())
        plain, _ = self.choices("plain.jsonl", harness.MODEL, *NEVER, "--dtype", "f32")
        usual, _ = self.choices("usual.jsonl", harness.MODEL, "--dtype", "f32")
        self.assertTrue(usual == plain)

    def test_a_row_that_repeats_itself_takes_few_steps(self):
        phrase = [30, 40, 50, 60]
        bias = {str(i): 100 if i == 77 else -100 for i in (77, 30)}
        write_rows(self.path("in.jsonl"), [row("r", prompt=phrase, max_tokens=81, temperature=0, ignore_eos=True,
                                               logit_bias=bias, **IDS)])
        _, figures = self.choices("out.jsonl", harness.MODEL, "--dtype", "f32", *ALWAYS)
        # The first token comes with the prompt, the second alone, the third with what the second suggests: 8 a step.
        self.assertEqual((figures["generated"], figures["steps"]), (81, 1 + 1 + 10))
        self.assertEqual(figures["accepted"], figures["drafted"])

    # The model is its own draft model: what it says greedily is right, with the same arithmetic always.
    def test_a_draft_model_suggests_what_texts_do_not(self):
        write_rows(self.path("in.jsonl"), rows(count=16))
        for device in ((), FAKE, ALL_ON_DISK):
            plain, tokens = self.choices("plain.jsonl", harness.MODEL, *NEVER, "--dtype", "f32", *device)
            drafted, figures = self.choices("drafted.jsonl", harness.MODEL, *ALWAYS, "--dtype", "f32", "--draft-model",
                                          harness.MODEL, "--host-memory", "200M", *device)
            self.assertTrue(drafted == plain, device)
            self.assertGreater(figures["accepted"], 200, device)
            self.assertLess(figures["steps"], tokens["steps"] * 3 // 4, device)

    def test_a_draft_model_keeps_to_its_part_of_the_memory(self):
        write_rows(self.path("in.jsonl"), rows(count=4))
        options = (*ALWAYS, "--draft-model", harness.MODEL, "--host-memory", "120M")
        peaks = {}
        for part in ("24M", "60M"):
            _, tokens = self.choices("out.jsonl", harness.MODEL, *options, "--draft-memory", part)
            self.assertGreater(tokens["drafted"], 0)
            with open(self.path("stats.json")) as file:
                peaks[part] = json.load(file)["tiers"]["host"]
            self.assertLessEqual(peaks[part]["peak_bytes"], 120 << 20)
        said = self.fail_with(1, "batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"),
                              "--overwrite", "--offload-dir", self.path("stores"), *options, "--draft-memory", "1M")
        self.assertIn("--draft-memory", said)

    def test_a_draft_model_of_other_tokens_is_refused(self):
        write_rows(self.path("in.jsonl"), rows(count=1))
        text, other = self.path("text"), self.path("other")
        ids = harness.golden()["prompts"][0]["ids"][:6]
        harness.text_model(text, ids)
        harness.text_model(other, ids[1:])
        for model, draft, why in ((harness.MODEL, os.path.join(MODELS, "gemma3"), "a vocabulary of"),
                                  (text, other, "is not that of the model")):
            said = self.fail_with(2, "batch", model, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"),
                                  "--offload-dir", self.path("stores"), "--draft-model", draft)
            self.assertIn(why, said)

    def test_words_that_contradict_each_other_are_refused(self):
        for words in (("batch", "m", *ALWAYS, *NEVER), ("bench", "m", "--draft-model", "m")):
            self.assertIn("--speculation true", self.fail_with(2, *words))

    def test_bench_does_not_speculate_by_itself(self):
        out = self.succeed("bench", harness.MODEL, "--prompt-len", 8, "--gen-len", 40, "--num-prompts", 1, "--stats",
                           self.path("stats.json"), "--offload-dir", self.path("stores"))
        self.assertIn(b"decode", out.stdout)
        with open(self.path("stats.json")) as file:
            self.assertEqual(json.load(file)["tokens"]["steps"], 40)


if __name__ == "__main__":
    harness.main()
