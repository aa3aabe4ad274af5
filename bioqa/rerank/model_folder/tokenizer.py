"""A model folder's tokenizer: BERT's read without transformers if its files allow it, all others through ``AutoTokenizer``."""

import logging
from typing import TYPE_CHECKING

from bioqa.errors import ModelError, first_line
from bioqa.rerank.model_folder.bert_tokenizer import read_bert_tokenizer
from bioqa.rerank.model_folder.config import ModelConfig
from bioqa.rerank.model_folder.files import has_tokenizer
from bioqa.rerank.pair_tokenizer import LoadedTokenizer, Padding

if TYPE_CHECKING:
    from tokenizers import Tokenizer


MIN_CASED_SHARE = 0.01
"""The share of a vocabulary's words that have capitals if it is cased: of BERT's cased one a third, of uncased ones hardly any."""

_log = logging.getLogger(__name__)


def load_tokenizer(config: ModelConfig) -> LoadedTokenizer:
    """The folder's tokenizer; a warning is logged if ``lost_word`` finds a word.

    Raises ModelError if it is missing, unreadable or has no fast (Rust) version.
    """
    folder = config.folder
    if not has_tokenizer(folder):
        raise ModelError(f"The {config.kind} {config.name} has no tokenizer: there is no tokenizer.json in {folder}.")
    tokenizer = read_bert_tokenizer(config) or _load_with_transformers(config)
    if config.lower_case:
        _lower_case(tokenizer.backend)
    if word := lost_word(tokenizer.backend):
        file = "sentence_bert_config.json" if config.lower_case else "tokenizer_config.json"
        _log.warning(
            f"The {config.kind} {config.name} lower-cases text, but its vocabulary is cased: words such as {word!r} are never "
            f"found. If it was trained on cased text, set do_lower_case to false in its {file}."
        )
    return tokenizer


def lower_cases(backend: "Tokenizer") -> bool:
    """Whether a tokenizer lower-cases text."""
    return backend.normalizer is not None and "A" not in backend.normalizer.normalize_str("A")


def lost_word(backend: "Tokenizer") -> str | None:
    """A word with capitals of a cased vocabulary whose tokenizer lower-cases text, so that it is never found; else None."""
    if not lower_cases(backend):
        return None
    tokens = backend.get_vocab(with_added_tokens=False)
    words = [word for word in (token.lstrip("#▁Ġ") for token in tokens) if len(word) > 1 and word.isalpha()]
    cased = [word for word in words if word != word.lower()]
    return min(cased) if len(cased) > MIN_CASED_SHARE * len(words) else None


def _load_with_transformers(config: ModelConfig) -> LoadedTokenizer:
    from transformers import AutoTokenizer

    from bioqa.rerank.silence_libraries import silence_libraries

    try:
        with silence_libraries():
            tokenizer = AutoTokenizer.from_pretrained(config.folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"The tokenizer of the {config.kind} {config.name} cannot be loaded: {first_line(error)}"
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"The {config.kind} {config.name} has no fast tokenizer; save one with save_pretrained, as tokenizer.json."
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"The tokenizer of the {config.kind} {config.name} has no padding token, so it cannot score batches."
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
