"""The scoreboard's programs run and print JSON that bench/run can read. No figure is judged.

    test_programs.py BENCH_LIMITS BENCH_KERNELS FOLDER"""
import json
import subprocess
import sys

limits, kernels, folder = sys.argv[1:]
for program, kinds in ((limits, {"memory", "disk"}),
                       (kernels, {"memory", "product", "attention", "pack", "readout"})):
    out = subprocess.run([program, "--smoke", "--dir", folder], check=True, stdout=subprocess.PIPE).stdout
    result = json.loads(out)
    missing = kinds - {row["kind"] for row in result["rows"]}
    assert not missing, f"{program}: no rows of {missing}"
    for row in result["rows"]:
        assert row["low"] <= row["median"] <= row["high"] and row["median"] > 0, f"{program}: {row}"
print("2 passed, 0 failed, 0 skipped")
