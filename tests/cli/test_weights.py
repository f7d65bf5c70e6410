"""How matrices are held: --weight-dtype int8 and int4, their groups, and FlexGen's --compress-weight."""
import json
import os

import harness
from harness import Case, read_rows, row, small_disk, write_rows

# Blocks of several types and rows of 64 values, and a folder whose rows are no groups.
GGUF = os.path.join(harness.ORACLE, "models", "gguf-llama-mixed.gguf")
ODD = harness.MODEL
# Every tensor of a layer has another type, none of which is laid out in a way that pads it.
BLOCKS = os.path.join(harness.ORACLE, "models", "gguf-llama-blocks.gguf")
# Options, the type that rows of 64 values get, and how far log-probabilities may be from the checkpoint's own in the
# mean. The random weights of the tiny model amplify what is lost: rounding to bf16 moves them by 0.02, wrong weights
# by 3.
WISHES = [(["--weight-dtype", "int8"], "i8g64", 0.1),
          (["--weight-dtype", "int8", "--weight-group", "32"], "q8_0", 0.1),
          (["--weight-dtype", "int8", "--weight-group", "64", "--weight-symmetric", "false"], "i8g64m", 0.1),
          (["--weight-dtype", "int8", "--weight-group", "channel"], "i8g64", 0.1),
          (["--weight-dtype", "int4"], "i4g64m", 1.0),
          (["--compress-weight"], "i4g64m", 1.0),
          (["--compress-weight", "--weight-group", "32"], "q4_1", 1.0),
          (["--weight-dtype", "int4", "--weight-symmetric", "true"], "i4g64", 1.0),
          (["--weight-dtype", "int4", "--weight-group", "channel", "--weight-symmetric", "true"], "i4g64", 1.0)]


SHAPE = ["opt-125m", "--synthetic", "--compress-weight"]
LAYERS = 12


class Weights(Case):
    def packed(self, *arguments):
        return json.loads(self.succeed("inspect", "--json", *arguments).stdout)["packed_weights"]

    def logprobs(self, name, *options):
        write_rows(self.path("in.jsonl"), [row("a", prompt=list(range(5, 37)), max_tokens=0, echo=True, logprobs=1)])
        self.succeed("batch", GGUF, "-i", self.path("in.jsonl"), "-o", self.path(name), "--offload-dir",
                     self.path("stores"), *options)
        return read_rows(self.path(name))[0]["response"]["body"]["choices"][0]["logprobs"]["token_logprobs"][1:]

    def test_matrices_take_the_type_and_tables_keep_theirs(self):
        own = self.packed(GGUF)
        for options, dtype, _ in WISHES:
            found = self.packed(GGUF, *options)
            self.assertIn(dtype, found, options)
            self.assertLess(sum(found.values()) - found[dtype], sum(own.values()), options)

    def test_results_stay_near_the_checkpoints(self):
        own = self.logprobs("own", "--dtype", "f32")
        for i, (options, _, allowed) in enumerate(WISHES):
            for dtype in ("f32", "int8"):
                got = self.logprobs(f"{i}-{dtype}", "--dtype", dtype, *options)
                mean = sum(abs(a - b) for a, b in zip(got, own)) / len(own)
                self.assertLess(mean, allowed + (0.1 if dtype == "int8" else 0), (options, dtype))

    def test_rows_that_are_no_groups_keep_their_type(self):
        self.assertEqual(self.packed(ODD, "--weight-dtype", "int4").keys(), {"f32"})
        done = self.succeed("pack", ODD, "--weight-dtype", "int8", "--store", self.path("stores"), "-v")
        self.assertIn(b"matrices keep their own type", done.stderr)

    def test_each_choice_has_a_store_of_its_own(self):
        stores = {self.succeed("pack", GGUF, *options, "--store", self.path("stores")).stdout
                  for options, _, _ in WISHES}
        self.assertEqual(len(stores), len(WISHES) - 1)  # --compress-weight says the same as int4
        self.succeed("store", "verify", "--offload-dir", self.path("stores"))

    def test_matrices_of_different_types_keep_their_own_bits(self):
        store = self.succeed("pack", BLOCKS, "--store", self.path("stores")).stdout.decode().rstrip("\n")
        held = [json.loads(self.succeed("inspect", "--json", path).stdout)["weights"] for path in (BLOCKS, store)]
        self.assertEqual(*held)

    def test_a_shape_is_made_in_codes(self):
        store = self.succeed("pack", "opt-125m", "--synthetic", "--compress-weight", "--store",
                             self.path("stores")).stdout.decode().rstrip("\n")
        self.assertLess(os.path.getsize(store), 140 << 20)  # 330 MiB in bf16, 73 of it in the table
        found = self.packed(store)
        self.assertGreater(found["i4g64m"], 40 << 20)
        self.assertGreater(found["i8g128"], 70 << 20)  # table and head

    def test_layers_of_a_shape_may_share_their_bytes(self):
        done = self.succeed("pack", *SHAPE, "--alias-layers", "2", "--store", self.path("stores"))
        self.assertIn(b"10 of 12 layers are aliased", done.stderr)
        store = done.stdout.decode().rstrip("\n")
        self.succeed("store", "verify", "--offload-dir", self.path("stores"))
        listed, = json.loads(self.succeed("store", "list", "--json", "--offload-dir", self.path("stores")).stdout)
        self.assertEqual((listed["aliased_layers"], listed["bytes"]), (LAYERS - 2, os.path.getsize(store)))
        shown = self.succeed("store", "list", "--offload-dir", self.path("stores")).stdout
        self.assertIn(b"apparent size, 10 layers are aliased", shown)
        found = json.loads(self.succeed("inspect", "--json", store).stdout)
        self.assertEqual(found["aliased_layers"], LAYERS - 2)
        self.assertIn(b"10 layers share the bytes of others", self.succeed("inspect", store).stdout)
        whole = json.loads(self.succeed("inspect", "--json", *SHAPE).stdout)["packed_bytes"]
        self.assertEqual(found["packed_bytes"], whole)
        self.assertLess(abs(listed["apparent_bytes"] - whole), 1 << 20)  # manifest and assets
        self.assertLess(listed["bytes"], whole * 0.8)

    def test_aliased_layers_are_read_as_if_they_were_there(self):
        job = ["--prompt-len", "8", "--gen-len", "3", "--num-prompts", "1", "--host-memory", "120M", "--offload-dir",
               self.path("stores"), "--json"]
        stats = []
        for more, aliased in (([], 0), (["--alias-layers", "1"], LAYERS - 1)):
            run = json.loads(self.succeed("bench", *SHAPE, *job, "--stats", self.path("stats"), *more).stdout)
            with open(self.path("stats")) as file:
                stats.append(json.load(file))
            self.assertEqual((run.get("aliased_layers", 0), stats[-1]["model"]["aliased_layers"]), (aliased, aliased))
        own, shared = (part["model"] for part in stats)
        self.assertEqual(own["stored_weight_bytes"], own["weight_bytes"])
        self.assertEqual(shared["weight_bytes"], own["weight_bytes"])
        self.assertLess(shared["stored_weight_bytes"], own["stored_weight_bytes"])
        # What is read ahead behind the last step may differ.
        read, wanted = (part["tiers"]["disk"]["weight_bytes_streamed"] for part in reversed(stats))
        self.assertLess(abs(read - wanted), wanted * 0.2)

    def test_a_small_disk_gets_as_many_layers_as_fit(self):
        with small_disk("130m") as disk:
            if not disk:
                self.skipTest("cannot mount a file system")
            first = self.succeed("pack", *SHAPE, "--store", disk)  # 122 MiB in all
            self.assertIn(b"layers are aliased", first.stderr)
            again = self.succeed("pack", *SHAPE, "--store", disk)
            self.assertEqual(again.stdout, first.stdout)  # though less room is left now
            self.assertIn(b"layers are aliased", again.stderr)
            self.succeed("store", "clear", "--offload-dir", disk)
            self.assertEqual(os.listdir(disk), [])

    def test_layers_of_a_model_stand_for_themselves(self):
        self.assertIn("--alias-layers", self.fail_with(1, "pack", GGUF, "--alias-layers", "1"))

    def test_words_that_do_not_go_together_are_usage_errors(self):
        for options, said in ((["--compress-weight", "--weight-dtype", "bf16"], "--compress-weight means int4"),
                              (["--weight-group", "64"], "--weight-group goes with"),
                              (["--weight-symmetric", "true", "--weight-dtype", "f32"], "--weight-symmetric goes with"),
                              (["--weight-group", "48", "--weight-dtype", "int4"], "--weight-group needs one of")):
            self.assertIn(said, self.fail_with(2, "pack", GGUF, *options))


if __name__ == "__main__":
    harness.main()
