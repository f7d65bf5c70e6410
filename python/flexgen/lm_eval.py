"""`flexgen-lm-eval`, `python -m flexgen.lm_eval`: lm-evaluation-harness's own command, with the model "flexgen".

lm-eval has no option that loads a model from elsewhere, so this makes it known first. docs/lm-eval.md is the guide.
"""
from __future__ import annotations

import sys

from .errors import FlexGenError


def main() -> None:
    try:
        from . import lm_eval_model  # noqa: F401
        from lm_eval.__main__ import cli_evaluate
    except ImportError as error:
        sys.exit(f"flexgen-lm-eval: {error}; lm-evaluation-harness is missing, or another version than this is made for: "
                 "pip install lm-eval==0.4.13")
    try:
        cli_evaluate()
    except FlexGenError as error:
        sys.exit(f"flexgen-lm-eval: {error}")


if __name__ == "__main__":
    main()
