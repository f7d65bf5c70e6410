"""Machines that are not there: bench --simulate gives the same figures in every run, by the engine's own commands."""
import json
import os

import harness
from harness import Case

SMALL = ("opt-125m", "--synthetic", "--prompt-len", 128, "--gen-len", 16, "--num-prompts", 64)


class Simulate(Case):
    def bench(self, *arguments):
        done = self.succeed("bench", *arguments, "--json", "--offload-dir", self.offload())
        return json.loads(done.stdout)

    def offload(self):
        path = os.path.join(harness._cache, "simulated")
        os.makedirs(path, exist_ok=True)
        return path

    def test_the_same_run_gives_the_same_figures(self):
        one, two = (self.bench(*SMALL, "--simulate", "t4") for _ in range(2))
        for figures in (one, two):
            del figures["peak_memory_bytes"]
        self.assertEqual(one, two)
        self.assertGreater(one["generated_tokens_per_s"], 0)
        self.assertEqual(one["generated_tokens"], 64 * 16)

    def test_nothing_is_packed_or_allocated(self):
        told = self.bench("opt-175b", "--synthetic", "--compress-weight", "--compress-cache", "--simulate", "t4",
                          "--prompt-len", 64, "--gen-len", 2, "--num-prompts", 16)
        self.assertLess(told["peak_memory_bytes"], 2 << 30)
        self.assertEqual(os.listdir(self.offload()), [])
        # Every step reads what does not stay in memory: some of 98 GB.
        self.assertGreater(told["simulation"]["busy_s"]["link_in"], 1)

    def test_less_device_memory_is_slower_and_its_reads_take_the_disk(self):
        model = ("opt-6.7b", "--synthetic", "--simulate", "t4", "--prompt-len", 128, "--gen-len", 16, "--num-prompts", 64)
        whole = self.bench(*model)
        part = self.bench(*model, "--device-memory", "6G", "--host-memory", "6G")
        self.assertEqual(whole["simulation"]["busy_s"]["disk"] < 1, True)
        self.assertGreater(part["simulation"]["busy_s"]["disk"], 1)
        self.assertLess(part["generated_tokens_per_s"], whole["generated_tokens_per_s"])

    def test_a_faster_machine_is_faster(self):
        rates = [self.bench(*SMALL, "--simulate", name)["generated_tokens_per_s"] for name in ("m2", "t4", "h100")]
        self.assertEqual(rates, sorted(rates))

    def test_units_are_busy_for_no_longer_than_the_run(self):
        told = self.bench(*SMALL, "--simulate", "a10")["simulation"]
        for busy in told["busy_s"].values():
            self.assertLessEqual(busy, told["seconds"])

    def test_trace_and_stats_have_simulated_times(self):
        trace, stats = (self.path(name) for name in ("trace.json", "stats.json"))
        told = self.bench(*SMALL, "--simulate", "t4", "--trace", trace, "--stats", stats)
        with open(trace) as file:
            events = json.load(file)
        ends = [e["ts"] + e["dur"] for e in events if e["ph"] == "X"]
        self.assertLessEqual(max(ends), 1e6 * told["simulation"]["seconds"] + 1)
        self.assertTrue({"device", "link_in", "link_out", "simulated"} <=
                        {e["args"]["name"] for e in events if e["name"] == "thread_name"})
        with open(stats) as file:
            self.assertEqual(json.load(file)["simulation"]["machine"], "t4")

    def test_a_file_changes_a_machine(self):
        path = self.path("machine.json")
        with open(path, "w") as file:
            json.dump({"machine": "t4", "product": 2.124e12}, file)
        self.assertLess(self.bench(*SMALL, "--simulate", path)["generated_tokens_per_s"],
                        0.7 * self.bench(*SMALL, "--simulate", "t4")["generated_tokens_per_s"])

    def test_what_is_left_out_costs_time(self):
        uneven = ("opt-125m", "--synthetic", "--simulate", "t4", "--input-len-range", "16:512", "--gen-len", 32,
                  "--num-prompts", 128, "--max-num-seqs", 32, "--max-num-batched-tokens", 512)
        whole = self.bench(*uneven)["generated_tokens_per_s"]
        for word in ("continuous", "mixed", "ragged"):
            self.assertLess(self.bench(*uneven, "--without", word)["generated_tokens_per_s"], whole, word)
        self.assertGreater(self.bench(*uneven, "--without", "ragged")["prompt_tokens"], 128 * 500)

    def test_flexgens_schedule(self):
        policy = ("opt-6.7b", "--synthetic", "--simulate", "t4", "--schedule", "flexgen", "--gpu-batch-size", 2,
                  "--num-gpu-batches", 1, "--percent", 100, 0, 100, 0, 100, 0, "--overlap", "false")
        told = self.bench(*policy)
        self.assertLess(abs(told["generated_tokens_per_s"] / 25.26 - 1), 0.25)
        self.assertEqual(told["prompt_tokens"], 2 * 512)
        self.refuse("whole blocks", "bench", *policy, "--num-prompts", 3)

    def test_what_cannot_be_is_refused(self):
        for words, says in (
                (("--simulate", "t5"), "one of t4, a10, rtx4090, h100, m2"),
                (("--simulate", "t4", "--device", "fake"), "leave one out"),
                (("--simulate", "t4", "--without", "luck"), "not one of continuous, mixed, ragged"),
                (("--without", "mixed"), "--simulate"),
                (("--schedule", "flexgen"), "--simulate"),
                (("--simulate", "t4", "--attn-sparsity", "0.1"), "not simulated"),
                (("--simulate", "m2", "--device-memory", "1G"), "--host-memory")):
            self.refuse(says, "bench", *SMALL, *words, "--offload-dir", self.offload())

    def refuse(self, says, *arguments):
        done = harness.run(*arguments, "--quiet")
        self.assertIn(done.returncode, (1, 2))
        self.assertIn(says, done.stderr.decode())
        self.assertEqual(len(done.stderr.decode().strip().splitlines()), 1, done.stderr)


if __name__ == "__main__":
    harness.main()
