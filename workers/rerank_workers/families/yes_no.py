"""LLM rerankers that weigh two answers: the raw score is logit("yes") - logit("no").

Qwen3-Reranker (the card's softmax over both is the sigmoid of the difference), its conversions to
sequence classification (whose one logit is the difference), and mxbai-rerank-v2, whose answers are
"1" and "0". The unit score is the sigmoid of the difference in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rerank_workers.engines.decoder import LM_HEAD, Head, Plan, load_decoder
from rerank_workers.engines.engine import AUTO
from rerank_workers.engines.files import ModelFiles, ModelFilesError, read_model_files
from rerank_workers.families import limits
from rerank_workers.families.chat_prompts import MxbaiPrompt, Qwen3Prompt
from rerank_workers.families.language_model import LanguageModel, first_token
from rerank_workers.families.tokenizer import load_tokenizer
from rerank_workers.scorer import Context

QWEN3 = "qwen3"
MXBAI = "mxbai"
PROMPTS: Mapping[str, tuple[str, str]] = MappingProxyType({QWEN3: ("yes", "no"), MXBAI: ("1", "0")})
"""The prompts that are known, each with the answers it asks for."""


def load(
    context: Context,
    *,
    prompt: str = AUTO,
    instruction: str | None = None,
    yes: str | None = None,
    no: str | None = None,
    engine: str = AUTO,
) -> LanguageModel:
    """Load the reranker of a version.

    Args:
        context: where the files are and how to run them.
        prompt: "qwen3" or "mxbai"; "auto" goes by the model's config.
        instruction: what to look for; None for the model's default.
        yes: the answer that speaks for the document; None for the prompt's own.
        no: the answer against it; None for the prompt's own.
        engine: "torch", or "auto" for the same.

    Raises:
        ModelFilesError: files are missing, damaged or of another kind.
        DeviceMemoryError: the device has no room for the model.
    """
    files = read_model_files(context.model_dir)
    tokenizer = load_tokenizer(context.tokenizer_dir, files)
    length = limits.max_length(context, files)
    style = own_prompt(files) if prompt == AUTO else prompt
    if style not in PROMPTS:
        raise ModelFilesError(f"no prompt {style!r}; there are {', '.join(PROMPTS)}")
    if style == QWEN3:
        write: Qwen3Prompt | MxbaiPrompt = Qwen3Prompt(tokenizer, instruction, length)
    else:
        write = MxbaiPrompt(tokenizer, instruction, length, files.max_positions)
    answers = tuple(own or default for own, default in zip((yes, no), PROMPTS[style], strict=True))
    if any(name.endswith("ForSequenceClassification") for name in files.architectures):
        head = Head("score.weight")
    else:
        head = Head(LM_HEAD, tuple(first_token(one, tokenizer) for one in answers), (1.0, -1.0))
    loaded = load_decoder(context, files, Plan(head), engine)
    info = {
        "family": "yes_no",
        "activation": "sigmoid",
        "prompt": style,
        "answers": " - ".join(answers),
        "max_length": limits.describe(context, length, write.fixed_tokens),
        "tokenizer_file": tokenizer.file,
        **loaded.settings,
    }
    return LanguageModel(write, loaded, MappingProxyType(info))


def own_prompt(files: ModelFiles) -> str:
    """Tell the prompt by the model the reranker was made of."""
    return MXBAI if files.model_type == "qwen2" else QWEN3
