"""A Hub and an empty cache for each test of `flexgen pull`."""
import os
import subprocess

import fake_hub
import harness
from harness import Case

# A repository in the manner of the Hub's: one model in several forms, and much besides.
WEIGHTS = bytes(range(256)) * 1200
FILES = {
    "README.md": b"# tiny\n", ".gitattributes": b"*.bin filter=lfs\n", "LICENSE": b"free",
    "config.json": b'{"model_type": "llama"}', "generation_config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}' * 99, "tokenizer_config.json": b"{}", "special_tokens_map.json": b"{}",
    "merges.txt": b"", "chat_template.jinja": "{{ messages }} \u00e9".encode(),
    "model.safetensors": WEIGHTS, "pytorch_model.bin": WEIGHTS[::-1], "tf_model.h5": b"tf",
    "flax_model.msgpack": b"flax", "onnx/model.onnx": b"onnx", "onnx/config.json": b"{}",
    "original/consolidated.00.pth": b"pth", "consolidated.safetensors": WEIGHTS[1:],
    "training_args.bin": b"args", "tiny-q4.gguf": b"GGUF" + WEIGHTS[:70],
}
NEEDED = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
          "special_tokens_map.json", "merges.txt", "chat_template.jinja", "model.safetensors"}


class PullCase(Case):
    files = FILES

    def setUp(self):
        super().setUp()
        self.hub = fake_hub.Hub(self.files)
        self.addCleanup(self.hub.close)
        self.cache = self.path("hub")
        self.repo = os.path.join(self.cache, "models--org--tiny")
        self.env = self.environment()

    def environment(self, **more):
        kept = {k: v for k, v in harness.environment().items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS"))
                and not k.lower().endswith("_proxy")}
        return kept | {"HF_ENDPOINT": self.hub.url, "HF_HUB_CACHE": self.cache, "HF_HOME": self.path("home")} | more

    def pull(self, *arguments, **more):
        """Returns the snapshot's folder."""
        done = self.succeed("pull", *(arguments or ("org/tiny",)), env=self.environment(**more))
        return done.stdout.decode().removesuffix("\n")

    def refuse(self, *arguments, code=1, **more):
        """Returns the last line that a pull says which fails."""
        said = self.fail_with(code, "pull", *(arguments or ("org/tiny",)), env=self.environment(**more))
        return said.splitlines()[-1]

    def start(self, *arguments, **more):
        return subprocess.Popen([harness.flexgen, "pull", *(arguments or ("org/tiny",))], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment(**more))

    def blob(self, name, suffix=""):
        return os.path.join(self.repo, "blobs", fake_hub.etag(name, self.hub.files[name]) + suffix)

    def leave(self, name, content):
        """What an earlier pull left of a file."""
        os.makedirs(os.path.dirname(self.blob(name)), exist_ok=True)
        with open(self.blob(name, ".incomplete"), "wb") as file:
            file.write(content)

    def content(self, folder):
        """Names and bytes below a folder."""
        found = {}
        for at, _, names in os.walk(folder):
            for name in names:
                with open(os.path.join(at, name), "rb") as file:
                    found[os.path.relpath(os.path.join(at, name), folder)] = file.read()
        return found

    def check(self, folder, names=NEEDED):
        self.assertEqual(self.content(folder), {name: self.hub.files[name] for name in names})
        left = [name for name in os.listdir(os.path.join(self.repo, "blobs")) if "." in name]
        self.assertEqual(left, [])
