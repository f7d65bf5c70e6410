"""What the machine was measured to do: measured once, kept, shown, measured again when it is wanted."""
import json
import os
import signal

import harness
from harness import Case, environment, run, start

DAMAGED = "damaged"


class Profile(Case):
    def profile(self, *options):
        return self.succeed("profile", "--quick", "--offload-dir", self.path("offload"), *options,
                            env=environment(XDG_CACHE_HOME=self.path("cache")))

    def kept(self):
        folder = self.path("cache/flexgen/profiles")
        return [os.path.join(folder, name) for name in os.listdir(folder)]

    def test_it_is_measured_once_kept_and_shown(self):
        measured = json.loads(self.profile("--json").stdout)
        self.check(measured)
        path, = self.kept()
        with open(path) as file:
            written = json.load(file)
        again = self.profile("--json")
        self.assertEqual(json.loads(again.stdout), written)
        self.assertIn(b"kept since " + measured["date"].encode(), again.stderr)
        self.assertEqual(os.listdir(self.path("offload")), [])

        shown = self.profile().stdout.decode()
        for words in (measured["machine"], measured["date"], "Gop/s", "GB/s", "1 MiB"):
            self.assertIn(words, shown)

        # A damaged one is said, and measured anew.
        with open(path, "w") as file:
            file.write("{")
        anew = self.profile("--json")
        self.assertIn(DAMAGED, anew.stderr.decode())
        self.check(json.loads(anew.stdout))
        self.assertEqual(self.kept(), [path])

    def check(self, profile):
        self.assertTrue(profile["quick"])
        self.assertGreater(len(profile["products"]), 0)
        for product in profile["products"]:
            self.assertEqual(product["seconds"], sorted(product["seconds"]), product)
            self.assertGreater(product["seconds"][0], 0)
        for attention in profile["attentions"]:
            self.assertGreater(min(attention["decode"], attention["prefill"]), 0)
        self.assertGreater(len(profile["disks"]), 0)
        for figure in ("disk_read", "disk_write", "disk_burst", "memory_read", "row_value", "logit", "launch"):
            self.assertGreater(profile[figure], 0, figure)

    def test_an_interrupted_one_is_not_kept(self):
        process = start("profile", "--offload-dir", self.path("offload"), "--no-progress",
                        env={"XDG_CACHE_HOME": self.path("cache")})
        # It says where its folder is before it begins.
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        self.assertNotEqual(process.returncode, 0)
        self.assertFalse(os.path.exists(self.path("cache/flexgen/profiles")))
        self.assertEqual(os.listdir(self.path("offload")), [])

    def test_arguments_are_a_mistake(self):
        self.assertEqual(run("profile", "model").returncode, 2)


if __name__ == "__main__":
    harness.main()
