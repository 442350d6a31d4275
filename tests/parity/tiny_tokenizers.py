"""Small tokenizers of the true kinds, built by hand: every library version builds the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

_TEXT = (
    "the first commercial jet airliner entered service in which company developed what was its "
    "name boeing comet concorde Given query and passage determine whether contains answer to by "
    "providing prediction of either Yes No Predict Judge Document meets requirements based on "
    "Instruct Query Note that can only be yes no document query system user assistant"
)
_WORDS = tuple(dict.fromkeys(_TEXT.split()))
_CHARACTERS = "喷气式客机是什么的。，？"  # noqa: RUF001  their full width is the point
_GPT_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def gemma() -> Tokenizer:
    """SentencePiece-like BPE with byte fallback, as Gemma; spaces become ▁, no prefix added."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    words = (*_WORDS, *(f"▁{word}" for word in _WORDS))
    tokenizer = _sentence_pieces(special, words)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)]
    )
    return tokenizer


def llama() -> Tokenizer:
    """SentencePiece-like BPE with byte fallback, as MiniCPM; each text gets a leading ▁."""
    special = ["<unk>", "<s>", "</s>"]
    tokenizer = _sentence_pieces(special, tuple(f"▁{word}" for word in _WORDS))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def qwen() -> Tokenizer:
    """Byte-level BPE with chat markers, as Qwen2 and Qwen3."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = _merges((*_WORDS, *(f"Ġ{word}" for word in _WORDS)))
    vocabulary = _numbered([*alphabet, *(left + right for left, right in merges)])
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_GPT_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    )
    tokenizer.add_tokens([AddedToken(text) for text in ("<think>", "</think>")])
    return tokenizer


def bert() -> Tokenizer:
    """WordPiece with BERT's frame and token types."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*letters, *(f"##{letter}" for letter in letters), *".,?!'", *_CHARACTERS]
    words = (word.lower() for word in _WORDS)
    vocabulary = _numbered([*special, *words, *pieces])
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def xlm_roberta() -> Tokenizer:
    """Unigram with XLM-RoBERTa's frame."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!'"
    pieces = [*(f"▁{word}" for word in _WORDS), "▁", *letters, *_CHARACTERS]
    scored = [(piece, -float(place + 1)) for place, piece in enumerate(dict.fromkeys(pieces))]
    vocabulary = [*((token, 0.0) for token in special), *scored]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def _sentence_pieces(special: Sequence[str], words: Sequence[str]) -> Tokenizer:
    merges = _merges(words)
    octets = [f"<0x{octet:02X}>" for octet in range(256)]
    letters = sorted({letter for word in words for letter in word} | {"\n", *_CHARACTERS, "▁"})
    joined = (left + right for left, right in merges)
    vocabulary = _numbered([*special, *octets, *letters, *joined])
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in special])
    return tokenizer


def _merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Grow each word letter by letter; a shorter word's steps serve the longer one."""
    steps = {(word[:end], word[end]): None for word in words for end in range(1, len(word))}
    return list(steps)


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}
