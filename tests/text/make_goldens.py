#!/usr/bin/env python3
"""Writes tests/text/goldens: small tokenizers and what the Hugging Face libraries make of nasty texts with them.

Every vocabulary is trained here, on the text below or on tests/oracle/text, so nothing is anybody else's.
Needs tokenizers, sentencepiece, transformers, jinja2 and gguf (versions used: 0.23.3, 0.2.3, 5.23.0, 3.1.6,
0.19.0). Run: make_goldens.py [SMOLLM2.gguf]. The library's trainers of unigrams, of WordPiece and of pieces with a
suffix give another vocabulary each time (words, gpt1, bert, cased_bert, t5, xlnet, unigram_bytes).
"""

import json
import os
import random
import shutil
import sys
import tempfile

import numpy
from gguf import GGUFReader, GGUFWriter
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import GPT2Tokenizer, PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

import chat_templates
import families
import spm_models
from compare_with_library import fuzz_lines
from families import BYTES, GPT2, LLAMA3, QWEN2, special
from jinja_cases import CASES, CHATS, TEMPLATES, VARIABLES

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "goldens")

CORPUS = """The engine reads the weights of one layer while the layer before it still computes, and the reader who
waits for the last token doesn't wait for the disk. Numbers such as 1, 12, 365 and 2024 are split; so are words:
isn't, we're, they've, I'm, she'll, he'd. In the morning the baker's daughter carried forty-two loaves of bread over
the bridge, sold thirty of them at 1.50 each, and gave the rest to the ferrymen. def main(argc, argv): return 0
for i in range(10): print(i, i * i)\n\tif (x == y) { z += 1; }\r\nÜber den Fluß führt eine schöne Brücke; la rivière
est très large à cet endroit. Привет, мир! Καλημέρα κόσμε. 今日は世界。 안녕하세요 세계. שלום עולם. नमस्ते दुनिया.
The quick brown fox jumps over the lazy dog; the lazy dog sleeps.  Two  spaces,   three   spaces.\n\nNew paragraph.
"""

TEXTS = [
    "", " ", "  ", "\n", "a", " a", "a ", "Hello world", "The engine's weights aren't read; they've been read.",
    "it'S IT'S it'ſ it'LL We'Re I'M 'tis 'd 'x '", "don''t 's's ''ve", "1 12 123 1234 12345 3.14 1,000,000 007",
    "٣٤٥ ¼½ Ⅷ ² ①② 一二三 १२३ 𝟙𝟚", "tabs\tand\nnew\r\nlines\r\n\r\nend\r", "   leading", "trailing   ",
    "a  b   c    d     e", "a\n\n\nb\n \n c", " \n \n", "\t\t x", "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g\u1680h",
    "a\u180eb\u200bc\ufeffd\u200d\u2060e", "x\x0by\x0cz\x1cw\x1dv\x1eu\x1ft", "e\u0301 é e\u0323\u0307 ḍ̇ Å Å \ufb01 ①",
    "한국어 각 \u1112\u1161\u11ab", "ﷺ ﬁ Ⅳ ㎏ ½ ｱ Ａ", "İstanbul ΣΑΣ ẞ ǅ", "👨‍👩‍👧‍👦 👍🏽 🇩🇪 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ☺️", "日本語のテキスト、句読点。「はい」",
    "Привет, мир! Ещё", "नमस्ते दुनिया", "שלום עולם", "ภาษาไทย", "a" * 70, "ab" * 40, " " * 50, "." * 33,
    "!?!?...,,,;;;---___", "(a)[b]{c}<d>|e|/f/\\g\\", "#hash @at $1 %2 ^3 &4 *5", "snake_case camelCase kebab-case",
    "http://example.org/a?b=c&d=%20#e", "x=1;y=2\n\tif(x==y){\n\t\treturn;\n\t}", "<s> </s> <pad>", "<|end|><|end|> a<|end|>b",
    "word<mask>word  <mask>  word", "a <left> b  <right>  c", "xsinglex single single, single.", "<plain><plain> x <plain>",
    "\u2581 \u2581a a\u2581b", "\U00020000\U0001f9ff\U000e0100", "\x00\x01\x7f", "\ud7ff\ue000\uffff", "ĠHello Ċ Ã© é",
    "The quick brown fox\njumps over the lazy dog. " * 3, "mixed\u0301日a1́ 2́", "ZWJ\u200dZWNJ\u200cend", "NEWDAY newday Newday",
]


def train(*args, **kwargs):
    return families.train([CORPUS] * 4, *args, **kwargs)


def split(regex):
    return families.splits([regex], families.RAW)


def smollm_pre():
    return families.DIGITS


# ---- one function a form ------------------------------------------------------------------------------


def smollm():
    t = train(smollm_pre(), 500, BYTES, ["<|end|>", "<s>", "</s>"])
    t.decoder = decoders.ByteLevel()
    t.add_tokens([AddedToken("<plain>", normalized=False)])
    return t


def llama3():
    t = train(split(LLAMA3), 600, BYTES)
    vocab = t.get_vocab()
    whole = "ĠNEWDAY"  # no merge leads to it: found whole or not at all
    model = json.loads(t.to_str())["model"]
    vocab[whole] = len(vocab)
    t.model = models.BPE(vocab, [tuple(m) for m in model["merges"]], ignore_merges=True)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([special("<s>"), special("<|end|>")])
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1",
                                      special_tokens=[("<s>", t.token_to_id("<s>"))])])
    return t


def qwen2():
    t = train(split(QWEN2), 600, BYTES, normalizer=normalizers.NFC())
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.add_special_tokens([special("<|end|>")])
    t.add_tokens([AddedToken("<plain>"), AddedToken("é", normalized=True), AddedToken("   ", normalized=False)])
    return t


def llama2():
    t = train(pre_tokenizers.Metaspace(), 300)
    merges = [tuple(m) for m in json.loads(t.to_str())["model"]["merges"]]
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for token in [f"<0x{b:02X}>" for b in range(256)] + sorted(t.get_vocab(), key=t.get_vocab().get):
        vocab[token] = len(vocab)
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([special("<unk>"), special("<s>"), special("</s>")])
    t.add_tokens([AddedToken("<plain>", normalized=True)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B",
                                                     special_tokens=[("<s>", 1), ("</s>", 2)])
    return t


def metaspace():
    pre = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    t = train(pre, 300, specials=["<unk>", "<s>"], unk="<unk>", fuse_unk=False)
    t.decoder = decoders.Metaspace(prepend_scheme="first")
    return t


def gemma():
    t = train(pre_tokenizers.Metaspace(), 250)
    merges = [tuple(m) for m in json.loads(t.to_str())["model"]["merges"]]
    vocab = {"<pad>": 0, "<s>": 1, "▁▁": 2}
    for token in [f"<0x{b:02X}>" for b in range(256)] + sorted(t.get_vocab(), key=t.get_vocab().get):
        vocab.setdefault(token, len(vocab))
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<pad>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.add_special_tokens([special("<s>")])
    t.add_tokens([AddedToken("▁▁", normalized=False)])
    return t


def roberta():
    t = train(pre_tokenizers.ByteLevel(add_prefix_space=True), 450, BYTES, ["<s>", "<pad>", "</s>", "<unk>"])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return t


def flags():
    t = train(GPT2, 400, BYTES, normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]))
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([special("<left>", lstrip=True), special("<right>", rstrip=True),
                          special("single", single_word=True)])
    t.add_tokens([AddedToken("Newday", normalized=True), AddedToken("<mask>", lstrip=True, rstrip=True)])
    return t


def words():
    pre = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(),
                                   pre_tokenizers.Digits(individual_digits=False)])
    norm = normalizers.Sequence([normalizers.NFKD(), normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), " ")])
    t = train(pre, 350, specials=["<unk>", "<s>", "</s>"], normalizer=norm, unk="<unk>", end_of_word_suffix="</w>")
    t.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 1))
    return t


FORMS = {
    "smollm": smollm, "llama3": llama3, "qwen2": qwen2, "llama2": llama2, "metaspace": metaspace, "gemma": gemma,
    "roberta": roberta, "flags": flags, "words": words,
}
# The pre-tokenizers alone, on one shared vocabulary: name -> (pre-tokenizer, in JSON)
SPLITS = {
    "removed": pre_tokenizers.Split(" ", "removed"),
    "isolated": pre_tokenizers.Split(Regex(r"[a-z]+"), "isolated"),
    "previous": pre_tokenizers.Split(Regex(r"\s"), "merged_with_previous"),
    "next": pre_tokenizers.Split(Regex(r"[\s.]"), "merged_with_next"),
    "contiguous": pre_tokenizers.Split(Regex(r"[.!?,;]"), "contiguous"),
    "inverted": pre_tokenizers.Split(Regex(r"\w+"), "removed", invert=True),
    "inverted_next": pre_tokenizers.Split(Regex(r"\d+"), "merged_with_next", invert=True),
    "empty_matches": pre_tokenizers.Split(Regex(r"b*"), "isolated"),
    "look_around": pre_tokenizers.Split(Regex(r"(?<=[a-z])(?=[A-Z])|\s+(?!\S)|(?i:it)"), "isolated"),
    "possessive": pre_tokenizers.Split(Regex(r"[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+"), "isolated"),
    "cased": pre_tokenizers.Split(Regex(r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+"), "isolated"),
    "bloom": pre_tokenizers.Split(Regex(r" ?[^(\s|[.,!?…。，、।۔،])]+"), "isolated"),
    "scripts": pre_tokenizers.Split(Regex(r"[\p{Han}\p{Hiragana}]+|\p{Cyrillic}+|^.|.$|\u00e9"), "isolated"),
    "gpt2": pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"), "isolated"),
    "llama3": pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
    "qwen2": pre_tokenizers.Split(Regex(QWEN2), "isolated"),
    "whitespace": pre_tokenizers.Whitespace(),
    "bert": pre_tokenizers.BertPreTokenizer(),
    "delimiter": pre_tokenizers.CharDelimiterSplit("e"),
    "punctuation": pre_tokenizers.Punctuation("contiguous"),
    "bytes_first": pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Split("Ġ", "isolated")]),
}


def alice():
    with open(os.path.join(HERE, "..", "oracle", "text", "alice.txt"), encoding="utf-8") as f:
        return [CORPUS] * 4 + f.read()[:20000].split("\n\n")


FUZZ, EVERY = fuzz_lines(300, 11), 6  # each form sees every sixth line, from another one on


def write(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        json.dump(value, f, separators=(",", ":"))
        f.write("\n")


def random_ids(size, seed):
    r = random.Random(seed)
    return [[r.randrange(size) for _ in range(r.randint(0, 9))] for _ in range(25)]


def golden(encode, decode, size, seed):
    """encode(text, add_special) -> ids; decode(ids, skip_special) -> text"""
    cases = random_ids(size, seed) + [encode(text, True) for text in TEXTS[::2]]
    return {
        "ids": [encode(text, False) for text in TEXTS],
        "special": [encode(text, True) for text in TEXTS[:10]],
        "decode": [[ids, decode(ids, False), decode(ids, True)] for ids in cases],
    }


def library(t, seed):
    return golden(lambda text, add: t.encode(text, add_special_tokens=add).ids,
                  lambda ids, skip: t.decode(ids, skip_special_tokens=skip), max(t.get_vocab().values()) + 1, seed)


def with_fuzz(result, encode, number):
    """Adds the lines from `number` on; encode(text) -> ids without special tokens around them."""
    first = number % EVERY
    return {**result, "fuzz": {"first": first, "every": EVERY, "ids": [encode(text) for text in FUZZ[first::EVERY]]}}


def family_files(corpus):
    charsmap = sentencepiece_model_pb2.ModelProto.FromString(spm_models.train(corpus, "spm_t5")).normalizer_spec
    makers = {**families.FAMILIES, **{name: lambda c, make=make: make(c, charsmap.precompiled_charsmap)
                                      for name, make in families.UNIGRAMS.items()}}
    for number, (name, make) in enumerate(makers.items()):
        t = make(corpus)
        save_compact(t, os.path.join(OUT, name))
        t = Tokenizer.from_file(os.path.join(OUT, name, "tokenizer.json"))  # numbers as the file has them
        write(os.path.join(OUT, name + ".json"),
              with_fuzz(library(t, name), lambda text: t.encode(text, add_special_tokens=False).ids, number))


def spm_golden(reader, seed, number):
    r = random.Random(seed)
    lists = [reader.random_ids(r) for _ in range(40)]
    result = {
        "ids": [reader.encode(text, False) for text in TEXTS],
        "special": [reader.encode(text) for text in TEXTS[:10]],
        "decode": [[ids, reader.decode(ids), reader.decode(ids, True)] for ids in lists],
        "bos": reader.bos, "eos": reader.eos,
    }
    return with_fuzz(result, lambda text: reader.encode(text, False), number)


def spm_files(corpus):
    lines = [line for text in corpus for line in text.split("\n")]
    for number, name in enumerate(spm_models.MODELS):
        folder = os.path.join(OUT, name)
        spm_models.write(lines, name, folder)
        write(folder + ".json", spm_golden(spm_models.Reader(folder), name, number))
    for number, (kind, name) in enumerate((("llama", "spm_llama"), ("t5", "spm_t5"))):
        path = os.path.join(OUT, kind + ".gguf")
        model = spm_models.train(lines, name)
        reader = spm_models.Reader(model=model)
        reader.added["<pad>"] = (reader.first.piece_to_id("<pad>"), spm_models.flags("<pad>"))  # a control piece
        reader.build_pattern()
        reader.before, reader.behind = ([reader.bos], []) if kind == "llama" else ([], [reader.eos])
        spm_models.write_gguf(path, model, kind)
        write(path + ".json", spm_golden(reader, kind, number))


def save_compact(t, folder):
    os.makedirs(folder, exist_ok=True)
    write(os.path.join(folder, "tokenizer.json"), json.loads(t.to_str()))


def transformers_golden(t, folder, seed):
    size = max(t.get_vocab().values()) + 1
    result = golden(lambda text, add: t.encode(text, add_special_tokens=add),
                    lambda ids, skip: t.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False), size, seed)
    result["bos"] = t.bos_token_id if t.bos_token_id is not None else -1
    result["eos"] = t.eos_token_id if t.eos_token_id is not None else -1
    write(folder + ".json", result)


def pair_files():
    """GPT-2's and OPT's layout: vocab.json, merges.txt, and for OPT the files beside them."""
    t = train(GPT2, 450, BYTES)
    model = json.loads(t.to_str())["model"]
    for name, first in (("gpt2", ["<|endoftext|>"]), ("opt", ["<s>", "<pad>", "</s>", "<unk>"])):
        folder = os.path.join(OUT, name)
        vocab = {token: i for i, token in enumerate(first + sorted(model["vocab"], key=model["vocab"].get))}
        if name == "opt":
            # As on the Hub: the files are older than added_tokens_decoder.
            add = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
            write(os.path.join(folder, "tokenizer_config.json"), {
                "errors": "replace", "unk_token": {**add, "content": "</s>"}, "bos_token": {**add, "content": "</s>"},
                "eos_token": {**add, "content": "</s>"}, "pad_token": {**add, "content": "<pad>"},
                "add_prefix_space": False, "add_bos_token": True, "tokenizer_class": "GPT2Tokenizer"})
            flags_of = {k: v for k, v in add.items() if k != "__type"}
            write(os.path.join(folder, "special_tokens_map.json"), {
                "bos_token": {**flags_of, "content": "</s>"}, "eos_token": {**flags_of, "content": "</s>"},
                "unk_token": {**flags_of, "content": "</s>"}, "pad_token": {**flags_of, "content": "<pad>"}})
            write(os.path.join(folder, "added_tokens.json"), {"<plain>": len(vocab), "<|end|>": len(vocab) + 1})
        write(os.path.join(folder, "vocab.json"), vocab)
        with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
            f.write("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in model["merges"]))
        transformers_golden(GPT2Tokenizer.from_pretrained(folder), folder, name)


def configured():
    """A tokenizer.json whose special tokens only tokenizer_config.json names."""
    folder = os.path.join(OUT, "configured")
    t = train(smollm_pre(), 400, BYTES, ["<s>", "</s>", "<pad>", "<unk>"])
    data = json.loads(t.to_str())
    data["added_tokens"] = [a for a in data["added_tokens"] if a["content"] in ("<s>", "<unk>")]
    data["decoder"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    write(os.path.join(folder, "tokenizer.json"), data)
    flags_of = {"lstrip": False, "rstrip": False, "single_word": False, "special": True, "normalized": False}
    write(os.path.join(folder, "tokenizer_config.json"), {
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": None, "add_bos_token": True,
        "additional_special_tokens": ["<mask>", "<|end|>"],
        "added_tokens_decoder": {"0": {**flags_of, "content": "<s>", "rstrip": True},
                                 "2": {**flags_of, "content": "<pad>", "special": False},
                                 "400": {**flags_of, "content": "<plain>", "special": False, "normalized": True}},
        "tokenizer_class": "PreTrainedTokenizerFast"})
    transformers_golden(PreTrainedTokenizerFast.from_pretrained(folder), folder, "configured")


SEED_CODER = families.HEAD + r"\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + families.SPACES
GGUF_PRES = {
    # name: pre-tokenizer, normalizer, ignore_merges, tokens in front
    "gpt-2": (GPT2, None, False, ""), "smollm": (smollm_pre(), None, False, ""),
    "llama-bpe": (split(LLAMA3), None, True, "<s>"), "qwen2": (split(QWEN2), normalizers.NFC(), False, ""),
    "qwen35": (split(families.QWEN35), normalizers.NFC(), False, ""), "bloom": (split(families.BLOOM), None, False, ""),
    "viking": (families.splits([families.BLOOM, r"\p{N}"], families.RAW), None, False, ""),
    "gpt-4o": (split(families.O200K), None, False, ""), "tekken": (split(families.TEKKEN), None, True, "<s>"),
    "falcon": (families.FALCON, None, False, ""), "seed-coder": (split(SEED_CODER), None, False, ""),
    "bailingmoe": (split(families.CL100K.replace("{1,3}", "")), None, False, ""),
    "deepseek-llm": (families.splits(families.DEEPSEEK_LLM + [r"\p{N}"], families.RAW), None, False, ""),
    "deepseek-coder": (families.splits(families.DEEPSEEK_CODER + [r"\p{N}"], families.RAW), None, False, ""),
    "deepseek-v3": (families.splits(families.DEEPSEEK_V3, families.RAW), None, False, ""),
    "glm4": (split(LLAMA3), None, False, "[gMASK] <sop>"),  # the last: it has tokens of its own
}


def gguf_files():
    """The same vocabulary as a GGUF header would carry it, for each rule of splitting."""
    base = train(GPT2, 400, BYTES)
    merges = [tuple(m) for m in json.loads(base.to_str())["model"]["merges"]]
    tokens = sorted(base.get_vocab(), key=base.get_vocab().get) + ["<|end|>", "<plain>", "<s>"]
    types = [1] * (len(tokens) - 3) + [3, 4, 3]
    for pre, (pre_tokenizer, normalizer, ignore_merges, before) in GGUF_PRES.items():
        bos = len(tokens) - 1
        if pre == "glm4":
            tokens, types = tokens + before.split(), types + [3, 3]
        t = Tokenizer(models.BPE({k: i for i, k in enumerate(tokens)}, merges, ignore_merges=ignore_merges))
        t.pre_tokenizer, t.decoder = pre_tokenizer, decoders.ByteLevel()
        if normalizer:
            t.normalizer = normalizer
        t.add_special_tokens([special(x) for x in ["<|end|>", "<s>"] + tokens[bos + 1:]])
        t.add_tokens([AddedToken("<plain>", normalized=False)])
        if before:
            t.post_processor = processors.TemplateProcessing(
                single=before + " $A", special_tokens=[(x, tokens.index(x)) for x in before.split()])
        path = os.path.join(OUT, f"{pre}.gguf")
        w = GGUFWriter(path, "llama")
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(pre)
        w.add_token_list(tokens)
        w.add_token_types(types)
        w.add_token_merges([" ".join(m) for m in merges])
        w.add_bos_token_id(bos)
        w.add_eos_token_id(bos - 2)
        several = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "with tools"}]
        w.add_chat_template(several if pre == "glm4" else TEMPLATES["chatml"])
        w.add_tensor("token_embd.weight", numpy.zeros((1, 32), dtype=numpy.float32))
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        write(os.path.join(OUT, f"{pre}.gguf.json"), {**library(t, pre), "bos": bos, "eos": bos - 2})


def splits():
    vocab = {"<unk>": 0}
    for c in sorted((set("".join(TEXTS)) | set(BYTES)) - {"\0"}):
        vocab[c] = len(vocab)
        vocab[c + "$"] = len(vocab)
    t = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", end_of_word_suffix="$"))
    base = json.loads(t.to_str())
    cases = []
    for name, pre in SPLITS.items():
        t.pre_tokenizer = pre
        cases.append({"name": name, "pre_tokenizer": json.loads(t.to_str())["pre_tokenizer"],
                      "ids": [t.encode(text).ids for text in TEXTS]})
    write(os.path.join(OUT, "splits.json"), {"tokenizer": base, "cases": cases})


def jinja():
    def render(template, messages, **variables):
        text, _ = render_jinja_template(conversations=[messages], chat_template=template, **variables)
        return text[0]

    def attempt(template, messages, **variables):
        try:
            return render(template, messages, **variables)
        except Exception:
            return None  # an error here must be an error there

    write(os.path.join(OUT, "jinja.json"), {
        "variables": VARIABLES,
        "cases": [[c, attempt(c, **VARIABLES)] for c in CASES],
    })
    special_tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    templates = {**TEMPLATES, **chat_templates.TEMPLATES}
    chats = CHATS + chat_templates.CHATS
    write(os.path.join(OUT, "chats.json"), {
        "special_tokens": special_tokens,
        "templates": templates,
        "chats": chats,
        # template, number of the chat, prompt
        "cases": [[name, number, attempt(template, chat["messages"], **special_tokens,
                                         **{"tools": None, **{k: v for k, v in chat.items() if k != "messages"}})]
                  for name, template in templates.items() for number, chat in enumerate(chats)],
    })


def smollm2(path):
    """The real thing: its vocabulary stays where it is, only ids and prompts are kept."""
    fields = GGUFReader(path).fields
    tokens, types, merges = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "token_type", "merges"))
    t = Tokenizer(models.BPE({k: i for i, k in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    t.pre_tokenizer, t.decoder = smollm_pre(), decoders.ByteLevel()
    t.add_special_tokens([special(k) for k, kind in zip(tokens, types) if kind == 3])
    template = fields["tokenizer.chat_template"].contents()
    with tempfile.TemporaryDirectory() as folder:
        t.save(os.path.join(folder, "tokenizer.json"))
        whole = PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<|im_start|>", eos_token="<|im_end|>",
                                        pad_token="<|im_end|>", unk_token="<|endoftext|>", chat_template=template)
    prompts = []
    for chat in CHATS:
        try:
            kwargs = {k: v for k, v in chat.items() if k != "messages"}
            prompts.append(whole.apply_chat_template(chat["messages"], tokenize=False, **kwargs))
        except Exception:
            prompts.append(None)
    write(os.path.join(OUT, "smollm2.json"), {**library(t, "smollm2"), "prompts": prompts})


def main():
    keep = os.path.join(OUT, "smollm2.json")
    kept = open(keep, "rb").read() if os.path.exists(keep) else None
    shutil.rmtree(OUT, ignore_errors=True)
    write(os.path.join(OUT, "texts.json"), TEXTS)
    write(os.path.join(OUT, "fuzz.json"), FUZZ)
    corpus = alice()
    family_files(corpus)
    spm_files(corpus)
    for name, make in FORMS.items():
        t = make()
        save_compact(t, os.path.join(OUT, name))
        write(os.path.join(OUT, name + ".json"), library(t, name))
    pair_files()
    configured()
    gguf_files()
    splits()
    jinja()
    if len(sys.argv) > 1:
        smollm2(sys.argv[1])
    elif kept:
        with open(keep, "wb") as f:
            f.write(kept)


if __name__ == "__main__":
    main()
