"""What the scoreboard says follows from its figures: falls are seen, noise and a slower machine are not blamed.

    test_tables.py"""
import importlib.machinery
import importlib.util
import pathlib
import sys
import xml.dom.minidom

sys.dont_write_bytecode = True
import mixed_job
import roofline
import tables

HERE = pathlib.Path(__file__).resolve().parent


def program(name):
    loader = importlib.machinery.SourceFileLoader(name, str(HERE / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def row(low, high, peak=100, **more):
    return {"kind": "engine", "model": "tinyllama-1.1b", "weights": "bf16", "memory": "all", "prompt_len": 128,
            "gen_len": 16, "sequences": 4, "low": low, "median": (low + high) / 2, "high": high, "weight_bytes": 2e9,
            "weight_bytes_streamed": 0, "steps": 16,
            "limits": {"bf16": peak, "int8": 2 * peak, "memory": 20, "disk": 1}, **more}


def fallen(then, now):
    return tables.regressions({"engine": [then]}, {"engine": [now]})[1]


def test_fall_beyond_the_spread_is_counted():
    assert fallen(row(9, 11), row(7, 8)) == 1


def test_fall_within_the_spread_is_not_counted():
    assert fallen(row(9, 11), row(8, 9.5)) == 0


def test_slower_machine_excuses_as_much_as_it_fell():
    assert fallen(row(9, 11), row(7, 8, peak=80)) == 0
    assert fallen(row(9, 11), row(5, 6, peak=80)) == 1


def test_other_number_of_sequences_is_another_row():
    assert fallen(row(9, 11), row(7, 8, sequences=8)) == 0


def test_limits_are_named_but_not_counted():
    def limit(value):
        return {"kind": "memory", "name": "read", "low": value, "median": value, "high": value}
    lines, count = tables.regressions({"limits": {"rows": [limit(20)]}}, {"limits": {"rows": [limit(10)]}})
    assert count == 0 and "the machine itself" in "\n".join(lines)


def test_ratio_is_taken_within_a_round():
    compare = program("compare")
    runs = {"flexgen bf16, 8": [{"generated_tokens_per_s": 20}, {"generated_tokens_per_s": 10}, None],
            "llama.cpp Q4_0": [{"generated_tokens_per_s": 10}, {"generated_tokens_per_s": 5}],
            "llama.cpp BF16": [{"generated_tokens_per_s": 5}, None]}
    assert compare.seen_ratio(compare.Ratio("flexgen bf16", ("llama.cpp",), 1), runs) == (2, 2, 2)
    assert compare.seen_ratio(compare.Ratio("flexgen bf16", ("vllm",), 1), runs) is None


def test_ratios_and_shares_name_contenders():
    compare = program("compare")
    for line in compare.LINES.values():
        names = [compare.name_of(contender) for contender in line.contenders]
        parts = [part for ratio in line.ratios for part in (ratio.ours, *ratio.others)]
        for part in parts + [share[0] for share in line.shares]:
            assert any(part in name for name in names), part


def test_operations_are_the_sum_over_tokens():
    hidden, layers, heads, kv_heads, ffn, matrices, vocabulary = roofline.SHAPES["tinyllama-1.1b"]
    kv = hidden * kv_heads // heads
    products = layers * 2 * (hidden * hidden * 2 + hidden * kv * 2 + matrices * hidden * ffn)
    # Scores and their use: two products of the context's length for each head's width.
    total = sum(products + layers * 4 * hidden * (place + 1) for place in range(5 + 3 - 1)) + 3 * 2 * hidden * vocabulary
    assert roofline.operations("tinyllama-1.1b", 5, 3) == total


def test_plot_is_xml_with_a_point_for_each_row():
    svg = program("run").picture({"engine": [row(9, 11), row(19, 21, sequences=8)]})
    assert len(xml.dom.minidom.parseString(svg).getElementsByTagName("circle")) == 3  # and one in the legend


def test_pieces_share_beginnings_and_nothing_is_lost():
    text = "Is there a spelling error in Score: 93%?"
    assert "".join(mixed_job.PIECES.findall(text)) == text


tests = [value for name, value in sorted(globals().items()) if name.startswith("test_")]
for test in tests:
    test()
print(f"{len(tests)} passed, 0 failed, 0 skipped")
