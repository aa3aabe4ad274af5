"""Scores equal those of sentence-transformers' CrossEncoder, whatever the model, its settings and the batching."""

import ast
import json
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder

from bioqa.errors import ModelError, UsageError
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER
from bioqa.rerank.reranker import Reranker as AnyReranker
from tests.support import REPOSITORY
from tests.tiny_models import ARCHITECTURES, build, edit_json, save_as_cross_encoder

Reranker = partial(AnyReranker, engine="exact")

IDENTITY, SIGMOID = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"


def reference(folder, question, passages, **options):
    """The scores of sentence-transformers in fp32."""
    options.setdefault("model_kwargs", {"dtype": torch.float32})
    model = CrossEncoder(str(folder), device="cpu", **options)
    return model.predict([(question, passage) for passage in passages], show_progress_bar=False)


@pytest.fixture
def copy(plain, tmp_path):
    """A copy of a tiny model that may be changed."""

    def make(architecture="bert-uncased"):
        return shutil.copytree(plain(architecture), tmp_path / architecture)

    return make


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_of_a_plain_folder(architecture, plain, question, passages):
    folder = plain(architecture)
    expected = reference(folder, question, passages)
    assert expected.max() - expected.min() > 0.05
    for batch_size in (1, 3, 32):
        reranker = Reranker(folder, batch_size=batch_size)
        scores = reranker.score(question, passages)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, atol=1e-4)
        np.testing.assert_allclose(reranker.probabilities(question, passages), expected, atol=1e-4)
        np.testing.assert_allclose(1 / (1 + np.exp(-reranker.logits(question, passages))), expected, atol=1e-4)


def test_a_bert_model_whose_tokenizer_provides_no_segment_ids(copy, question, passages):
    folder = copy()
    with_segments = Reranker(folder).logits(question, passages)
    edit_json(folder / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])
    expected = reference(folder, question, passages)
    exact = Reranker(folder)
    np.testing.assert_allclose(exact.probabilities(question, passages), expected, atol=1e-4)
    assert np.abs(exact.logits(question, passages) - with_segments).max() > 0.05
    rounded = AnyReranker(folder, engine="cpu-int8").logits(question, passages)
    assert np.abs(rounded - exact.logits(question, passages)).max() < 0.05 * np.ptp(with_segments)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("activation", [torch.nn.Identity(), torch.nn.Sigmoid()])
def test_scores_of_a_folder_saved_by_cross_encoder(architecture, activation, plain, tmp_path, question, passages):
    folder = save_as_cross_encoder(plain(architecture), tmp_path / "saved", activation_fn=activation)
    reranker = Reranker(folder)
    assert reranker.activation == type(activation).__name__
    np.testing.assert_allclose(
        reranker.score(question, passages), reference(folder, question, passages), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("architecture", ["bert-cased", "xlm-roberta"])
def test_long_questions_are_cut_like_long_passages(architecture, plain, passages):
    long_question = "which drugs are used to treat malaria in children " * 12
    scores = Reranker(plain(architecture)).score(long_question, passages)
    np.testing.assert_allclose(scores, reference(plain(architecture), long_question, passages), atol=1e-4)


@pytest.mark.parametrize("architecture", ["bert-uncased", "deberta-v2"])
def test_the_maximum_length_can_be_set(architecture, plain, question, passages):
    reranker = Reranker(plain(architecture), max_length=24)
    expected = reference(plain(architecture), question, passages, max_length=24)
    assert reranker.max_length == 24
    np.testing.assert_allclose(reranker.score(question, passages), expected, atol=1e-4)
    assert np.abs(expected - reference(plain(architecture), question, passages)).max() > 1e-3


def test_a_passage_that_is_cut_is_marked(plain, question):
    reranker = Reranker(plain("bert-uncased"))
    fits = "aspirin " * (64 - reranker.overhead_tokens - reranker.count_tokens([question])[0])
    scores = reranker.score_pairs([(question, fits), (question, fits + "pain"), (question, "pain")])
    assert scores.truncated.tolist() == [False, True, False]
    assert scores.logits[0] == pytest.approx(scores.logits[1], abs=1e-5)


@pytest.mark.parametrize("name", ["Identity", "Sigmoid"])
@pytest.mark.parametrize("place", ["sbert_ce_default_activation_function", "sentence_transformers", "modules"])
def test_the_activation_is_found_in_each_place_it_has_been_saved(name, place, copy, tmp_path, question, passages):
    path = {"Identity": IDENTITY, "Sigmoid": SIGMOID}[name]
    folder = copy()
    if place == "sentence_transformers":
        edit_json(folder / "config.json", sentence_transformers={"activation_fn": path, "version": "5.0.0"})
    elif place == "modules":
        folder = save_as_cross_encoder(folder, tmp_path / "saved")
        edit_json(folder / "config_sentence_transformers.json", activation_fn=path)
    else:
        edit_json(folder / "config.json", sbert_ce_default_activation_function=path)
    reranker = Reranker(folder)
    assert reranker.activation == name
    assert ("probability" in reranker.scale) == (name == "Sigmoid")
    scores = reranker.score(question, passages)
    np.testing.assert_allclose(scores, reference(folder, question, passages), atol=1e-4)
    expected = reranker.logits if name == "Identity" else reranker.probabilities
    np.testing.assert_array_equal(scores, expected(question, passages))


def test_without_a_saved_activation_scores_are_probabilities(plain):
    assert Reranker(plain("bert-cased")).activation == "Sigmoid"


@pytest.mark.parametrize("name", ["Tanh", "ReLU", "Softplus", "LogSigmoid"])
def test_other_known_activations(name, copy, question, passages):
    folder = copy()
    edit_json(folder / "config.json", sentence_transformers={"activation_fn": f"torch.nn.modules.activation.{name}"})
    np.testing.assert_allclose(
        Reranker(folder).score(question, passages), reference(folder, question, passages), atol=1e-4
    )


def test_a_saved_default_prompt_goes_before_the_question(plain, tmp_path, question, passages):
    prompts = {"query": "malaria and aspirin: "}
    folder = save_as_cross_encoder(
        plain("bert-uncased"), tmp_path / "saved", prompts=prompts, default_prompt_name="query"
    )
    scores = Reranker(folder).score(question, passages)
    np.testing.assert_allclose(scores, reference(folder, question, passages), atol=1e-4)
    assert np.abs(scores - Reranker(plain("bert-uncased")).score(question, passages)).max() > 1e-3


@pytest.mark.parametrize("setting", [{"max_seq_length": 30}, {"do_lower_case": True}])
def test_settings_of_the_transformer_module(setting, plain, tmp_path, question, passages):
    folder = save_as_cross_encoder(plain("bert-cased"), tmp_path / "saved")
    edit_json(folder / "sentence_bert_config.json", **setting)
    scores = Reranker(folder).score(question, passages)
    np.testing.assert_allclose(scores, reference(folder, question, passages), atol=1e-4)
    assert np.abs(scores - Reranker(plain("bert-cased")).score(question, passages)).max() > 1e-3


@pytest.mark.parametrize("architecture", ["bert-uncased", "xlm-roberta"])
def test_weights_stored_in_half_precision_are_computed_in_single(architecture, copy, question, passages):
    folder = copy(architecture)
    weights = load_file(folder / "model.safetensors")
    save_file({name: w.half() for name, w in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", dtype="float16")
    np.testing.assert_allclose(
        Reranker(folder).score(question, passages), reference(folder, question, passages), atol=1e-5
    )


def test_roberta_is_cut_where_its_positions_end(copy, question, passages):
    folder = copy("xlm-roberta")
    edit_json(folder / "tokenizer_config.json", model_max_length=None)
    reranker = Reranker(folder)
    assert reranker.max_length == 64
    np.testing.assert_allclose(
        reranker.score(question, passages), reference(folder, question, passages, max_length=64), atol=1e-4
    )


def test_weights_in_several_files(copy, question, passages):
    from transformers import AutoModelForSequenceClassification

    folder = copy()
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    np.testing.assert_allclose(
        Reranker(folder).score(question, passages), reference(folder, question, passages), atol=1e-4
    )


@pytest.mark.parametrize("saved", [None, "null"])
def test_a_padding_token_that_only_the_tokenizer_has(saved, tmp_path, question, passages, monkeypatch):
    settings = {"num_key_value_heads": 4, "head_dim": 8, "pad_token_id": None}
    monkeypatch.setitem(ARCHITECTURES, "qwen2", ("Qwen2", ARCHITECTURES["modernbert"][1], settings))
    folder = build(tmp_path / "model", "qwen2")
    edit_json(folder / "config.json", pad_token_id=None)
    if saved:
        content = json.loads((folder / "config.json").read_text()) | {"pad_token_id": None}
        (folder / "config.json").write_text(json.dumps(content))
    together = Reranker(folder).logits(question, passages)
    alone = [Reranker(folder, batch_size=1).logits(question, [passage])[0] for passage in passages]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    edit_json(folder / "config.json", pad_token_id=3)
    assert Reranker(folder).logits(question, passages).tolist() == together.tolist()


def test_bert_with_another_activation_is_computed_by_transformers(copy, question, passages):
    folder = copy()
    with_gelu = Reranker(folder).score(question, passages)
    edit_json(folder / "config.json", hidden_act="relu")
    scores = Reranker(folder).score(question, passages)
    np.testing.assert_allclose(scores, reference(folder, question, passages), atol=1e-4)
    assert np.abs(scores - with_gelu).max() > 1e-3


@pytest.mark.parametrize("top_k", [None, 3, 100])
@pytest.mark.parametrize("return_documents", [False, True])
def test_rank_returns_what_sentence_transformers_returns(tiny_reranker, question, passages, top_k, return_documents):
    passages.pop()  # the same as the first: the last bits of their scores are arbitrary
    theirs = CrossEncoder(str(tiny_reranker), device="cpu").rank(
        question, passages, top_k=top_k, return_documents=return_documents, show_progress_bar=False
    )
    ours = Reranker(tiny_reranker).rank(question, passages, top_k, return_documents)
    assert [hit["corpus_id"] for hit in ours] == [hit["corpus_id"] for hit in theirs]
    assert [hit.get("text") for hit in ours] == [hit.get("text") for hit in theirs]
    assert [set(hit) for hit in ours] == [set(hit) for hit in theirs]
    assert [hit["score"] for hit in ours] == pytest.approx([hit["score"] for hit in theirs], abs=1e-4)
    json.dumps(ours)


def test_ties_keep_the_order_they_were_given_in(copy, question, passages):
    folder = copy()
    weights = load_file(folder / "model.safetensors")
    save_file(
        weights | {"classifier.bias": torch.tensor([-100.0])}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    edit_json(folder / "config.json", sbert_ce_default_activation_function="torch.nn.modules.activation.ReLU")
    ranked = Reranker(folder).rank(question, passages)
    assert [(hit["corpus_id"], hit["score"]) for hit in ranked] == [(i, 0.0) for i in range(len(passages))]


def test_no_passages(tiny_reranker, question):
    reranker = Reranker(tiny_reranker)
    assert reranker.score(question, []).shape == reranker.logits(question, []).shape == (0,)
    assert reranker.rank(question, []) == []
    assert reranker.score_pairs([]).truncated.shape == (0,)


def test_pairs_of_several_questions_are_scored_as_each_alone(tiny_reranker, question, passages):
    reranker = Reranker(tiny_reranker, batch_size=4)
    other = "what causes malaria"
    mixed = reranker.score_pairs([(q, p) for p in passages for q in (question, other)])
    np.testing.assert_allclose(mixed.scores[::2], reranker.score(question, passages), atol=1e-5)
    np.testing.assert_allclose(mixed.scores[1::2], reranker.score(other, passages), atol=1e-5)


@pytest.mark.parametrize("architecture", ["bert-uncased", "deberta-v2"])
def test_many_threads_get_the_scores_one_gets(architecture, plain, question, passages):
    reranker = Reranker(plain(architecture), batch_size=2)
    orders = [np.random.default_rng(seed).permutation(len(passages)) for seed in range(24)]
    alone = reranker.score(question, passages)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda order: reranker.score(question, [passages[i] for i in order]), orders))
    for order, scores in zip(orders, together, strict=True):
        np.testing.assert_allclose(scores, alone[order], atol=1e-5)


def test_scores_that_are_not_numbers_are_refused(copy, question):
    folder = copy()
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] = torch.tensor([float("nan")])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"returned nan for pair 1"):
        Reranker(folder).score(question, ["aspirin"])


def test_a_tokenizer_that_does_not_match_the_weights_is_an_error_not_a_crash(tmp_path, question):
    folder = build(tmp_path, "bert-uncased")
    other = build(tmp_path / "other", "bert-cased")
    weights = load_file(folder / "model.safetensors")
    words = weights["bert.embeddings.word_embeddings.weight"][:10].clone()
    save_file(weights | {"bert.embeddings.word_embeddings.weight": words}, folder / "model.safetensors")
    edit_json(folder / "config.json", vocab_size=10)
    shutil.copy(other / "tokenizer.json", folder)
    with pytest.raises(ModelError, match="tokenizer may not match its weights"):
        Reranker(folder).score(question, ["aspirin"])


_RESCORE = """
import pickle, sys
reranker, passages = pickle.load(sys.stdin.buffer)
print([reranker.name, reranker.engine, reranker.max_length, reranker.batch_size, reranker.threshold])
print(reranker.score("a gene", passages).tolist())
"""


def test_a_pickled_reranker_is_loaded_again_in_another_process_and_folder(
    tiny_reranker, passages, tmp_path, monkeypatch
):
    monkeypatch.chdir(tiny_reranker.parent)
    reranker = AnyReranker(tiny_reranker.name, device="cpu", batch_size=4, max_length=32, engine="exact")
    reranker.batch_size, reranker.threshold = 2, 0.25
    done = subprocess.run(
        [sys.executable, "-c", _RESCORE],
        input=pickle.dumps((reranker, passages)),
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr.decode()
    facts, scores = map(ast.literal_eval, done.stdout.decode().splitlines())
    assert facts == [tiny_reranker.name, "exact", 32, 2, 0.25]
    assert scores == pytest.approx(reranker.score("a gene", passages).tolist(), abs=1e-6)


def test_the_pickled_default_reranker_is_that_of_the_other_side():
    pickled = pickle.dumps(AnyReranker(device="cpu"))
    assert str(DEFAULT_FOLDER).encode() not in pickled
    assert pickle.loads(pickled).name == "default"


def test_a_pickled_reranker_whose_folder_is_gone_says_so(copy):
    folder = copy()
    pickled = pickle.dumps(Reranker(folder, device="cpu"))
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="There is no folder"):
        pickle.loads(pickled)


def test_invalid_arguments(tiny_reranker):
    with pytest.raises(UsageError, match="batch size of 0"):
        Reranker(tiny_reranker, batch_size=0)
    with pytest.raises(UsageError, match="more than the 64"):
        Reranker(tiny_reranker, max_length=65)
    with pytest.raises(UsageError, match="leaves no room"):
        Reranker(tiny_reranker, max_length=3)


def test_tokens_can_be_counted_to_see_what_fits(plain, tmp_path, question):
    prompts = {"query": "malaria aspirin "}
    folder = save_as_cross_encoder(
        plain("bert-uncased"), tmp_path / "saved", prompts=prompts, default_prompt_name="query"
    )
    reranker = Reranker(folder)
    asked, gene, long = reranker.count_tokens([question, "gene", "gene " * 100])
    assert (gene, long, reranker.overhead_tokens) == (1, 64, 3 + 2)
    room = reranker.max_length - reranker.overhead_tokens - asked
    scores = reranker.score_pairs([(question, "gene " * room), (question, "gene " * (room + 1))])
    assert scores.truncated.tolist() == [False, True]


def test_the_attributes_of_a_reranker(tiny_reranker):
    reranker = Reranker(str(tiny_reranker), device="cpu")
    assert (reranker.name, reranker.folder) == (str(tiny_reranker), tiny_reranker)
    assert (reranker.max_length, reranker.device, reranker.activation) == (64, "cpu", "Sigmoid")
