"""Tokenizers of the families, with their own settings and small vocabularies trained on the spot.

What stands here of a family is what its published tokenizer.json says: normalizer, pre-tokenizer, decoder,
post-processor and flags of the model. FAMILIES: name -> function of a corpus (lines), gives a Tokenizer.
"""

import json

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
RAW = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES
LLAMA3, QWEN2 = HEAD + r"\p{N}{1,3}|" + TAIL, HEAD + r"\p{N}|" + TAIL
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + SPACES)
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|"
          r"\s*[\r\n]|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+{0}|" + r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*{0}|"
SLASHES = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES
O200K = CASED.replace("{0}", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?") + r"\p{N}{1,3}|" + SLASHES
TEKKEN = CASED.replace("{0}", "") + r"\p{N}|" + SLASHES
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
# Letters that have case, as DeepSeek's first models list them.
CASED_RANGES = """41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c
38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77
1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4
1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d
212f-2134 2139 213c-213f 2145-2149 214e 2183 2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2 2cf3 a640-a66d a680-a69b a722-a76f
a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2
10cc0-10cf2 118a0-118df 1e900-1e943"""
CASED_LETTERS = "".join("-".join(chr(int(end, 16)) for end in r.split("-")) for r in CASED_RANGES.split())
DEEPSEEK_LLM = ["[\r\n]", r"\s?[" + CASED_LETTERS + "]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$",
                "[一-龥ࠀ-一가-퟿]+"]
DEEPSEEK_CODER = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"]
DEEPSEEK_V3 = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
               "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
               " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]


def splits(regexes, *behind):
    isolated = [pre_tokenizers.Split(Regex(r), "isolated") for r in regexes]
    return pre_tokenizers.Sequence(isolated + list(behind))


def special(text, **flags):
    return AddedToken(text, special=True, normalized=False, **flags)


def train(corpus, pre, vocab_size, initial=(), specials=(), normalizer=None, unk=None, **model):
    """A BPE tokenizer; merges stay in the order of training."""
    tokenizer = Tokenizer(models.BPE(unk_token=unk, **model))
    tokenizer.pre_tokenizer = pre
    if normalizer:
        tokenizer.normalizer = normalizer
    suffix = {k: v for k, v in model.items() if k == "end_of_word_suffix"}
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=list(initial), special_tokens=list(specials),
                                  show_progress=False, **suffix)
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def byte_level(pre, normalizer=None, begin=None, specials=("<|end|>", "<s>"), **model):
    def make(corpus):
        t = train(corpus, pre, 430, BYTES, specials, normalizer)
        if model:
            trained = json.loads(t.to_str())["model"]
            t.model = models.BPE(trained["vocab"], [tuple(m) for m in trained["merges"]], **model)
        t.decoder = decoders.ByteLevel()
        if begin:
            t.post_processor = processors.TemplateProcessing(
                single=begin + " $A", pair=begin + " $A $B:1",
                special_tokens=[(x, t.token_to_id(x)) for x in begin.split()])
        return t
    return make


def stars(corpus):
    """StarCoder's runs of digits and code, with added tokens for white space as CodeGen has them."""
    t = byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]))(corpus)
    t.add_tokens([AddedToken(" " * n, normalized=True) for n in (2, 3, 4, 8)] + [AddedToken("\t\t", normalized=True)])
    return t


def with_bytes(corpus, size, first):
    t = train(corpus, pre_tokenizers.Metaspace(), size)
    merges = [tuple(m) for m in json.loads(t.to_str())["model"]["merges"]]
    vocab = {}
    for token in first + [f"<0x{b:02X}>" for b in range(256)] + sorted(t.get_vocab(), key=t.get_vocab().get):
        vocab.setdefault(token, len(vocab))
    return vocab, merges


def mistral(corpus):
    """SentencePiece BPE without the legacy normalizer: a mark in front of the text only."""
    vocab, merges = with_bytes(corpus, 300, ["<unk>", "<s>", "</s>"])
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([special("<unk>"), special("<s>"), special("</s>")])
    t.add_special_tokens([special("[INST]"), AddedToken("<|user|>", special=True, normalized=False, rstrip=True)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1",
                                                     special_tokens=[("<s>", 1)])
    return t


# ---- unigrams -----------------------------------------------------------------------------------------


def unigram(corpus, size, specials, normalizer, pre, unk="<unk>"):
    t = Tokenizer(models.Unigram())
    t.normalizer, t.pre_tokenizer = normalizer, pre
    t.train_from_iterator(corpus, trainers.UnigramTrainer(vocab_size=size, special_tokens=specials, unk_token=unk,
                                                          show_progress=False))
    return t


def t5(corpus, charsmap):
    mark = pre_tokenizers.Metaspace(prepend_scheme="always")
    norm = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Strip(left=False, right=True),
                                 normalizers.Replace(Regex(" {2,}"), "▁")])
    t = unigram(corpus, 400, ["<pad>", "</s>", "<unk>"], norm, mark)
    t.decoder = decoders.Metaspace(prepend_scheme="always")
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    t.add_special_tokens([special("<extra_id_0>")])
    return t


def xlnet(corpus, charsmap):
    norm = normalizers.Sequence([normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(),
                                 normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Precompiled(charsmap),
                                 normalizers.Replace(Regex(" {2,}"), " ")])
    t = unigram(corpus, 350, ["<cls>", "<sep>", "<unk>"], norm, pre_tokenizers.Metaspace(prepend_scheme="always"))
    t.decoder = decoders.Metaspace(prepend_scheme="always")
    t.post_processor = processors.TemplateProcessing(
        single="$A:0 <sep>:0 <cls>:2", pair="$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2",
        special_tokens=[("<sep>", 1), ("<cls>", 0)])
    return t


def unigram_bytes(corpus, charsmap):
    """Byte fallback, no pre-tokenizer: whole texts are cut."""
    norm = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Prepend("▁"),
                                 normalizers.Replace(" ", "▁")])
    t = unigram(corpus, 400, ["<unk>"], norm, None)
    model = json.loads(t.to_str())["model"]
    vocab = [(p, s) for p, s in model["vocab"]] + [(f"<0x{b:02X}>", 0.0) for b in range(256)]
    t.model = models.Unigram(vocab, unk_id=0, byte_fallback=True)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return t


# ---- words --------------------------------------------------------------------------------------------


def bert(corpus):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=40))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=450, special_tokens=specials, show_progress=False))
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                     special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t


def cased_bert(corpus):
    t = bert(corpus)
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    t.decoder = decoders.WordPiece(cleanup=False)
    return t


def word_level(corpus):
    t = Tokenizer(models.WordLevel(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.NFD(), normalizers.StripAccents()])
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(corpus, trainers.WordLevelTrainer(vocab_size=150, special_tokens=["<unk>", "<s>"], show_progress=False))
    return t


def ctc(corpus):
    t = Tokenizer(models.WordLevel({c: i for i, c in enumerate(["<pad>", "<unk>", "|", "'", ".", " "] + list("abcdefghijklmnopqrst"))},
                                   unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    t.normalizer = normalizers.Replace(" ", "|")
    t.decoder = decoders.CTC()
    return t


def gpt1(corpus):
    t = train(corpus, pre_tokenizers.BertPreTokenizer(), 400, specials=["<unk>"], unk="<unk>", end_of_word_suffix="</w>",
              normalizer=normalizers.BertNormalizer(lowercase=True))
    t.decoder = decoders.BPEDecoder(suffix="</w>")
    return t


def normal_bytes(corpus):
    """The byte alphabet as a normalizer, and a Split over its characters."""
    t = train(corpus, pre_tokenizers.Split("Ġ", "merged_with_next"), 420, BYTES, normalizer=normalizers.Sequence(
        [normalizers.NFC(), normalizers.ByteLevel()]))
    t.decoder = decoders.ByteLevel()
    return t


DIGITS = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])
FALCON = pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), GPT2, pre_tokenizers.Digits(individual_digits=False),
                                  pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
FAMILIES = {
    "qwen35": byte_level(splits([QWEN35], RAW), normalizers.NFC()),
    "bloom": byte_level(splits([BLOOM], RAW)),
    "deepseek_llm": byte_level(splits(DEEPSEEK_LLM, pre_tokenizers.Digits(individual_digits=True), RAW)),
    "deepseek_coder": byte_level(splits(DEEPSEEK_CODER, pre_tokenizers.Digits(individual_digits=True), RAW)),
    "deepseek_v3": byte_level(splits(DEEPSEEK_V3, RAW), normalizers.Sequence([]), begin="<s>"),
    "falcon": byte_level(FALCON),
    "starcoder": stars,
    "neox": byte_level(GPT2, normalizers.NFC()),
    "glm4": byte_level(splits([LLAMA3], RAW), begin="[gMASK] <sop>", specials=("<|end|>", "[gMASK]", "<sop>")),
    "phi4": byte_level(splits([CL100K], RAW)),
    "cohere": byte_level(DIGITS, normalizers.NFC(), begin="<s>"),
    "gpt_oss": byte_level(splits([O200K], RAW), ignore_merges=True),
    "tekken": byte_level(splits([TEKKEN], RAW), begin="<s>", ignore_merges=True),
    "mistral": mistral,
    "bert": bert,
    "cased_bert": cased_bert,
    "word_level": word_level,
    "ctc": ctc,
    "gpt1": gpt1,
    "normal_bytes": normal_bytes,
}
# These have a charsmap, which SentencePiece compiles: functions of a corpus and of that.
UNIGRAMS = {"t5": t5, "xlnet": xlnet, "unigram_bytes": unigram_bytes}
