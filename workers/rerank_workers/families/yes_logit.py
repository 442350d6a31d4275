"""LLM rerankers asked for "Yes" or "No": the raw score is the logit of "Yes".

BAAI/bge-reranker-v2-gemma, as FlagEmbedding's `FlagLLMReranker` scores it
(inference/reranker/decoder_only/base.py), and its conversions to sequence classification. The logit
of "No" takes no part. The unit score is the sigmoid of the logit in float64.
"""

from __future__ import annotations

from types import MappingProxyType

from rerank_workers.engines.decoder import LM_HEAD, Head, Plan, load_decoder
from rerank_workers.engines.engine import AUTO
from rerank_workers.engines.files import read_model_files
from rerank_workers.families.bge_prompt import (
    PASSAGE_INSTRUCTION,
    QUERY_INSTRUCTION,
    QUESTION,
    Wording,
    load_prompt,
)
from rerank_workers.families.language_model import LanguageModel, first_token
from rerank_workers.scorer import Context


def load(
    context: Context,
    *,
    query_instruction: str = QUERY_INSTRUCTION,
    passage_instruction: str = PASSAGE_INSTRUCTION,
    question: str = QUESTION,
    answer: str = "Yes",
    engine: str = AUTO,
) -> LanguageModel:
    """Load the reranker of a version.

    Args:
        context: where the files are and how to run them.
        query_instruction: put before every query.
        passage_instruction: put before every document.
        question: put behind every pair.
        answer: the text whose first token's logit is the score.
        engine: "torch", or "auto" for the same.

    Raises:
        ModelFilesError: files are missing, damaged or of another kind.
        DeviceMemoryError: the device has no room for the model.
    """
    files = read_model_files(context.model_dir)
    wording = Wording(query_instruction, passage_instruction, question)
    prompt = load_prompt(context, files, wording, needs_bos=False)
    head = Head(LM_HEAD, (first_token(answer, prompt.tokenizer),))
    if any(name.endswith("ForSequenceClassification") for name in files.architectures):
        head = Head("score.weight")
    loaded = load_decoder(context, files, Plan(head), engine)
    info = {
        "family": "yes_logit",
        "activation": "sigmoid",
        "answer": answer,
        "max_length": prompt.max_length,
        "tokenizer_file": prompt.tokenizer.file,
        **loaded.settings,
    }
    return LanguageModel(prompt.write, loaded, MappingProxyType(info))
