#!/usr/bin/env python3
"""Prompts of 'Can Foundation Models Wrangle Your Data?' (Narayan et al. 2022), made with pandas and NumPy.

The truth for `flexgen wrangle --data-dir`: types of columns and random samples come from the libraries that the
authors' program uses, the words from its description. Prints one JSON string a line.

    wrangle_prompts.py FOLDER [--dataset Beer] [--split test] [--k 10] [--seed 1234] [--class-balanced]
                       [--add-task-instruction] [--nan-tok TEXT] [--sep-tok TEXT] [--manual FILE.json] [--num-run N]
"""
import argparse
import dataclasses
import json
import pathlib
import re

import numpy
import pandas

SAME = "Are Product A and Product B the same?"
ASK_SAME = SAME + " Yes or No? "
SPLITS = {"train": ("train", "merged_train"), "validation": ("valid", "validation", "merged_valid"),
          "test": ("test", "merged_test")}
ITUNES = {"Song_Name": "name", "Artist_Name": "artist name", "Album_Name": "album name", "Genre": "genre",
          "Price": "price", "Time": "time", "Released": "released"}


@dataclasses.dataclass
class Dataset:
    task: str
    suffix: str
    instruction: str
    noun: str = ""
    target: str = ""
    key: str = ""
    drop: tuple = ()
    rename: dict = dataclasses.field(default_factory=dict)


def matching(suffix=" " + SAME, instruction=ASK_SAME, noun="Product", **more):
    return Dataset("entity_matching", suffix, instruction, noun, **more)


DATASETS = {
    "Fodors-Zagats": matching(),
    "Beer": matching(drop=("Style", "ABV"), rename={"Beer_Name": "name", "Brew_Factory_Name": "factory"}),
    "iTunes-Amazon": matching(" Same Song?", "Are Song A and Song B the same? Yes or No? ", "Song", drop=("CopyRight",),
                              rename=ITUNES),
    "Walmart-Amazon": matching(" Are A and B the Same?", drop=("category", "price", "brand")),
    "Amazon-Google": matching(key="manufacturer"),
    "DBLP-ACM": matching(key="venue"),
    "DBLP-GoogleScholar": matching(key="venue"),
    "Buy": Dataset("data_imputation", " Who is the manufacturer?", "Who is the manufacturer? apple, sony, lg electronics? ",
                   target="manufacturer"),
    "Restaurant": Dataset("data_imputation", " What is the city?", "What is the city? san fransisco, new york, denver? ",
                          target="city"),
    "Hospital": Dataset("error_detection_spelling", "?", "Is there a x spelling error? Yes or No? ", key="col_name"),
    "Adult": Dataset("error_detection", "? ", "Classify errors. nan values are not errors.", key="col_name"),
    "Synthea": Dataset("schema_matching", "Are A and B the same? Yes or No?", "Are A and B semantically equal?\n\n",
                       key="left", rename={"omop": "left", "table": "right"}),
}


# ---- reading ---------------------------------------------------------------------------------------------------

# What is missing in the pandas of the authors' program (1.4); 2.0 added "None".
MISSING = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
           "NULL", "NaN", "n/a", "nan", "null"]


def read_csv(source, **more):
    more.update(keep_default_na=False, na_values=MISSING)
    try:
        return pandas.read_csv(source, encoding="utf-8", **more)
    except UnicodeDecodeError:
        return pandas.read_csv(source, encoding="latin-1", **more)


def records(frame):
    """Rows as dicts of Python values, each of its column's type."""
    columns = {name: list(frame[name].astype(object)) for name in frame.columns}
    return [{name: values[i] for name, values in columns.items()} for i in range(len(frame))]


def joined(rows, key):
    """The order in which an inner join leaves its left rows in the pandas of the authors' program (1.4): equal keys side
    by side, in the order in which they first appear. Later versions keep the order of the left table."""
    groups = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [row for group in groups.values() for row in group]


def find(folder, split, suffix):
    for name in SPLITS[split]:
        if (folder / (name + suffix)).exists():
            return folder / (name + suffix)
    return None


class Prompts:
    def __init__(self, folder, dataset, nan_tok="nan", sep_tok="."):
        self.folder, self.dataset, self.nan_tok, self.sep_tok = pathlib.Path(folder), DATASETS[dataset], nan_tok, sep_tok

    # ---- texts

    def row(self, fields):
        shown = []
        for name, value in fields:
            text = self.nan_tok if str(value) == "nan" else str(value).strip()
            shown.append(f"{name}: {text}".lstrip())
        return f"{self.separator()} ".join(shown)

    def separator(self):
        return f" {self.sep_tok}" if self.sep_tok not in ("", ".") else self.sep_tok

    def shown(self, row, prefix="", skip=("id",)):
        return [(self.dataset.rename.get(name[len(prefix):], name[len(prefix):]), value) for name, value in row.items()
                if name.startswith(prefix) and name[len(prefix):] not in skip and name[len(prefix):] not in self.dataset.drop]

    def pair(self, a, b, label):
        noun = self.dataset.noun
        text = f"{noun} A is {self.row(a)}. {noun} B is {self.row(b)}.{self.dataset.suffix} "
        return text, "Yes\n" if label == 1 else "No\n", label, str(dict(a).get(self.dataset.key, ""))

    # ---- samples: (text, label, class, key)

    def load(self, split):
        return getattr(self, self.dataset.task)(split)

    def entity_matching(self, split):
        path = find(self.folder, split, ".csv")
        if (self.folder / "tableA.csv").exists():
            return self.linked(path)
        if path:
            rows = records(read_csv(path))
            left, right = ("left_", "right_") if any(n.startswith("left_") for n in rows[0]) else ("ltable_", "rtable_")
            return [self.pair(self.shown(row, left), self.shown(row, right), row["label"]) for row in rows]
        return self.written(find(self.folder, split, ".txt"))

    def linked(self, path):
        a, b, links = (read_csv(p) for p in (self.folder / "tableA.csv", self.folder / "tableB.csv", path))
        by_id = [{}, {}]
        for table, found in ((a, by_id[0]), (b, by_id[1])):
            for row in records(table):
                found.setdefault(row["id"], []).append(row)
        with_a = [(link, left) for link in joined(records(links), lambda link: link["ltable_id"])
                  for left in by_id[0].get(link["ltable_id"], [])]
        return [self.pair(self.shown(left), self.shown(right), link["label"])
                for link, left in joined(with_a, lambda pair: pair[0]["rtable_id"])
                for right in by_id[1].get(link["rtable_id"], [])]

    def written(self, path):
        samples = []
        for line in path.read_text(encoding="utf-8").split("\n"):
            if not line:
                continue
            *sides, label = line.split("\t")
            a, b = ([(self.dataset.rename.get(n, n), v or "nan") for n, v in
                     (map(str.strip, part.split(" VAL", 1)) for part in re.split(r"(?:^| )COL ", side)[1:])
                     if n not in self.dataset.drop and n != "id"] for side in sides)
            samples.append(self.pair(a, b, int(label)))
        return samples

    def data_imputation(self, split):
        path = find(self.folder, split, ".csv")
        frame = read_csv(path) if path else self.split_as_helm(read_csv(self.folder / "Buy.csv"), split)
        target, samples = self.dataset.target, []
        for row in records(frame):
            text = f"{self.row(self.shown(row, skip=('id', target)))}{self.separator()}{self.dataset.suffix} "
            samples.append((text, f"{row[target]}\n", row[target], ""))
        return samples

    @staticmethod
    def split_as_helm(frame, split):
        frame = frame[frame["description"].notna()]
        test = frame.sample(frac=0.1, random_state=1234)
        rest = frame.drop(test.index)
        valid = rest.sample(frac=0.2, random_state=1234)
        return {"test": test, "validation": valid, "train": rest.drop(valid.index)}[split]

    def cell(self, name, value, clean):
        text = f"Is there a x spelling error in {self.row([(name, value)])}{self.dataset.suffix} "
        return text, "No\n" if clean == 1 else "Yes\n", clean, name

    def error_detection_spelling(self, split):
        if (self.folder / "table.csv").exists():
            table = records(read_csv(self.folder / "table.csv"))
            return [self.cell(link["col_name"], table[link["row_id"]][link["col_name"]], link["is_clean"])
                    for link in joined(records(read_csv(find(self.folder, split, ".csv"))), lambda link: link["row_id"])
                    if link["row_id"] < len(table)]
        dirty = records(read_csv(self.folder / "hospital.csv"))
        written = records(read_csv(self.folder / "hospital.csv", dtype=str))
        correct = records(read_csv(self.folder / "hospital_clean.csv", dtype=str))
        order = numpy.random.RandomState(1234).permutation(len(correct))
        train, seen = len(correct) * 9 // 100, len(correct) * 10 // 100
        part = {"train": order[:train], "validation": order[train:seen], "test": order[seen:]}[split]
        samples = []
        for cell in (correct[i] for i in part):
            row, name = int(cell["tid"]), cell["attribute"]
            samples.append(self.cell(name, dirty[row][name], int(str(written[row][name]) == str(cell["correct_val"]))))
        return samples

    def error_detection(self, split):
        samples = []
        for row in records(read_csv(self.folder / "table.csv")):
            whole = self.row(self.shown(row, skip=("Unnamed: 0", "text", "col_name", "label_str", "is_clean")))
            name = row["col_name"]
            text = f"{whole}\n\nIs there an error in {self.row([(name, row[name])])}{self.dataset.suffix} "
            samples.append((text, "No\n" if row["is_clean"] == 1 else "Yes\n", row["is_clean"], name))
        return samples

    def schema_matching(self, split):
        frame = read_csv(find(self.folder, split, ".csv")).rename(columns=self.dataset.rename)
        return [(f"A is {row['left']}. B is {row['right']}. {self.dataset.suffix} ",
                 "No\n" if row["label"] == 0 else "Yes\n", row["label"], str(row["left"])) for row in records(frame)]

    # ---- prompts

    def examples(self, k, seed, balanced):
        train = pandas.DataFrame(self.load("train"), columns=["text", "label", "class", "key"])
        if balanced and self.dataset.task != "data_imputation":
            least = train.groupby("class").count().min()["text"]
            train = pandas.concat(group.sample(least, random_state=42) for _, group in train.groupby("class"))
        train = train.sample(frac=1, random_state=42).reset_index(drop=True)
        numpy.random.seed(seed)
        drawn = train.sample(k)
        return "\n\n".join((text + label).strip() for text, label in zip(drawn["text"], drawn["label"])) + "\n"

    def make(self, split="test", k=1, seed=1234, balanced=False, instruct=False, manual=None, num_run=None):
        prefix = self.examples(k, seed, balanced) if manual is None else None
        prompts, labels = [], []
        for text, label, _, key in self.load(split)[:num_run]:
            front = prefix if manual is None else manual["examples"][key] if manual.get("by") else manual["examples"]
            query = (front + "\n" + text).strip()
            prompts.append(f"{self.dataset.instruction} {query}" if instruct else query)
            labels.append(label[:-1])
        return prompts, labels


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--dataset")
    parser.add_argument("--split", default="test", choices=SPLITS)
    parser.add_argument("--k", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--class-balanced", action="store_true")
    parser.add_argument("--add-task-instruction", action="store_true")
    parser.add_argument("--nan-tok", default="nan")
    parser.add_argument("--sep-tok", default=".")
    parser.add_argument("--manual", type=pathlib.Path)
    parser.add_argument("--num-run", type=int)
    a = parser.parse_args()
    prompts, _ = Prompts(a.folder, a.dataset or a.folder.resolve().name, a.nan_tok, a.sep_tok).make(
        a.split, a.k, a.seed, a.class_balanced, a.add_task_instruction,
        json.loads(a.manual.read_text()) if a.manual else None, a.num_run)
    for prompt in prompts:
        print(json.dumps(prompt))


if __name__ == "__main__":
    main()
