"""A KV cache in host memory and on disk gives what one in fast memory gives, within the promised memory; each page is
written once; a full or failing disk is a clear error."""
import errno
import json
import os
import random
import re
import time

import harness
import job
import wide_model
from harness import ALL_ON_DISK, FAKE, SHARED, Case, read_rows, row, run, small_disk, start, write_rows

SHIM = "tests/cli/bad_write.so"
PAGE_TOKENS = 32
IN_HOST_MEMORY = ("--percent", 100, 0, 0, 100, 100, 0)
ON_THE_CPU = "--cpu-cache-compute"


class KvTiers(Case):
    def batch(self, name, model, *options, **more):
        """The choices of every row, and the figures."""
        self.succeed("batch", model, "-i", self.path("in.jsonl"), "-o", self.path(name), "--offload-dir",
                     self.path("stores"), "--deterministic-ids", "--quiet", "--stats", self.path("stats.json"), *options,
                     **more)
        with open(self.path("stats.json")) as file:
            figures = json.load(file)
        return [r["response"]["body"]["choices"] for r in read_rows(self.path(name))], figures

    def rows(self, count, longest, vocab, answer):
        draw = random.Random(11)
        write_rows(self.path("in.jsonl"), [
            row(f"r{i}", prompt=[draw.randrange(3, vocab) for _ in range(draw.randrange(longest // 2, longest))],
                max_tokens=draw.randrange(2, answer), temperature=0.8 * (i % 2), ignore_eos=True,
                return_token_ids=True, return_tokens_as_token_ids=True, logprobs=2) for i in range(count)])

    def test_cache_five_times_the_memory_gives_the_same_rows_within_the_promise(self):
        model, budget = wide_model.write(self.path("wide")), wide_model.BUDGET
        write_rows(self.path("in.jsonl"), wide_model.rows())
        common = wide_model.OPTIONS
        free, figures = self.batch("free.jsonl", model, *common)
        self.assertEqual(figures["tiers"]["disk"]["kv_bytes_written"], 0)
        capped, figures = self.batch("capped.jsonl", model, *common, "--host-memory", budget)
        self.assertEqual(capped, free)
        policy, disk = figures["policy"], figures["tiers"]["disk"]
        cache = policy["kv_pages"] * policy["kv_page_bytes"] * 2
        print(f"cache of {cache >> 20} MiB, {disk['kv_bytes_written'] >> 20} MiB written, "
              f"{disk['kv_bytes_read'] >> 20} MiB read, peak {figures['tiers']['host']['process_peak_bytes'] >> 20} MiB")
        self.assertGreaterEqual(cache, 5 * budget)
        self.assertGreaterEqual(disk["kv_bytes_written"], 4 * budget)
        self.assertLessEqual(figures["tiers"]["host"]["process_peak_bytes"], budget)
        self.assertEqual(figures["tokens"]["preemptions"], 0)

    def test_every_type_of_cache_is_the_same_bytes_on_other_tiers(self):
        self.rows(12, 150, 200, 40)
        model = os.path.join(harness.ORACLE, "models", "gguf-llama-mixed.gguf") # heads wide enough for codes
        for options in (("--dtype", "f32"), ("--dtype", "bf16"), ("--dtype", "bf16", "--cache-dtype", "int4"),
                        ("--dtype", "int8", "--cache-dtype", "int8")):
            for device in ((), FAKE):
                options = ("--max-num-batched-tokens", 64, "--max-num-seqs", 6, *options)
                memory, _ = self.batch("memory.jsonl", model, *device, *options, "--overwrite")
                for tiers in (ALL_ON_DISK, SHARED):
                    there, figures = self.batch("there.jsonl", model, *device, *options, *tiers, "--overwrite")
                    what = f"{options} {device} {tiers}"
                    self.assertTrue(there == memory, what)
                    self.assertGreater(figures["tiers"]["disk"]["kv_bytes_read"], 0, what)

    def test_cache_in_host_memory_alone_needs_no_disk(self):
        self.rows(8, 120, 333, 40)
        common = (*FAKE, "--dtype", "f32", "--max-num-seqs", 6)
        memory, _ = self.batch("memory.jsonl", harness.MODEL, *common)
        there, figures = self.batch("there.jsonl", harness.MODEL, *common, *IN_HOST_MEMORY)
        self.assertEqual(there, memory)
        self.assertEqual(figures["policy"]["kv_host_pages"], figures["policy"]["kv_pages"])
        self.assertEqual(figures["tiers"]["disk"]["kv_bytes_written"], 0)

    # Windows, latent attention (values are in the keys), sinks, rotary embeddings that begin again.
    def test_every_kind_of_attention_is_the_same_on_other_tiers(self):
        models = os.path.join(harness.ORACLE, "models")
        self.rows(8, 90, 200, 30)
        for name in ("gemma3", "deepseek-v3", "gpt-oss", "phi3-longrope", "llama-rope-dynamic", "opt-350m-like"):
            model, options = os.path.join(models, name), ("--dtype", "f32", "--max-num-batched-tokens", 40, "--max-num-seqs", 5)
            memory, _ = self.batch("memory.jsonl", model, *options, "--overwrite")
            for tiers in (ALL_ON_DISK, SHARED):
                there, figures = self.batch("there.jsonl", model, *options, *tiers, "--overwrite")
                self.assertTrue(there == memory, f"{name} {tiers}")
                self.assertGreater(figures["tiers"]["disk"]["kv_bytes_written"], 0, f"{name} {tiers}")

    # ---- attention where the pages are ----

    def on_the_cpu(self, model, *options):
        """The same job with all in the device's memory, then on other tiers with the option: equal, and pages were
        spared. Returns the bytes that crossed."""
        memory, figures = self.batch("memory.jsonl", model, *FAKE, *options, "--overwrite")
        self.assertEqual(set(figures["crossing"].values()), {0})
        for tiers in (IN_HOST_MEMORY, SHARED, ALL_ON_DISK):
            there, figures = self.batch("there.jsonl", model, *FAKE, *options, *tiers, ON_THE_CPU, "--overwrite")
            self.assertTrue(there == memory, f"{model} {options} {tiers}")
            crossing = figures["crossing"]
            self.assertGreater(crossing["query_bytes"], 0, f"{model} {options} {tiers}")
            self.assertGreater(crossing["spared_page_bytes"], crossing["query_bytes"] + crossing["state_bytes"])
        return crossing

    def test_attention_on_the_cpu_is_the_same_for_every_type(self):
        self.rows(10, 240, 200, 60)
        model = os.path.join(harness.ORACLE, "models", "gguf-llama-mixed.gguf")
        for options in (("--dtype", "f32"), ("--dtype", "bf16"), ("--dtype", "bf16", "--cache-dtype", "int4"),
                        ("--dtype", "int8", "--cache-dtype", "int8")):
            self.on_the_cpu(model, "--max-num-batched-tokens", 64, "--max-num-seqs", 6, *options)

    def test_attention_on_the_cpu_is_the_same_for_every_kind(self):
        models = os.path.join(harness.ORACLE, "models")
        self.rows(8, 150, 200, 40)
        for name in ("gemma3", "deepseek-v3", "gpt-oss", "phi3-longrope", "llama-rope-dynamic", "opt-350m-like", "bloom-like",
                     "qwen2-moe"):
            self.on_the_cpu(os.path.join(models, name), "--dtype", "f32", "--max-num-batched-tokens", 40,
                            "--max-num-seqs", 5)

    # Rows that begin alike own the same pages, wherever these are and whoever attends to them.
    def test_shared_pages_are_the_same_on_every_tier(self):
        draw = random.Random(12)
        common = [draw.randrange(3, 333) for _ in range(140)]
        write_rows(self.path("in.jsonl"), [
            row(f"r{i}", prompt=common[:draw.choice((70, 130, 140))] + [draw.randrange(3, 333) for _ in range(9)],
                max_tokens=draw.randrange(5, 50), temperature=0.8 * (i % 2), ignore_eos=True, return_token_ids=True,
                return_tokens_as_token_ids=True, logprobs=2) for i in range(14)])
        options = ("--dtype", "f32", "--max-num-batched-tokens", 64, "--max-num-seqs", 6)
        alone, figures = self.batch("alone.jsonl", harness.MODEL, *FAKE, *options, "--prefix-sharing", "false")
        self.assertEqual(figures["tokens"]["prompt_shared"], 0)
        for tiers in (IN_HOST_MEMORY, SHARED, ALL_ON_DISK):
            for more in ((), (ON_THE_CPU,)):
                there, figures = self.batch("there.jsonl", harness.MODEL, *FAKE, *options, *tiers, *more, "--overwrite")
                self.assertTrue(there == alone, f"{tiers} {more}")
                self.assertGreater(figures["tokens"]["prompt_shared"], 0, f"{tiers} {more}")

    def test_what_crosses_is_queries_and_states_instead_of_pages(self):
        self.rows(8, 200, 333, 60)
        crossing = self.on_the_cpu(harness.MODEL, "--dtype", "f32", "--max-num-seqs", 6)
        with open(os.path.join(harness.MODEL, "config.json")) as file:
            config = json.load(file)
        dim = config["hidden_size"] // config["num_attention_heads"]
        # An output, a maximum and a sum for each query.
        self.assertEqual(crossing["state_bytes"] * dim, crossing["query_bytes"] * (dim + 2))
        _, without = self.batch("there.jsonl", harness.MODEL, *FAKE, "--dtype", "f32", "--max-num-seqs", 6, *ALL_ON_DISK,
                                "--overwrite")
        self.assertEqual(without["crossing"]["spared_page_bytes"], 0)
        self.assertLess(20 * crossing["page_bytes"], without["crossing"]["page_bytes"])

    def test_attention_on_the_cpu_is_said_to_be_there_anyway(self):
        self.rows(2, 60, 333, 10)
        said = self.succeed("batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"),
                            "--offload-dir", self.path("stores"), "--dtype", "f32", ON_THE_CPU).stderr.decode()
        self.assertIn("the CPU attends to the cache anyway", said)

    def test_attention_on_the_cpu_cannot_be_sparse(self):
        self.rows(1, 60, 333, 10)
        said = self.fail_with(1, "batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"),
                              *FAKE, "--quiet", ON_THE_CPU, "--attn-sparsity", 0.5)
        self.assertIn("--attn-sparsity", said)
        self.assertEqual(len(said.strip().splitlines()), 1, said)

    def test_every_full_page_is_written_once(self):
        for device in ((), FAKE):
            self.rows(9, 140, 333, 50)
            _, figures = self.batch("out.jsonl", harness.MODEL, "--dtype", "f32", *device, *ALL_ON_DISK, "--overwrite")
            self.assertEqual(figures["tokens"]["preemptions"], 0)
            layers = 3
            with open(self.path("in.jsonl")) as file:
                bodies = [json.loads(line)["body"] for line in file]
            # The last token is drawn, never computed.
            pages = sum((len(b["prompt"]) + b["max_tokens"] - 1) // PAGE_TOKENS for b in bodies)
            with open(os.path.join(harness.MODEL, "config.json")) as file:
                self.assertEqual(json.load(file)["num_hidden_layers"], layers)
            self.assertEqual(figures["tiers"]["disk"]["kv_bytes_written"],
                             pages * layers * figures["policy"]["kv_page_bytes"])

    # A disk with room for few pages: sequences give way and come back.
    def test_small_disk_makes_sequences_give_way(self):
        self.rows(8, 150, 333, 200)
        memory, _ = self.batch("memory.jsonl", harness.MODEL, "--dtype", "f32")
        with small_disk("1000k") as disk:
            if not disk:
                self.skipTest("cannot mount a file system")
            there, figures = self.batch("there.jsonl", harness.MODEL, "--dtype", "f32", *ALL_ON_DISK, "--offload-dir",
                                        disk, "--max-num-seqs", 8)
        self.assertEqual(there, memory)
        self.assertGreater(figures["tokens"]["preemptions"], 0)

    def test_disk_without_room_for_one_sequence_is_refused_with_the_way_out(self):
        self.rows(1, 100, 333, 40)
        with small_disk("700k") as disk:
            if not disk:
                self.skipTest("cannot mount a file system")
            said = self.fail_with(1, "batch", harness.MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"),
                                  "--dtype", "f32", "--quiet", *ALL_ON_DISK, "--offload-dir", disk,
                                  "--max-model-len", 512)
        self.assertIn("--offload-dir", said)
        self.assertEqual(len(said.strip().splitlines()), 1, said)

    # ---- a disk that fails in the middle ----

    def job(self, target):
        return job.command(self.path("stores"), self.path("in.jsonl"), self.path(target), "--io", "threads",
                           *ALL_ON_DISK)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def test_write_error_in_the_middle_loses_no_finished_row_and_leaves_no_file(self):
        write_rows(self.path("in.jsonl"), job.rows(60))
        self.succeed(*self.job("whole.jsonl"))
        whole = self.read("whole.jsonl")
        preload = os.path.join(os.path.dirname(os.path.abspath(harness.flexgen)), SHIM)
        self.assertTrue(os.path.exists(preload), preload)
        for error, words in ((errno.ENOSPC, "No space left on device"), (errno.EIO, "[Ii]nput/output error")):
            env = harness.environment(LD_PRELOAD=preload, ASAN_OPTIONS="verify_asan_link_order=0:detect_leaks=0",
                                      BAD_WRITE_AFTER="300", BAD_WRITE_ERRNO=str(error))
            failed = run(*self.job(f"out{error}.jsonl"), env=env)
            message = failed.stderr.decode()
            self.assertEqual(failed.returncode, 1, message)
            self.assertRegex(message, words)
            self.assertEqual(len(message.strip().splitlines()), 1, message)
            before = self.read(f"out{error}.jsonl")
            self.assertTrue(before and whole.startswith(before) and before != whole, "the error came in the middle")
            self.succeed(*self.job(f"out{error}.jsonl"))
            self.assertEqual(self.read(f"out{error}.jsonl"), whole)
        self.assertEqual([name for name in os.listdir(self.path("stores")) if name.startswith("kv-")], [])

    def test_killed_job_leaves_no_file(self):
        write_rows(self.path("in.jsonl"), job.rows(300))
        self.succeed("pack", harness.MODEL, "--store", self.path("stores"))
        child = start(*self.job("out.jsonl"))
        files = f"/proc/{child.pid}/fd"

        def has_cache():
            try:
                return any(re.search(r"/kv-.*\(deleted\)", os.readlink(os.path.join(files, n))) for n in os.listdir(files))
            except OSError:
                return False
        while not has_cache():
            self.assertIsNone(child.poll(), "the job ended before its cache was seen")
            time.sleep(0.001)
        child.kill()
        child.communicate()
        self.assertEqual([name for name in os.listdir(self.path("stores")) if name.startswith("kv-")], [])


if __name__ == "__main__":
    harness.main()
