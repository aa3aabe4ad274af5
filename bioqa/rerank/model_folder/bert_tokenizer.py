"""Read a BERT tokenizer with the ``tokenizers`` library alone, as importing transformers takes seconds.

transformers 4 follows tokenizer.json, transformers 5 builds the tokenizer anew from tokenizer_config.json. So tokenizer.json is
used directly only if the two agree: if it is, part for part, what ``BertTokenizer`` builds from tokenizer_config.json.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from bioqa.rerank.model_folder.config import ModelConfig
from bioqa.rerank.pair_tokenizer import LoadedTokenizer, Padding

SPECIAL_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
UNSUPPORTED_OPTIONS = {"auto_map", "model_input_names", "extra_special_tokens", "split_special_tokens"}
"""Keys of tokenizer_config.json that change what ``BertTokenizer`` builds."""


class AddedToken(NamedTuple):
    """A token that is matched before the text is split into words, as both files describe it."""

    id: int
    content: str
    special: bool = True
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False


def read_bert_tokenizer(config: ModelConfig) -> LoadedTokenizer | None:
    """The tokenizer of a BERT folder whose files agree; None if it must be left to transformers."""
    from tokenizers import Tokenizer

    try:
        text = (config.folder / "tokenizer.json").read_text(encoding="utf-8")
        content = json.loads(text)
        options = json.loads((config.folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        if config.json.get("model_type") != "bert" or not _files_agree(config.folder, content, options):
            return None
        backend = Tokenizer.from_str(text)
        pad_id = content["model"]["vocab"]["[PAD]"]
    except Exception:  # transformers will report whatever is wrong with the files
        return None
    return LoadedTokenizer(
        backend,
        model_max_length=options.get("model_max_length") or 1e30,
        padding=Padding(pad_id, options.get("pad_token_type_id", 0), options.get("padding_side") == "left"),
        has_segment_ids=True,
        truncation_side=options.get("truncation_side", "right"),
    )


def _files_agree(folder: Path, content: dict[str, Any], options: dict[str, Any]) -> bool:
    """Whether tokenizer.json (``content``) is what ``BertTokenizer`` builds from tokenizer_config.json (``options``)."""
    vocabulary = content["model"]["vocab"]
    special_tokens = {AddedToken(vocabulary[token], token) for token in SPECIAL_TOKENS.values()}
    added = {_added_token(token["id"], token) for token in content["added_tokens"]}
    listed = {_added_token(int(id), token) for id, token in options.get("added_tokens_decoder", {}).items()}
    expected = _bert_parts(vocabulary, options)
    return (
        _has_bert_options(folder, options)
        and added == special_tokens
        and listed <= special_tokens
        and {part: content[part] for part in expected} == expected
    )


def _has_bert_options(folder: Path, options: dict[str, Any]) -> bool:
    """Whether the folder asks for a ``BertTokenizer`` with BERT's own special tokens and no others."""
    path = folder / "special_tokens_map.json"
    named = SPECIAL_TOKENS | options | (json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})
    return (
        options.get("tokenizer_class") in ("BertTokenizer", "BertTokenizerFast")
        and not options.keys() & UNSUPPORTED_OPTIONS
        and not options.get("additional_special_tokens")
        and not (folder / "added_tokens.json").is_file()
        and all(_text(named[key]) == token for key, token in SPECIAL_TOKENS.items())
    )


def _text(token: Any) -> str:
    """The text of a special token, which is saved as a string or as an object."""
    return str(token["content"] if isinstance(token, dict) else token)


def _added_token(id: int, token: dict[str, Any]) -> AddedToken:
    return AddedToken(id, token["content"], *(bool(token[flag]) for flag in AddedToken._fields[2:]))


def _bert_parts(vocabulary: dict[str, int], options: dict[str, Any]) -> dict[str, Any]:
    """The parts of tokenizer.json as ``BertTokenizer`` builds them."""
    return {
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": options.get("tokenize_chinese_chars", True),
            "strip_accents": options.get("strip_accents"),
            "lowercase": options.get("do_lower_case", True),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _pair_template(vocabulary),
    }


def _pair_template(vocabulary: dict[str, int]) -> dict[str, Any]:
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
        "special_tokens": {t: {"id": t, "ids": [vocabulary[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
    }
