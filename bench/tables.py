"""Results as markdown, and what became slower since another result."""


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]


def _spread(row):
    return f"{row['low']:.3g} to {row['high']:.3g}"


def limit(result, kind, name, threads=None, time="wall"):
    """The median of a limit; None if this machine does not have it."""
    for row in result["rows"]:
        if row["kind"] == kind and row["name"] == name and row.get("time", time) == time:
            if threads is None or row.get("threads", threads) == threads:
                return row["median"]
    return None


def limits_table(result):
    rows = [(row["kind"], row["name"], row.get("instruction", ""),
             f"{row.get('time', 'wall')}, {row['threads']} thread(s)" if "threads" in row else
             "direct" if row.get("direct") else "", f"{row['median']:.4g}", _spread(row), row["unit"])
            for row in result["rows"]]
    rows += [("left out", row["name"], "", row["reason"], "", "", "") for row in result["left_out"]]
    return ["## Limits of this machine", ""] + _table(
        ("limit", "of", "instruction", "how", "median", "range", "unit"), rows)


def _share(value, limit_value):
    return f"{value / limit_value:.2f}" if limit_value else "-"


def kernels_table(result):
    memory = limit(result, "memory", "read")
    products, attention, others = [], [], []
    for row in result["rows"]:
        figure = (f"{row['median']:.4g}", _spread(row))
        if row["kind"] == "product":
            calls = row["median"] * 1e9 / (2 * row["n"] * row["k"] * row["tokens"])
            products.append((row["model"], f"{row['n']} x {row['k']}", row["weights"], row["name"],
                             row["tokens"], *figure, _share(row["median"], limit(result, "peak", row["name"])),
                             _share(calls * row["weight_bytes"] * 1e-9, memory)))
        elif row["kind"] == "attention":
            rate = row["median"] * 1e9 / row["operations"] * row["cache_bytes"] * 1e-9
            attention.append((row["name"], row["model"], row["sequences"], row["context"], row["cache"], *figure,
                              _share(row["median"], limit(result, "peak", "bf16")), _share(rate, memory)))
        elif row["kind"] in ("pack", "readout"):
            others.append((row["kind"], row["name"], row.get("vocab", row.get("layout")), *figure, row["unit"]))
    shares = ("Gop/s", "range", "of the peak", "of memory's rate")
    return (["## Dense products", "", "Of the peak: of the arithmetic's instruction, measured in the same rounds.", ""]
            + _table(("model", "n x k", "weights", "arithmetic", "tokens", *shares), products)
            + ["## Attention", "", "Of the peak of bfloat16.", ""]
            + _table(("part", "model", "sequences", "context", "cache", *shares), attention)
            + ["## Packing and reading logits", ""]
            + _table(("part", "of", "layout or vocabulary", "median", "range", "unit"), others))


def engine_table(rows):
    return ["## End to end", "",
            "Of the peak: useful operations a second over the arithmetic's peak. Of the roofline: in memory the",
            "bound by peak and memory; out of core the sum over the run's steps of max(compute, bytes at the disk's",
            "rate), divided by the time that the steps took.", ""] + _table(
        ("model", "weights", "memory", "in", "out", "sequences", "generated token/s", "range", "prefill s",
         "decode s", "of the peak", "of the roofline", "peak GB"),
        [(row["model"], row["weights"], row["memory"], row["prompt_len"], row["gen_len"], row["sequences"],
          f"{row['median']:.2f}", _spread(row), f"{row['prefill_s']:.1f}", f"{row['decode_s']:.1f}",
          f"{row['of_peak']:.2f}", f"{row['of_roofline']:.2f}",
          f"{row['peak_memory_bytes'] * 1e-9:.2f}") for row in rows])


def _number(value, form):
    return "-" if value is None else format(value, form)


def compare_table(result):
    """A line of bench/compare: every contender, then the ratios and shares that are wanted."""
    rows = [(row["name"], f"{row['median']:.2f}", _spread(row), _number(row.get("prefill_s"), ".1f"),
             _number(row.get("decode_s"), ".1f"), _number(row["of_peak"], ".2f"), _number(row["of_roofline"], ".2f"),
             f"{row['peak_memory_bytes'] * 1e-9:.2f}", row.get("settings", ""),
             f"{row['memory_limit'] >> 20}M" if row.get("memory_limit") else row["memory"]) for row in result["rows"]]
    wanted = [(ratio["ours"], "fastest of " + ", ".join(ratio["others"]), f"{ratio['wanted']:g}",
               *((f"{ratio['seen'][0]:.2f}", f"{ratio['seen'][1]:.2f} to {ratio['seen'][2]:.2f}") if ratio["seen"] else
                 ("-", "-"))) for ratio in result["ratios"]]
    wanted += [(share["ours"], share["share"].replace("_", " the "), f"{share['wanted']:g}", _number(share["seen"], ".2f"),
                "") for share in result["shares"]]
    lines = [f"## {result['line']}, {result['commit']}", ""] + _table(
        ("run", "generated token/s", "range", "prefill s", "decode s", "of the peak", "of the roofline", "peak GB",
         "settings", "memory"), rows)
    return lines + (_table(("of", "over", "wanted", "seen", "range"), wanted) if wanted else [])


def profile_table(groups, result):
    """Shares of CPU time by group, a column for each run, and the functions that take the most."""
    def top(functions):
        return ", ".join(f"`{name}` {share:.0%}" for name, share in list(functions.items())[:5])

    return _table(("share of CPU time", *result), [
        (group, *(f"{shares.get(group, 0):.1%}" for shares, _ in result.values())) for group in groups]) + _table(
        ("run", "largest functions"), [(name, top(functions)) for name, (_, functions) in result.items()])


NAMES = ("kind", "name", "instruction", "time", "threads", "weights", "model", "n", "k", "tokens", "cache",
         "sequences", "context", "vocab", "memory", "prompt_len", "gen_len")


def _key(row):
    return tuple((name, row[name]) for name in NAMES if name in row)


def all_rows(result):
    return [row for part in ("limits", "kernels") if part in result for row in result[part]["rows"]] + [
        row for row in result.get("engine", [])]


LIMITS = ("peak", "memory", "disk")


def _machine(then, now):
    """How much of the machine is left for a row of the engine: the least of the limits' ratios, disk only if it read."""
    names = ("bf16", "int8", "memory") + (() if now.get("memory") == "all" else ("disk",))
    return min([now["limits"][name] / then["limits"][name] for name in names] if "limits" in now else [1])


def regressions(before, now):
    """(lines, number of rows): rows whose best round now is slower than the worst round then, after what the machine's
    own limits fell in the meantime. Limits themselves are named, but not counted."""
    old = {_key(row): row for row in all_rows(before)}
    slower, count = [], 0
    for row in all_rows(now):
        then = old.get(_key(row))
        if not then:
            continue
        machine = _machine(then, row)
        if row["high"] < then["low"] * min(1, machine):
            is_limit = row["kind"] in LIMITS
            count += not is_limit
            slower.append((" ".join(str(value) for _, value in _key(row)), f"{then['median']:.4g}",
                           f"{row['median']:.4g}", f"{row['median'] / then['median']:.2f}",
                           "the machine itself" if is_limit else f"{machine:.2f}"))
    if not slower:
        return ["Nothing is slower by more than its spread.", ""], 0
    return ["Slower by more than the spread of both:", ""] + _table(
        ("what", "then", "now", "ratio", "of which the machine"), slower), count
