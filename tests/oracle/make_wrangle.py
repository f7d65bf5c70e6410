#!/usr/bin/env python3
"""Remakes what tests of `flexgen wrangle` compare with: small tables of every layout, and prompts by pandas and NumPy.

    make_wrangle.py                 tests/wrangle/fixtures and tests/wrangle/golden_*.json
    make_wrangle.py --data FOLDER   tests/wrangle/data_digests.json, of the published data sets in FOLDER

The tables are invented: columns of every type that pandas finds, cells at which readers of CSV differ.
"""
import argparse
import csv
import hashlib
import io
import json
import pathlib
import random
import shutil

import numpy

import wrangle_prompts

HERE = pathlib.Path(__file__).resolve().parent
TARGET = HERE.parent / "wrangle"
FIXTURES = TARGET / "fixtures"
ODD = ["plain", "two words", 'a "quoted" word', "with, comma", "line\nbreak", "\u00a0padded\u2003", " spaces ", "-", "é", "NA",
       "", "n/a", "0x10", "1,5", "5'", "None", "back\\slash", "a.b.", "nan"]
LATIN = [text for text in ODD if "\u2003" not in text]
WHOLE = ["7", "007", "-3", "+5", "2003", "0", " 12 ", "9007199254740993"]
REAL = ["1.50", "3.", ".5", "1e3", "1E-7", "0.1", "123456789.125", "1e16", "-0.0", "inf", "100000000000000000000.5"]
LARGE = ["123456789012345678901234567890", "1", "2"]
BOOLS = ["True", "false", "TRUE"]

# What a dataset is asked with; the first argument list is used for the large digests too.
ARGUMENTS = [
    dict(k=3, balanced=True, nan_tok=""),
    dict(k=0, instruct=True),
    dict(k=2, seed=7, split="validation", sep_tok="##"),
    dict(k=1, seed=4294967295, split="train", sep_tok="", num_run=3),
]


class Maker:
    def __init__(self):
        self.draw = random.Random(5)

    def column(self, values, rows, gaps=False):
        return [self.draw.choice(["", "NULL"]) if gaps and i % 3 == 1 else self.draw.choice(values) for i in range(rows)]

    def write(self, folder, name, columns, encoding="utf-8", end="\n", mark=b""):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator=end)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values()))
        path = FIXTURES / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mark + text.getvalue().encode(encoding))

    def labels(self, rows):
        return [str(int(i % 3 == 0)) for i in range(rows)]

    def mixed(self, rows):
        """A column of each type."""
        return {"name": self.column(ODD, rows), "whole": self.column(WHOLE, rows), "gaps": self.column(WHOLE, rows, True),
                "real": self.column(REAL, rows, True), "large": self.column(LARGE, rows), "flag": self.column(BOOLS, rows),
                "flag gaps": self.column(BOOLS, rows, True), "void": [""] * rows}

    def linked(self):
        for side, first in (("A", 0), ("B", 100)):
            ids = [str(first + i) for i in range(9)] + [str(first)]  # one twice
            self.write("linked", f"table{side}.csv", {"id": ids, **self.mixed(10)})
        for split, rows in (("train", 30), ("valid", 5), ("test", 6)):
            self.write("linked", f"{split}.csv", {
                "ltable_id": [str(self.draw.randrange(11)) for _ in range(rows)],
                "rtable_id": [str(100 + self.draw.randrange(11)) for _ in range(rows)], "label": self.labels(rows)})

    def joined(self):
        for split, rows in (("merged_train", 12), ("merged_valid", 5), ("merged_test", 6)):
            sides = {f"{side}_{name}": values for side in ("ltable", "rtable")
                     for name, values in {"id": self.column(WHOLE, rows), "title": self.column(ODD, rows),
                                          "venue": self.column(["vldb", "sigmod record", ""], rows),
                                          "year": self.column(["2003", "1999"], rows, True)}.items()}
            self.write("joined", f"{split}.csv", {"_id": self.column(WHOLE, rows), **sides, "label": self.labels(rows)})

    def latin(self):
        for split, rows in (("train", 12), ("validation", 5), ("test", 6)):
            names = self.column(["Beyoncé", "Motörhead", "Sigur Rós", "plain"], rows - 1) + ["Señor"]
            sides = {f"{side}_{name}": values for side in ("left", "right")
                     for name, values in {"id": self.column(WHOLE, rows), "Song_Name": names,
                                          "CopyRight": self.column(ODD[:5], rows), "Time": self.column(["3:14", "0:59"], rows),
                                          "Price": self.column(["$ 1.29", "$ 0.99"], rows, True)}.items()}
            self.write("latin", f"{split}.csv", {"id": self.column(WHOLE, rows), "label": self.labels(rows), **sides},
                       encoding="latin-1", end="\r\n")

    def written(self):
        for split, rows in (("train", 12), ("valid", 5), ("test", 6)):
            lines = []
            for label in self.labels(rows):
                sides = [f"COL Beer_Name VAL {self.draw.choice(['Red Ale', 'Amber VAL Ale', 'Stout 7'])} "
                         f"COL Brew_Factory_Name VAL {self.draw.choice(['Tarn Brewery', 'Bräu & Söhne', ''])} "
                         f"COL Style VAL Ale COL ABV VAL 7.60 % " for _ in range(2)]
                lines.append("\t".join([*sides, label]) + "\n")
            path = FIXTURES / "written" / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(lines), encoding="utf-8")

    def imputation(self):
        for split, rows in (("train", 12), ("valid", 5), ("test", 6)):
            self.write("imputation", f"{split}.csv", {"id": self.column(WHOLE, rows), **self.mixed(rows),
                                                      "city": self.column(["new york", "los angeles", ""], rows)},
                       end="\r\n", mark=b"\xef\xbb\xbf")

    def unsplit(self):
        rows = 47
        self.write("unsplit", "Buy.csv", {"id": [str(i) for i in range(rows)], "name": self.column(LATIN, rows),
                                          "description": self.column(["tv", "caf\u00e9 set", "cable"], rows, True),
                                          "manufacturer": self.column(["Sony", "LG Electronics"], rows),
                                          "price": self.column(["$10.00", "$5.50"], rows, True)}, encoding="latin-1")

    def cells(self):
        table = self.mixed(6)
        self.write("cells", "table.csv", table)
        for split, rows in (("train", 12), ("valid", 5), ("test", 8)):
            self.write("cells", f"{split}.csv", {"row_id": [str(self.draw.randrange(7)) for _ in range(rows)],
                                                 "col_name": self.column(list(table), rows), "is_clean": self.labels(rows)})

    def corrected(self):
        table = {name: values for name, values in self.mixed(40).items() if name not in ("real", "name")}
        self.write("corrected", "hospital.csv", table)
        cells = [(str(row), name, values[row]) for row in range(40) for name, values in table.items()]
        dirty = set(self.draw.sample(range(len(cells)), 70))
        self.write("corrected", "hospital_clean.csv", {
            "tid": [c[0] for c in cells], "attribute": [c[1] for c in cells],
            "correct_val": ["right" if i in dirty else c[2] for i, c in enumerate(cells)]})

    def errors(self):
        table = {"": [str(i) for i in range(9)], **self.mixed(9)}
        self.write("errors", "table.csv", {**table, "col_name": self.column(["name", "whole", "gaps", "flag"], 9),
                                           "is_clean": self.labels(9)})

    def schema(self):
        for split, rows in (("train", 12), ("valid", 5), ("test", 6)):
            self.write("schema", f"{split}.csv", {"omop": self.column(["person-id", "visit-date"], rows), "table": self.column(
                ["patients-id", "", "encounters-start"], rows), "des1": self.column(ODD, rows), "label": self.labels(rows)})


# folder: data set; and its manual examples
LAYOUTS = {"linked": "Fodors-Zagats", "joined": "DBLP-GoogleScholar", "latin": "iTunes-Amazon", "written": "Beer",
           "imputation": "Restaurant", "unsplit": "Buy", "cells": "Hospital", "corrected": "Hospital", "errors": "Adult",
           "schema": "Synthea"}
MANUAL = {
    "written": {"examples": "Product A is name: Red. Product B is name: Red. Are they the same? Yes\n"},
    "joined": {"by": "venue", "examples": {"vldb": "first\n", "sigmod record": "second é\n", "nan": "third\n"}},
}


def arguments_of(case):
    names = {"k": "--k", "seed": "--example-seed", "split": "--split", "nan_tok": "--nan-tok", "sep_tok": "--sep-tok",
             "num_run": "--num-run"}
    flags = {"balanced": "--class-balanced", "instruct": "--add-task-instruction"}
    words = [word for name, option in names.items() if name in case for word in (option, str(case[name]))]
    return words + [option for name, option in flags.items() if case.get(name)]


def prompts_of(folder, dataset, case):
    texts = {name: case[name] for name in ("nan_tok", "sep_tok") if name in case}
    return wrangle_prompts.Prompts(folder, dataset, **texts).make(
        **{name: value for name, value in case.items() if name not in texts})


def make_goldens():
    shutil.rmtree(FIXTURES, ignore_errors=True)
    maker, cases = Maker(), []
    for folder, dataset in LAYOUTS.items():
        getattr(maker, folder)()
        for case in ARGUMENTS:
            prompts, labels = prompts_of(FIXTURES / folder, dataset, case)
            cases.append({"folder": folder, "dataset": dataset, "arguments": arguments_of(case), "prompts": prompts,
                          "labels": labels})
    for folder, manual in MANUAL.items():
        path = FIXTURES / folder / "manual.json"
        path.write_text(json.dumps(manual, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        prompts, labels = prompts_of(FIXTURES / folder, LAYOUTS[folder], dict(manual=manual))
        cases.append({"folder": folder, "dataset": LAYOUTS[folder], "manual": "manual.json",
                      "arguments": ["--sample-method", "manual"], "prompts": prompts, "labels": labels})
    keep("prompts", cases)


def keep(name, value):
    with open(TARGET / f"golden_{name}.json", "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def make_random():
    """NumPy's legacy generator: words, and permutations of sizes around powers of two."""
    cases = []
    for seed in (0, 1, 42, 1234, 2**32 - 1):
        state = numpy.random.RandomState(seed)
        words = [int(word) for word in state.randint(0, 2**32, size=700, dtype=numpy.uint32)]
        cases.append({"seed": seed, "words": words[:3] + words[-3:], "permutations": [
            [int(i) for i in numpy.random.RandomState(seed).permutation(count)] for count in (0, 1, 2, 3, 16, 17, 70)]})
    keep("random", cases)


def make_columns():
    """Columns of random cells, and str() of what pandas reads from them; null where it is missing."""
    draw, cases = random.Random(6), []
    kinds = [WHOLE, REAL, LARGE, BOOLS, ODD, WHOLE + REAL, BOOLS + ["1"], ["18446744073709551615", "3"],
             ["18446744073709551616", "3"], ["0.30000000000000004", "1e-5", "12345678901234567"],
             ["-inf", "Infinity", "2"], ["1e", "2"], ["1.2.3", "4"], ["+", "1"], ["1_000"], ["\t5", "6 "], ["TRUE", "true"],
             ["1e400", "1"], ["5e-324", "1e-4", "0.0001", "9999999999999998.0"]]
    for kind in kinds * 3:
        cells = [draw.choice(kind) for _ in range(draw.randrange(1, 6))]
        # Beside numbers of 64 bits without a sign pandas leaves the words for missing cells as they are.
        if draw.random() < 0.4 and kind[0] != "18446744073709551615":
            cells[draw.randrange(len(cells))] = draw.choice(["", "NA", "null", "-nan", "#N/A N/A"])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["x", "y"], *([c, "a"] for c in cells)])
        values = wrangle_prompts.read_csv(io.StringIO(text.getvalue()))["x"].astype(object)
        cases.append({"cells": cells, "texts": [None if str(v) == "nan" else str(v) for v in values]})
    keep("columns", cases)


def paper_metrics(task, predictions, labels):
    """As section 'Metrics' of the authors' description has it."""
    n = dict.fromkeys(("tp", "tn", "fp", "fn", "right"), 0)
    for prediction, label in zip(predictions, labels):
        prediction, label = prediction.strip().lower(), label.strip().lower()
        right = {"data_imputation": prediction == label, "entity_matching": prediction == label,
                 "schema_matching": prediction.startswith(label), "error_detection_spelling": prediction.startswith(label),
                 "error_detection": prediction.split("\n\n")[-1].endswith(label)}[task]
        n["right"] += right
        if label == "yes":
            n["tp" if right else "fn"] += 1
        elif label == "no":
            n["tn" if right else "fp"] += 1
    precision, recall = n["tp"] / max(1, n["tp"] + n["fp"]), n["tp"] / max(1, n["tp"] + n["fn"])
    return {**n, "precision": precision, "recall": recall, "accuracy": n["right"] / len(labels),
            "f1_paper": 2 * precision * recall / max(1, precision + recall),
            "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0}


def make_metrics():
    draw, cases = random.Random(7), []
    answers = ["Yes", " yes\n", "No", "no.", "Yes, they are", "NO", "", "maybe\n\nyes", "well, no", "\u00a0YES\u2003", "ÄPFEL", "Apple"]
    for task in ("data_imputation", "entity_matching", "schema_matching", "error_detection_spelling", "error_detection"):
        for rows in (1, 5, 40):
            labels = [draw.choice(["äpfel", "Apple", "nan"] if task == "data_imputation" else ["Yes", "No"]) for _ in range(rows)]
            predictions = [draw.choice(answers) for _ in range(rows)]
            cases.append({"task": task, "predictions": predictions, "labels": labels,
                          "metrics": paper_metrics(task, predictions, labels)})
    keep("metrics", cases)


def digest(prompts):
    return hashlib.sha256("\0".join(prompts).encode()).hexdigest()


def make_digests(data):
    cases = []
    for dataset in ("iTunes-Amazon", "Amazon-Google", "Beer", "Buy", "Hospital"):
        for case in ARGUMENTS + [dict(k=10, balanced=True, nan_tok="")]:
            prompts, _ = prompts_of(data / dataset, dataset, case)
            cases.append({"dataset": dataset, "arguments": arguments_of(case), "rows": len(prompts), "sha256": digest(prompts)})
        manual = HERE.parent.parent / "examples" / "wrangling" / "manual" / f"{dataset}.json"
        if manual.exists():
            prompts, _ = prompts_of(data / dataset, dataset, dict(manual=json.loads(manual.read_text(encoding="utf-8"))))
            cases.append({"dataset": dataset, "manual": manual.name, "arguments": ["--sample-method", "manual"],
                          "rows": len(prompts), "sha256": digest(prompts)})
    with open(TARGET / "data_digests.json", "w") as file:
        json.dump(cases, file, indent=1)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.data:
        make_digests(arguments.data)
    else:
        make_goldens()
        make_random()
        make_columns()
        make_metrics()


if __name__ == "__main__":
    main()
