"""What tests of the package share: its source on the path, with the command that was built, and engines of the tiny
model whose tokens the oracle knows."""
import os
import stat
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SOURCE = os.path.join(ROOT, "python")
sys.path[:0] = [SOURCE, os.path.join(ROOT, "tests", "cli")]

import harness  # noqa: E402
from harness import Case, MODEL  # noqa: E402

import flexgen  # noqa: E402


class PackageCase(Case):
    def engine(self, model=MODEL, **options):
        options.setdefault("command", harness.flexgen)
        options.setdefault("offload_dir", harness._cache)
        options.setdefault("dtype", "f32")
        engine = flexgen.Engine(model, **options)
        self.addCleanup(engine.close)
        return engine

    def text_engine(self, prompt_ids=(), **options):
        """An engine of the tiny model with a tokenizer, and the text that has these ids."""
        text = harness.text_model(self.path("model"), prompt_ids)
        return self.engine(self.path("model"), **options), text

    def script(self, name, text):
        """A command of our own in the engine's place."""
        path = self.path(name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\n" + text)
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return path

    def lines(self, name):
        with open(self.path(name)) as file:
            return file.read().splitlines()
