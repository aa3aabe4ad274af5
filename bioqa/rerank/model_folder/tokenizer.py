"""A model folder's tokenizer.

transformers takes seconds to import. A BERT tokenizer whose tokenizer.json and tokenizer_config.json agree in every
part is read with the ``tokenizers`` library alone: both transformers 4 (which follows tokenizer.json) and 5 (which
builds the tokenizer anew from tokenizer_config.json) then make the same tokenizer. All others go through
``AutoTokenizer``.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.errors import ModelError
from bioqa.rerank.model_folder.config import ModelConfig
from bioqa.rerank.tokens import Padding

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SOURCES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.tiktoken")
"""Files, one of which a tokenizer needs. Without any, transformers 5 makes up an empty vocabulary and says nothing."""

SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A tokenizer as loaded: ``model_max_length`` in tokens as its files say (1e30 where they do not), ``cut`` "right"
    or "left".
    """

    backend: "Tokenizer"
    model_max_length: float
    padding: Padding
    segments: bool
    cut: str


def load_tokenizer(settings: ModelConfig) -> Source:
    """The folder's tokenizer. Raises ModelError where it is missing, unreadable or has no fast (Rust) version."""
    folder = settings.folder
    if not any(next(folder.glob(pattern), None) for pattern in SOURCES):
        raise ModelError(f"The reranker {settings.name} has no tokenizer: there is no tokenizer.json in {folder}.")
    source = _plain_bert(settings) or _through_transformers(settings)
    if settings.lower_case:
        _lower_case(source.backend)
    return source


def _plain_bert(settings: ModelConfig) -> Source | None:
    """The tokenizer of a BERT folder whose files agree; None where it must be left to transformers."""
    from tokenizers import Tokenizer

    try:
        text = (settings.folder / "tokenizer.json").read_text(encoding="utf-8")
        written = json.loads(text)
        options = json.loads((settings.folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        if settings.config.get("model_type") != "bert" or not _agree(settings.folder, written, options):
            return None
        backend = Tokenizer.from_str(text)
        pad = next(token["id"] for token in written["added_tokens"] if token["content"] == "[PAD]")
    except Exception:  # whatever is wrong with the files, transformers says it below
        return None
    padding = Padding(pad, options.get("pad_token_type_id", 0), options.get("padding_side") == "left")
    return Source(
        backend, options.get("model_max_length") or 1e30, padding, True, options.get("truncation_side", "right")
    )


def _agree(folder: Path, written: dict[str, Any], options: dict[str, Any]) -> bool:
    """Whether tokenizer.json (``written``) is exactly what ``BertTokenizer`` makes of tokenizer_config.json
    (``options``).
    """
    extra = folder / "special_tokens_map.json"
    named = {**SPECIAL, **options, **(json.loads(extra.read_text(encoding="utf-8")) if extra.is_file() else {})}
    ids = {token["content"]: token["id"] for token in written["added_tokens"]}
    vocabulary = written["model"].pop("vocab")
    return (
        options.get("tokenizer_class") in ("BertTokenizer", "BertTokenizerFast")
        and not options.keys() & {"auto_map", "model_input_names", "extra_special_tokens", "split_special_tokens"}
        and not options.get("additional_special_tokens")
        and not (folder / "added_tokens.json").is_file()
        and all(_content(named[key]) == token for key, token in SPECIAL.items())
        and sorted(ids) == sorted(SPECIAL.values())
        and all(vocabulary.get(token) == number for token, number in ids.items())
        and all(_plain(token) for token in written["added_tokens"])
        and all(
            _plain(token) and ids.get(token["content"]) == int(number)
            for number, token in options.get("added_tokens_decoder", {}).items()
        )
        and written["model"] == _word_piece()
        and written["normalizer"] == _normalizer(options)
        and written["pre_tokenizer"] == {"type": "BertPreTokenizer"}
        and written["post_processor"] == _template(ids["[CLS]"], ids["[SEP]"])
    )


def _content(token: Any) -> str:
    """The text of a special token, saved as a string or as an object."""
    return str(token["content"] if isinstance(token, dict) else token)


def _plain(token: dict[str, Any]) -> bool:
    """Whether an added token is special and takes no liberties with the text around it."""
    return bool(token["special"]) and not any(token[flag] for flag in ("single_word", "lstrip", "rstrip", "normalized"))


def _word_piece() -> dict[str, Any]:
    return {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    }


def _normalizer(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": options.get("tokenize_chinese_chars", True),
        "strip_accents": options.get("strip_accents"),
        "lowercase": options.get("do_lower_case", True),
    }


def _template(cls: int, sep: int) -> dict[str, Any]:
    """BERT's post-processor: [CLS] first [SEP] second [SEP], the second text and its [SEP] in segment 1."""

    def special(token: str, segment: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": segment}}

    def text(name: str, segment: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": segment}}

    single = [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B", 1), special("[SEP]", 1)],
        "special_tokens": {t: {"id": t, "ids": [n], "tokens": [t]} for t, n in (("[CLS]", cls), ("[SEP]", sep))},
    }


def _through_transformers(settings: ModelConfig) -> Source:
    from transformers import AutoTokenizer

    from bioqa.rerank.silence_libraries import quiet

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(settings.folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise ModelError(f"The tokenizer of the reranker {settings.name} cannot be loaded: {reason(error)}") from error
    if not tokenizer.is_fast:
        raise ModelError(f"The reranker {settings.name} has no fast tokenizer; save it once with a tokenizer.json.")
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"The tokenizer of the reranker {settings.name} has no padding token, so it cannot score batches."
        )
    padding = Padding(tokenizer.pad_token_id, tokenizer.pad_token_type_id, tokenizer.padding_side == "left")
    segments = "token_type_ids" in tokenizer.model_input_names
    return Source(tokenizer.backend_tokenizer, tokenizer.model_max_length, padding, segments, tokenizer.truncation_side)


def _lower_case(backend: "Tokenizer") -> None:
    """Lower-case text before the tokenizer's own normalization (``do_lower_case`` of sentence_bert_config.json)."""
    from tokenizers.normalizers import Lowercase, Sequence

    backend.normalizer = Sequence([Lowercase(), *([backend.normalizer] if backend.normalizer else [])])


def reason(error: Exception) -> str:
    """The first line of a library's error, as the end of a sentence."""
    lines = str(error).strip().splitlines()
    return (lines[0][:300] if lines else type(error).__name__).rstrip(".:") + "."
