"""Quantised checkpoints and adapters as users give them: what is said, which store is made, what is refused."""
import json
import os
import shutil

import harness
from harness import Case, MODEL, ORACLE, run

GPTQ, AWQ, INT8 = (os.path.join(ORACLE, "models", name) for name in ("llama-gptq", "llama-awq", "llama-int8"))
ADAPTED = os.path.join(ORACLE, "models", "llama-adapter")
ADAPTER = os.path.join(ADAPTED, "adapter")
GGUF = os.path.join(ORACLE, "models", "gguf-llama-tied.gguf")


class Quantised(Case):
    def pack(self, model, *options):
        done = self.succeed("pack", model, "--store", self.path("store"), "--json", *options)
        return json.loads(done.stdout)["path"], done.stderr.decode()

    def test_packing_says_how_codes_are_held(self):
        self.assertIn("AWQ 4-bit weights are held as q4_1 in the store", self.pack(AWQ)[1])

    def test_packing_says_what_becomes_larger_and_the_way_out(self):
        said = self.pack(GPTQ)[1]
        self.assertIn("GPTQ 4-bit weights are held as bf16 in the store", said)
        self.assertIn("--weight-dtype int4", said)
        self.assertNotIn("keeps them small", self.pack(GPTQ, "--weight-dtype", "int4")[1])

    def test_own_codes_take_the_integer_kernels(self):
        self.succeed("bench", INT8, "--prompt-len", "8", "--gen-len", "2", "--num-prompts", "2", "--offload-dir",
                     self.path("store"), "--stats", self.path("stats.json"))
        with open(self.path("stats.json")) as file:
            self.assertEqual(json.load(file)["model"]["dtype"], "int8")

    def test_unsupported_form_is_named_by_inspect(self):
        folder = self.path("model")
        shutil.copytree(GPTQ, folder)
        with open(os.path.join(folder, "config.json")) as file:
            config = json.load(file)
        config["quantization_config"]["checkpoint_format"] = "marlin"
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config, file)
        found = json.loads(self.succeed("inspect", folder, "--json").stdout)
        self.assertFalse(found["supported"])
        self.assertIn("marlin", found["reason"])

    def test_older_configuration_file_decides_about_the_store(self):
        folder = self.path("model")
        shutil.copytree(GPTQ, folder)
        path = os.path.join(folder, "config.json")
        with open(path) as file:
            config = json.load(file)
        older = config.pop("quantization_config")
        del older["quant_method"]
        with open(path, "w") as file:
            json.dump(config, file)
        stores = []
        for form in ("gptq", "gptq_v2"):
            with open(os.path.join(folder, "quantize_config.json"), "w") as file:
                json.dump(older | {"checkpoint_format": form}, file)
            stores.append(self.pack(folder)[0])
        self.assertNotEqual(*stores)


class Adapter(Case):
    def pack(self, model, *options):
        return json.loads(self.succeed("pack", model, "--store", self.path("store"), "--json", *options).stdout)["path"]

    def test_adapters_have_stores_of_their_own(self):
        other = self.path("adapter")
        shutil.copytree(ADAPTER, other)
        with open(os.path.join(other, "adapter_config.json")) as file:
            config = json.load(file)
        with open(os.path.join(other, "adapter_config.json"), "w") as file:
            json.dump(config | {"lora_alpha": 2 * config["lora_alpha"]}, file)
        stores = [self.pack(ADAPTED), self.pack(ADAPTED, "--adapter", ADAPTER), self.pack(ADAPTED, "--adapter", other)]
        self.assertEqual(len(set(stores)), 3)
        self.assertEqual(self.pack(ADAPTED, "--adapter", ADAPTER), stores[1])

    def test_adapter_needs_weights_that_it_can_be_merged_into(self):
        store = self.pack(ADAPTED)
        for model, *more in ((store,), ("opt-125m", "--synthetic"), (GGUF,)):
            done = run("pack", model, *more, "--store", self.path("store"), "--adapter", ADAPTER)
            self.assertEqual(done.returncode, 1, model)
            self.assertIn("--adapter", done.stderr.decode())

    def test_adapter_of_another_model_is_refused_by_the_tensors_name(self):
        said = self.fail_with(1, "pack", MODEL, "--store", self.path("store"), "--adapter", ADAPTER)
        self.assertIn("adapter", said)
        self.assertIn("does not fit", said)

    def test_folder_without_adapter_is_refused(self):
        said = self.fail_with(1, "pack", MODEL, "--store", self.path("store"), "--adapter", self.folder)
        self.assertIn("adapter_config.json", said)


if __name__ == "__main__":
    harness.main()
