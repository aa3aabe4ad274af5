"""A model folder's tokenizer: BERT's read without transformers if its files allow it, all others through ``AutoTokenizer``."""

from typing import TYPE_CHECKING

from bioqa.errors import ModelError, first_line
from bioqa.rerank.model_folder.bert_tokenizer import read_bert_tokenizer
from bioqa.rerank.model_folder.config import ModelConfig
from bioqa.rerank.model_folder.files import has_tokenizer
from bioqa.rerank.pair_tokenizer import LoadedTokenizer, Padding

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def load_tokenizer(config: ModelConfig) -> LoadedTokenizer:
    """The folder's tokenizer. Raises ModelError if it is missing, unreadable or has no fast (Rust) version."""
    folder = config.folder
    if not has_tokenizer(folder):
        raise ModelError(f"The reranker {config.name} has no tokenizer: there is no tokenizer.json in {folder}.")
    tokenizer = read_bert_tokenizer(config) or _load_with_transformers(config)
    if config.lower_case:
        _lower_case(tokenizer.backend)
    return tokenizer


def _load_with_transformers(config: ModelConfig) -> LoadedTokenizer:
    from transformers import AutoTokenizer

    from bioqa.rerank.silence_libraries import silence_libraries

    try:
        with silence_libraries():
            tokenizer = AutoTokenizer.from_pretrained(config.folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"The tokenizer of the reranker {config.name} cannot be loaded: {first_line(error)}"
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"The reranker {config.name} has no fast tokenizer; save one with save_pretrained, as tokenizer.json."
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"The tokenizer of the reranker {config.name} has no padding token, so it cannot score batches."
        )
    return LoadedTokenizer(
        tokenizer.backend_tokenizer,
        model_max_length=tokenizer.model_max_length,
        padding=Padding(tokenizer.pad_token_id, tokenizer.pad_token_type_id, tokenizer.padding_side == "left"),
        has_segment_ids="token_type_ids" in tokenizer.model_input_names,
        truncation_side=tokenizer.truncation_side,
    )


def _lower_case(backend: "Tokenizer") -> None:
    """Lower-case text before the tokenizer's own normalization (``do_lower_case`` of sentence_bert_config.json)."""
    from tokenizers.normalizers import Lowercase, Sequence

    backend.normalizer = Sequence([Lowercase(), *([backend.normalizer] if backend.normalizer else [])])
