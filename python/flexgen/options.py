"""The options of an engine and of a prompt, as Python names.

An engine's options are those of `flexgen batch` with underscores: host_memory="6G" is --host-memory 6G
(docs/command-line.md says what each means). A prompt's are the fields of a batch row's body (docs/batch.md), and
FlexGen's own words for some of them. The engine checks the values; here only names are known.
"""
from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, Literal, Mapping, Sequence, TypedDict, Union

from .errors import UsageError

if TYPE_CHECKING:
    Size = Union[int, str]
    Path = Union[str, os.PathLike[str]]


class EngineOptions(TypedDict, total=False):
    # the machine and its memory
    host_memory: Size
    device: str
    device_memory: Size
    offload_dir: Path
    threads: int
    io: Literal["auto", "uring", "threads"]
    # numbers
    synthetic: bool
    alias_layers: int
    adapter: Path
    dtype: Literal["auto", "f32", "bf16", "int8"]
    weight_dtype: Literal["auto", "f32", "bf16", "f16", "int8", "int4"]
    weight_group: str
    weight_symmetric: Literal["auto", "true", "false"]
    weight_head: str
    weight_embedding: str
    compress_weight: bool
    cache_dtype: Literal["auto", "f32", "bf16", "f16", "int8", "int4", "flexgen"]
    compress_cache: bool
    attn_sparsity: float
    cpu_cache_compute: bool
    deterministic: bool
    seed: int
    # the step
    prefix_cache: Path
    prefix_cache_size: Size
    prefix_cache_keep: Literal["shared", "prompts"]
    prefix_sharing: bool
    enable_prefix_caching: bool
    speculation: bool
    draft_model: Path
    draft_memory: Size
    num_speculative_tokens: int
    percent: Sequence[int]
    policy: Path
    gpu_batch_size: int
    num_gpu_batches: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    overlap: bool
    sep_layer: bool
    pin_weight: bool
    # what is told
    trace: Path
    stats: Path


class SamplingOptions(TypedDict, total=False):
    # FlexGen's own, after transformers
    max_new_tokens: int
    do_sample: bool
    # the engine's
    max_tokens: int
    min_tokens: int
    n: int
    best_of: int
    seed: int
    temperature: float
    top_p: float
    min_p: float
    top_k: int
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float]
    stop: Union[str, int, Sequence[Union[str, int]]]
    stop_token_ids: Sequence[int]
    include_stop_str_in_output: bool
    ignore_eos: bool
    # a form that the answer has; one at most
    response_format: Mapping[str, Any]
    structured_outputs: Mapping[str, Any]
    guided_choice: Sequence[str]
    guided_regex: str
    guided_json: Union[str, Mapping[str, Any]]
    logprobs: int
    echo: bool
    add_special_tokens: bool
    skip_special_tokens: bool
    truncate_prompt_tokens: int
    return_tokens_as_token_ids: bool
    add_generation_prompt: bool
    continue_final_message: bool
    chat_template_kwargs: Mapping[str, Any]


MAX_TOKENS = 32  # FlexGen's default
CHAT_ONLY = {"add_generation_prompt", "continue_final_message", "chat_template_kwargs"}
COMPLETION_ONLY = {"echo"}


def _check_names(given: Mapping[str, Any], known: Mapping[str, Any], what: str) -> None:
    for name in given:
        if name not in known:
            meant = difflib.get_close_matches(name, known, 1)
            raise UsageError(f"there is no {what} {name}" + (f"; did you mean {meant[0]}?" if meant else ""))


def engine_arguments(options: Mapping[str, Any]) -> list[str]:
    """Options as the command takes them. None is the same as leaving an option out."""
    _check_names(options, EngineOptions.__annotations__, "option")
    arguments: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is None:
            continue
        if isinstance(value, bool):
            arguments += _boolean(name, flag, value)
        elif isinstance(value, (list, tuple)):
            arguments += [flag, *map(str, value)]
        else:
            arguments.append(f"{flag}={os.fspath(value) if isinstance(value, os.PathLike) else value}")
    return arguments


def boolean_options() -> set[str]:
    return {name for name, kind in EngineOptions.__annotations__.items()
            if getattr(kind, "__forward_arg__", kind) in ("bool", bool)}


# Those that are true unless told otherwise; the others are given or left out.
_TRUE_BY_DEFAULT = {"prefix_sharing", "enable_prefix_caching", "speculation", "overlap", "sep_layer", "pin_weight"}


def _boolean(name: str, flag: str, value: bool) -> list[str]:
    if name in _TRUE_BY_DEFAULT or name == "weight_symmetric":
        return [f"{flag}={'true' if value else 'false'}"]
    return [flag] if value else []


def request_body(sampling: Mapping[str, Any], chat: bool) -> dict[str, Any]:
    """The fields of a row's body, without its prompt."""
    _check_names(sampling, SamplingOptions.__annotations__, "argument")
    given = {name: value for name, value in sampling.items() if value is not None}
    wrong = sorted(given.keys() & (COMPLETION_ONLY if chat else CHAT_ONLY))
    if wrong:
        raise UsageError(f"{wrong[0]} goes with {'generate' if chat else 'chat'} only")
    _take_length(given)
    _take_temperature(given)
    _take_stop(given)
    if "logit_bias" in given:
        given["logit_bias"] = {str(token): bias for token, bias in given["logit_bias"].items()}
    if chat and "logprobs" in given:
        given.update(logprobs=True, top_logprobs=given["logprobs"])
    return {"return_token_ids": True, **given}


def _take_length(given: dict[str, Any]) -> None:
    new = given.pop("max_new_tokens", None)
    if new is not None and "max_tokens" in given:
        raise UsageError("max_new_tokens and max_tokens are two names of one thing; give one of them")
    given.setdefault("max_tokens", MAX_TOKENS if new is None else new)


def _take_temperature(given: dict[str, Any]) -> None:
    """Greedy unless sampling is asked for, by do_sample or by a temperature."""
    do_sample = given.pop("do_sample", None)
    if do_sample is None:
        given.setdefault("temperature", 0)
    elif do_sample:
        given.setdefault("temperature", 1)
    else:
        given["temperature"] = 0


def _take_stop(given: dict[str, Any]) -> None:
    """FlexGen's stop is a token id, OpenAI's one or several texts."""
    stop = given.pop("stop", None)
    if stop is None:
        return
    several = [stop] if isinstance(stop, (str, int)) else list(stop)
    texts = [item for item in several if isinstance(item, str)]
    ids = [item for item in several if not isinstance(item, str)]
    if texts:
        given["stop"] = texts
    if ids:
        given["stop_token_ids"] = [*given.get("stop_token_ids", ()), *ids]
