"""What of the HELM plug-in needs no HELM: requests as rows and keys, names, MMLU's files, the command line."""
import contextlib
import io
import json
import os

from package import PackageCase
import flexgen
import harness
from flexgen.helm import __main__ as command
from flexgen.helm import requests, run

REQUEST = {"model_deployment": "a/b", "model": "a/b", "prompt": "2 + 2 =", "temperature": 0, "max_tokens": 5,
           "stop_sequences": ["\n"]}


class Requests(PackageCase):
    def test_what_is_missing_has_helms_default(self):
        whole = {**REQUEST, "num_completions": 1, "top_k_per_token": 1, "echo_prompt": False, "top_p": 1,
                 "presence_penalty": 0, "frequency_penalty": 0, "random": None, "embedding": False, "messages": None}
        self.assertEqual(requests.key(whole), requests.key(REQUEST))

    def test_kinds_of_numbers_make_no_difference(self):
        self.assertEqual(requests.key({**REQUEST, "temperature": 0.0, "top_p": 1.0}), requests.key(REQUEST))

    def test_every_field_makes_a_difference(self):
        others = {"prompt": "2 + 3 =", "temperature": 0.5, "num_completions": 2, "top_k_per_token": 5, "max_tokens": 6,
                  "stop_sequences": [], "echo_prompt": True, "top_p": 0.5, "presence_penalty": 1, "frequency_penalty": 1,
                  "random": "1"}
        self.assertEqual(set(others), set(requests.FIELDS))
        keys = {requests.key({**REQUEST, name: value}) for name, value in others.items()}
        self.assertEqual(len(keys | {requests.key(REQUEST)}), len(others) + 1)

    def test_other_models_ask_the_same(self):
        self.assertEqual(requests.key({**REQUEST, "model": "c/d", "model_deployment": "c/d"}), requests.key(REQUEST))

    def test_what_is_no_completion_is_refused_by_name(self):
        for name, value in (("messages", [{"role": "user", "content": "Hi"}]), ("embedding", True)):
            with self.assertRaisesRegex(flexgen.UsageError, name):
                requests.body({**REQUEST, name: value})

    def test_rows_are_taken_by_the_engine(self):
        engine, _ = self.text_engine()
        asked = [REQUEST, {**REQUEST, "echo_prompt": True, "max_tokens": 0, "stop_sequences": []},
                 {**REQUEST, "max_tokens": 1, "top_k_per_token": 5, "stop_sequences": []},
                 {**REQUEST, "temperature": 1, "num_completions": 3, "max_tokens": 1, "presence_penalty": 0.5}]
        bodies = [{**requests.body(request), "logit_bias": {i: -100 for i in range(259, 333)}} for request in asked]
        harness.write_rows(self.path("in.jsonl"), [harness.row(str(i), **body) for i, body in enumerate(bodies)])
        self.assertEqual(engine.batch(self.path("in.jsonl"), self.path("out.jsonl")).failed, 0)
        rows = [row["response"]["body"]["choices"] for row in harness.read_rows(self.path("out.jsonl"))]
        self.assertEqual(rows[1][0]["text"], REQUEST["prompt"])
        self.assertEqual(len(rows[2][0]["logprobs"]["top_logprobs"][0]), 5)
        self.assertEqual(len(rows[3]), 3)


class Entries(PackageCase):
    def entries(self, *entries):
        return run.Benchmark(list(entries), 1, name="flexgen/m").with_model()

    def test_entries_name_the_model(self):
        self.assertEqual(self.entries("dyck", "mmlu:subject=anatomy", "mmlu:model=text,subject=anatomy,x=model"),
                         ["dyck:model=flexgen/m", "mmlu:subject=anatomy,model=flexgen/m",
                          "mmlu:subject=anatomy,x=model,model=flexgen/m"])

    def test_names_are_helms(self):
        self.assertEqual(command.helm_name(None, "./models/Some Model.Q4_1.gguf"), "flexgen/Some-Model.Q4_1")
        self.assertEqual(command.helm_name("a/b", "x"), "a/b")
        for name in ("a", "a/b/c", "/b", "a b/c", "a/b,c"):
            with self.assertRaisesRegex(flexgen.UsageError, "HOST/NAME"):
                command.helm_name(name, "x")


class Mmlu(PackageCase):
    def place(self, folder):
        run._place_mmlu(folder, self.path("out"))

    def make(self, name):
        for split in run.SPLITS:
            os.makedirs(os.path.join(self.path(name), split))
            open(os.path.join(self.path(name), split, f"anatomy_{split}.csv"), "w").close()
        return self.path(name)

    def placed(self):
        return os.path.realpath(os.path.join(self.path("out"), "scenarios", "mmlu", "data"))

    def test_files_are_where_helm_looks(self):
        self.place(self.make("mmlu"))
        self.assertEqual(self.placed(), os.path.realpath(self.path("mmlu")))
        self.place(self.make("other"))
        self.assertEqual(self.placed(), os.path.realpath(self.path("other")))

    def test_the_folder_above_will_do(self):
        self.make("data")
        self.place(self.folder)
        self.assertEqual(self.placed(), os.path.realpath(self.path("data")))

    def test_what_is_missing_is_named(self):
        os.remove(os.path.join(self.make("mmlu"), "val", "anatomy_val.csv"))
        with self.assertRaisesRegex(flexgen.UsageError, "val has none"):
            self.place(self.path("mmlu"))

    def test_files_of_helms_own_are_not_replaced(self):
        os.makedirs(os.path.join(self.path("out"), "scenarios", "mmlu", "data"))
        with self.assertRaisesRegex(flexgen.UsageError, "is there already"):
            self.place(self.make("mmlu"))


class CommandLine(PackageCase):
    def parse(self, *words):
        return command.parser().parse_args(["run", "--model", "m", "-m", "1", *words])

    def refuse(self, *words):
        said = io.StringIO()
        with self.assertRaises(SystemExit) as caught, contextlib.redirect_stderr(said):
            self.parse(*words)
        self.assertEqual(caught.exception.code, 2)
        return said.getvalue()

    def test_flexgens_own_command_line(self):
        found = self.parse("--description", "mmlu:model=text,subject=abstract_algebra", "--pad-to-seq-len", "512",
                           "--percent", "20", "80", "0", "100", "0", "100", "--gpu-batch-size", "48", "--num-gpu-batches",
                           "3", "--max-eval-instance", "100", "--compress-weight", "--pin-weight", "0", "--offload-dir", "d")
        self.assertEqual((found.percent, found.gpu_batch_size, found.max_eval_instances, found.compress_weight,
                          found.pin_weight), ([20, 80, 0, 100, 0, 100], "48", 100, True, False))

    def test_names_are_exact(self):
        self.assertIn("--host-mem", self.refuse("-r", "dyck", "--host-mem", "1G"))
        self.assertIn("neither true nor false", self.refuse("-r", "dyck", "--overlap", "perhaps"))

    def test_metrics_of_the_test_split_are_shown(self):
        def stat(name, value, **more):
            return {"name": {"name": name, "split": "test", **more}, "mean": value}
        with open(self.path("stats.json"), "w") as file:
            json.dump([stat("logprob", -1.5), stat("exact_match", 0.5), stat("exact_match", 0.1, perturbation={"name": "x"}),
                       {"name": {"name": "exact_match", "split": "valid"}, "mean": 0.9}], file)
        self.assertEqual(command.metrics(self.path("stats.json")), ["exact_match 0.5000", "logprob -1.5000"])


if __name__ == "__main__":
    harness.main()
