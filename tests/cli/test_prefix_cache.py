"""What prompts begin with is kept from one job to the next, and nobody can tell from the results: not with any kind of
attention or cache, on slower tiers, with log-probabilities of prompts; with files that are damaged, foreign, of another
model; with two jobs at once, one that is killed, a disk that is full."""
import fcntl
import glob
import json
import os
import random
import shutil
import signal
import time
import unittest

import harness
from harness import ALL_ON_DISK, FAKE, MODELS, SHARED, Case, row, write_rows
from test_prefix_sharing import PAGE_TOKENS, tree


def pages(folder):
    return sorted(glob.glob(os.path.join(folder, "*", "*.page")))


def total(folder):
    return sum(os.path.getsize(path) for path in pages(folder))


class PrefixCache(Case):
    def setUp(self):
        super().setUp()
        self.cache = self.path("kept")

    def batch(self, name, model, *options, cache=True):
        """The bytes of OUT, the figures, what was said."""
        kept = ("--prefix-cache", self.cache) if cache else ()
        done = self.succeed("batch", model, "-i", self.path("in.jsonl"), "-o", self.path(name), "--offload-dir",
                            self.path("stores"), "--deterministic-ids", "--no-progress", "--overwrite", "--stats",
                            self.path("stats.json"), *kept, *options)
        with open(self.path("stats.json")) as file:
            figures = json.load(file)
        with open(self.path(name), "rb") as file:
            return file.read(), figures, done.stderr.decode()

    def rows_of(self, seed=5, count=6, vocab=200, instruction=5 * PAGE_TOKENS + 3, answer=4):
        """Rows with one instruction, the same for every seed; a day's rows behind it."""
        common = [random.Random(1).randrange(3, vocab) for _ in range(10 * PAGE_TOKENS)][:instruction]
        draw = random.Random(seed)
        return [row(f"r{i}", prompt=common + [draw.randrange(3, vocab) for _ in range(draw.randrange(1, 40))],
                    max_tokens=answer, temperature=0, logprobs=1, ignore_eos=True, return_token_ids=True,
                    return_tokens_as_token_ids=True) for i in range(count)]

    def again(self, model, *options, least, gives_way=False):
        """A job, and the same job again: both give what a job without a cache gives, and the second one computes no more
        than all but this part of what the first one did. Where rows give way a job finds what it has kept itself, too.
        Returns the second one's figures."""
        what = f"{model} {options}"
        options += ("--speculation", "false")  # how many tokens are drafted goes by the time that steps take
        shutil.rmtree(self.cache, ignore_errors=True)
        plain, without, _ = self.batch("plain.jsonl", model, *options, cache=False)
        first, one, _ = self.batch("first.jsonl", model, *options)
        second, two, _ = self.batch("second.jsonl", model, *options)
        self.assertTrue(first == plain, what)
        self.assertTrue(second == plain, what)
        self.assertGreater(one["prefix_cache"]["saved_tokens"], 0, what)
        self.assertEqual(one["prefix_cache"]["saved_bytes"], total(self.cache), what)
        if not gives_way:
            self.assertEqual(one["prefix_cache"]["loaded_tokens"], 0, what)
            self.assertEqual(without["tokens"]["prompt_distinct"], one["tokens"]["prompt_distinct"], what)
        self.assertGreater(two["prefix_cache"]["loaded_tokens"], 0, what)
        self.assertLessEqual(two["tokens"]["prompt_distinct"], (1 - least) * one["tokens"]["prompt_distinct"], what)
        self.assertEqual(two["tokens"]["prompt_distinct"] + two["tokens"]["prompt_shared"],
                         one["tokens"]["prompt_distinct"] + one["tokens"]["prompt_shared"], what)
        return two

    # ---- the same results ----

    def test_the_same_instruction_is_not_computed_again(self):
        write_rows(self.path("in.jsonl"), self.rows_of(seed=5))
        self.batch("monday.jsonl", harness.MODEL, "--dtype", "f32")
        write_rows(self.path("in.jsonl"), self.rows_of(seed=6))
        plain, without, _ = self.batch("plain.jsonl", harness.MODEL, "--dtype", "f32", cache=False)
        tuesday, figures, said = self.batch("tuesday.jsonl", harness.MODEL, "--dtype", "f32")
        self.assertTrue(tuesday == plain)
        self.assertEqual(figures["prefix_cache"]["loaded_tokens"], 5 * PAGE_TOKENS)
        self.assertEqual(figures["tokens"]["prompt_distinct"], without["tokens"]["prompt_distinct"] - 5 * PAGE_TOKENS)
        self.assertEqual(figures["prefix_cache"]["saved_tokens"], 0)
        self.assertIn("prefix cache: 160 tokens loaded", said)

    def test_every_kind_of_attention_gives_the_same(self):
        write_rows(self.path("in.jsonl"), tree(200))
        for name in ("llama-gqa", "gemma3", "deepseek-v3", "gpt-oss", "llama-rope-dynamic", "opt-350m-like", "mixtral"):
            self.again(os.path.join(MODELS, name), "--dtype", "f32", "--max-num-batched-tokens", 256, least=0.1)

    def test_every_arithmetic_and_cache_gives_the_same(self):
        write_rows(self.path("in.jsonl"), tree(200))
        model = os.path.join(MODELS, "gguf-llama-mixed.gguf")
        for options in (("--dtype", "bf16"), ("--dtype", "int8", "--cache-dtype", "int8"),
                        ("--dtype", "bf16", "--cache-dtype", "int4"), ("--dtype", "int8", "--compress-cache"),
                        ("--dtype", "f32", "--attn-sparsity", "0.3")):
            self.again(model, *options, least=0.1)

    def test_pages_on_slower_tiers_give_the_same(self):
        write_rows(self.path("in.jsonl"), tree(200))
        for device in ((), FAKE, (*FAKE, "--cpu-cache-compute")):
            for tiers in (ALL_ON_DISK, SHARED):
                self.again(harness.MODEL, "--dtype", "f32", *device, *tiers, "--max-num-batched-tokens", 64,
                           "--max-num-seqs", 6, least=0.05)

    # What one way of placing pages has kept serves another. On tiers few pages are held for rows to come.
    def test_pages_go_from_one_tier_to_another(self):
        write_rows(self.path("in.jsonl"), self.rows_of())
        plain, _, _ = self.batch("plain.jsonl", harness.MODEL, "--dtype", "f32", cache=False)
        self.batch("first.jsonl", harness.MODEL, "--dtype", "f32", *ALL_ON_DISK)
        for tiers in ((), SHARED, ALL_ON_DISK):
            out, figures, _ = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32", *tiers)
            self.assertTrue(out == plain, tiers)
            self.assertGreaterEqual(figures["prefix_cache"]["loaded_tokens"], 4 * PAGE_TOKENS, tiers)

    def test_sequences_that_give_way_give_the_same(self):
        write_rows(self.path("in.jsonl"), tree(200, of_group=8, answer=300))
        with open(self.path("policy.json"), "w") as file:
            json.dump({"kv_device_pages": 20, "kv_disk_pages": 0}, file)
        figures = self.again(harness.MODEL, "--dtype", "f32", "--policy", self.path("policy.json"), "--max-num-seqs", 12,
                             "--max-model-len", 512, least=0.05, gives_way=True)
        self.assertGreater(figures["tokens"]["preemptions"], 0)

    # As lm-evaluation-harness asks: all of it echoed with log-probabilities, which are kept with the pages.
    def test_prompts_that_are_scored_are_kept_with_what_was_said_of_them(self):
        draw = random.Random(4)
        examples = [draw.randrange(3, 333) for _ in range(150)]

        def day(seed):
            draw = random.Random(seed)
            rows = []
            for question in range(6):
                context = examples + [draw.randrange(3, 333) for _ in range(draw.choice((10, 20, 42, 74)))]
                rows += [row(f"q{question}-{choice}", prompt=context + [3 + choice, 9], max_tokens=1, temperature=0,
                             logprobs=1 + question % 2, echo=True, return_token_ids=True, return_tokens_as_token_ids=True)
                         for choice in range(4)]
            return rows
        tiers = ("--dtype", "f32", "--max-num-batched-tokens", 256, *ALL_ON_DISK)
        for places in (("--dtype", "f32"), tiers):
            write_rows(self.path("in.jsonl"), day(1))
            self.again(harness.MODEL, *places, least=0.15)
            write_rows(self.path("in.jsonl"), day(2))
            plain, _, _ = self.batch("plain.jsonl", harness.MODEL, *places, cache=False)
            out, figures, _ = self.batch("out.jsonl", harness.MODEL, *places)
            self.assertTrue(out == plain, places)
            self.assertGreaterEqual(figures["prefix_cache"]["loaded_tokens"], 150 // PAGE_TOKENS * PAGE_TOKENS, places)
        # What a job on tiers has kept serves one in memory.
        out, figures, _ = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
        self.assertTrue(out == plain)
        self.assertGreaterEqual(figures["prefix_cache"]["loaded_tokens"], 150 // PAGE_TOKENS * PAGE_TOKENS)

    # In one memory copies of pages tell rows of a step what was said, beside pages from the folder: texts that part where a
    # page ends, and within one, with other candidates, beside rows that are not scored.
    def test_scored_prompts_that_part_anywhere_are_told_the_same(self):
        common = [random.Random(1).randrange(3, 300) for _ in range(3 * PAGE_TOKENS)]

        def day(seed):
            draw = random.Random(seed)
            rows = []
            for i in range(40):
                at = draw.choice((PAGE_TOKENS, 2 * PAGE_TOKENS, 3 * PAGE_TOKENS, draw.randrange(1, 3 * PAGE_TOKENS)))
                text = common[:at] + [draw.randrange(5, 9) for _ in range(draw.choice((1, 2, 3, PAGE_TOKENS, PAGE_TOKENS + 3)))]
                body = {"prompt": text, "max_tokens": draw.randrange(3), "temperature": 0, "ignore_eos": True,
                        "return_token_ids": True, "return_tokens_as_token_ids": True}
                if draw.random() < 0.8:
                    body.update(logprobs=draw.choice((1, 1, 2)), echo=True)
                rows.append(row(f"r{i}", **body))
            return rows
        options = ("--dtype", "f32", "--speculation", "false")
        for keep in ("shared", "prompts"):
            shutil.rmtree(self.cache, ignore_errors=True)
            for seed in range(4):
                write_rows(self.path("in.jsonl"), day(seed))
                plain, _, _ = self.batch("plain.jsonl", harness.MODEL, *options, cache=False)
                for seqs in (64, 2, 1):
                    out, figures, _ = self.batch("out.jsonl", harness.MODEL, *options, "--prefix-cache-keep", keep,
                                                 "--max-num-seqs", seqs)
                    self.assertTrue(out == plain, f"seed {seed}, {seqs} at once, {keep}")
            self.assertGreater(figures["prefix_cache"]["loaded_tokens"], 0, keep)

    # ---- what is kept ----

    def test_what_rows_have_for_themselves_is_kept_on_wish_only(self):
        draw = random.Random(2)
        write_rows(self.path("in.jsonl"), [row(f"r{i}", prompt=[draw.randrange(3, 333) for _ in range(70)], max_tokens=2,
                                               temperature=0) for i in range(4)])
        _, figures, _ = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
        self.assertEqual((figures["prefix_cache"]["saved_tokens"], pages(self.cache)), (0, []))
        first, figures, _ = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32", "--prefix-cache-keep", "prompts")
        self.assertEqual(figures["prefix_cache"]["saved_tokens"], 4 * 2 * PAGE_TOKENS)
        second, figures, _ = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
        self.assertEqual(figures["tokens"]["prompt_distinct"], 4 * (70 - 2 * PAGE_TOKENS))
        self.assertTrue(first == second)

    def test_generate_keeps_its_prompt(self):
        letters = harness.text_model(self.path("model"), list(range(40, 60)))
        command = ("generate", self.path("model"), "--offload-dir", self.path("stores"), "--dtype", "f32", "--max-tokens",
                   8, "-p", letters * 8)
        plain = self.succeed(*command).stdout
        for loaded in (0, 5 * PAGE_TOKENS):
            done = self.succeed(*command, "--prefix-cache", self.cache)
            self.assertEqual(done.stdout, plain)
            self.assertIn(f"prefix cache: {loaded} tokens loaded".encode(), done.stderr)

    def test_another_model_or_setting_uses_nothing_of_it(self):
        write_rows(self.path("in.jsonl"), self.rows_of())
        self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
        mine = set(pages(self.cache))
        for model, options in ((os.path.join(MODELS, "gguf-llama-mixed.gguf"), ("--dtype", "f32")),
                               (harness.MODEL, ("--dtype", "bf16")),
                               (harness.MODEL, ("--dtype", "f32", "--cache-dtype", "bf16")),
                               (harness.MODEL, ("--dtype", "f32", "--weight-dtype", "bf16")),
                               (harness.MODEL, ("--dtype", "f32", *FAKE))):
            plain, _, _ = self.batch("plain.jsonl", model, *options, cache=False)
            out, figures, _ = self.batch("out.jsonl", model, *options)
            self.assertTrue(out == plain, (model, options))
            self.assertEqual(figures["prefix_cache"]["loaded_tokens"], 0, (model, options))
        # Its files under the names of ours are told from ours, though every checksum is right.
        foreign = next(p for p in pages(self.cache) if p not in mine)
        for path in mine:
            shutil.copy(foreign, path)
        plain, _, _ = self.batch("plain.jsonl", harness.MODEL, "--dtype", "f32", cache=False)
        out, figures, _ = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
        self.assertTrue(out == plain)
        self.assertEqual(figures["prefix_cache"]["loaded_tokens"], 0)

    # ---- damage ----

    def test_damaged_files_are_told_removed_and_computed_anew(self):
        write_rows(self.path("in.jsonl"), self.rows_of())
        plain, _, _ = self.batch("plain.jsonl", harness.MODEL, "--dtype", "f32")

        def flip(at):
            def change(path):
                with open(path, "r+b") as file:
                    file.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
                    byte = file.read(1)
                    file.seek(-1, os.SEEK_CUR)
                    file.write(bytes([byte[0] ^ 1]))
            return change
        damages = {"cut off": lambda p: os.truncate(p, os.path.getsize(p) - 4096), "empty": lambda p: os.truncate(p, 0),
                   "longer": lambda p: os.truncate(p, os.path.getsize(p) + 4096), "its head": flip(30), "a token": flip(400),
                   "a key": flip(5000), "its end": flip(-1), "zeros": lambda p: os.truncate(p, os.truncate(p, 0) or 8192)}
        for name, damage in damages.items():
            whole = {path: os.path.getsize(path) for path in pages(self.cache)}
            self.assertEqual(len(whole), 5)
            victim = next(path for path in whole if "-2.page" in path)
            damage(victim)
            out, figures, said = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
            self.assertTrue(out == plain, name)
            self.assertEqual(said.count("it is removed and computed anew"), 1, said)
            self.assertEqual(figures["prefix_cache"]["damaged_pages"], 1, name)
            self.assertEqual(figures["prefix_cache"]["loaded_tokens"], 2 * PAGE_TOKENS, name)
            self.assertEqual({path: os.path.getsize(path) for path in pages(self.cache)}, whole, name)  # kept anew

    def test_files_that_are_none_are_left_alone(self):
        write_rows(self.path("in.jsonl"), self.rows_of())
        plain, _, _ = self.batch("plain.jsonl", harness.MODEL, "--dtype", "f32")
        folder = os.path.dirname(pages(self.cache)[0])
        for name in ("notes.txt", "0-0.page", "x" * 200, "0123456789abcdef-01.page", "0123456789abcdef-4294967296.page"):
            with open(os.path.join(folder, name), "w") as file:
                file.write("mine")
        os.mkdir(os.path.join(folder, "0123456789abcdef-1.page"))
        os.mkdir(os.path.join(self.cache, "photos"))
        out, figures, said = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
        self.assertTrue(out == plain)
        self.assertEqual(figures["prefix_cache"]["loaded_tokens"], 5 * PAGE_TOKENS)
        self.assertNotIn("removed", said)
        self.assertEqual(len(os.listdir(folder)), 5 + 6)

    # ---- size ----

    def test_its_size_holds_and_what_was_used_last_stays(self):
        write_rows(self.path("in.jsonl"), self.rows_of())
        _, figures, _ = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
        page = figures["prefix_cache"]["saved_bytes"] // 5
        instruction = set(pages(self.cache))
        limit = 9 * page
        for seed in range(3):
            draw = random.Random(100 + seed)
            common = [draw.randrange(3, 333) for _ in range(3 * PAGE_TOKENS)]
            write_rows(self.path("in.jsonl"), self.rows_of() + [
                row(f"s{i}", prompt=common + [5 + i], max_tokens=2, temperature=0) for i in range(3)])
            _, figures, _ = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32", "--prefix-cache-size", limit)
            self.assertEqual(figures["prefix_cache"]["saved_tokens"], 3 * PAGE_TOKENS, seed)
            self.assertLessEqual(total(self.cache), limit)
            self.assertTrue(instruction <= set(pages(self.cache)), seed)
        # Less room than one job wants: what comes first stays, and nothing is written twice.
        shutil.rmtree(self.cache)
        for said_again in range(2):
            _, figures, said = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32", "--prefix-cache-size", 3 * page)
            self.assertLessEqual(total(self.cache), 3 * page)
            self.assertEqual(sorted(p.rsplit("-")[-1] for p in pages(self.cache)), ["0.page", "1.page", "2.page"])
            self.assertIn("--prefix-cache-size gives it more room", said)
        self.assertEqual(figures["prefix_cache"]["loaded_tokens"], 3 * PAGE_TOKENS)
        # A smaller limit than what is there, and other models' pages count.
        self.batch("out.jsonl", os.path.join(MODELS, "gguf-llama-mixed.gguf"), "--dtype", "f32", "--prefix-cache-size", page)
        self.assertLessEqual(total(self.cache), page)

    # ---- several, and dead ones ----

    def test_one_job_writes_and_others_read(self):
        write_rows(self.path("in.jsonl"), self.rows_of())
        plain, _, _ = self.batch("plain.jsonl", harness.MODEL, "--dtype", "f32")
        write_rows(self.path("in.jsonl"), self.rows_of() + [
            row(f"s{i}", prompt=[7] * 70 + [5 + i], max_tokens=2, temperature=0) for i in range(3)])
        with open(os.path.join(self.cache, "lock"), "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            out, figures, said = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
        self.assertTrue(out.startswith(plain))
        self.assertEqual((figures["prefix_cache"]["loaded_tokens"], figures["prefix_cache"]["saved_tokens"]), (160, 0))
        self.assertEqual(said.count("another job writes to it"), 1, said)

    def test_jobs_at_once_leave_whole_files(self):
        write_rows(self.path("in.jsonl"), tree(333, groups=6, of_group=10))
        plain, _, _ = self.batch("plain.jsonl", harness.MODEL, "--dtype", "f32", cache=False)
        children = [harness.start("batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path(f"{i}.jsonl"),
                                  "--offload-dir", self.path("stores"), "--deterministic-ids", "--dtype", "f32",
                                  "--prefix-cache", self.cache) for i in range(4)]
        for i, child in enumerate(children):
            _, said = child.communicate(timeout=300)
            self.assertEqual(child.returncode, 0, said)
            with open(self.path(f"{i}.jsonl"), "rb") as file:
                self.assertTrue(file.read() == plain)
        out, figures, _ = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
        self.assertTrue(out == plain)
        self.assertEqual(figures["prefix_cache"]["damaged_pages"], 0)

    def test_job_that_is_killed_while_it_writes_leaves_a_cache_of_use(self):
        draw = random.Random(7)
        rows = []
        for group in range(60):
            document = [draw.randrange(3, 333) for _ in range(6 * PAGE_TOKENS)]
            rows += [row(f"{group}-{i}", prompt=document + [5 + i], max_tokens=1, temperature=0) for i in range(3)]
        write_rows(self.path("in.jsonl"), rows)
        options = ("--dtype", "f32", "--max-num-seqs", 4)
        plain, _, _ = self.batch("plain.jsonl", harness.MODEL, *options, cache=False)
        killed = 0
        for at in (1, 20, 60):
            child = harness.start("batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path("killed.jsonl"),
                                  "--offload-dir", self.path("stores"), "--overwrite", "--prefix-cache", self.cache, *options)
            while child.poll() is None and len(pages(self.cache)) < at:
                time.sleep(0.0002)
            child.send_signal(signal.SIGKILL)
            child.communicate(timeout=60)
            killed += child.returncode == -signal.SIGKILL
        self.assertGreater(killed, 0)
        folder = os.path.dirname(pages(self.cache)[0])
        with open(os.path.join(folder, "0123456789abcdef-3.page.tmp"), "w") as file:
            file.write("what a dead job has left")
        out, figures, _ = self.batch("out.jsonl", harness.MODEL, *options)
        self.assertTrue(out == plain)
        self.assertGreater(figures["prefix_cache"]["loaded_tokens"], 0)
        self.assertEqual(figures["prefix_cache"]["damaged_pages"], 0)
        self.assertEqual(glob.glob(os.path.join(folder, "*.tmp")), [])
        again, figures, _ = self.batch("out.jsonl", harness.MODEL, *options)
        self.assertTrue(again == plain)
        self.assertEqual(figures["prefix_cache"]["saved_tokens"], 0)

    # ---- disks ----

    def test_full_disk_is_told_once_and_the_job_goes_on(self):
        write_rows(self.path("in.jsonl"), tree(333))
        plain, _, _ = self.batch("plain.jsonl", harness.MODEL, "--dtype", "f32", cache=False)
        with harness.small_disk("64k") as disk:
            if not disk:
                raise unittest.SkipTest("a small file system cannot be mounted here")
            self.cache = os.path.join(disk, "kept")
            for _ in range(2):
                out, figures, said = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32")
                self.assertTrue(out == plain)
                self.assertEqual(said.count("the job goes on and writes no more to it"), 1, said)
                self.assertEqual(glob.glob(os.path.join(self.cache, "*", "*.tmp")), [])
            self.assertGreater(figures["prefix_cache"]["loaded_tokens"], 0)

    def test_folder_that_cannot_be_made_is_refused(self):
        write_rows(self.path("in.jsonl"), self.rows_of())
        with open(self.path("file"), "w"):
            pass
        said = self.fail_with(1, "batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"),
                              "--quiet", "--offload-dir", self.path("stores"), "--prefix-cache", self.path("file/kept"))
        self.assertIn("--prefix-cache", said)

    # ---- words ----

    def test_words_that_do_not_go_together_are_refused(self):
        for words in (("--prefix-cache-size", "1G"), ("--prefix-cache-keep", "prompts"),
                      ("--prefix-cache", self.cache, "--prefix-sharing", "false"),
                      ("--prefix-cache", self.cache, "--prefix-cache-size", "0"),
                      ("--prefix-cache", self.cache, "--prefix-cache-keep", "all")):
            self.fail_with(2, "batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", "-", *words)


if __name__ == "__main__":
    harness.main()
