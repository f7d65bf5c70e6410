"""flexgen pull: which files it takes, where they end up, and how a pulled model is used."""
import json
import os

import fake_hub
import harness
from fake_hub import COMMIT
from harness import run
from pull_case import FILES, NEEDED, WEIGHTS, PullCase


class Layout(PullCase):
    def test_takes_what_a_run_needs_and_prints_where(self):
        folder = self.pull()
        self.assertEqual(folder, os.path.join(self.repo, "snapshots", COMMIT))
        self.check(folder)

    def test_lies_as_huggingface_hub_lays_it(self):
        folder = self.pull()
        for name in NEEDED:
            self.assertEqual(os.readlink(os.path.join(folder, name)), "../../blobs/" + fake_hub.etag(name, FILES[name]))
        self.assertEqual(set(os.listdir(self.repo)), {"blobs", "refs", "snapshots"})
        with open(os.path.join(self.repo, "refs", "main")) as file:
            self.assertEqual(file.read(), COMMIT)
        with open(os.path.join(self.cache, "CACHEDIR.TAG")) as file:
            self.assertTrue(file.read().startswith("Signature: 8a477f597d28d172789f06886806bc55"))

    def test_files_in_folders_point_back_to_the_blobs(self):
        folder = self.pull("org/tiny", "onnx/")
        self.check(folder, {"onnx/model.onnx", "onnx/config.json"})
        self.assertTrue(os.readlink(os.path.join(folder, "onnx", "config.json")).startswith("../../../blobs/"))

    def test_default_cache_is_below_hf_home_or_xdg_cache_home(self):
        for more, where in (({}, self.path("home/hub")), ({"HF_HOME": ""}, self.path("xdg/huggingface/hub")),
                            ({"HF_HOME": "", "XDG_CACHE_HOME": "", "HOME": self.path("me")},
                             self.path("me/.cache/huggingface/hub"))):
            folder = self.pull(**{"HF_HUB_CACHE": "", "XDG_CACHE_HOME": self.path("xdg")} | more)
            self.assertEqual(os.path.dirname(os.path.dirname(os.path.dirname(folder))), where)

    def test_second_pull_asks_for_the_list_only(self):
        self.pull()
        self.hub.requests.clear()
        self.check(self.pull())
        self.assertEqual([path for _, _, path, _ in self.hub.requests],
                         ["/api/models/org/tiny/revision/main?blobs=true"])

    def test_new_commit_brings_only_what_changed(self):
        old = self.pull()
        self.hub.files["config.json"] = b'{"model_type": "opt"}'
        self.hub.revisions["main"] = "f" * 40
        self.hub.requests.clear()
        new = self.pull()
        self.check(new)
        self.assertEqual(self.content(old)["config.json"], FILES["config.json"])
        self.assertEqual((len(self.hub.requests), os.path.basename(new)), (2, "f" * 40))
        with open(os.path.join(self.repo, "refs", "main")) as file:
            self.assertEqual(file.read(), "f" * 40)

    def test_revision_is_a_branch_a_reference_or_a_commit(self):
        for number, name in enumerate(("v1.0", "refs/pr/1")):
            self.hub.revisions[name] = str(number) * 40
            self.assertEqual(os.path.basename(self.pull(f"org/tiny@{name}", "config.json")), str(number) * 40)
            with open(os.path.join(self.repo, "refs", name)) as file:
                self.assertEqual(file.read(), str(number) * 40)
        self.assertEqual(os.path.basename(self.pull(f"org/tiny@{COMMIT}", "config.json")), COMMIT)
        self.assertFalse(os.path.exists(os.path.join(self.repo, "refs", COMMIT)))

    def test_list_without_hashes_is_completed_by_head(self):
        self.hub.lists_blobs = False
        self.check(self.pull())
        self.assertEqual(len([m for _, m, _, _ in self.hub.requests if m == "HEAD"]), len(NEEDED))

    def test_server_whose_tags_are_no_hashes(self):
        self.hub.lists_blobs = False
        self.hub.etags["config.json"] = "v7-of.this_file"
        folder = self.pull("org/tiny", "config.json")
        self.assertEqual(os.readlink(os.path.join(folder, "config.json")), "../../blobs/v7-of.this_file")


class Choice(PullCase):
    def chosen(self, *arguments):
        done = self.succeed("pull", "org/tiny", "--dry-run", "--json", *arguments, env=self.env)
        return {f["name"] for f in json.loads(done.stdout)["files"]}

    def without(self, *names):
        self.hub.files = {n: c for n, c in self.hub.files.items() if n not in names}

    def test_weights_come_in_one_form(self):
        rest = NEEDED - {"model.safetensors"}
        forms = [{"model.safetensors"},
                 {"model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"},
                 {"pytorch_model.bin"},
                 {"pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"}]
        for form in forms[1:]:
            self.hub.files |= {name: b"x" for name in form}
        for form in forms:
            self.assertEqual(self.chosen(), rest | form)
            self.without(*form)

    def test_adapter_is_taken_where_there_is_no_model(self):
        self.hub.files = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x", "adapter_model.bin": b"y",
                          "tokenizer.json": b"{}", "README.md": b""}
        self.assertEqual(self.chosen(), {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"})

    def test_gguf_has_to_be_named(self):
        self.hub.files = {"tiny-q4.gguf": b"x" * 3000, "tiny-q8.gguf": b"x" * 6144, "config.json": b"{}"}
        said = self.refuse()
        for part in ("tiny-q4.gguf (2.9 KiB)", "tiny-q8.gguf (6 KiB)", "flexgen pull org/tiny FILE"):
            self.assertIn(part, said)
        self.assertFalse(os.path.exists(self.cache))
        self.assertEqual(self.chosen("*q4*"), {"tiny-q4.gguf"})

    def test_many_files_fit_one_line(self):
        self.hub.files = {f"a-model-with-a-long-name-{i:03}.gguf": b"x" for i in range(500)}
        said = self.refuse()
        self.assertIn(" more", said)
        self.assertLess(len(said), 600)

    def test_nothing_to_run_is_said(self):
        self.hub.files = {"README.md": b"", "tf_model.h5": b"x"}
        self.assertIn("tf_model.h5", self.refuse())
        self.hub.files = {}
        self.assertIn("holds no files", self.refuse())

    def test_patterns_take_the_place_of_the_choice(self):
        self.assertEqual(self.chosen("*.gguf"), {"tiny-q4.gguf"})
        self.assertEqual(self.chosen("*.gguf", "--include", "onnx/*", "--include=LICENSE"),
                         {"tiny-q4.gguf", "onnx/model.onnx", "onnx/config.json", "LICENSE"})
        self.assertEqual(self.chosen("*config.json"), {"config.json", "generation_config.json", "tokenizer_config.json",
                                                       "onnx/config.json"})

    def test_exclusions_hold_for_either(self):
        self.assertEqual(self.chosen("--exclude", "tok*", "--exclude", "*.safetensors"),
                         {n for n in NEEDED if not n.startswith("tok") and not n.endswith(".safetensors")})
        self.assertEqual(self.chosen("onnx/*", "--exclude", "*.json"), {"onnx/model.onnx"})
        self.assertIn("nothing is left", self.refuse("org/tiny", "--exclude", "*"))

    def test_pattern_without_a_file_is_an_error(self):
        said = self.refuse("org/tiny", "*.safetensors", "*.q5")
        self.assertIn("'*.q5'", said)
        self.assertIn("config.json", said)

    def test_dry_run_lists_sizes_and_writes_nothing(self):
        done = self.succeed("pull", "org/tiny", "--dry-run", env=self.env)
        lines = [line.split() for line in done.stdout.decode().splitlines()]
        self.assertEqual({line[-1] for line in lines}, NEEDED)
        self.assertIn(["300", "KiB", "model.safetensors"], lines)
        self.assertFalse(os.path.exists(self.cache))
        self.pull("org/tiny", "model.safetensors")
        done = self.succeed("pull", "org/tiny", "--dry-run", env=self.env)
        self.assertIn("300 KiB  is there    model.safetensors", done.stdout.decode())


class Use(PullCase):
    def setUp(self):
        super().setUp()
        self.text = harness.text_model(self.path("model"), [5, 6, 7])
        self.hub.files = self.content(self.path("model"))

    def test_pulled_model_runs_by_its_name(self):
        folder = self.pull()
        by_name, by_path = (self.succeed("generate", model, "-p", self.text, "--max-tokens", "4", "--host-memory", "1G",
                                         "--offload-dir", self.path("offload"), env=self.env).stdout
                            for model in ("org/tiny", folder))
        self.assertEqual(by_name, by_path)
        found = json.loads(self.succeed("inspect", "org/tiny", "--json", env=self.env).stdout)
        self.assertEqual((found["supported"], found["name"], found["kind"]), (True, "tiny", "folder"))

    def test_revision_of_the_name_is_found(self):
        self.hub.revisions["v2"] = "2" * 40
        self.pull("org/tiny@v2")
        self.succeed("inspect", "org/tiny@v2", env=self.env)
        self.succeed("inspect", "org/tiny@" + "2" * 40, env=self.env)
        self.assertIn("flexgen pull org/tiny ", self.fail_with(1, "inspect", "org/tiny", env=self.env))

    def test_folder_of_that_name_comes_first(self):
        self.pull()
        os.makedirs(self.path("org"))
        os.rename(self.path("model"), self.path("org/tiny"))
        found = self.succeed("inspect", "org/tiny", "--json", env=self.env, cwd=self.folder)
        self.assertEqual(json.loads(found.stdout)["model"], "org/tiny")

    def test_model_that_was_not_pulled_says_how(self):
        for command in ("inspect", "tokenize", "generate", "pack"):
            more = ["-p", "x"] if command == "generate" else []
            said = self.fail_with(1, command, "org/other", *more, env=self.env)
            self.assertIn("flexgen pull org/other downloads it", said)
            self.assertEqual(said.count("\n"), 1)

    def test_missing_file_is_no_name_of_a_model(self):
        for name in ("org/tiny.gguf", "here", "../up", "a/b/c"):
            self.assertNotIn("flexgen pull", self.fail_with(1, "inspect", name, env=self.env))

    def test_one_gguf_file_is_the_model(self):
        self.hub.files = {"a.gguf": b"GGUF" + WEIGHTS, "b.gguf": b"GGUF"}
        folder = self.pull("org/tiny", "a.gguf")
        found = json.loads(self.succeed("inspect", "org/tiny", "--json", env=self.env).stdout)
        self.assertEqual((found["model"], found["kind"]), (folder + "/a.gguf", "file"))
        self.pull("org/tiny", "b.gguf")
        self.assertIn(folder + "/a.gguf", self.fail_with(1, "inspect", "org/tiny", env=self.env))


class Words(PullCase):
    def test_name_and_revision_are_checked(self):
        for name in ("", "a/b/c", "../x", "a b/c", "org/", "org/na--me", "org/tiny@", "org/tiny@../x", "org/.tiny"):
            self.assertIn("is wanted", self.refuse(name, code=2))
        self.assertIn("missing", run("pull", env=self.env).stderr.decode())
        self.assertEqual(self.hub.requests, [])

    def test_endpoint_and_offline_are_checked(self):
        self.assertIn("HF_ENDPOINT", self.refuse(HF_ENDPOINT="ftp://example.org"))
        self.assertIn("HF_HUB_OFFLINE", self.refuse(HF_HUB_OFFLINE="1"))
        self.pull(HF_ENDPOINT=self.hub.url + "//")

    def test_json_says_what_was_done(self):
        done = self.succeed("pull", "org/tiny", "--json", env=self.env)
        said = json.loads(done.stdout)
        total = sum(len(FILES[n]) for n in NEEDED)
        distinct = sum(map(len, {FILES[n] for n in NEEDED}))  # equal files are one blob
        self.assertEqual((said["commit"], said["bytes"], said["cached"], said["downloaded"]),
                         (COMMIT, total, total, distinct))
        self.assertEqual(self.content(said["path"]).keys(), NEEDED)

    def test_quiet_is_quiet(self):
        done = self.succeed("pull", "org/tiny", "--quiet", env=self.env)
        self.assertEqual(done.stderr, b"")


if __name__ == "__main__":
    harness.main()
