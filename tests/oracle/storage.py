"""Writes a model the way that checkpoints are found: safetensors or pytorch_model.bin, sharded or not.

Every form is read back by transformers before it counts, so what is written is what its reader accepts.
"""
import json
import os
import struct

import torch

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
SAFETENSORS_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
SHARD_BYTES = 60_000


def stored_dtype(tiny, tensor):
    if tiny.dtype == "mixed":
        return torch.bfloat16 if tensor.dim() == 2 else torch.float32
    return DTYPES[tiny.dtype]


def round_weights(model, tiny):
    """Makes the float32 weights exactly representable in the stored dtype."""
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(tensor.to(stored_dtype(tiny, tensor)).float())


def tensors_to_store(model, tiny):
    out = {}
    converted = {}  # by storage, so that tied tensors stay on one storage
    for name, tensor in model.state_dict().items():
        if name in tiny.drop:
            continue
        key = tensor.data_ptr()
        if key not in converted:
            converted[key] = tensor.detach().to(stored_dtype(tiny, tensor)).clone()
        name = name.removeprefix(tiny.strip_prefix)
        for begin, instead in tiny.rename:
            name = instead + name.removeprefix(begin) if name.startswith(begin) else name
        out[name] = converted[key]
    out = {**out, **tiny.extra}
    return tiny.published(out) if tiny.published else out


def split_shards(tensors):
    shards = [{}]
    size = 0
    for name, tensor in tensors.items():
        size += tensor.nbytes
        if size > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = tensor.nbytes
        shards[-1][name] = tensor
    return shards


def write_index(folder, stem, suffix, index_name, tensors, write):
    shards = split_shards(tensors)
    weight_map = {}
    for i, shard in enumerate(shards, 1):
        name = f"{stem}-{i:05}-of-{len(shards):05}.{suffix}"
        write(shard, os.path.join(folder, name))
        weight_map.update(dict.fromkeys(shard, name))
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": weight_map}
    write_json(os.path.join(folder, index_name), index)


def write_by_name(tensors, path):
    """A legal safetensors file unlike the usual ones: tensors in name order, header not padded to 8 bytes."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors):
        tensor = tensors[name]
        header[name] = {"dtype": SAFETENSORS_NAMES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * ((1 - len(text)) % 8)  # the data begins one byte off
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            file.write(tensors[name].contiguous().view(torch.uint8).numpy().tobytes())


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def write_config(folder, model, tiny):
    config = {k: v for k, v in model.config.to_diff_dict().items() if k not in ("dtype", "transformers_version")}
    config["architectures"] = [type(model).__name__]
    dtype = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "mixed": "bfloat16"}[tiny.dtype]
    config["torch_dtype" if tiny.old_config else "dtype"] = dtype
    if tiny.name == "llama-rope-linear":
        config["tie_word_embeddings"] = True
    if tiny.old_config:  # keys that appeared later than the models that this stands for
        for key in ("head_dim", "enable_bias", "layer_norm_elementwise_affine"):
            config.pop(key, None)
    if tiny.old_config and "rope_parameters" in config:
        rope = dict(config.pop("rope_parameters"))
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    write_json(os.path.join(folder, "config.json"), tiny.rewrite(config) if tiny.rewrite else config)
    generation = {"bos_token_id": model.config.bos_token_id, "eos_token_id": model.config.eos_token_id,
                  **tiny.generation}
    write_json(os.path.join(folder, "generation_config.json"), generation)


def rewrite(folder, convert):
    """A stored checkpoint under other names, of a model that transformers has no class for."""
    from safetensors.torch import load_file, save_file
    path, weights = os.path.join(folder, "config.json"), os.path.join(folder, "model.safetensors")
    with open(path) as file:
        config = json.load(file)
    config, tensors = convert(config, load_file(weights))
    write_json(path, config)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, weights, metadata={"format": "pt"})
    os.chmod(weights, 0o644)


def store(model, tiny, folder):
    os.makedirs(folder)
    write_config(folder, model, tiny)
    tensors = tensors_to_store(model, tiny)
    if tiny.form.startswith("safetensors"):  # which stores a tensor that is shared only once
        seen = set()
        tensors = {n: t for n, t in tensors.items() if t.data_ptr() not in seen and not seen.add(t.data_ptr())}
    if tiny.form == "safetensors":
        from safetensors.torch import save_file
        save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    elif tiny.form == "safetensors-sharded":
        from safetensors.torch import save_file
        write_index(folder, "model", "safetensors", "model.safetensors.index.json", tensors,
                    lambda shard, path: save_file(shard, path, metadata={"format": "pt"}))
    elif tiny.form == "safetensors-by-name":
        write_by_name(tensors, os.path.join(folder, "model.safetensors"))
    elif tiny.form == "bin":
        torch.save(tensors, os.path.join(folder, "pytorch_model.bin"))
    elif tiny.form == "bin-sharded":
        write_index(folder, "pytorch_model", "bin", "pytorch_model.bin.index.json", tensors, torch.save)
    else:
        raise ValueError(tiny.form)
    for name in os.listdir(folder):
        os.chmod(os.path.join(folder, name), 0o644)
