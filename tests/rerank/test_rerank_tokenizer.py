"""Tokens are those of the model's own tokenizer, even when it is read without transformers."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from transformers import AutoTokenizer

from bioqa.rerank.batching import make_batches
from bioqa.rerank.model_folder.bert_tokenizer import read_bert_tokenizer
from bioqa.rerank.model_folder.config import read_config
from bioqa.rerank.model_folder.tokenizer import load_tokenizer
from bioqa.rerank.pair_tokenizer import CHUNK, Padding, TokenizedPair
from tests.tiny_models import ARCHITECTURES, edit_json, save_as_cross_encoder

PAIRS = [
    ("Which gene?", "The CFTR gene is mutated."),
    ("", ""),
    ("a" * 150, "Word\u00adjoined\tand\nspaced   out"),
    ("İstanbul ÀÉÎ ß ﬁ α-synuclein", "日本語と中文 한국어 𝒳 👩‍⚕️"),
    ("[CLS] in the text [SEP]", "<s> and </s> and [MASK] <mask>"),
    ("control \x00 \ufffd \u200b characters", "don't stop--me, now!?"),
    ("malaria " * 70, "gene " * 70),
]
LONG_QUESTION = "which drugs are used to treat malaria in children " * 4 + "which gene is mutated?"


def encode(folder, length=64):
    tokenizer = load_tokenizer(read_config("tiny", folder))
    return tokenizer, list(tokenizer.for_pairs(length).encode(PAIRS))


@pytest.fixture
def cased(plain, tmp_path):
    """A cased BERT folder that may be changed."""
    return shutil.copytree(plain("bert-cased"), tmp_path / "model")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tokens_are_those_of_auto_tokenizer(architecture, plain):
    tokenizer, tokens = encode(plain(architecture))
    theirs = AutoTokenizer.from_pretrained(plain(architecture))
    expected = theirs(PAIRS, truncation="longest_first", max_length=64)
    assert [ours.ids.tolist() for ours in tokens] == expected["input_ids"]
    assert tokenizer.has_segment_ids == ("token_type_ids" in expected)
    if tokenizer.has_segment_ids:
        assert [ours.segment_ids.tolist() for ours in tokens] == expected["token_type_ids"]
    assert tokenizer.padding.id == theirs.pad_token_id
    assert tokenizer.model_max_length == theirs.model_max_length
    assert [pair.truncated for pair in tokens] == [len(ids) > 64 for ids in theirs(PAIRS)["input_ids"]]


@pytest.mark.parametrize("architecture", ["bert-cased", "bert-uncased"])
def test_bert_is_read_without_transformers(architecture, plain):
    assert read_bert_tokenizer(read_config("tiny", plain(architecture))) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"do_lower_case": True},
        {"strip_accents": True},
        {"tokenize_chinese_chars": False},
        {"cls_token": "gene"},
        {"tokenizer_class": "PreTrainedTokenizerFast"},
        {"split_special_tokens": True},
        {"model_input_names": ["input_ids", "attention_mask"]},
        {"additional_special_tokens": ["malaria"]},
        {"added_tokens_decoder": {"9": {"content": "gene", "lstrip": True, "special": False}}},
    ],
)
def test_transformers_decides_if_the_files_disagree(change, cased):
    edit_json(cased / "tokenizer_config.json", **change)
    assert read_bert_tokenizer(read_config("tiny", cased)) is None
    _, tokens = encode(cased)
    theirs = AutoTokenizer.from_pretrained(cased)
    expected = theirs(PAIRS, truncation="longest_first", max_length=64)["input_ids"]
    assert [pair.ids.tolist() for pair in tokens] == expected


@pytest.mark.parametrize("change", [{"normalizer": {"type": "Lowercase"}}, {"pre_tokenizer": {"type": "Whitespace"}}])
def test_transformers_decides_if_tokenizer_json_is_not_berts(change, cased):
    edit_json(cased / "tokenizer.json", **change)
    assert read_bert_tokenizer(read_config("tiny", cased)) is None


def test_more_pairs_than_are_tokenized_at_a_time(plain):
    tokenizer = load_tokenizer(read_config("tiny", plain("bert-uncased"))).for_pairs(64)
    pairs = [("gene", "pain " * (i % 5)) for i in range(2 * CHUNK + 3)]
    lengths = [len(tokens.ids) for tokens in tokenizer.encode(pairs)]
    assert lengths == [4 + i % 5 for i in range(len(pairs))]


def test_tokens_are_counted_up_to_the_maximum_length(plain):
    tokenizer = load_tokenizer(read_config("tiny", plain("xlm-roberta"))).for_pairs(64)
    theirs = AutoTokenizer.from_pretrained(plain("xlm-roberta"))
    texts = ["", "gene", "malaria is caused by parasites " * 30]
    expected = [len(ids) for ids in theirs(texts, add_special_tokens=False)["input_ids"]]
    assert tokenizer.count(texts) == [*expected[:2], 64]
    assert tokenizer.special_tokens == 4


def test_lone_surrogates_are_read_as_question_marks(plain):
    tokenizer = load_tokenizer(read_config("tiny", plain("bert-cased"))).for_pairs(64)
    broken, replaced = tokenizer.encode([("a \ud800", "b \udfff c"), ("a ?", "b ? c")])
    assert broken.ids.tolist() == replaced.ids.tolist()
    assert tokenizer.count(["\ud800"]) == [1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_only_second_the_first_text_is_whole(architecture, plain):
    loaded = load_tokenizer(read_config("tiny", plain(architecture)))
    long, short, asked = "malaria is caused by parasites " * 80, "pain", LONG_QUESTION
    alone = loaded.backend.encode(asked, add_special_tokens=False).ids
    length = int(1.5 * len(alone))
    tokenizer = loaded.for_pairs(length)
    pairs = [(asked, long), (asked, short), ("gene", long), ("gene", "")]
    kept, usual = list(tokenizer.encode(pairs, only_second=True)), list(tokenizer.encode(pairs))
    assert " ".join(map(str, alone)) in " ".join(map(str, kept[0].ids.tolist()))
    assert " ".join(map(str, alone)) not in " ".join(map(str, usual[0].ids.tolist()))
    assert [len(pair.ids) for pair in kept] == [len(pair.ids) for pair in usual]
    assert [pair.truncated for pair in kept] == [True, False, True, False]
    for place in (1, 2, 3):  # a short first text is never truncated
        assert kept[place].ids.tolist() == usual[place].ids.tolist()
        assert kept[place].segment_ids.tolist() == usual[place].segment_ids.tolist()
        assert kept[place].unread == usual[place].unread
    read = long[: len(long) - kept[0].unread]
    [again] = tokenizer.encode([(asked, read)], only_second=True)
    assert again.ids.tolist() == kept[0].ids.tolist()
    assert again.segment_ids.tolist() == kept[0].segment_ids.tolist()


def test_with_truncation_on_the_left_the_beginning_is_unread(plain):
    loaded = load_tokenizer(read_config("tiny", plain("bert-uncased")))
    tokenizer = replace(loaded, truncation_side="left").for_pairs(10)
    [pair] = tokenizer.encode([("gene", "aspirin inhibits pain " * 3 + "malaria")], only_second=True)
    assert pair.unread == len("aspirin inhibits pain aspirin ")
    assert pair.truncated


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_tokenizer_serves_many_threads(architecture, plain):
    tokenizer = load_tokenizer(read_config("tiny", plain(architecture))).for_pairs(64)
    sentence = "The gene is mutated. "
    pairs = [(f"{word} gene?", sentence * n) for n in range(1, 9) for word in ("which", LONG_QUESTION[:60])]
    expected = [pair.ids.tolist() for whole in (False, True) for pair in tokenizer.encode(pairs, only_second=whole)]
    counts = tokenizer.count([text for _, text in pairs])

    def use(_):
        found = [pair.ids.tolist() for whole in (False, True) for pair in tokenizer.encode(pairs, only_second=whole)]
        return found == expected and tokenizer.count([text for _, text in pairs]) == counts

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(40)))


def some_tokens(*lengths):
    return [TokenizedPair(np.full(n, n, np.int32), np.full(n, 1, np.int32), False) for n in lengths]


@pytest.mark.parametrize("left", [False, True])
def test_batches_are_longest_first_and_padded(left):
    first, second = make_batches(some_tokens(2, 4, 1, 3), 2, Padding(9, 7, left))
    assert (first.rows.tolist(), second.rows.tolist()) == ([1, 3], [0, 2])
    assert first.ids.tolist() == [[4, 4, 4, 4], [9, 3, 3, 3] if left else [3, 3, 3, 9]]
    assert first.segment_ids.tolist() == [[1, 1, 1, 1], [7, 1, 1, 1] if left else [1, 1, 1, 7]]
    assert second.mask.tolist() == [[1, 1], [0, 1] if left else [1, 0]]


def test_no_pairs_make_no_batches():
    assert list(make_batches([], 4, Padding(0, 0, False))) == []


CASED = "lower-cases text, but its vocabulary is cased: words such as 'CFTR' are never found"


@pytest.mark.parametrize(
    ("architecture", "file"),
    [
        ("bert-cased", "tokenizer_config.json"),
        ("bert-cased", "sentence_bert_config.json"),
        ("bert-cased", None),
        ("bert-uncased", None),
        ("xlm-roberta", None),
        ("deberta-v2", None),
        ("modernbert", None),
    ],
)
def test_lower_case_with_a_cased_vocabulary_is_told(architecture, file, plain, tmp_path, caplog):
    folder = shutil.copytree(plain(architecture), tmp_path / "model")
    if file == "sentence_bert_config.json":
        save_as_cross_encoder(plain(architecture), folder)
    if file:
        edit_json(folder / file, do_lower_case=True)
    load_tokenizer(read_config("tiny", folder))
    told = [record.message for record in caplog.records]
    assert len(told) == bool(file)
    assert all(CASED in message and message.endswith(f"set do_lower_case to false in its {file}.") for message in told)


def test_a_cased_vocabulary_without_a_tokenizer_config_is_told(plain, tmp_path, caplog):
    folder = shutil.copytree(plain("bert-cased"), tmp_path / "model")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.get)))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    load_tokenizer(read_config("tiny", folder))
    assert CASED in caplog.text
