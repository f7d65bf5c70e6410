"""What a job would take, told before it runs: flexgen plan, the policy files, and the plan of jobs that run."""
import glob
import json
import os
import random
import re
import shutil

import harness
from harness import MODEL, Case, environment, read_rows, run, write_rows

GIB = 1 << 30


class Plan(Case):
    """One machine's profile for all cases: it is made once."""

    profile = None

    def setUp(self):
        super().setUp()
        if not Plan.profile:
            Plan.profile = os.path.join(harness._cache, "measured")
            made = run("profile", "--quick", "--offload-dir", self.offload(), env=self.environment())
            self.assertEqual(made.returncode, 0, made.stderr)

    def offload(self):
        folder = os.path.join(harness._cache, "offload")
        os.makedirs(folder, exist_ok=True)
        return folder

    def environment(self):
        return environment(XDG_CACHE_HOME=Plan.profile)

    def plan(self, *arguments):
        done = self.succeed("plan", *arguments, "--offload-dir", self.offload(), "--json", env=self.environment())
        return json.loads(done.stdout)

    def test_nothing_is_packed_or_run(self):
        told = self.plan("opt-175b", "--synthetic", "--compress-weight", "--host-memory", "20G", "--num-prompts", "8")
        self.assertGreater(told["model"]["weight_bytes"], 90 * GIB)
        self.assertGreater(told["predicted"]["seconds"], 0)
        self.assertLessEqual(told["predicted"]["host_bytes"], 20 * GIB)
        # Every step reads what does not stay.
        streamed = told["model"]["weight_bytes"] - told["model"]["resident_weight_bytes"]
        self.assertGreater(told["predicted"]["bytes_read"], 0.9 * streamed * told["predicted"]["steps"])
        self.assertEqual([name for name in os.listdir(self.offload()) if "175b" in name], [])

    def test_more_of_the_machine_is_never_worse(self):
        told = self.plan("opt-6.7b", "--synthetic", "--host-memory", "3G", "--num-prompts", "64")
        for changed in told["with"].values():
            self.assertLessEqual(changed["seconds"], 1.05 * told["predicted"]["seconds"])
        self.assertEqual(set(told["with"]), {"one_more_gib", "second_disk"})

    def test_a_person_reads_it(self):
        told = self.succeed("plan", "opt-1.3b", "--synthetic", "--host-memory", "2G", "--offload-dir",
                            self.offload(), env=self.environment()).stdout.decode()
        for words in ("weights", "KV cache", "expected", "tokens a second", "bound by ", "one GiB more", "second disk"):
            self.assertIn(words, told)

    def test_without_a_profile_it_says_how_to_get_one(self):
        done = self.succeed("plan", MODEL, "--offload-dir", self.offload(),
                            env=environment(XDG_CACHE_HOME=self.path("empty")))
        self.assertIn(b"flexgen profile", done.stdout)
        told = self.succeed("plan", MODEL, "--offload-dir", self.offload(), "--json",
                            env=environment(XDG_CACHE_HOME=self.path("empty")))
        self.assertIsNone(json.loads(told.stdout)["predicted"])

    def test_lengths_come_from_the_file(self):
        rows = [{"custom_id": str(i), "method": "POST", "url": "/v1/completions",
                 "body": {"model": "m", "prompt": [1 + i % 9] * 20, "max_tokens": 5}} for i in range(600)]
        write_rows(self.path("in.jsonl"), rows)
        predicted = self.plan(MODEL, "-i", self.path("in.jsonl"))["predicted"]
        tokens = predicted["seconds"] * predicted["prompt_tokens_per_s"]
        self.assertAlmostEqual(tokens, 600 * 20, delta=0.001 * 600 * 20)
        self.assertAlmostEqual(predicted["seconds"] * predicted["generated_tokens_per_s"], 600 * 5, delta=3)

    def test_a_policy_is_saved_edited_and_given_back(self):
        path = self.path("policy.json")
        job = ("tinyllama-1.1b", "--synthetic", "--host-memory", "1G", "--num-prompts", "32")
        self.plan(*job, "--save-policy", path)
        with open(path) as file:
            policy = json.load(file)
        policy["max_num_seqs"] = 3
        policy["max_num_batched_tokens"] = 70
        del policy["kv_device_pages"]
        with open(path, "w") as file:
            json.dump(policy, file)
        again = self.plan(*job, "--policy", path)["policy"]
        self.assertEqual((again["max_num_seqs"], again["max_num_batched_tokens"]), (3, 70))
        # An option says it more plainly than the file.
        self.assertEqual(self.plan(*job, "--policy", path, "--max-num-seqs", "2")["policy"]["max_num_seqs"], 2)
        with open(path, "w") as file:
            file.write('{"max_num_seq": 3}')
        wrong = run("plan", *job, "--offload-dir", self.offload(), "--policy", path)
        self.assertNotEqual(wrong.returncode, 0)
        self.assertIn(b"max_num_seq", wrong.stderr)

    def test_a_policy_that_is_given_back_stays_as_it_is(self):
        path = self.path("policy.json")
        jobs = (("tinyllama-1.1b", "--synthetic", "--host-memory", "1G", "--num-prompts", "32"),
                # keys and values on the disk: frames
                ("opt-1.3b", "--synthetic", "--host-memory", "900M", "--num-prompts", "64", "--prompt-len", "1024"))
        for job in jobs:
            policy = self.plan(*job, "--save-policy", path)["policy"]
            again = self.plan(*job, "--policy", path)["policy"]
            # What the process holds itself is not always the same.
            for key, near in (("device_weight_bytes", 1 << 20), ("resident_share", 0.001)):
                self.assertAlmostEqual(again.pop(key), policy.pop(key), delta=near)
            self.assertEqual(again, policy)

    def test_rings_and_order_can_be_fixed(self):
        path = self.path("policy.json")
        with open(path, "w") as file:
            json.dump({"kv_disk_pages": 600, "kv_frames": 3, "kv_frame_pages": 80, "ring_bytes": 50000000,
                       "row_order": "longest"}, file)
        policy = self.plan("opt-1.3b", "--synthetic", "--host-memory", "900M", "--num-prompts", "64", "--policy", path)["policy"]
        self.assertEqual([policy[key] for key in ("kv_frames", "kv_frame_pages", "ring_bytes", "row_order")],
                         [3, 80, 50000000, "longest"])

    def test_a_run_in_another_order_takes_the_steps_that_were_expected(self):
        """Prompts of uneven lengths, one at a time: the tokens are those of any order."""
        path = self.path("policy.json")
        steps = {}
        for order in ("input", "longest"):
            with open(path, "w") as file:
                json.dump({"row_order": order, "max_num_seqs": 3, "max_num_batched_tokens": 16}, file)
            done = self.succeed("bench", MODEL, "--num-prompts", "9", "--input-len-range", "4:40", "--gen-len", "5",
                                "--json", "--offload-dir", self.offload(), "--policy", path, "--stats",
                                self.path("stats.json"), env=self.environment())
            figures = json.loads(done.stdout)
            self.assertEqual(figures["policy"]["row_order"], order)
            with open(self.path("stats.json")) as file:
                steps[order] = json.load(file)["tokens"]["steps"]
            self.assertEqual(figures["predicted"]["steps"], steps[order])
        self.assertNotEqual(steps["input"], steps["longest"])

    def test_what_is_refused_runs_with_the_flag_that_is_named(self):
        job = ("opt-1.3b", "--synthetic", "--max-model-len", "2048", "--offload-dir", self.offload())
        refused = run("plan", *job, "--host-memory", "60M", env=self.environment())
        self.assertEqual(refused.returncode, 1)
        message = refused.stderr.decode()
        self.assertIn("--host-memory", message)
        least = re.search(r"at least ([0-9.]+) MiB", message)
        self.assertIsNotNone(least, message)
        # What the process holds itself comes on top.
        enough = f"{int(float(least.group(1))) + 80}M"
        self.succeed("plan", *job, "--host-memory", enough, env=self.environment())

    def test_a_run_tells_what_was_expected_of_it(self):
        done = self.succeed("bench", MODEL, "--num-prompts", "4", "--prompt-len", "20", "--gen-len", "4", "--json",
                            "--offload-dir", self.offload(), env=self.environment())
        figures = json.loads(done.stdout)
        self.assertGreater(figures["predicted"]["generated_tokens_per_s"], 0)
        self.assertGreater(figures["predicted"]["pace"], 0)
        self.assertAlmostEqual(figures["predicted"]["bytes_read"], figures["bytes_read"], delta=0.1 * figures["bytes_read"])

    def kept_job(self, *options):
        self.succeed("batch", MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"), "--overwrite", "--dtype", "f32",
                     "--stats", self.path("stats.json"), "--offload-dir", self.offload(), "--speculation", "false", *options,
                     env=self.environment())
        with open(self.path("stats.json")) as file:
            return json.load(file)

    def common_rows(self):
        """An instruction of five pages and three tokens; rows that part within a page."""
        draw = random.Random(3)
        common = [draw.randrange(3, 300) for _ in range(5 * 32 + 3)]
        write_rows(self.path("in.jsonl"), [
            harness.row(f"r{i}", prompt=common + [3 + i] + [draw.randrange(3, 300) for _ in range(i)], max_tokens=1,
                        temperature=0) for i in range(12)])

    def test_what_is_copied_is_foreseen(self):
        self.common_rows()
        stats = self.kept_job()
        self.assertEqual(stats["tokens"]["prompt_copied"], 11 * 3)
        self.assertEqual(stats["predicted"]["copied_tokens"], stats["tokens"]["prompt_copied"])
        self.assertEqual(stats["predicted"]["shared_tokens"], stats["tokens"]["prompt_shared"])

    def test_what_is_kept_of_earlier_jobs_is_foreseen(self):
        self.common_rows()
        kept = self.path("kept")
        look = (MODEL, "-i", self.path("in.jsonl"), "--dtype", "f32", "--prefix-cache", kept)
        self.assertEqual(self.plan(*look)["predicted"]["kept_tokens"], 0)
        self.assertFalse(os.path.exists(kept))
        first = self.kept_job("--prefix-cache", kept)
        self.assertEqual(first["predicted"]["kept_tokens"], 0)
        files = {path: os.stat(path).st_mtime_ns for path in glob.glob(kept + "/*/*")}
        told = self.plan(*look)["predicted"]
        self.assertEqual(told["kept_tokens"], 5 * 32)
        self.assertEqual(files, {path: os.stat(path).st_mtime_ns for path in glob.glob(kept + "/*/*")})
        second = self.kept_job("--prefix-cache", kept)
        self.assertEqual(second["prefix_cache"]["loaded_tokens"], 5 * 32)
        for predicted in (told, second["predicted"]):
            self.assertEqual(predicted["kept_tokens"], 5 * 32)
            self.assertEqual(predicted["kept_tokens"] + predicted["shared_tokens"], second["tokens"]["prompt_shared"])
        self.assertIn(b"160 of ", self.succeed("plan", *look, "--offload-dir", self.offload(), env=self.environment()).stdout)
        # Of another arithmetic nothing is kept.
        self.assertEqual(self.plan(*look, "--dtype", "bf16")["predicted"]["kept_tokens"], 0)

    def test_what_is_kept_of_a_model_that_is_not_packed_is_not_known(self):
        self.common_rows()
        done = self.succeed("plan", MODEL, "-i", self.path("in.jsonl"), "--prefix-cache", self.path("kept"), "--offload-dir",
                            self.path("empty"), "--json", env=self.environment())
        self.assertIn(b"not packed yet", done.stderr)
        self.assertEqual(glob.glob(self.path("empty") + "/*"), [])

    def test_a_folder_that_is_none_is_refused(self):
        with open(self.path("file"), "w"):
            pass
        refused = run("plan", MODEL, "--prefix-cache", self.path("file/kept"), "--offload-dir", self.offload())
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"--prefix-cache", refused.stderr)

    def slow_disk(self):
        """The machine with a disk of 10 MB/s."""
        folder = self.path("slow")
        shutil.copytree(Plan.profile, folder, dirs_exist_ok=True)
        for path in glob.glob(folder + "/flexgen/profiles/*.json"):
            with open(path) as file:
                profile = json.load(file)
            profile["disk_read"] = 1e7
            with open(path, "w") as file:
                json.dump(profile, file)
        return environment(XDG_CACHE_HOME=folder)

    def test_steps_with_room_for_drafts_are_told(self):
        """A model that is read from the disk waits in each step that only decodes; bench does not speculate by itself."""
        def plan(*words):
            return self.succeed("plan", "tinyllama-1.1b", "--synthetic", "--host-memory", "600M", "--num-prompts", "1",
                                "--prompt-len", "20", "--gen-len", "9", "--offload-dir", self.offload(), *words,
                                env=self.slow_disk()).stdout
        told = json.loads(plan("--speculation", "true", "--json"))["predicted"]
        self.assertEqual((told["bound_by"], told["drafting_steps"]), ("disk", 8))
        self.assertEqual(json.loads(plan("--speculation", "false", "--json"))["predicted"]["drafting_steps"], 0)
        self.assertIn(b"--speculation", plan("--speculation", "true"))

    def test_what_the_cache_writes_to_the_disk_is_foreseen(self):
        """Rows that grow beyond what memory has, two times over; pages that are kept for others are foreseen on average only."""
        with open(self.path("policy.json"), "w") as file:
            json.dump({"kv_device_pages": 12, "kv_disk_pages": 18, "row_order": "input"}, file)
        for shares, near in (("false", 0), ("true", 0.2)):
            done = self.succeed("bench", MODEL, "--num-prompts", "12", "--prompt-len", "40", "--gen-len", "70", "--max-num-seqs",
                                "6", "--policy", self.path("policy.json"), "--json", "--offload-dir", self.offload(), "--stats",
                                self.path("stats.json"), "--prefix-sharing", shares, env=self.environment())
            predicted = json.loads(done.stdout)["predicted"]["bytes_written"]
            with open(self.path("stats.json")) as file:
                written = json.load(file)["tiers"]["disk"]["kv_bytes_written"]
            self.assertGreater(written, 0)
            self.assertAlmostEqual(predicted, written, delta=near * written, msg=f"shares {shares}")

    def test_a_batch_plans_by_its_rows(self):
        rows = [{"custom_id": str(i), "method": "POST", "url": "/v1/completions",
                 "body": {"model": "m", "prompt": [1 + i % 9] * 20, "max_tokens": 5}} for i in range(20)]
        write_rows(self.path("in.jsonl"), rows)
        self.succeed("batch", MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"), "--stats",
                     self.path("stats.json"), "--offload-dir", self.offload(), env=self.environment())
        self.assertEqual(len(read_rows(self.path("out.jsonl"))), 20)
        with open(self.path("stats.json")) as file:
            stats = json.load(file)
        self.assertEqual(stats["predicted"]["steps"], stats["tokens"]["steps"])
        self.assertEqual(stats["policy"]["max_model_len"], 25)  # no row is longer


if __name__ == "__main__":
    harness.main()
