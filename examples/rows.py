"""What the examples share: the lines of a batch job, in and out (docs/batch.md has all that they may hold)."""
import json
import sys


def request(custom_id, url="/v1/completions", **body):
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": "any", **body}}


def show(requests):
    """The job on standard output, one request a line."""
    for line in requests:
        print(json.dumps(line, ensure_ascii=False))


def choices(path):
    """{custom_id: its choices} of the rows that were answered."""
    found = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["response"] and row["response"]["status_code"] == 200:
                found[row["custom_id"]] = row["response"]["body"]["choices"]
    return found


def logprobs_from(choice, start):
    """Log-probabilities of the tokens of an echoed prompt from its character `start` on."""
    logprobs = choice["logprobs"]
    return [value for value, offset in zip(logprobs["token_logprobs"], logprobs["text_offset"]) if offset >= start]


def count(path):
    with open(path, encoding="utf-8") as file:
        return sum(1 for _ in file)


def run(batch, report, usage):
    """The command line of an example: `batch` prints its requests, `report IN OUT` says what came of them."""
    if sys.argv[1:] == ["batch"]:
        show(batch())
    elif len(sys.argv) == 4 and sys.argv[1] == "report":
        sys.exit(report(*sys.argv[2:]))
    else:
        sys.exit(usage)
