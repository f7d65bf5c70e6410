"""What the command says and returns before any model is opened."""
import json
import os
import re
import sys

import harness
from harness import Case, run

COMMANDS = ["batch", "wrangle", "generate", "bench", "serve", "plan", "eval", "pack", "inspect", "store", "tokenize", "pull",
            "profile", "devices", "report"]
FOREIGN = ["helm"]  # written in Python, outside of this build
RUNNING = ["batch", "wrangle", "generate", "bench", "eval", "serve"]


def options_in_help(command):
    text = run(command, "--help").stdout.decode()
    return set(re.findall(r"^ +(?:-\w, )?--([a-z0-9-]+)", text, re.M))


class Help(Case):
    def test_help_names_every_command_on_standard_output(self):
        done = self.succeed("--help")
        listed = re.findall(r"^  (\w+) ", done.stdout.decode(), re.M)
        self.assertEqual((listed, done.stderr), (COMMANDS + FOREIGN, b""))

    def test_version_is_the_projects(self):
        with open(os.path.join(harness.ROOT, "CMakeLists.txt")) as file:
            version = re.search(r"project\(flexgen VERSION ([0-9.]+)", file.read())[1]
        self.assertEqual(self.succeed("--version").stdout.decode(), f"flexgen {version}\n")

    def test_each_commands_help_wins_over_other_errors(self):
        for command in COMMANDS:
            self.assertIn(f"flexgen {command}", self.succeed(command, "--help").stdout.decode())
            self.succeed(command, "-h")
            self.succeed(command, "one", "two", "--help")

    def test_help_fits_a_terminal(self):
        for command in COMMANDS:
            for line in self.succeed(command, "--help").stdout.decode().splitlines():
                self.assertLessEqual(len(line), 84, line)

    def test_commands_that_run_a_model_take_the_same_options(self):
        common = set.intersection(*map(options_in_help, RUNNING))
        wanted = {"host-memory", "device", "device-memory", "offload-dir", "dtype", "weight-dtype", "cache-dtype",
                  "weight-group", "weight-symmetric", "compress-weight", "compress-cache", "attn-sparsity",
                  "percent", "gpu-batch-size", "num-gpu-batches", "max-num-seqs", "max-num-batched-tokens",
                  "max-model-len", "overlap", "sep-layer", "pin-weight", "threads", "deterministic", "trace",
                  "stats", "quiet", "verbose", "no-progress", "color", "json", "synthetic", "io", "seed"}
        self.assertEqual(wanted - common, set())

    def test_manual_and_help_list_the_same_options(self):
        with open(os.path.join(harness.ROOT, "docs", "command-line.md")) as file:
            manual = set(re.findall(r"`--([a-z0-9-]+)", file.read())) - {"help", "version"}
        helped = set().union(*map(options_in_help, COMMANDS)) - {"help"}
        self.assertEqual(manual ^ helped, set())


class Foreign(Case):
    """flexgen helm, with a Python that shows how it was called."""

    def test_arguments_and_this_command_are_handed_to_python(self):
        fake = self.path("python")
        with open(fake, "w") as file:
            file.write('#!/bin/sh\necho "$FLEXGEN_COMMAND"; echo "$1"; shift 2; printf "%s\\n" "$@"; exit 7\n')
        os.chmod(fake, 0o755)
        done = run("helm", "run", "--help", "a b", env=harness.environment(FLEXGEN_PYTHON=fake))
        self.assertEqual((done.returncode, done.stdout.decode().splitlines()),
                         (7, [os.path.realpath(harness.flexgen), "-c", "run", "--help", "a b"]))

    def test_missing_package_is_told(self):
        bare = self.path("python")
        with open(bare, "w") as file:
            file.write(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
        os.chmod(bare, 0o755)
        done = run("helm", "run", env=harness.environment(FLEXGEN_PYTHON=bare))
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done.stderr.decode())
        self.assertIn(b"pip install flexgen-engine[helm]", done.stderr)

    def test_missing_python_is_told(self):
        done = run("helm", env=harness.environment(FLEXGEN_PYTHON=self.path("nothing")))
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done.stderr.decode())


class Usage(Case):
    def one_line(self, *arguments):
        said = self.fail_with(2, *arguments)
        self.assertEqual(said.count("\n"), 1, said)
        return said

    def test_nothing_to_do_is_a_usage_error(self):
        self.assertIn("Usage:", self.fail_with(2))

    def test_unknown_command_gets_a_suggestion(self):
        self.assertIn("did you mean batch?", self.one_line("bacth"))
        self.assertNotIn("did you mean", self.one_line("xylophone"))

    def test_unknown_option_gets_a_suggestion(self):
        self.assertIn("did you mean --prompt-len?", self.one_line("bench", "m", "--promt-len", "3"))

    def test_option_names_are_exact(self):
        self.one_line("bench", "m", "--prompt", "3")
        self.one_line("batch", "m", "--host", "1G")

    def test_options_of_later_versions_do_not_exist(self):
        for option in ("--cpu-cache-compute", "--simulate=t4", "--attn-sparsity=0.5"):
            self.one_line("batch", "m", option)

    def test_values_of_later_versions_are_refused(self):
        for option in ("--dtype=int4", "--weight-dtype=int2", "--cache-dtype=int2", "--device=cuda"):
            self.assertIn("needs one of", self.one_line("batch", "m", option))

    def test_bad_values_are_refused_by_name(self):
        for option, value in (("host-memory", "lots"), ("host-memory", "-1G"), ("host-memory", "0"),
                              ("gpu-batch-size", "0"), ("gpu-batch-size", "1.5"), ("threads", "99999"),
                              ("max-num-seqs", "4294967296"), ("seed", "-1"), ("seed", "18446744073709551616"),
                              ("shard", "2/2"), ("shard", "1"), ("overlap", "perhaps"), ("color", "pink"),
                              ("stats", "")):
            said = self.one_line("batch", "m", f"--{option}={value}")
            self.assertIn(f"--{option} needs", said)

    def test_missing_value_is_a_usage_error(self):
        self.assertIn("--output needs a value", self.one_line("batch", "m", "-i", "in", "-o"))

    def test_flag_takes_no_value(self):
        self.assertIn("--quiet takes no value", self.one_line("batch", "m", "--quiet=yes"))

    def test_percent_needs_six_numbers(self):
        said = self.one_line("batch", "m", "--percent", "100", "0", "100")
        self.assertTrue(said.startswith("flexgen batch: --percent needs six numbers"), said)
        self.one_line("batch", "m", "--percent=100")
        self.one_line("batch", "m", "--percent", "100", "0", "100", "0", "100", "-i")

    def test_percent_pairs_are_at_most_100(self):
        self.assertIn("more than 100", self.one_line("batch", "m", "--percent", "0", "0", "60", "50", "0", "0"))

    def test_range_is_low_to_high(self):
        for value in ("5", "9:5", "0:5", "1:2:3", ":", "a:b"):
            self.one_line("bench", "m", f"--input-len-range={value}")

    def test_model_is_wanted_once(self):
        self.assertIn("MODEL is missing", self.one_line("batch", "-i", "a", "-o", "b"))
        self.assertIn("one too many", self.one_line("batch", "m", "n", "-i", "a", "-o", "b"))

    def test_double_dash_ends_options(self):
        self.assertIn("one too many", self.one_line("batch", "m", "--", "--quiet"))

    def test_batch_wants_input_and_output(self):
        self.assertIn("-i IN.jsonl", self.one_line("batch", "m", "-o", "b"))
        self.assertIn("-o OUT.jsonl", self.one_line("batch", "m", "-i", "a"))

    def test_resume_and_overwrite_exclude_each_other(self):
        self.one_line("batch", "m", "-i", "a", "-o", "b", "--resume", "--overwrite")

    def test_statistics_and_rows_do_not_share_standard_output(self):
        self.one_line("batch", "m", "-i", "a", "-o", "-", "--json")

    def test_store_wants_an_action(self):
        self.one_line("store")
        self.one_line("store", "burn")


class Failures(Case):
    def test_missing_model_is_a_run_time_failure_in_one_line(self):
        said = self.fail_with(1, "inspect", self.path("nowhere"))
        self.assertEqual(said.count("\n"), 1, said)
        self.assertIn("nowhere", said)

    def test_color_follows_the_rules(self):
        def colored(env, *more):
            return b"\033[" in run("inspect", self.path("nowhere"), *more, env=harness.environment(**env)).stderr
        self.assertFalse(colored({"TERM": "xterm"}))  # no terminal
        self.assertTrue(colored({"TERM": "xterm"}, "--color", "always"))
        self.assertFalse(colored({"TERM": "xterm"}, "--color", "never"))

    def test_full_standard_output_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            done = harness.subprocess.run([harness.flexgen, "--help"], stdout=full, stderr=-1)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"No space left", done.stderr)


class Stores(Case):
    def test_empty_offload_dir_has_no_stores(self):
        done = self.succeed("store", "list", "--json", "--offload-dir", self.path("new"))
        self.assertEqual(json.loads(done.stdout), [])

    def test_default_offload_dir_is_the_users_cache(self):
        done = self.succeed("store", "list", env=harness.environment(XDG_CACHE_HOME=self.folder))
        self.assertIn(self.path("flexgen"), done.stderr.decode())
        self.assertTrue(os.path.isdir(self.path("flexgen")))

    def test_quiet_says_nothing(self):
        done = self.succeed("store", "list", "--quiet", "--offload-dir", self.folder)
        self.assertEqual((done.stdout, done.stderr), (b"", b""))

    def test_unknown_store_is_named(self):
        self.assertIn("gone", self.fail_with(1, "store", "verify", "gone", "--offload-dir", self.folder))

    def test_offload_dir_that_cannot_be_made_is_a_failure(self):
        with open(self.path("file"), "w"):
            pass
        self.assertIn("--offload-dir", self.fail_with(1, "store", "list", "--offload-dir", self.path("file/dir")))


if __name__ == "__main__":
    harness.main()
