"""Small SentencePiece models and what the sentencepiece library makes of texts with them.

MODELS: name -> settings of the trainer, what is changed afterwards, and tokenizer_config.json. A Reader is
the library with special tokens around it: they are cut out of the text first, what lies between is encoded
piece by piece, with a space in front of each, or (legacy false) of the first only.
"""

import json
import os
import re
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb2

# Hexadecimal code points: what is replaced, what by.
RULES = """FB01\t66 69
FB02\t66 6C
FF21\t41
FF41\t61
2460\t31
2003\t20
3000\t20
A0\t20
9\t20
A\t20
AD\t
200B\t
65 301\tE9
65 323 307\t1EB9 307
1112 1161 11AB\tD55C
2026\t2E 2E 2E
C9\te9
33A5\t6D 33
"""


SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*"  # White_Space: Python's \\s holds more


def flags(content, **more):
    return {"content": content, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False,
            "special": True, **more}


def unuse(model):
    """Every third piece of several characters may not be used: it is cut up again."""
    for i, piece in enumerate(p for p in model.pieces if p.type == 1 and len(p.piece) > 1):
        if i % 3 == 0:
            piece.type = 5


MODELS = {
    "spm_llama": (dict(model_type="bpe", byte_fallback=True, vocab_size=600, normalization_rule_name="identity",
                       remove_extra_whitespaces=False, character_coverage=0.99, pad_id=3), None,
                  {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
                   "legacy": False, "add_bos_token": True, "add_eos_token": False,
                   "added_tokens_decoder": {"0": flags("<unk>"), "1": flags("<s>"), "2": flags("</s>"),
                                            "600": flags("<|end|>"), "601": flags("<left>", lstrip=True),
                                            "602": flags("<right>", rstrip=True, special=False)}}),
    "spm_t5": (dict(model_type="unigram", vocab_size=450, normalization_rule_tsv=RULES, pad_id=0, eos_id=1, unk_id=2,
                    bos_id=-1), None,
               {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}),
    "spm_user": (dict(model_type="bpe", vocab_size=350, character_coverage=0.98, control_symbols="<ctl>", normalization_rule_tsv=RULES,
                      user_defined_symbols="<plain>,a b,▁▁,single,the"), None, None),
    "spm_unigram_user": (dict(model_type="unigram", vocab_size=420, byte_fallback=False, add_dummy_prefix=False,
                              normalization_rule_name="identity", user_defined_symbols="<plain>,a b,▁▁,single,the"), None,
                         {"add_bos_token": False}),
    "spm_across": (dict(model_type="bpe", vocab_size=600, byte_fallback=True, split_by_whitespace=False,
                        normalization_rule_tsv=RULES, unk_surface="?"), None, {"add_bos_token": False}),
    "spm_unused": (dict(model_type="bpe", vocab_size=400, split_by_whitespace=False, remove_extra_whitespaces=False,
                        normalization_rule_name="identity"), unuse,
                   {"add_bos_token": False, "add_eos_token": True}),
    "spm_unigram_bytes": (dict(model_type="unigram", vocab_size=700, byte_fallback=True, split_by_whitespace=False,
                               normalization_rule_tsv=RULES, add_dummy_prefix=False, remove_extra_whitespaces=False),
                          unuse, {"add_bos_token": False}),
}


def train(corpus, name):
    """The bytes of a tokenizer.model, without the trainer's paths."""
    settings, change, _ = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        settings = dict(settings)
        if "normalization_rule_tsv" in settings:
            path = os.path.join(folder, "rules.tsv")
            with open(path, "w", encoding="ascii") as f:
                f.write(settings["normalization_rule_tsv"])
            settings["normalization_rule_tsv"] = path
        prefix = os.path.join(folder, "m")
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_prefix=prefix, num_threads=1,
                                                 minloglevel=2, hard_vocab_limit=False, **settings)
        model = pb2.ModelProto()
        with open(prefix + ".model", "rb") as f:
            model.ParseFromString(f.read())
    del model.trainer_spec.input[:]
    model.trainer_spec.model_prefix = ""
    model.normalizer_spec.normalization_rule_tsv = ""
    if change:
        change(model)
    return model.SerializeToString()


def write(corpus, name, folder):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "tokenizer.model"), "wb") as f:
        f.write(train(corpus, name))
    if MODELS[name][2] is not None:
        with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
            json.dump(MODELS[name][2], f)
            f.write("\n")


class Reader:
    """A folder with a tokenizer.model, or such a model with the roles of a GGUF header."""

    def __init__(self, folder=None, model=None):
        if model is None:
            with open(os.path.join(folder, "tokenizer.model"), "rb") as f:
                model = f.read()
        config = {}
        if folder and os.path.exists(os.path.join(folder, "tokenizer_config.json")):
            with open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8") as f:
                config = json.load(f)
        self.first = sentencepiece.SentencePieceProcessor(model_proto=model)
        proto = pb2.ModelProto.FromString(model)
        if not config.get("legacy", True):
            proto.normalizer_spec.add_dummy_prefix = False
        self.later = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
        self.size = self.first.get_piece_size()
        self.unk = self.first.unk_id()
        self.bos, self.eos = self.first.bos_id(), self.first.eos_id()
        known = {self.first.id_to_piece(i): i for i in (self.unk, self.bos, self.eos) if i >= 0}
        self.added = {text: (i, flags(text)) for text, i in known.items()}
        for i, token in config.get("added_tokens_decoder", {}).items():
            self.added[token["content"]] = (int(i), token)
        for role in ("pad_token",):
            if role in config:
                self.added[config[role]] = (self.first.piece_to_id(config[role]), flags(config[role]))
        t5 = config.get("tokenizer_class") == "T5Tokenizer"
        self.before = [self.bos] if config.get("add_bos_token", not t5) and self.bos >= 0 else []
        self.behind = [self.eos] if config.get("add_eos_token", t5) and self.eos >= 0 else []
        self.build_pattern()

    def build_pattern(self):
        self.names = sorted(self.added, key=len, reverse=True)
        self.pattern = re.compile("|".join(SPACE * self.added[t][1]["lstrip"] + f"({re.escape(t)})" +
                                           SPACE * self.added[t][1]["rstrip"] for t in self.names))

    def encode(self, text, add_special=True):
        ids, done = [], 0
        for match in list(self.pattern.finditer(text)) + [None]:
            between = text[done:match.start() if match else len(text)]
            if between:
                ids += (self.first if done == 0 else self.later).encode(between)
            if match:
                ids.append(self.added[self.names[match.lastindex - 1]][0])
                done = match.end()
        return self.before + ids + self.behind if add_special else ids

    def random_ids(self, r):
        """Without control pieces: the library leaves them out of texts, here they are shown."""
        ids = [r.randrange(self.size) for _ in range(r.randint(0, 12))]
        return [i for i in ids if not self.first.is_control(i)]

    def decode(self, ids, skip_special=False):
        return self.first.decode([i for i in ids if not (skip_special and i == self.unk)])


def write_gguf(path, model, kind, chat_template=None):
    """The model as a GGUF header of kind "llama" or "t5" carries it."""
    import numpy
    from gguf import GGUFWriter

    proto = pb2.ModelProto.FromString(model)
    w = GGUFWriter(path, "llama")
    w.add_tokenizer_model(kind)
    w.add_tokenizer_pre("default")
    w.add_token_list([p.piece for p in proto.pieces])
    w.add_token_scores([p.score for p in proto.pieces])
    w.add_token_types([p.type for p in proto.pieces])
    w.add_add_space_prefix(proto.normalizer_spec.add_dummy_prefix)
    if kind == "t5":
        w.add_remove_extra_whitespaces(proto.normalizer_spec.remove_extra_whitespaces)
        w.add_precompiled_charsmap(proto.normalizer_spec.precompiled_charsmap)
    for role, i in (("bos", proto.trainer_spec.bos_id), ("eos", proto.trainer_spec.eos_id), ("unk", proto.trainer_spec.unk_id)):
        if i >= 0:
            getattr(w, f"add_{role}_token_id")(i)
    if chat_template:
        w.add_chat_template(chat_template)
    w.add_tensor("token_embd.weight", numpy.zeros((1, 32), dtype=numpy.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
