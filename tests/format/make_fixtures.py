#!/usr/bin/env python3
"""Writes fixtures/: small checkpoints made by the formats' own libraries, and what these read from them.

Run by hand, in an environment outside the tree:
    pip install torch==2.15.0 safetensors==0.8.0 gguf==0.19.0 numpy==2.4.6
    python make_fixtures.py
expected.json holds every tensor of every file (dtype, shape, bytes) as the libraries give it back, and
the metadata of the GGUF file; the C tests compare with it exactly.
"""
import collections
import io
import json
import pathlib
import struct
import zipfile

import gguf
import numpy as np
import safetensors
import safetensors.torch
import torch

ROOT = pathlib.Path(__file__).resolve().parent / "fixtures"
TORCH_NAMES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.float64: "f64",
               torch.int8: "i8", torch.int16: "i16", torch.int32: "i32", torch.int64: "i64",
               torch.uint8: "u8", torch.bool: "bool"}
expected = {}


def place(name):
    path = ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def torch_entry(name, tensor):
    dense = tensor.detach().clone(memory_format=torch.contiguous_format)
    return {"name": name, "dtype": TORCH_NAMES[tensor.dtype], "shape": list(tensor.shape),
            "hex": dense.reshape(-1).view(torch.uint8).numpy().tobytes().hex()}


def expect(checkpoint, format_name, entries):
    expected[checkpoint] = {"format": format_name, "tensors": sorted(entries, key=lambda e: e["name"].encode())}


# ---- safetensors -------------------------------------------------------------------------------------

def numbers(*shape, dtype=torch.float32):
    count = int(np.prod(shape))
    return (torch.arange(count, dtype=torch.float32).reshape(shape) * 0.37 - 3).to(dtype)


def read_safetensors(path):
    with safetensors.safe_open(path, framework="pt") as f:
        return [torch_entry(key, f.get_tensor(key)) for key in f.keys()]


def make_safetensors():
    tensors = {
        "f32": numbers(3, 5), "f16": numbers(4, 2, dtype=torch.float16), "bf16": numbers(2, 3, 4, dtype=torch.bfloat16),
        "f64": numbers(7, dtype=torch.float64), "i8": numbers(5, 1, dtype=torch.int8), "i16": numbers(3, dtype=torch.int16),
        "i32": numbers(2, 2, dtype=torch.int32), "i64": numbers(3, dtype=torch.int64), "u8": numbers(9, dtype=torch.float32).abs().to(torch.uint8),
        "bool": torch.tensor([[True, False, True]]), "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4),
        "na\u00efve \"name\"\\\U0001f600": numbers(2),
    }
    path = place("mixed.safetensors")
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt", "note": "line\nbreak"})
    expect("mixed.safetensors", "safetensors", read_safetensors(path))

    # Legal, but not what the library writes: no padding, so the data begins at an odd offset; tensors in
    # the order of names with mixed types; unknown members; escapes; an empty tensor between others.
    data, header = b"", {"__metadata__": {}}
    for name, dtype, tensor in [("a", "U8", torch.arange(3, dtype=torch.uint8)), ("b.empty", "F32", torch.zeros(2, 0)),
                                ("b.weight", "F32", numbers(2, 3)), ("c", "BF16", numbers(3, dtype=torch.bfloat16))]:
        raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {"shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)], "dtype": dtype}
        data += raw
    text = json.dumps(header, indent=1).replace('"b.weight"', '"\\u0062.weight"').encode()
    text += b" " * ((8 + len(text)) % 2 == 0)
    path = place("unaligned.safetensors")
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    assert (8 + len(text)) % 2 == 1
    expect("unaligned.safetensors", "safetensors", read_safetensors(path))

    shards = [{"model.embed.weight": numbers(6, 4, dtype=torch.bfloat16), "model.norm.weight": numbers(4)},
              {"lm_head.weight": numbers(6, 4, dtype=torch.float16)}]
    weight_map, entries = {}, []
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        path = place(f"sharded/{name}")
        safetensors.torch.save_file(shard, path)
        weight_map.update({key: name for key in shard})
        entries += read_safetensors(path)
    index = {"metadata": {"total_size": 112, "nested": [1.5e3, None, {"x": [True]}]}, "weight_map": weight_map}
    place("sharded/model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    expect("sharded", "safetensors", entries)


# ---- pytorch_model.bin ---------------------------------------------------------------------------------

def state_dict():
    base = numbers(6, 8)
    tagged = numbers(3)
    tagged.note = "an attribute: saved by _rebuild_from_type_v2"
    tied = numbers(5, 4, dtype=torch.float16)
    strided = numbers(40, 30)
    return collections.OrderedDict([
        ("embed.weight", tied), ("lm_head.weight", tied), ("parameter", torch.nn.Parameter(numbers(4, 3))),
        ("transposed", strided.t()), ("permuted", numbers(2, 3, 4, 5).permute(2, 0, 3, 1)),
        ("column_slice", base[:, 2:5]), ("every_other", base[::2, ::3]), ("tail", base[4:]),
        ("bf16", numbers(3, 3, dtype=torch.bfloat16)), ("f64", numbers(2, dtype=torch.float64)),
        ("i64", numbers(5, dtype=torch.int64)), ("i32", numbers(5, dtype=torch.int32)),
        ("i16", numbers(2, dtype=torch.int16)), ("i8", numbers(2, dtype=torch.int8)),
        ("u8", torch.arange(4, dtype=torch.uint8)), ("bool", torch.tensor([True, False])),
        ("scalar", torch.tensor(-1.25)), ("empty", torch.zeros(0, 3)), ("tagged", tagged),
        ("not a tensor", 7), ("none", None), ("float", 0.5), ("list", [1, 2, -3]), ("big", 1 << 70), ("size", torch.Size([1, 2])),
    ])


def read_bin(path, key=None):
    loaded = torch.load(path, weights_only=True)
    loaded = loaded[key] if key else loaded
    return [torch_entry(name, value) for name, value in loaded.items() if isinstance(value, torch.Tensor)]


def rewrite_zip(source, target, compression=zipfile.ZIP_STORED, replace=None):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for entry in old.infolist():
            data = (replace or {}).get(entry.filename.split("/")[-1], old.read(entry))
            new.writestr(zipfile.ZipInfo(entry.filename), data, compression)


def write_zip64(source, target):
    """The same entries with every size and offset in ZIP64 fields."""
    body, central, count = b"", b"", 0
    with zipfile.ZipFile(source) as old:
        for entry in old.infolist():
            name, data = entry.filename.encode(), old.read(entry)
            extra = struct.pack("<HHQQ", 1, 16, len(data), len(data))
            fixed = struct.pack("<HHHHHIII", 45, 0, 0, 0, 0, entry.CRC, 0xffffffff, 0xffffffff)
            central_extra = struct.pack("<HH3s", 0x7777, 3, b"abc") + struct.pack("<HHQQQ", 1, 24, len(data), len(data), len(body))
            central += (b"PK\x01\x02" + struct.pack("<H", 45) + fixed + struct.pack("<HHHHHII", len(name), len(central_extra), 0, 0, 0, 0, 0xffffffff)
                        + name + central_extra)
            body += b"PK\x03\x04" + fixed + struct.pack("<HH", len(name), len(extra)) + name + extra + data
            count += 1
    end64 = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(central), len(body))
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, len(body) + len(central), 1)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 0)
    target.write_bytes(body + central + end64 + locator + end)


class Evil:
    def __reduce__(self):
        return (print, ("this must never run",))


def make_bin():
    path = place("views.bin")
    torch.save(state_dict(), path)
    expect("views.bin", "pytorch_bin", read_bin(path))

    small = collections.OrderedDict([("weight", numbers(2, 3)), ("bias", numbers(2))])
    path = place("module.bin")
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    module.load_state_dict({"0.weight": numbers(2, 3), "0.bias": numbers(2), "1.weight": numbers(2), "1.bias": numbers(2)})
    torch.save(module.state_dict(), path)  # carries _metadata
    expect("module.bin", "pytorch_bin", read_bin(path))

    path = place("wrapped.bin")
    torch.save({"epoch": 3, "state_dict": small, "hyper": {"lr": 0.1}, "optimizer": {"state": {0: {"m": numbers(2)}}}}, path)
    expect("wrapped.bin", "pytorch_bin", read_bin(path, "state_dict"))

    plain = place("plain.bin")
    torch.save(small, plain)
    expect("plain.bin", "pytorch_bin", read_bin(plain))
    path = place("zip64.bin")
    write_zip64(plain, path)
    assert [e["hex"] for e in read_bin(path)] == [e["hex"] for e in read_bin(plain)]
    expect("zip64.bin", "pytorch_bin", read_bin(path))

    rewrite_zip(plain, place("refused/deflated.bin"), zipfile.ZIP_DEFLATED)
    rewrite_zip(plain, place("refused/big_endian.bin"), replace={"byteorder": b"big"})
    torch.save(small, place("refused/legacy.bin"), _use_new_zipfile_serialization=False)
    torch.save({"weight": numbers(2), "payload": Evil()}, place("refused/calls_print.bin"))
    torch.save({"weight": numbers(2).to(torch.float8_e4m3fn)}, place("refused/float8.bin"))
    torch.save({"weight": numbers(1).expand(1000, 1000)}, place("refused/expanded.bin"))
    torch.save({"a": small, "b": {"weight": numbers(2)}}, place("refused/two_dicts.bin"))
    torch.save(numbers(2), place("refused/bare_tensor.bin"))
    torch.save({"weight": numbers(2)}, place("refused/protocol4.bin"), pickle_protocol=4)

    shards = [{"embed.weight": numbers(6, 4, dtype=torch.float16)}, {"head.weight": numbers(4, 6).t(), "head.bias": numbers(6)}]
    weight_map, entries = {}, []
    for i, shard in enumerate(shards):
        name = f"pytorch_model-{i + 1:05}-of-{len(shards):05}.bin"
        path = place(f"sharded_bin/{name}")
        torch.save(shard, path)
        weight_map.update({key: name for key in shard})
        entries += read_bin(path)
    place("sharded_bin/pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    expect("sharded_bin", "pytorch_bin", entries)


# ---- GGUF --------------------------------------------------------------------------------------------------

GGUF_NAMES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"]


def gguf_entries(path):
    reader = gguf.GGUFReader(path)
    return [{"name": t.name, "dtype": t.tensor_type.name.lower(), "shape": [int(n) for n in reversed(t.shape)],
             "hex": t.data.tobytes().hex()} for t in reader.tensors]


def gguf_values(path):
    values = {}
    for key, field in gguf.GGUFReader(path).fields.items():
        if key.startswith("GGUF."):
            continue
        value = field.contents()
        types = [t.name.lower() for t in field.types]
        values[key] = {"types": types, "value": value}
    return values


def write_gguf(path, add, **options):
    writer = gguf.GGUFWriter(path, "llama", **options)
    add(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_quantized(writer, name, shape, kind):
    values = np.sin(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)
    data = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
    writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType[kind])


def add_all(writer):
    V = gguf.GGUFValueType
    for kind, value in [("UINT8", 200), ("INT8", -100), ("UINT16", 60000), ("INT16", -30000), ("UINT32", 4000000000),
                        ("INT32", -2000000000), ("UINT64", 1 << 40), ("INT64", -(1 << 40)), ("FLOAT32", 0.1), ("FLOAT64", 0.1),
                        ("BOOL", True)]:
        writer.add_key_value("test." + kind.lower(), value, V[kind])
        writer.add_key_value("test.array." + kind.lower(), [value, type(value)(1)], V.ARRAY, V[kind])
    writer.add_bool("test.false", False)
    writer.add_string("test.string", "na\u00efve \U0001f600")
    writer.add_string("test.empty_string", "")
    writer.add_array("test.array.string", ["", "a", "\u0120hello"])
    for i, kind in enumerate(GGUF_NAMES):
        add_quantized(writer, f"blk.0.{kind.lower()}.weight", (3, 64), kind)
    add_quantized(writer, "three_dims", (2, 3, 32), "Q8_0")
    writer.add_tensor("vector", np.arange(5, dtype=np.float32))


SIZED = ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "TQ1_0", "TQ2_0", "Q1_0", "NVFP4"]


def make_gguf():
    path = place("all.gguf")
    write_gguf(path, add_all)
    expect("all.gguf", "gguf", gguf_entries(path))
    expected["all.gguf"]["values"] = gguf_values(path)

    def aligned(writer):
        writer.add_custom_alignment(128)
        add_quantized(writer, "a", (1, 32), "F32")
        add_quantized(writer, "b", (2, 32), "Q4_1")
    path = place("aligned.gguf")
    write_gguf(path, aligned)
    expect("aligned.gguf", "gguf", gguf_entries(path))

    def parts(writer):
        for i in range(5):
            add_quantized(writer, f"part.{i}", (1, 32), "F16")
    write_gguf(place("split/parts.gguf"), parts, split_max_tensors=2)
    entries = []
    for path in sorted((ROOT / "split").glob("*.gguf")):
        entries += gguf_entries(path)
    expect("split/parts-00001-of-00003.gguf", "gguf", entries)

    # A block of each type that is known by its size, and something behind the last.
    def sized(writer):
        for i, kind in enumerate(SIZED):
            kind = gguf.GGMLQuantizationType[kind]
            block = np.full((1, gguf.GGML_QUANT_SIZES[kind][1]), i, dtype=np.uint8)
            writer.add_tensor(f"blk.{i:02}.ffn_up.weight", block, raw_dtype=kind)
        add_quantized(writer, "output.weight", (1, 32), "Q8_0")
    path = place("sized.gguf")
    write_gguf(path, sized)
    expect("sized.gguf", "gguf", gguf_entries(path))

    def unknown(writer):
        writer.add_tensor("blk.0.ffn_up.weight", np.zeros((1, 292), dtype=np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_K)
    write_gguf(place("refused/q8_k.gguf"), unknown)
    write_gguf(place("refused/big_endian.gguf"), lambda w: w.add_uint32("x", 1), endianess=gguf.GGUFEndian.BIG)


make_safetensors()
make_bin()
make_gguf()
# One line a tensor.
lines = ["{"]
for i, (name, about) in enumerate(expected.items()):
    lines.append(f" {json.dumps(name)}: {{\"format\": {json.dumps(about['format'])},")
    if "values" in about:
        lines.append("  \"values\": {\n   " + ",\n   ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in about["values"].items()) + "},")
    lines.append("  \"tensors\": [\n   " + ",\n   ".join(json.dumps(e) for e in about["tensors"]) + "]}" + ("," if i + 1 < len(expected) else ""))
lines.append("}")
place("expected.json").write_text("\n".join(lines) + "\n")
