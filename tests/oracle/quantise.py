"""Quantises matrices into the tensors of each format that checkpoints are found in.

A function takes a float32 matrix [outputs, inputs] and returns the tensors by suffix and the matrix that they stand
for, which is computed from the codes before they are packed. Codes are plain rounding: what matters is that every
code and every zero point occurs. check() unpacks the tensors again by other means than those that packed them:
the formats' own libraries where there is one that runs here, else byte by byte.
"""
import json

import numpy as np
import torch

# Codes of bitsandbytes: values of a normal distribution, and floats of 4 bits in units of the largest.
NF4 = np.array([-1, -.69619280, -.52507305, -.39491749, -.28444138, -.18477343, -.09105004, 0, .07958030, .16093020,
                .24611230, .33791524, .44070983, .56261700, .72295684, 1], np.float32)
FP4 = np.array([0, .0625 / 12, 8 / 12, 1, 4 / 12, 6 / 12, 2 / 12, 3 / 12], np.float32)
FP4 = np.concatenate([FP4, -FP4])
E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], np.float32)
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def words(codes, bits, axis):
    """int32 words of codes along an axis, the first in the lowest bits."""
    codes = np.moveaxis(np.asarray(codes, np.uint64), axis, -1)
    per_word = 32 // bits
    codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, -codes.shape[-1] % per_word)])
    codes = codes.reshape(*codes.shape[:-1], -1, per_word)
    packed = (codes << (np.arange(per_word, dtype=np.uint64) * np.uint64(bits))).sum(-1, dtype=np.uint64)
    return np.moveaxis(packed.astype(np.uint32), -1, axis)


def tensor(words_):
    return torch.from_numpy(np.ascontiguousarray(words_).view(np.int32).copy())


def round_groups(weight, groups, bits, symmetric, scale_dtype=torch.float16):
    """Codes, scales and zeros of a matrix whose inputs belong to `groups`: scale and zero are [outputs, groups]."""
    count, most = groups.max() + 1, 2 ** bits - 1
    codes = np.zeros(weight.shape, np.int64)
    scales, zeros = np.zeros((2, weight.shape[0], count), np.float32)
    for g in range(count):
        part = weight[:, groups == g]
        if symmetric:
            scale, zero = np.abs(part).max(1) / (most // 2), np.full(len(part), most // 2 + 1)
        else:
            low, high = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
            scale = (high - low) / most
            zero = np.rint(-low / scale)
        scale = torch.from_numpy(scale.astype(np.float32)).to(scale_dtype).float().numpy()
        codes[:, groups == g] = np.clip(np.rint(part / scale[:, None]) + zero[:, None], 0, most)
        scales[:, g], zeros[:, g] = scale, zero
    return codes, scales, zeros.astype(np.int64)


def value_of(codes, scales, zeros, groups, stored=False):
    """(code - zero) scale; as a store holds it, with a minimum in float16: code scale + minimum."""
    if stored:
        minimum = (-scales * zeros.astype(np.float32)).astype(np.float16).astype(np.float32)
        return codes.astype(np.float32) * scales[:, groups] + minimum[:, groups]
    return (codes - zeros[:, groups]).astype(np.float32) * scales[:, groups]


def plain_groups(inputs, size):
    return np.arange(inputs) // (size if size > 0 else inputs)


def with_edges(weight, size):
    """Some groups that are all positive or all negative: zeros at the ends of their range."""
    weight = weight.copy()
    weight[0, :size] = np.abs(weight[0, :size])
    weight[1, :size] = -np.abs(weight[1, :size])
    return weight


# ---- GPTQ and AWQ --------------------------------------------------------------------------------------------------

def gptq(weight, bits=4, group=32, symmetric=False, v2=False, shuffle=None):
    groups = plain_groups(weight.shape[1], group)
    if shuffle is not None:
        groups = np.random.default_rng(shuffle).permutation(groups)
    codes, scales, zeros = round_groups(with_edges(weight, 32), groups, bits, symmetric)
    packed_zeros = words(zeros, bits, 0).T
    if not v2:  # one less, taken from the whole word
        packed_zeros = packed_zeros - np.uint32(0x11111111 if bits == 4 else 0x01010101)
    parts = {"qweight": tensor(words(codes, bits, 1).T), "qzeros": tensor(packed_zeros),
             "scales": torch.from_numpy(scales.T.copy()).half(), "g_idx": torch.from_numpy(groups.astype(np.int32))}
    config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": shuffle is not None,
              "sym": symmetric, "checkpoint_format": "gptq_v2" if v2 else "gptq"}
    return parts, value_of(codes, scales, zeros, groups), config


def awq(weight, group=32, stored=False):
    groups = plain_groups(weight.shape[1], group)
    codes, scales, zeros = round_groups(with_edges(weight, 32), groups, 4, False)

    def pack(rows):  # [rows, outputs]
        return words(rows.reshape(len(rows), -1, 8)[:, :, AWQ_ORDER].reshape(len(rows), -1), 4, 1)
    parts = {"qweight": tensor(pack(codes.T)), "qzeros": tensor(pack(zeros.T)),
             "scales": torch.from_numpy(scales.T.copy()).half()}
    config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm"}
    return parts, value_of(codes, scales, zeros, groups, stored), config


# ---- compressed-tensors --------------------------------------------------------------------------------------------

def compressed(form, bits, kind, strategy, **weights):
    group = {"targets": ["Linear"], "weights": {"num_bits": bits, "type": kind, "symmetric": True, "strategy": strategy,
                                                "dynamic": False, **weights},
             "input_activations": None, "output_activations": None}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": {"group_0": group},
            "ignore": ["lm_head"], "kv_cache_scheme": None, "quantization_status": "compressed"}


def packed(weight, bits=4, group=32, symmetric=True, shuffle=None, scale_dtype=torch.bfloat16):
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
    groups = plain_groups(weight.shape[1], group)
    if shuffle is not None:
        groups = np.random.default_rng(shuffle).permutation(groups)
    codes, scales, zeros = round_groups(weight if symmetric else with_edges(weight, 32), groups, bits, symmetric,
                                        scale_dtype)
    middle = 1 << (bits - 1)
    parts = {"weight_packed": pack_to_int32(torch.from_numpy((codes - middle).astype(np.int8)), bits),
             "weight_scale": torch.from_numpy(scales).to(scale_dtype), "weight_shape": torch.tensor(weight.shape)}
    if not symmetric:
        parts["weight_zero_point"] = pack_to_int32(torch.from_numpy((zeros - middle).astype(np.int8)), bits, packed_dim=0)
    if shuffle is not None:
        parts["weight_g_idx"] = torch.from_numpy(groups.astype(np.int32))
    keys = {"strategy": "group", "group_size": group} if group > 0 else {"strategy": "channel"}
    config = compressed("pack-quantized", bits, "int", **keys)
    config["config_groups"]["group_0"]["weights"]["symmetric"] = symmetric
    return parts, value_of(codes, scales, zeros, groups), config


def int8(weight, symmetric=True):
    codes, scales, zeros = round_groups(weight, plain_groups(weight.shape[1], -1), 8, symmetric, torch.bfloat16)
    parts = {"weight": torch.from_numpy((codes - 128).astype(np.int8)), "weight_scale": torch.from_numpy(scales).bfloat16()}
    if not symmetric:
        parts["weight_zero_point"] = torch.from_numpy((zeros - 128).astype(np.int8))
    config = compressed("int-quantized", 8, "int", "channel")
    config["config_groups"]["group_0"]["weights"]["symmetric"] = symmetric
    return parts, value_of(codes, scales, zeros, np.zeros(weight.shape[1], int)), config


def fp8_tiles(weight, rows, columns, scale_dtype):
    """FP8 codes and the scales of tiles; a scale of E8M0 is a power of two."""
    scales = np.zeros((-(-weight.shape[0] // rows), -(-weight.shape[1] // columns)), np.float32)
    for i, j in np.ndindex(*scales.shape):
        scales[i, j] = np.abs(weight[i * rows:(i + 1) * rows, j * columns:(j + 1) * columns]).max() / 448
    if scale_dtype == torch.float8_e8m0fnu:
        scales = np.exp2(np.ceil(np.log2(scales)))
    stored = torch.from_numpy(scales).to(scale_dtype)
    wide = np.repeat(np.repeat(stored.float().numpy(), rows, 0), columns, 1)[:weight.shape[0], :weight.shape[1]]
    codes = torch.from_numpy(weight / wide).to(torch.float8_e4m3fn)
    return codes, stored, codes.float().numpy() * wide


def fp8(weight, strategy="channel", block=(16, 32)):
    rows, columns = {"tensor": weight.shape, "channel": (1, weight.shape[1]), "block": block}[strategy]
    codes, scales, value = fp8_tiles(weight, rows, columns, torch.bfloat16)
    if strategy == "tensor":
        scales = scales.reshape(1)
    keys = {"block_structure": list(block)} if strategy == "block" else {}
    return ({"weight": codes, "weight_scale": scales}, value,
            compressed("float-quantized", 8, "float", strategy, **keys))


def fp8_inverse(weight, block=(16, 32), scale_dtype=torch.float32):
    codes, scales, value = fp8_tiles(weight, *block, scale_dtype)
    config = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": list(block)}
    return {"weight": codes, "weight_scale_inv": scales}, value, config


def nearest(values, table):
    return np.abs(values[..., None] - table).argmin(-1)


def mxfp4(weight):
    runs = weight.reshape(len(weight), -1, 32)
    exponents = np.floor(np.log2(np.abs(runs).max(-1))) - 2
    scales = np.exp2(exponents).astype(np.float32)
    codes = nearest(runs / scales[..., None], E2M1)
    value = (E2M1[codes] * scales[..., None]).reshape(weight.shape)
    pairs = codes.reshape(len(weight), -1, 2)
    parts = {"weight_packed": torch.from_numpy((pairs[..., 0] | pairs[..., 1] << 4).astype(np.uint8)),
             "weight_scale": torch.from_numpy((exponents + 127).astype(np.uint8))}
    return parts, value, compressed("mxfp4-pack-quantized", 4, "float", "group", group_size=32)


def nvfp4(weight):
    runs = weight.reshape(len(weight), -1, 16)
    whole = np.float32(448 * 6 / np.abs(weight).max())
    stored = torch.from_numpy(np.abs(runs).max(-1) / 6 * whole).to(torch.float8_e4m3fn)
    scales = stored.float().numpy() / whole
    codes = nearest(runs / scales[..., None], E2M1)
    value = (E2M1[codes] * scales[..., None]).reshape(weight.shape)
    pairs = codes.reshape(len(weight), -1, 2)
    parts = {"weight_packed": torch.from_numpy((pairs[..., 0] | pairs[..., 1] << 4).astype(np.uint8)),
             "weight_scale": stored, "weight_global_scale": torch.tensor([whole])}
    return parts, value, compressed("nvfp4-pack-quantized", 4, "float", "tensor_group", group_size=16)


# ---- bitsandbytes --------------------------------------------------------------------------------------------------

def bnb4(weight, kind="nf4", run=64, nested=False):
    table = NF4 if kind == "nf4" else FP4
    flat = np.pad(weight.reshape(-1), (0, -weight.size % run)).reshape(-1, run)
    absmax = np.abs(flat).max(1)
    state = {"quant_type": kind, "blocksize": run, "dtype": "bfloat16", "shape": list(weight.shape)}
    parts = {}
    if nested:
        offset, run2 = np.float32(absmax.mean()), 16
        rest = np.pad(absmax - offset, (0, -len(absmax) % run2)).reshape(-1, run2)
        second = np.abs(rest).max(1).astype(np.float32)
        table2 = np.sort(np.concatenate([np.linspace(-1, 1, 255), [.004]])).astype(np.float32)
        codes2 = nearest(rest / second[:, None], table2)
        absmax = ((table2[codes2] * second[:, None]).reshape(-1)[:len(absmax)] + offset).astype(np.float32)
        state |= {"nested_blocksize": run2, "nested_dtype": "float32", "nested_offset": float(offset)}
        parts = {"weight.nested_absmax": torch.from_numpy(second), "weight.nested_quant_map": torch.from_numpy(table2),
                 "weight.absmax": torch.from_numpy(codes2.reshape(-1)[:len(absmax)].astype(np.uint8))}
    else:
        parts = {"weight.absmax": torch.from_numpy(absmax)}
    codes = nearest(flat / absmax[:, None], table)
    value = (table[codes] * absmax[:, None]).astype(np.float32).reshape(-1)[:weight.size].reshape(weight.shape)
    codes = codes.reshape(-1)[:weight.size]
    codes = np.pad(codes, (0, len(codes) % 2)).reshape(-1, 2)
    parts |= {"weight": torch.from_numpy((codes[:, 0] << 4 | codes[:, 1]).astype(np.uint8).reshape(-1, 1)),
              "weight.quant_map": torch.from_numpy(table.copy()),
              f"weight.quant_state.bitsandbytes__{kind}": torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)}
    return parts, value, bnb_config(kind, nested)


def bnb_config(kind, nested):
    return {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": kind,
            "bnb_4bit_use_double_quant": nested, "bnb_4bit_quant_storage": "uint8"}


def bnb4_library(weight, kind="nf4", nested=False):
    """Tensors and values both as bitsandbytes itself makes them."""
    import bitsandbytes.functional as library
    codes, state = library.quantize_4bit(torch.from_numpy(weight), quant_type=kind, compress_statistics=nested, blocksize=64)
    value = library.dequantize_4bit(codes, state).float().numpy()
    parts = {"weight": codes, **{f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}}
    return parts, value, bnb_config(kind, nested)


def bnb8(weight):
    largest = np.abs(weight).max(1).astype(np.float32)
    codes = np.rint(weight * (127 / largest[:, None])).astype(np.int64)
    value = codes.astype(np.float32) * (largest / np.float32(127))[:, None]
    parts = {"weight": torch.from_numpy(codes.astype(np.int8)), "SCB": torch.from_numpy(largest),
             "weight_format": torch.tensor(0, dtype=torch.uint8)}
    return parts, value, {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": True}


# ---- the same values by other means --------------------------------------------------------------------------------

def nibbles(words_, axis):
    """Codes of int32 words along an axis, byte by byte."""
    data = np.moveaxis(words_.numpy(), axis, -1)
    data = np.ascontiguousarray(data).view(np.uint8)
    return np.moveaxis(np.stack([data & 15, data >> 4], -1).reshape(*data.shape[:-1], -1), -1, axis)


def check_gptq(parts, config):
    four = config["bits"] == 4
    zeros = parts["qzeros"]
    if config["checkpoint_format"] == "gptq":  # as arithmetic of 32 bits on the whole word
        zeros = (zeros.to(torch.int64) + (0x11111111 if four else 0x01010101)) & 0xffffffff
        zeros = torch.from_numpy(zeros.numpy().astype(np.uint32).view(np.int32))
    if four:
        codes, zeros = nibbles(parts["qweight"], 0), nibbles(zeros, 1)
    else:
        codes = parts["qweight"].numpy().T.copy().view(np.uint8).T
        zeros = zeros.numpy().copy().view(np.uint8)
    group = parts["g_idx"].long().numpy()
    scales = parts["scales"].float().numpy()
    return ((codes.astype(np.int32) - zeros[group].astype(np.int32)).astype(np.float32) * scales[group]).T


def check_awq(parts, config):
    place = [0, 4, 1, 5, 2, 6, 3, 7]  # output m of eight stands in this slot

    def unpack(w):
        codes = nibbles(w, 1).reshape(len(w), -1, 8)
        return codes[:, :, place].reshape(len(w), -1).astype(np.int32)
    codes, zeros = unpack(parts["qweight"]), unpack(parts["qzeros"])
    scales = parts["scales"].float().numpy()
    size = config["group_size"]
    return np.concatenate([(codes[i * size:(i + 1) * size] - zeros[i]).astype(np.float32) * scales[i]
                           for i in range(len(scales))]).T


def check_compressed(parts, config):
    """By the library, with scales in float32 so that it does not round what it returns."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    group = config["config_groups"]["group_0"]
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**group["weights"]))
    library = BaseCompressor.get_value_from_registry(config["format"])
    state = {k: v.float() if k == "weight_scale" and v.is_floating_point() else v for k, v in parts.items()}
    return library.decompress(state, scheme)["weight"]


CHECKS = {"gptq": check_gptq, "awq": check_awq, "compressed-tensors": check_compressed}


def check(name, parts, value, config):
    """Raises if the tensors do not stand for the value; False if nothing here can tell."""
    unpack = CHECKS.get(config["quant_method"])
    if not unpack or "weight_g_idx" in parts:
        return False
    other = unpack(parts, config)
    if isinstance(other, torch.Tensor):
        value = torch.from_numpy(value).to(other.dtype).float().numpy()  # NVFP4 is given back in bfloat16
        other = other.float().numpy()
    if other.shape != value.shape or not np.array_equal(other, value):
        raise SystemExit(f"{name}: unpacked values differ by {np.abs(other - value).max()}")
    return True
