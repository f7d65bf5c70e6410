"""pack --calibrate: weights of 4 bits rounded by what a text says of their inputs, and --weight-head, --weight-embedding."""
import json
import os
import signal

import harness
from harness import Case, start

# Rows of 64 and 96 values, in groups of 64 and 32.
FOLDER = os.path.join(harness.ORACLE, "models", "llama-adapter")
TEXT = "The quick brown fox jumps over the lazy dog, 1234567890 times; then it sleeps.\n" * 20


class Calibrate(Case):
    def setUp(self):
        super().setUp()
        harness.text_model(self.path("model"), model=FOLDER)
        with open(self.path("text"), "w") as file:
            file.write(TEXT)

    def pack(self, *options, text="text"):
        done = self.succeed("pack", self.path("model"), "--weight-dtype", "int4", "--calibrate", self.path(text),
                            "--store", self.path("stores"), *options)
        return done.stdout.decode().rstrip("\n"), done.stderr.decode()

    def stores(self):
        return sorted(n for n in os.listdir(self.path("stores")))

    def test_text_changes_the_store_and_is_run_once(self):
        plain = self.succeed("pack", self.path("model"), "--weight-dtype", "int4", "--store",
                             self.path("stores")).stdout.decode().rstrip("\n")
        first, said = self.pack()
        self.assertIn("calibrating", said)
        again, said = self.pack()
        self.assertEqual(first, again)
        self.assertNotIn("calibrating", said)
        self.assertNotEqual(plain, first)
        with open(self.path("other"), "w") as file:
            file.write(TEXT.upper())
        self.assertNotIn(self.pack(text="other")[0], (plain, first))
        self.assertEqual(os.path.getsize(plain), os.path.getsize(first))
        self.succeed("store", "verify", "--offload-dir", self.path("stores"))

    def test_store_is_the_same_however_it_was_run(self):
        def content(*options):
            with open(self.pack(*options)[0], "rb") as file:
                return file.read()
        one = content("--threads", "1")
        for name in self.stores():
            os.unlink(os.path.join(self.path("stores"), name))
        self.assertEqual(one, content("--threads", "2", "--host-memory", "200M"))

    def test_store_runs(self):
        store, _ = self.pack("--weight-embedding", "int8")
        figures = json.loads(self.succeed("eval", store, "--text", self.path("text"), "--window", "128",
                                          "--json").stdout)
        self.assertGreater(figures["scored_tokens"], 1000)

    def test_what_cannot_calibrate_is_refused_and_leaves_nothing(self):
        with open(self.path("empty"), "w"):
            pass
        for text, said in (("nowhere", "cannot open"), ("empty", "0 tokens")):
            self.assertIn(said, self.fail_with(1, "pack", self.path("model"), "--weight-dtype", "int4", "--calibrate",
                                               self.path(text), "--store", self.path("stores")))
            self.assertFalse(os.path.exists(self.path("stores")))
        for options in ([], ["--weight-dtype", "int8"]):
            self.assertIn("--calibrate goes with --weight-dtype int4",
                          self.fail_with(2, "pack", self.path("model"), "--calibrate", self.path("text"), *options))
        self.assertIn("cannot read a text",
                      self.fail_with(1, "pack", "opt-125m", "--synthetic", "--compress-weight", "--calibrate",
                                     self.path("text"), "--store", self.path("stores")))
        store, _ = self.pack()
        self.assertIn("rounded while packing", self.fail_with(1, "pack", store, "--weight-dtype", "int4", "--calibrate",
                                                              self.path("text"), "--store", self.path("stores")))

    def test_interrupted_calibration_leaves_no_store_of_its_own(self):
        with open(self.path("long"), "w") as file:
            file.write(TEXT * 400)
        running = start("pack", self.path("model"), "--weight-dtype", "int4", "--calibrate", self.path("long"),
                        "--store", self.path("stores"), "--threads", "1")
        for line in running.stderr:
            if b"on cpu:" in line:  # the model is open
                running.send_signal(signal.SIGINT)
                break
        running.communicate()
        self.assertEqual(running.returncode, -signal.SIGINT)
        self.assertEqual(len(self.stores()), 1)  # of the checkpoint's own types
        self.assertEqual([n for n in self.stores() if n.endswith(".tmp")], [])
        self.pack()
        self.assertEqual(len(self.stores()), 2)

    def test_head_and_embedding_take_the_type_they_are_given(self):
        def held(*options):
            store = self.succeed("pack", self.path("model"), "--weight-dtype", "int4", "--store", self.path("stores"),
                                 *options).stdout.decode().rstrip("\n")
            return json.loads(self.succeed("inspect", "--json", store).stdout)["packed_weights"].keys()
        self.assertEqual(held(), {"i4g64m", "q4_1", "i8g64", "f32"})
        self.assertEqual(held("--weight-head", "same", "--weight-embedding", "same"), {"i4g64m", "q4_1", "f32"})
        self.assertEqual(held("--weight-head", "bf16", "--weight-embedding", "int8"),
                         {"i4g64m", "q4_1", "bf16", "i8g64", "f32"})


if __name__ == "__main__":
    harness.main()
