"""flexgen devices, and what is said of a device that is not there."""
import json
import unittest

import harness
from harness import MODEL, Case

FIELDS = {"name", "kind", "model", "units", "memory_bytes", "is_cpu", "usable", "tried"}
# The OpenCL loader looks for drivers here: nowhere.
NO_DRIVER = harness.environment(OCL_ICD_VENDORS="/nonexistent/")


class Devices(Case):
    def list(self, **more):
        return json.loads(self.succeed("devices", "--json", **more).stdout)

    def test_the_cpu_is_the_first_device(self):
        cpu, *others = self.list()
        self.assertEqual((cpu["name"], cpu["kind"], cpu["usable"]), ("cpu", "cpu", True))
        self.assertGreater(cpu["memory_bytes"], 0)
        for number, device in enumerate(others):
            self.assertEqual(device["name"], f"opencl:{number}")
            self.assertLessEqual(FIELDS | {"platform", "driver", "max_block_bytes", "unusable"}, set(device))

    def test_the_table_says_the_same(self):
        table = self.succeed("devices").stdout.decode()
        for device in self.list():
            self.assertIn(f"\n{device['name']} ", table)
            self.assertIn(device["model"], table)

    def test_without_a_driver_the_cpu_is_left(self):
        self.assertEqual([d["name"] for d in self.list(env=NO_DRIVER)], ["cpu"])
        self.assertIn(b"no OpenCL device", self.succeed("devices", env=NO_DRIVER).stderr)

    def test_a_device_that_is_not_there(self):
        for device in ("opencl", "opencl:7"):
            said = self.fail_with(1, "generate", MODEL, "-p", "1", "--device", device, "--offload-dir", self.path("store"),
                                  env=NO_DRIVER)
            self.assertIn("flexgen devices lists what there is", said)

    def test_names_that_are_none(self):
        for device in ("gpu", "opencl:", "opencl:x", "opencl:-1", "cpu:0", "fake:1", "opencl:123456"):
            self.fail_with(2, "generate", MODEL, "-p", "1", "--device", device)
        self.fail_with(2, "devices", "all")

    def test_what_opencl_refuses(self):
        if not any(d["kind"] == "opencl" and d["usable"] for d in self.list()):
            raise unittest.SkipTest("no OpenCL device here (Debian: apt install pocl-opencl-icd)")
        store = self.path("store")
        for code, options, said in ((1, ("--dtype", "int8"), "computes in f32"),
                                    (1, ("--attn-sparsity", "0.5"), "sparse attention"),
                                    (2, ("--device-memory", "900T"), "the opencl device has")):
            self.assertIn(said, self.fail_with(code, "generate", MODEL, "-p", "1", "--device", "opencl", "--offload-dir", store,
                                               *options))


if __name__ == "__main__":
    harness.main()
