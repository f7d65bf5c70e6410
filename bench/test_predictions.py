"""What is said of predictions and policies follows from the figures; grids, orders and kept results are as promised.

    test_predictions.py"""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import sys
import tempfile

sys.dont_write_bytecode = True
import held_disk
import policies
import predictions

HERE = pathlib.Path(__file__).resolve().parent
JOB = predictions.Job("smollm2-135m", 64, 8, 4, "int4", "bf16", "200M")


def program(name):
    loader = importlib.machinery.SourceFileLoader(name, str(HERE / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def measured(rate=10, read=1000, peak=100 << 20, **more):
    return {"generated_tokens_per_s": rate, "bytes_read": read, "peak_memory_bytes": peak, "peak_group": None,
            "stats": {"tiers": {"disk": {"written_bytes": 0}}}, **more}


def test_prediction_comes_from_the_plan_before_the_run():
    said = {"generated_tokens_per_s": 12, "bytes_read": 990}
    row = predictions.row_of(JOB, {"predicted": said}, measured(predicted={"generated_tokens_per_s": 1}))
    assert abs(row["rate_ratio"] - 1.2) < 1e-9 and abs(row["read_ratio"] - 0.99) < 1e-9
    assert predictions.row_of(JOB, None, measured(predicted={"generated_tokens_per_s": 5}))["rate_ratio"] == 0.5


def test_without_a_planner_figures_are_measured_ones():
    rows = [predictions.row_of(JOB, None, measured(predicted=None)), predictions.row_of(JOB, None, {"refused": 1})]
    result = {"summary": predictions.summary(rows), "disk": "", "profile": "", "rows": rows}
    assert rows[0]["rate_ratio"] is None and result["summary"]["rate_ratio"] is None
    assert "no planner" in "\n".join(predictions.summary_lines(result))
    assert "refused (1)" in "\n".join(predictions.table(rows))


def test_jobs_with_aliased_layers_are_named():
    rows = [predictions.row_of(JOB._replace(generated=i), None, measured(aliased_layers=i)) for i in (0, 5)]
    lines = "\n".join(predictions.summary_lines(
        {"summary": predictions.summary(rows), "disk": "", "profile": "", "rows": rows}))
    assert "aliased" in lines and rows[1]["job"] in lines and rows[0]["job"] not in lines


def test_errors_count_both_ways():
    rows = [{"rate_ratio": 0.9}, {"rate_ratio": 1.3}, {"rate_ratio": 1.02}, {"rate_ratio": None}, {}]
    middle, worst = predictions.errors(rows, "rate_ratio")
    assert abs(middle - 0.1) < 1e-9 and abs(worst - 0.3) < 1e-9


def test_page_cache_of_the_group_counts_against_the_budget():
    assert predictions.row_of(JOB, None, measured())["within_budget"] is True
    assert predictions.row_of(JOB, None, {**measured(), "peak_group": 201 << 20})["within_budget"] is False
    assert predictions.row_of(JOB._replace(memory=None), None, measured())["within_budget"] is None


def test_jobs_are_as_many_and_as_different_as_wanted():
    jobs = program("predict_jobs").JOBS
    assert len(jobs) >= 12 and len(set(map(predictions.name_of, jobs))) == len(jobs)
    assert {job.weights for job in jobs} == {"f32", "bf16", "int8", "int4"}
    assert {"int8", "int4"} <= {job.cache for job in jobs}
    assert {bool(job.memory) for job in jobs} == {True, False}


def test_grid_has_two_hundred_policies_that_differ():
    grid = policies.grid()
    assert len(grid) >= 200 and len(set(map(policies.key, grid))) == len(grid)
    sweep = program("policy_sweep")
    options = type("options", (), {"model": "m", "prompt_len": 1, "gen_len": 1, "num_prompts": 1, "weights": "int4",
                                   "memory": "1G"})
    for policy in grid:
        job = sweep.job_of(options, policies.key(policy))
        assert job.cache == policy.cache and job.more == ("--max-model-len", 2, *policies.words(policy))
    assert sweep.job_of(options, sweep.PLANNER + "int8").more == ("--max-model-len", 2)  # the rest is the planner's


def test_order_is_all_of_them_and_the_seeds():
    names = [str(i) for i in range(50)]
    assert sorted(policies.order(names, 1)) == sorted(names)
    assert policies.order(names, 1) == policies.order(names, 1) != policies.order(names, 2)


def test_kept_results_are_of_the_same_grid_and_whole():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "results.jsonl"
        assert not policies.read_results(path, "a")
        lines = [{"fingerprint": "a", "name": "x", "tokens_per_s": 1}, {"fingerprint": "b", "name": "x"},
                 {"fingerprint": "a", "name": "x", "tokens_per_s": 3}]
        path.write_text("\n".join(map(json.dumps, lines)) + '\n{"fingerprint": "a", "na')
        rows = policies.read_results(path, "a")["x"]
        assert len(rows) == 2 and policies.rate(rows) == 2


def run(rate, again=False):
    return {"tokens_per_s": rate, "again": again}


def test_standing_counts_the_faster_ones():
    results = {"slow": [run(5)], "fast": [run(20)], "even": [run(10)], "refused": [{"refused": 1, "again": False}],
               "choice": [run(9), run(10), run(11)]}
    found = policies.standing(results, ["slow", "fast", "even", "refused"], "choice")
    assert (found["rank"], found["of"], found["refused"], found["best"], found["ratio"]) == (2, 3, 1, "fast", 0.5)


def test_second_look_counts_where_there_is_one():
    # The fastest of the first look was lucky.
    results = {"lucky": [run(20), run(10, True)], "steady": [run(15), run(14, True)], "choice": [run(1), run(14, True)],
               "once": [run(14)]}
    found = policies.standing(results, ["lucky", "once", "steady"], "choice")
    assert (found["rank"], found["best"], found["ratio"]) == (1, "steady", 1)


def test_missing_runs_are_those_that_are_not_kept():
    sweep = program("policy_sweep")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "results.jsonl"
        results = sweep.Results(path, "a")
        results.add({"fingerprint": "a", "name": "x", "again": False})
        results.add({"fingerprint": "a", "name": "y", "again": True})
        again = sweep.Results(path, "a")  # as a later run finds it
        assert again.missing(["y", "x", "x"], False) == ["y", "x"]
        assert again.missing(["y", "y"], True) == ["y"]


def test_limits_are_of_the_whole_disk():
    assert held_disk.limit_lines(2, "8:0", 100) == [("io.max", "8:0 rbps=100 wbps=100")]
    with tempfile.TemporaryDirectory() as folder:
        blocks = pathlib.Path(folder)
        device = os.stat(folder).st_dev
        name = f"{os.major(device)}:{os.minor(device)}"
        assert held_disk.whole_disk(folder, blocks) == name  # nothing is known of it
        part = blocks / "disk" / "disk1"
        part.mkdir(parents=True)
        (part / "partition").write_text("1")
        (blocks / "disk" / "dev").write_text("259:7\n")
        (blocks / name).symlink_to(part)
        assert held_disk.whole_disk(folder, blocks) == "259:7"


tests = [value for name, value in sorted(globals().items()) if name.startswith("test_")]
for test in tests:
    test()
print(f"{len(tests)} passed, 0 failed, 0 skipped")
