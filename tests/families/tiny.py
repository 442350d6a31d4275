"""Builds version directories with tiny random models and tokenizers of the true form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

POSITIONS = 128
_TEXT = (
    "the first commercial jet airliner entered service in which company developed what was its "
    "name boeing comet concorde 1952 1958 0 1 2 a b c d e f g h i j k l m n o p q r s t u v w x y "
    "z , . ? ! ' 喷 气 式 客 机 是 什 么"
)
WORDS = tuple(_TEXT.split())
PIECES = tuple(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789")

GRID = (
    "the comet was the first commercial jet airliner",
    "",
    " ",
    "boeing",
    "喷气式客机是什么?",
    "jet ✈️🛩 airliner 🇬🇧",
    "comet 喷气 1952, BOEING!",
    "unknown ☃ łetters ﷽",
    "the comet was the first commercial jet airliner",  # a duplicate
    "line\nbreaks\tand\x00control\x7fcharacters",
    "[SEP] </s> <pad> [PAD] [CLS]",
    "concorde entered service " * 200,
)
QUERIES = (
    "which company developed the first commercial jet airliner?",
    "什么",
    "?",
    "what was its name " * 60,
)


def bert_tokenizer() -> Tokenizer:
    """WordPiece with BERT's template and token types."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS), *PIECES]
    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.add_special_tokens(vocabulary[:5])
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    # As the files of many models are: padded and cut by default.
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(16)
    return tokenizer


def xlmr_tokenizer() -> Tokenizer:
    """Unigram with XLM-RoBERTa's template, no token types."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*(f"▁{word}" for word in dict.fromkeys(WORDS)), "▁", *dict.fromkeys("".join(WORDS))]
    vocabulary = [(token, 0.0) for token in special]
    vocabulary += [(piece, -float(index + 1)) for index, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def torch_version(directory: Path, architecture: str, *, seed: int = 1, **config: object) -> Path:
    """Write a version with random Hugging Face weights of a transformers class."""
    import torch
    import transformers

    is_bert = not architecture.startswith("XLMRoberta")
    tokenizer = bert_tokenizer() if is_bert else xlmr_tokenizer()
    model_class = getattr(transformers, architecture)
    values = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": POSITIONS if is_bert else POSITIONS + 2,
        "type_vocab_size": 2 if is_bert else 1,
        "num_labels": 1,
        "pad_token_id": 0 if is_bert else 1,
        "initializer_range": 0.3,  # scores that differ from each other
        **config,
    }
    torch.manual_seed(seed)
    model = model_class(model_class.config_class(**values)).eval()
    model.save_pretrained(directory / "model")
    _save_tokenizer(directory, tokenizer)
    return directory


def onnx_version(
    directory: Path, *, hidden: bool, quantized: bool = False, labels: int = 1
) -> NDArray[np.float32]:
    """Write a version whose ONNX model looks up one vector per token; returns the table.

    Its hidden state is the vector; its logit is the mean first component over the real tokens.
    """
    tokenizer = bert_tokenizer()
    width = 8
    random = np.random.default_rng(3)
    table = random.standard_normal((tokenizer.get_vocab_size(), width)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["looked_up"])]
    state = "looked_up"
    if quantized:
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [state], ["q", "scale", "zero"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["rounded"]),
        ]
        state = "rounded"
    if hidden:
        nodes.append(helper.make_node("Identity", [state], ["last_hidden_state"]))
        outputs = [_value("last_hidden_state", TensorProto.FLOAT, ["n", "len", width])]
    else:
        nodes += _logit_nodes(state)
        outputs = [_value("logits", TensorProto.FLOAT, ["n", labels])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [_value(name, TensorProto.INT64, ["n", "len"]) for name in ("input_ids", "attention_mask")],
        outputs,
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.eye(width, labels, dtype=np.float32), "first"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
            numpy_helper.from_array(np.array([2], np.int64), "last"),
        ],
    )
    (directory / "model").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, directory / "model" / "model.onnx")
    _save_tokenizer(directory, tokenizer)
    return table


def _logit_nodes(state: str) -> Sequence[onnx.NodeProto]:
    return [
        helper.make_node("MatMul", [state, "first"], ["component"]),
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["real", "last"], ["mask"]),
        helper.make_node("Mul", ["component", "mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["logits"]),
    ]


def _value(name: str, kind: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _save_tokenizer(directory: Path, tokenizer: Tokenizer) -> None:
    (directory / "tokenizer").mkdir(parents=True)
    tokenizer.save(str(directory / "tokenizer" / "tokenizer.json"))
