"""What prompts have in common is computed once, and nobody can tell from the results: not with any kind of attention,
with log-probabilities of prompts, with pages on slower tiers, when sequences give way, after a stop in the middle."""
import json
import os
import random
import signal
import time

import harness
import job
from harness import ALL_ON_DISK, ATTENTIONS, FAKE, MODELS, SHARED, Case, read_rows, row, write_rows

PAGE_TOKENS = 32


def prompts(draw, vocab, groups=3, of_group=5):
    """An instruction, documents behind it, questions behind these; ends of pages among the places where they part."""
    def some(count):
        return [draw.randrange(3, vocab) for _ in range(count)]
    instruction = some(70)
    for group in range(groups):
        document = instruction[:64] + some(32) if group == 0 else instruction + some(draw.randrange(5, 80))
        yield document
        for _ in range(of_group):
            yield document + some(draw.randrange(1, 45))


def tree(vocab, seed=5, answer=60, **sizes):
    """Rows of every kind over these prompts."""
    draw = random.Random(seed)
    for i, prompt in enumerate(prompts(draw, vocab, **sizes)):
        body = {"prompt": prompt, "max_tokens": draw.randrange(1, answer), "temperature": 0.9 * (i % 2), "ignore_eos": True,
                "return_token_ids": True, "return_tokens_as_token_ids": True}
        if i % 3 == 1:
            body["n"] = 3
        if i % 4 == 2:
            body.update(logprobs=2)
        if i % 5 == 3:
            body.update(logprobs=1, echo=True, max_tokens=i % 2)
        yield row(f"row-{i}", **body)


class PrefixSharing(Case):
    def prompt_tokens(self):
        return sum(len(r["body"]["prompt"]) * r["body"].get("n", 1) for r in read_rows(self.path("in.jsonl")))

    def compare(self, model, *options, least=0.3):
        """Both ways give the same; returns the figures of the way that shares at least this part of the prompts."""
        apart, tokens = self.choices("apart.jsonl", model, "--prefix-sharing", "false", *options)
        what = f"{model} {options}"
        self.assertEqual((tokens["prompt_shared"], tokens["prompt_distinct"]), (0, self.prompt_tokens()), what)
        together, tokens = self.choices("together.jsonl", model, *options)
        self.assertTrue(together == apart, what)
        self.assertEqual(tokens["prompt_distinct"] + tokens["prompt_shared"], self.prompt_tokens(), what)
        self.assertGreaterEqual(tokens["prompt_shared"], least * self.prompt_tokens(), what)
        return tokens

    def test_every_kind_of_attention_gives_the_same(self):
        write_rows(self.path("in.jsonl"), tree(200))
        for model in ATTENTIONS:
            self.compare(model, "--dtype", "f32", "--max-num-batched-tokens", 256)

    # Texts that grow beyond 48 tokens are computed anew, each for itself; the others share.
    def test_texts_that_begin_again_give_the_same(self):
        draw = random.Random(8)
        common = [draw.randrange(3, 200) for _ in range(40)]
        write_rows(self.path("in.jsonl"), [
            row(f"r{i}", prompt=common[:33 + i % 6] + [3 + i], max_tokens=(3, 30, 9, 2)[i % 4], temperature=0,
                ignore_eos=True, logprobs=1, return_token_ids=True, return_tokens_as_token_ids=True) for i in range(24)])
        model = os.path.join(MODELS, "phi3-longrope")
        self.compare(model, "--dtype", "f32", "--max-num-batched-tokens", 64, least=0.2)

    # Pages that one sequence generated and another was given: the same in a cache, unless attention makes a difference.
    def test_answer_that_became_a_prompt_gives_the_same(self):
        def rows(second):
            return [row(f"r{i}", prompt=p, max_tokens=90 - 70 * i, temperature=0, ignore_eos=True, return_token_ids=True,
                        return_tokens_as_token_ids=True, logprobs=1) for i, p in enumerate([first, *second])]
        first = list(range(20, 90))
        for name, options, generated in (("gguf-llama-mixed.gguf", (), 64), ("llama-rope-dynamic", (), 0),
                                         ("gguf-llama-mixed.gguf", ("--attn-sparsity", 0.3), 0)):
            model, options = os.path.join(MODELS, name), ("--dtype", "f32", "--max-num-seqs", 1, *options)
            write_rows(self.path("in.jsonl"), rows([]))
            choices, _ = self.choices("first.jsonl", model, *options)
            write_rows(self.path("in.jsonl"), rows([first + choices[0][0]["token_ids"][:80] + [7]]))
            tokens = self.compare(model, *options, least=0)
            self.assertGreaterEqual(tokens["prompt_shared"], generated, f"{name} {options}")

    def test_every_arithmetic_and_cache_gives_the_same(self):
        write_rows(self.path("in.jsonl"), tree(200))
        model = os.path.join(MODELS, "gguf-llama-mixed.gguf")
        for options in (("--dtype", "bf16"), ("--dtype", "int8", "--cache-dtype", "int8"),
                        ("--dtype", "bf16", "--cache-dtype", "int4"), ("--dtype", "int8", "--compress-cache"),
                        ("--dtype", "f32", "--attn-sparsity", "0.3")):
            self.compare(model, *options)

    def test_pages_on_slower_tiers_give_the_same(self):
        write_rows(self.path("in.jsonl"), tree(200))
        for device in ((), FAKE):
            for tiers in (ALL_ON_DISK, SHARED):
                self.compare(harness.MODEL, "--dtype", "f32", *device, *tiers, "--max-num-batched-tokens", 64,
                             "--max-num-seqs", 6)

    # The second of a pair waits for what the step of the first computes, and nobody waits for the two.
    def test_rows_given_twice_share_on_slower_tiers_and_let_others_run(self):
        draw = random.Random(9)
        texts = [[draw.randrange(3, 333) for _ in range(70 + i)] for i in range(32)]
        write_rows(self.path("in.jsonl"), [row(f"r{i}", prompt=texts[i // 2], max_tokens=1, temperature=0.8, logprobs=1,
                                               return_token_ids=True) for i in range(64)])
        tokens = self.compare(harness.MODEL, "--dtype", "f32", *ALL_ON_DISK, "--max-num-batched-tokens", 1024,
                              "--max-num-seqs", 16, least=0.3)
        self.assertLess(tokens["steps"], 12)

    def test_sequences_that_give_way_find_their_pages_again_or_not_and_give_the_same(self):
        write_rows(self.path("in.jsonl"), tree(200, of_group=8, answer=300))
        with open(self.path("policy.json"), "w") as file:
            json.dump({"kv_device_pages": 20, "kv_disk_pages": 0}, file)
        tokens = self.compare(harness.MODEL, "--dtype", "f32", "--policy", self.path("policy.json"), "--max-num-seqs", 12,
                              "--max-model-len", 512, least=0.1)
        self.assertGreater(tokens["preemptions"], 0)

    # Long enough beginnings that the rows of a step attend to them at once, on two levels and more.
    def test_attention_to_long_beginnings_gives_the_same(self):
        draw = random.Random(6)

        def some(count):
            return [draw.randrange(3, 200) for _ in range(count)]
        instruction, rows = some(2 * 64), []
        for group in range(2):
            document = instruction + some(2 * 64)
            rows += [row(f"{group}-{i}", prompt=document + some(draw.randrange(1, 40)), max_tokens=8, n=1 + i % 2,
                         temperature=0.7, ignore_eos=True, return_token_ids=True, logprobs=1) for i in range(12)]
        write_rows(self.path("in.jsonl"), rows)
        for name, options in (("llama-gqa", ("--dtype", "f32")), ("gemma3", ("--dtype", "f32")),
                              ("gpt-oss", ("--dtype", "bf16")), ("deepseek-v3", ("--dtype", "bf16")),
                              ("llama-gqa", ("--dtype", "f32", *FAKE)), ("llama-gqa", ("--dtype", "f32", *ALL_ON_DISK)),
                              ("gemma3", ("--dtype", "f32", *ALL_ON_DISK)),
                              ("gpt-oss", ("--dtype", "bf16", *FAKE, *SHARED)),
                              ("gguf-llama-mixed.gguf", ("--dtype", "bf16", "--cache-dtype", "int4")),
                              ("gguf-llama-mixed.gguf", ("--dtype", "int8", "--cache-dtype", "int8"))):
            self.compare(os.path.join(MODELS, name), *options, "--max-num-batched-tokens", 256, least=0.5)

    def test_one_step_computes_an_instruction_once(self):
        draw = random.Random(3)
        instruction = [draw.randrange(3, 333) for _ in range(10 * PAGE_TOKENS)]
        write_rows(self.path("in.jsonl"), [row(f"r{i}", prompt=instruction + [3 + i], max_tokens=1) for i in range(40)])
        _, tokens = self.choices("out.jsonl", harness.MODEL, "--dtype", "f32", "--max-num-batched-tokens", 1024,
                               "--max-num-seqs", 64)
        self.assertEqual((tokens["steps"], tokens["prompt"]), (1, len(instruction) + 40))

    # Two pages of the prompt are shared, 25 tokens of the third are copied, and each sample computes the last token.
    def test_samples_of_a_prompt_compute_its_last_token_alone(self):
        draw = random.Random(7)
        prompt = [draw.randrange(3, 200) for _ in range(2 * PAGE_TOKENS + 26)]
        write_rows(self.path("in.jsonl"), [row("r", prompt=prompt, n=8, max_tokens=20, temperature=0.9, ignore_eos=True,
                                               logprobs=2, return_token_ids=True)])
        coded = os.path.join(MODELS, "gguf-llama-mixed.gguf")
        for model, *options in ((harness.MODEL,), (harness.MODEL, "--max-num-seqs", 3), (harness.MODEL, *FAKE),
                                (coded, "--cache-dtype", "int8"), (coded, "--cache-dtype", "int4")):
            tokens = self.compare(model, "--dtype", "f32", *options, least=0.7)
            self.assertEqual(tokens["prompt"], len(prompt) + 7, options)
            self.assertEqual(tokens["prompt_copied"], 7 * 25, options)

    # As lm-evaluation-harness asks: a context with each of its choices, all of it echoed with log-probabilities.
    def test_choices_that_are_scored_share_their_context(self):
        draw = random.Random(4)
        examples = [draw.randrange(3, 333) for _ in range(150)]
        rows = []
        for question in range(10):
            context = examples + [draw.randrange(3, 333) for _ in range(draw.choice((10, 20, 42, 74)))]
            for choice in range(4):
                answer = [draw.randrange(3, 333) for _ in range(draw.randrange(1, 5))]
                rows.append(row(f"q{question}-{choice}", prompt=context + answer, max_tokens=1, temperature=0, logprobs=1,
                                echo=True, return_token_ids=True, return_tokens_as_token_ids=True))
        write_rows(self.path("in.jsonl"), rows)
        for options in ((), ("--max-num-batched-tokens", 100), ALL_ON_DISK):
            tokens = self.compare(harness.MODEL, "--dtype", "f32", *options, least=0.6)
            (self.assertEqual if options == ALL_ON_DISK else self.assertGreater)(tokens["prompt_copied"], 0, options)
        for r in rows:
            r["body"]["logprobs"] = 20
        write_rows(self.path("in.jsonl"), rows)
        self.compare(harness.MODEL, "--dtype", "f32", least=0.6)

    def test_notes_of_prompts_hold_for_who_asks_the_same_only(self):
        draw = random.Random(6)
        prompt = [draw.randrange(3, 333) for _ in range(100)]
        asked = [{}, {"logprobs": 0}, {"logprobs": 3}, {"logprobs": 5}, {"logprobs": 3}, {"logprobs": 0}, {},
                 {"logprobs": 17}, {"logprobs": 17}]
        write_rows(self.path("in.jsonl"), [row(f"r{i}", prompt=prompt, max_tokens=i % 2, echo=True, return_token_ids=True,
                                               return_tokens_as_token_ids=True, **more) for i, more in enumerate(asked)])
        self.compare(harness.MODEL, "--dtype", "f32", "--max-num-batched-tokens", 128, least=0.2)

    def test_notes_of_a_page_are_of_the_text_that_its_reader_goes_on_with(self):
        """Texts that part where a page ends: of pages that hold the same, one stays, and is of one next token."""
        draw = random.Random(1)
        common = [draw.randrange(3, 300) for _ in range(2 * PAGE_TOKENS)]
        for behind in ([5, 6, 6], [5, 6, 6, 6], [5, 6, 7, 6, 7], [5, None, 6, None, 7, 5, 6]):
            texts = [common + [token, 9 + i, 3] if token else common[:50] + [4 + i] for i, token in enumerate(behind)]
            write_rows(self.path("in.jsonl"), [row(f"r{i}", prompt=text, max_tokens=1, temperature=0, logprobs=1, echo=True,
                                                   return_token_ids=True, return_tokens_as_token_ids=True)
                                               for i, text in enumerate(texts)])
            for seqs in (64, 1, 2, 3):
                self.compare(harness.MODEL, "--dtype", "f32", "--max-num-seqs", seqs, least=0.2)

    def test_stop_in_the_middle_of_a_group_gives_the_same_file(self):
        write_rows(self.path("in.jsonl"), tree(333, groups=6, of_group=40))

        def command(target, *options):
            return job.command(self.path("stores"), self.path("in.jsonl"), self.path(target), *options)

        self.succeed(*command("apart.jsonl", "--prefix-sharing", "false"))
        with open(self.path("apart.jsonl"), "rb") as file:
            whole = file.read()
        child = harness.start(*command("out.jsonl"))
        while child.poll() is None and job.finished_rows(self.path("out.jsonl")) < 20:
            time.sleep(0.002)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        self.assertEqual(child.returncode, -signal.SIGINT)
        self.assertLess(job.finished_rows(self.path("out.jsonl")), whole.count(b"\n"))
        self.succeed(*command("out.jsonl", "--resume"))
        with open(self.path("out.jsonl"), "rb") as file:
            self.assertEqual(file.read(), whole)

    def test_it_can_be_switched_off_by_every_name(self):
        write_rows(self.path("in.jsonl"), tree(200))
        for words in (("--prefix-sharing=false",), ("--no-prefix-sharing",), ("--enable-prefix-caching", "no"),
                      ("--no-enable-prefix-caching",)):
            _, tokens = self.choices("out.jsonl", harness.MODEL, *words)
            self.assertEqual(tokens["prompt_shared"], 0, words)
        self.fail_with(2, "batch", harness.MODEL, "--no-prefix-sharing=true")
        self.fail_with(2, "batch", harness.MODEL, "--no-max-tokens")


if __name__ == "__main__":
    harness.main()
