"""Tiny cross-encoders with random weights, of the architectures that rerankers have, built without network access.

Each is a folder of some 100 kB that transformers, sentence-transformers and bioqa load like any other. The weights have a large
variance, so that passages get clearly different scores.
"""

import json
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_TEXT = (
    "malaria is caused by Plasmodium parasites transmitted mosquitoes which gene mutated in cystic fibrosis CFTR "
    "the of patients treatment protein cell cancer what are drugs used to treat children aspirin inhibits "
    "inflammation and pain"
)
WORDS = tuple(_TEXT.split())
CHARACTERS = string.ascii_letters + string.digits + string.punctuation + "éα"
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
POSITIONS = 64


def _bert_tokenizer(lower: bool) -> Any:
    from transformers import BertTokenizer

    words = dict.fromkeys(w.lower() if lower else w for w in WORDS)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, *words]))}
    return BertTokenizer(vocab=vocabulary, do_lower_case=lower, model_max_length=POSITIONS)


def _unigram(special: list[str]) -> list[tuple[str, float]]:
    pieces = dict.fromkeys(["▁", *CHARACTERS, *(f"▁{word}" for word in WORDS)])
    return [*((token, 0.0) for token in special), *((piece, -1.0 - len(pieces) / 100) for piece in pieces)]


def _xlm_roberta_tokenizer() -> Any:
    from transformers import XLMRobertaTokenizer

    return XLMRobertaTokenizer(vocab=_unigram(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]), model_max_length=POSITIONS)


def _deberta_tokenizer() -> Any:
    from transformers import DebertaV2Tokenizer

    return DebertaV2Tokenizer(vocab=_unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]))


def _modernbert_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    tokens = dict.fromkeys([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **{f"{token[1:-1].lower()}_token": token for token in special},
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=POSITIONS,
    )


ARCHITECTURES: dict[str, tuple[str, Callable[[], Any], dict[str, Any]]] = {
    "bert-uncased": ("Bert", lambda: _bert_tokenizer(True), {}),
    "bert-cased": ("Bert", lambda: _bert_tokenizer(False), {"classifier_dropout": 0.2}),
    "xlm-roberta": (
        "XLMRoberta",
        _xlm_roberta_tokenizer,
        {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1, "pad_token_id": 1},
    ),
    "deberta-v2": (
        "DebertaV2",
        _deberta_tokenizer,
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "modernbert": (
        "ModernBert",
        _modernbert_tokenizer,
        {"pad_token_id": 3, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
    ),
}
"""Name → (prefix of the transformers classes, function that makes its tokenizer, settings added to SIZES)."""


def build(
    folder: Path,
    architecture: str = "bert-uncased",
    *,
    head: str = "SequenceClassification",
    labels: int = 1,
    **sizes: Any,
) -> Path:
    """Write a model of ``architecture`` to ``folder`` in plain transformers layout; without a head if ``head`` is "".

    ``sizes`` are settings that extend or replace those of ``SIZES`` in its config.
    """
    import torch
    import transformers

    prefix, make_tokenizer, settings = ARCHITECTURES[architecture]
    tokenizer = make_tokenizer()
    options = {"vocab_size": len(tokenizer), "max_position_embeddings": POSITIONS, "initializer_range": 0.3, **SIZES}
    config = getattr(transformers, f"{prefix}Config")(**(options | settings | sizes), num_labels=labels)
    torch.manual_seed(7)
    model = getattr(transformers, f"{prefix}For{head}" if head else f"{prefix}Model")(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_as_cross_encoder(source: Path, folder: Path, **options: Any) -> Path:
    """Save ``source`` with ``CrossEncoder.save_pretrained``; ``options`` go to the constructor (activation_fn, prompts, …)."""
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(source), device="cpu", **options).save_pretrained(str(folder), create_model_card=False)
    return folder


def build_encoder(
    folder: Path,
    architecture: str = "bert-uncased",
    *,
    pooling: Any = "cls",
    dense: int = 0,
    normalize: bool = True,
    **options: Any,
) -> Path:
    """Save a tiny bi-encoder of ``architecture`` with ``SentenceTransformer.save_pretrained``, as a Transformer + Pooling, then a
    Dense of ``dense`` features (0: none) and a Normalize; ``options`` go to the constructor (prompts, similarity_fn_name, …).
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    plain = build(folder.with_name(f"{folder.name}-plain"), architecture, head="")
    transformer = Transformer(str(plain))
    width = transformer.get_embedding_dimension()
    modules: list[Any] = [transformer, Pooling(width, pooling)]
    if dense:
        torch.manual_seed(3)
        modules.append(Dense(modules[-1].pooling_output_dimension, dense))
    modules += [Normalize()] if normalize else []
    SentenceTransformer(modules=modules, device="cpu", **options).save_pretrained(str(folder), create_model_card=False)
    return folder


def edit_json(path: Path, **values: Any) -> None:
    """Set keys of the object in a JSON file (which need not exist); None removes a key."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    content = {key: value for key, value in (content | values).items() if value is not None}
    path.write_text(json.dumps(content), encoding="utf-8")


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Limit torch to one thread: models this small are slower on several, and very slow if other programs use the cores too."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Run all tests of the folder or file that imports this ``on_one_thread``."""
    with on_one_thread():
        yield


@pytest.fixture(scope="session")
def tiny_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny one-label BERT cross-encoder, as sentence-transformers saves it."""
    folder = tmp_path_factory.mktemp("tiny")
    return save_as_cross_encoder(build(folder / "plain"), folder / "reranker")
