"""FlexGen: lists of prompts through large language models, on machines whose memory is smaller than the model.

    import flexgen
    with flexgen.Engine("./model", host_memory="6G") as engine:
        for result in engine.generate(["The capital of France is", "2 + 2 ="], max_new_tokens=8):
            print(result.text)

docs/python.md is the guide.
"""
from .engine import Engine
from .errors import CommandNotFound, EngineError, FlexGenError, RequestError, UsageError
from .options import EngineOptions, SamplingOptions
from .results import BatchSummary, Choice, Logprobs, Result, Usage

__all__ = ["BatchSummary", "Choice", "CommandNotFound", "Engine", "EngineError", "EngineOptions", "FlexGenError",
           "Logprobs", "RequestError", "Result", "SamplingOptions", "UsageError", "Usage"]
