"""The model "flexgen" of lm-evaluation-harness: each list of requests is one batch job.

Numbers are those of lm-eval's `hf` model: the same tokens, windows and cuts, as far as one token less context goes
(see max_length). Importing this makes the model known; `flexgen-lm-eval` (lm_eval.py) does so before lm-eval's own
command line. docs/lm-eval.md is the guide.
"""
from __future__ import annotations

import os
from typing import Any, Iterable, Iterator, Sequence, cast

from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text

from .engine import Engine
from .errors import UsageError
from .jobs import run_job

DEFAULT_CONTEXT = 2048  # lm-eval's, for a model that has no limit of its own

Scored = tuple["tuple[str, str] | None", "list[int]", "list[int]"]  # request, context, continuation


@register_model("flexgen")
class FlexGenLM(TemplateLM):
    """--model_args: pretrained=MODEL and any option of the engine (host_memory=6G, dtype=f32, ...), and

    max_length: tokens of context; the default is the model's, less one, since a window's last token is part of what
        the engine reads.
    max_gen_toks: of an answer where a task says nothing (256).
    add_bos_token, prefix_token_id: as of lm-eval's `hf` model.
    tokenizer: a Hugging Face folder whose chat template --apply_chat_template fills, with transformers; the default
        is MODEL.
    engine_device: the engine's --device; --device is for models that run on torch.
    think_end_token: what an answer says up to there is not counted.
    work_dir: keeps the jobs' files, so that an evaluation that was stopped goes on.
    """

    def __init__(self, pretrained: str, *, tokenizer: str | None = None, batch_size: Any = None,
                 max_batch_size: Any = None, device: str | None = None, max_length: int | None = None,
                 max_gen_toks: int = 256, add_bos_token: bool | None = None, prefix_token_id: int | None = None,
                 think_end_token: str | None = None, work_dir: str | None = None, command: str | None = None,
                 engine_device: str | None = None, **options: Any):
        super().__init__()
        # Batch sizes are for models that cannot choose their own; lm-eval always names a device of torch's.
        if isinstance(options.get("percent"), str):
            options["percent"] = options["percent"].split()
        options["device"] = engine_device
        self.engine = Engine(str(pretrained), command=command, **options)
        context = options.get("max_model_len") or self.engine.info["context"] or DEFAULT_CONTEXT
        if max_length and max_length > context:
            raise UsageError(f"max_length={max_length} is more than the context of {context} tokens")
        self._generation_length = max_length or context
        self.max_length = min(self._generation_length, context - 1)
        self.max_gen_toks = max_gen_toks
        self._add_bos_token = add_bos_token
        self._prefix_token_id = prefix_token_id
        self._think_end_token = think_end_token
        self._work_dir = work_dir
        self._template_folder = tokenizer or str(pretrained)
        self._templates: Any = None
        self._ids: dict[tuple[str, bool], list[int]] = {}
        self._prefix_text = self.engine.detokenize([[self.prefix_token_id]])[0]

    # ---- tokens -----------------------------------------------------------------------------------------------------

    @property
    def eot_token_id(self) -> int:
        eos = self.engine.info["special_tokens"].get("eos_token")
        ids = self.engine.info["eos_ids"]
        if eos is None and not ids:
            raise UsageError(f"{self.engine.model} names no token that ends a text; give prefix_token_id")
        return int(eos["id"] if eos else ids[0])

    @property
    def prefix_token_id(self) -> int:
        if self._prefix_token_id is not None:
            return int(self._prefix_token_id)
        bos = self.engine.info["special_tokens"].get("bos_token")
        return int(bos["id"]) if bos else self.eot_token_id

    def _adds_special(self, text: str, wish: bool | None) -> bool:
        """Whether a text gets the tokenizer's special tokens: one that begins with them does not get them twice."""
        if wish is not None:
            return wish
        if self._prefix_text and text.startswith(self._prefix_text):
            return False
        return True if self._add_bos_token is None else self._add_bos_token

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **more: Any) -> list[int]:
        special = self._adds_special(string, add_special_tokens)
        key = (string, special)
        if key not in self._ids:
            self._encode_ahead([(string, add_special_tokens)])
        return self._ids[key]

    def _encode_ahead(self, texts: Iterable[tuple[str, bool | None]]) -> None:
        """One run of the tokenizer for all texts that tok_encode will be asked for."""
        wanted = {(text, self._adds_special(text, wish)) for text, wish in texts} - self._ids.keys()
        for special in (False, True):
            keys = [key for key in wanted if key[1] == special]
            if keys:
                found = self.engine.tokenize([text for text, _ in keys], add_special_tokens=special)
                self._ids.update(zip(keys, found))

    @property
    def tokenizer_name(self) -> str:
        return self.engine.model.replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        if chat_template is False or chat_template is None:
            return None
        self.tokenizer = self._template_tokenizer()
        return cast("str | None", super().chat_template(chat_template))

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return str(self._template_tokenizer().apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt))

    def _template_tokenizer(self) -> Any:
        """Only to fill the template: texts are tokenized by the engine."""
        if self._templates is None:
            if not os.path.exists(os.path.join(self._template_folder, "tokenizer_config.json")):
                raise UsageError("--apply_chat_template needs the template: give tokenizer=FOLDER in --model_args, a "
                                 "Hugging Face folder with tokenizer_config.json")
            from transformers import AutoTokenizer
            self._templates = AutoTokenizer.from_pretrained(self._template_folder)
        return self._templates

    # ---- scores -----------------------------------------------------------------------------------------------------

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        texts: list[tuple[str, bool | None]] = []
        for context, continuation in (request.args for request in requests):
            if context == "":
                texts.append((continuation, False))
            else:
                texts += [(context + continuation, None), (context.rstrip(), None)]
        self._encode_ahead(texts)
        scores = super().loglikelihood(requests, disable_tqdm=True)
        self._ids.clear()
        return list(scores)

    def _loglikelihood_tokens(self, requests: Sequence[Scored], **more: Any) -> list[tuple[float, bool]]:
        windows = [self._window(context, continuation) for _, context, continuation in requests]
        distinct = {window: i for i, window in enumerate(dict.fromkeys(windows))}
        asked_by: list[list[int]] = [[] for _ in distinct]
        for i, window in enumerate(windows):
            asked_by[distinct[window]].append(i)
        scores: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        bodies = [{"prompt": list(window), "max_tokens": 0, "echo": True, "logprobs": 1} for window in distinct]
        for answer, askers in zip(self._run(bodies), asked_by):
            logprobs = answer["choices"][0]["logprobs"]
            for i in askers:
                request, _, continuation = requests[i]
                scores[i] = _score(logprobs, len(continuation))
                if request is not None:
                    self.cache_hook.add_partial("loglikelihood", request, scores[i])
        return scores

    def _window(self, context: Sequence[int], continuation: Sequence[int]) -> tuple[int, ...]:
        if not continuation or len(continuation) > self.max_length:
            raise UsageError(f"a continuation of {len(continuation)} tokens cannot be scored within {self.max_length}")
        return tuple([*context, *continuation][-(self.max_length + 1):])

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        texts = [request.args[0] for request in requests]
        self._encode_ahead((text, None) for text in texts)
        windows: list[Scored] = []
        owners: list[int] = []
        for i, text in enumerate(texts):
            for context, continuation in map(utils.make_disjoint_window, utils.get_rolling_token_windows(
                    token_list=self.tok_encode(text), prefix_token=self.prefix_token_id, max_seq_len=self.max_length,
                    context_len=1)):
                windows.append((None, context, continuation))
                owners.append(i)
        self._ids.clear()
        sums = [0.0] * len(requests)
        for i, (score, _) in zip(owners, self._loglikelihood_tokens(windows)):
            sums[i] += score
        for text, total in zip(texts, sums):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return sums

    # ---- answers ----------------------------------------------------------------------------------------------------

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        eos = self.engine.detokenize([[self.eot_token_id]])[0]
        bodies, stops = [], []
        for context, arguments in (request.args for request in requests):
            wanted = dict(normalize_gen_kwargs(arguments, self.max_gen_toks))
            stops.append(handle_stop_sequences(wanted.pop("until", None), eos=eos))
            bodies.append(self._generation(context, wanted, stops[-1]))
        answers = []
        for request, stop, body in zip(requests, stops, self._run(bodies)):
            text = postprocess_generated_text(body["choices"][0]["text"], stop, self._think_end_token)
            answers.append(text)
            self.cache_hook.add_partial("generate_until", request.args, text)
        return answers

    def _generation(self, context: str, wanted: dict[str, Any], stop: list[str]) -> dict[str, Any]:
        """A task's generation_kwargs as a row's body; what the engine does not know it refuses by name."""
        length = int(wanted.pop("max_gen_toks"))
        room = self._generation_length - length
        if room <= 0:
            raise UsageError(f"an answer of {length} tokens leaves no room for a prompt within {self._generation_length}")
        sampled = wanted.pop("do_sample")
        temperature = wanted.pop("temperature", 0)
        if wanted.get("num_beams") == 1:
            del wanted["num_beams"]
        body = {"prompt": context, "add_special_tokens": self._adds_special(context, None), "max_tokens": length,
                "truncate_prompt_tokens": room, "temperature": temperature if sampled else 0, **wanted}
        # What an answer says before its end of thinking may hold a stop.
        if not self._think_end_token:
            body["stop"] = [text for text in stop if text]
        return body

    def _run(self, bodies: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        return run_job(self.engine, bodies, folder=self._work_dir)


def _score(logprobs: dict[str, Any], count: int) -> tuple[float, bool]:
    """Of the last `count` tokens: the sum, and whether each is the likeliest of its place."""
    chosen, best = logprobs["token_logprobs"][-count:], logprobs["top_logprobs"][-count:]
    return sum(chosen), all(value == max(top.values()) for value, top in zip(chosen, best))
