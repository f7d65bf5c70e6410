"""Does every part of a tiny model matter? Changes one thing at a time and measures the effect.

A configuration field or a tensor that can be wrong without moving any log-probability by LEAST_EFFECT
would go unnoticed by the goldens; each one that does not is listed with the reason.
"""
import copy

import torch

from reference import TOLERANCE, logprobs
from tiny_models import corrections

LEAST_EFFECT = 20 * TOLERANCE

# Fields that describe the file, training or generation, not the function that the model computes.
NOT_THE_FUNCTION = {
    "transformers_version", "architectures", "output_hidden_states", "return_dict", "dtype", "id2label", "label2id",
    "chunk_size_feed_forward", "is_encoder_decoder", "problem_type", "_name_or_path", "model_type",
    "output_attentions", "initializer_range", "init_std", "use_cache", "pretraining_tp", "dropout",
    "attention_dropout", "layerdrop", "router_aux_loss_coef", "output_router_logits", "router_jitter_noise",
    "bos_token_id", "eos_token_id", "pad_token_id",
}
DECIDED_BY_LAYER_TYPES = {"max_window_layers", "sliding_window_pattern", "_sliding_window_pattern",
                          "use_sliding_window"}
# Fields that the reference has and does not use, at least in some forms of the family.
UNUSED = {
    "gpt2": {"reorder_and_upcast_attn"},
    "gpt_bigcode": {"attention_softmax_in_fp32", "scale_attention_softmax_in_fp32", "num_key_value_heads"},
    "gpt_neo": {"attention_types"},  # attention_layers has been made of it
    "gpt_neox": {"is_decoder"},
    "codegen": {"n_ctx"},
    "bloom": {"slow_but_exact"},
    "deepseek_v2": {"norm_topk_prob", "qk_head_dim"},
    "deepseek_v3": {"num_nextn_predict_layers", "qk_head_dim"},
    "falcon": {"multi_query", "num_kv_heads", "num_ln_in_parallel_attn"},
    "mpt": {"expansion_ratio", "learned_pos_emb", "init_device", "no_bias", "embedding_fraction", "norm_type",
            "logit_scale", "attn_config.attn_type", "attn_config.attn_impl", "attn_config.prefix_lm",
            "attn_config.qk_ln", "attn_config.attn_uses_sequence_id", "attn_config.alibi",
            "attn_config.alibi_bias_max"},
}
DROPOUTS = ("pdrop", "dropout")  # of training, at the end of a field's name
OTHER = {"gelu_new": "relu", "gelu_fast": "relu", "gelu_pytorch_tanh": "relu",
         "silu": "gelu", "relu": "gelu", "gelu": "relu", "default": "linear", "linear": "default", "llama3": "linear"}


def changed(value):
    """Nearby values to try, the first that the weights still fit counts."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, value * 2, value // 2]
    if isinstance(value, float):
        return [value * 1.25]
    if value == []:
        return [[0]]
    if isinstance(value, list) and all(isinstance(item, (int, float, str)) for item in value):  # the first entry
        first = value[0]
        return [[OTHER.get(first, first + "?" if isinstance(first, str) else first * 1.25)] + value[1:]]
    if isinstance(value, list):
        return [value[1:] + value[:1]]
    return [OTHER.get(value, value + "?")]


def is_function(field, value):
    names = set(field.split("."))
    return value is not None and not names & NOT_THE_FUNCTION and not field.endswith(DROPOUTS)


def leaves(key, value):
    if isinstance(value, dict):
        for inner in value:
            yield from leaves(f"{key}.{inner}", value[inner])
    else:
        yield key, value


def fields(config):
    for key, value in config.to_dict().items():
        for field, inner in leaves(key, value):
            if is_function(field, inner):
                yield field


def with_field(config, field, value):
    config = copy.deepcopy(config)
    outer, *path = field.split(".")
    if path and not isinstance(getattr(config, outer), dict):
        setattr(getattr(config, outer), path[0], value)
    elif path:
        parameters = copy.deepcopy(getattr(config, outer))
        inner = parameters
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        if path[-1] == "rope_type":
            inner.setdefault("factor", 4.0)
        setattr(config, outer, parameters)
    else:
        setattr(config, field, value)
        if field == "hidden_size" and hasattr(config, "head_dim"):
            config.head_dim = value // config.num_attention_heads
    return config


def read_field(config, field):
    outer, *path = field.split(".")
    value = getattr(config, outer)
    for name in path:
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value


def try_field(model, field, value):
    """A model with the field changed and the same weights, or the reason why there is none."""
    try:
        other = type(model)(with_field(model.config, field, value)).float().eval()
    except Exception as error:
        return None, f"refused: {str(error).splitlines()[0][:60]}"
    if not torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight):
        head = other.get_output_embeddings()
        head.weight = torch.nn.Parameter(head.weight.detach().clone())  # as the file decides
    try:
        report = other.load_state_dict(model.state_dict(), strict=False)
    except RuntimeError:
        return None, "the tensors' shapes fix it"
    if report.missing_keys:
        return None, f"needs tensors that are not there ({report.missing_keys[0]})"
    return other, ""


def effect(model, other, prompts, before):
    return max((logprobs(other, ids) - rows).abs().max().item() for ids, rows in zip(prompts, before))


def field_rows(model, prompts, before):
    for field in fields(model.config):
        value = read_field(model.config, field)
        if field == "tie_word_embeddings":
            yield field, f"{value}", None, "decided by the tensors that are stored"
            continue
        reason = "unused"
        for other_value in changed(value):
            other, reason = try_field(model, field, other_value)
            if other is not None:
                try:
                    yield field, f"{value} to {other_value}", effect(model, other, prompts, before), ""
                except Exception as error:
                    yield field, f"{value} to {other_value}", None, f"refused: {str(error).splitlines()[0][:60]}"
                break
        else:
            yield field, f"{value}", None, reason


def tensor_rows(model, prompts, before):
    """5 % of noise on one tensor at a time."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in [*model.named_parameters(), *corrections(model)]:
        kept = tensor.detach().clone()
        with torch.no_grad():
            tensor.add_(0.05 * kept.std() * torch.randn(kept.shape, generator=generator))
        yield name, "5 % noise", effect(model, model, prompts, before), ""
        with torch.no_grad():
            tensor.copy_(kept)


def explain(name, model):
    if name.endswith("k_proj.bias") and model.config.model_type == "opt":
        return "adds the same to all scores of a query, which softmax drops"
    if name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        return "unused: only a limit here"
    if name == "_remove_final_layer_norm" and not model.config.do_layer_norm_before:
        return "unused: post-norm models have no final norm"
    if name in DECIDED_BY_LAYER_TYPES and getattr(model.config, "layer_types", None):
        return "the list of layer types, which stands beside it, decides"
    if name == "sliding_window" and getattr(model.config, "use_sliding_window", True) is False:
        return "unused: windows are switched off"
    if name == "original_max_position_embeddings" and model.config.rope_parameters["rope_type"] == "default":
        return "unused: the rotary embedding is the usual one"
    rope = getattr(model.config, "rope_parameters", None) or {}
    rope = rope.get("full_attention", rope)  # one for each type of layers: the other is not scaled
    inner = name.rpartition(".")[2]
    if rope.get("rope_type") == "yarn" and rope.get("truncate", True) and (inner in ("beta_fast", "beta_slow") or
                                                                           inner.startswith("original")):
        return "moves bounds that are rounded to whole dimensions"
    if rope.get("rope_type") == "longrope" and inner.startswith("original"):
        return "no prompt has a length between the two values"
    if name == "no_rope_layer_interval":
        return "the list of layers, which stands beside it, decides"
    if name.startswith("rope_parameters") and getattr(model.config, "alibi", False):
        return "unused: ALiBi takes its place"
    if name in UNUSED.get(model.config.model_type, ()) or name.startswith("summary_"):
        return "unused: the reference does not read it, or not in this form"
    if name == "use_sliding_window" and hasattr(model.config, "sliding_window"):
        return "sliding_window, which stands beside it, decides"
    if name == "intermediate_size" and hasattr(model.config, "moe_intermediate_size"):
        return "unused: no layer is dense"
    if name == "rms_norm_eps" and model.config.rms_norm_eps <= 1e-6:
        return "small beside any mean of squares, as in published models"
    if name in ("n_group", "topk_group") and getattr(model.config, "topk_method", None) == "greedy":
        return "unused: the best experts of all are taken"
    if name in ("mlp_only_layers", "decoder_sparse_step", "first_k_dense_replace"):
        return "with either value the same layers are dense"
    if name == "hidden_act" and model.config.model_type == "gpt_oss":
        return "unused: its experts have a function of their own"
    return "NOT EXPLAINED"


def table(model, prompts):
    """Markdown rows, and the names of what has no effect and no explanation."""
    prompts = [p for p in prompts if len(p) >= 7]
    before = [logprobs(model, ids) for ids in prompts]
    lines, unexplained = ["| what | change | largest move of a log-probability | note |", "|---|---|---|---|"], []
    weakest = {}
    for name, change, moved, note in tensor_rows(model, prompts, before):
        parts = ".".join("N" if part.isdigit() else part for part in name.split("."))
        if parts not in weakest or moved < weakest[parts][1]:
            weakest[parts] = (name, moved, change)
    rows = list(field_rows(model, prompts, before))
    rows += [(parts, change + ", weakest layer", moved, "") for parts, (_, moved, change) in weakest.items()]
    for name, change, moved, note in rows:
        if moved is not None and moved < LEAST_EFFECT:
            note = explain(name, model)
            if note == "NOT EXPLAINED":
                unexplained.append(f"{name} ({moved:.2g})")
        shown = "" if moved is None else f"{moved:.2g}"
        lines.append(f"| `{name}` | {change} | {shown} | {note} |")
    return lines, unexplained
