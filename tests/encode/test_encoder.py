"""Encoders give sentence-transformers' vectors, on every engine, and refuse what they cannot run as it is meant."""

import json
import pickle
import random
import shutil

import numpy as np
import pytest

from bioqa import Article, Encoder
from bioqa.encode.encoder import DEFAULT_FOLDER
from bioqa.errors import ModelError, UsageError
from bioqa.rerank.engines import gpu
from bioqa.rerank.pooling import POOLINGS
from tests.tiny_models import WORDS, build, build_encoder, edit_json

SHAPES = {
    "cls": ("bert-uncased", {"pooling": "cls"}),
    "mean": ("bert-cased", {"pooling": "mean"}),
    "max, not normalized": ("bert-uncased", {"pooling": "max", "normalize": False, "similarity_fn_name": "dot"}),
    "mean and cls": ("bert-uncased", {"pooling": ("cls", "mean")}),
    "mean_sqrt_len_tokens": ("bert-uncased", {"pooling": "mean_sqrt_len_tokens", "normalize": False}),
    "weightedmean": ("bert-uncased", {"pooling": "weightedmean"}),
    "lasttoken": ("bert-uncased", {"pooling": "lasttoken"}),
    "dense": ("bert-uncased", {"pooling": "mean", "dense": 20}),
    "xlm-roberta": ("xlm-roberta", {"pooling": "mean"}),
    "deberta": ("deberta-v2", {"pooling": "mean"}),
    "modernbert": ("modernbert", {"pooling": "cls"}),
    "prompts": ("bert-uncased", {"prompts": {"query": "what are ", "document": "the cell: "}, "pooling": "mean"}),
}
"""Description → (architecture, arguments of ``build_encoder``)."""
INT8 = [name for name, (architecture, _) in SHAPES.items() if architecture.startswith(("bert", "xlm"))]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder for this test only."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """The folder of one of ``SHAPES``; must not be changed."""
    parent = tmp_path_factory.mktemp("encoders")

    def get(name):
        folder = parent / str(list(SHAPES).index(name))
        architecture, options = SHAPES[name]
        return folder if folder.is_dir() else build_encoder(folder, architecture, **options)

    return get


@pytest.fixture
def texts():
    """Forty texts of words that the tiny models know, one of them longer than the models read, one empty."""
    rng = random.Random(0)
    made = [" ".join(rng.choices(WORDS, k=rng.randint(3, 25))) for _ in range(38)]
    return [*made, "the protein of the cell " * 30, ""]


def cosines(one, other):
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / lengths


@pytest.mark.parametrize("name", SHAPES)
def test_exact_vectors_are_those_of_sentence_transformers(name, encoder_folder, texts):
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(encoder_folder(name)), device="cpu")
    ours = Encoder(encoder_folder(name), engine="exact", device="cpu")
    queries, passages = ours.encode_queries(texts), ours.encode_passages(texts)
    assert queries.dtype == np.float32
    assert queries.shape == (len(texts), ours.dimension)
    assert np.ptp(passages, axis=0).mean() > 0.01
    assert np.abs(queries - theirs.encode_query(texts)).max() < 1e-5
    assert np.abs(passages - theirs.encode_document(texts)).max() < 1e-5
    assert ours.similarity == theirs.similarity_fn_name


@pytest.mark.parametrize("name", INT8)
def test_int8_vectors_are_close_and_independent_of_their_batch(name, encoder_folder, texts):
    exact = Encoder(encoder_folder(name), engine="exact", device="cpu").encode_passages(texts)
    encoder = Encoder(encoder_folder(name), device="cpu")
    assert encoder.engine == "cpu-int8"
    rounded = encoder.encode_passages(texts)
    assert cosines(exact, rounded).min() > 0.99
    assert np.median(cosines(exact, rounded)) > 0.999
    assert np.abs(encoder.encode_passages(texts[3:4]) - rounded[3:4]).max() < 1e-6  # a Dense sums in another order


@pytest.mark.parametrize(
    "name", ["cls", "mean", "mean and cls", "weightedmean", "lasttoken", "max, not normalized", "xlm-roberta"]
)
def test_the_gpu_engine_gives_close_vectors(name, encoder_folder, texts, monkeypatch):
    """On the CPU, where its code runs as well."""
    monkeypatch.setattr(gpu, "DEVICES", ("cuda", "cpu"))
    exact = Encoder(encoder_folder(name), engine="exact", device="cpu").encode_passages(texts)
    half = Encoder(encoder_folder(name), engine="gpu", device="cpu").encode_passages(texts)
    assert cosines(exact, half).min() > 0.999


def test_a_plain_folder_is_averaged_unless_told_otherwise(tmp_path, texts):
    from sentence_transformers import SentenceTransformer

    plain = build(tmp_path / "plain", head="")
    theirs = SentenceTransformer(str(plain), device="cpu").encode(texts)
    assert np.abs(Encoder(plain, engine="exact", device="cpu").encode_queries(texts) - theirs).max() < 1e-5
    first = Encoder(plain, engine="exact", device="cpu", pooling="cls")
    assert np.abs(first.encode_queries(texts) - theirs).max() > 0.1
    assert first.pooling == ("cls",)


def test_an_article_is_encoded_by_its_title_and_abstract(encoder_folder):
    encoder = Encoder(encoder_folder("mean"))
    article = Article("1", "Malaria", "caused by parasites")
    assert (
        encoder.encode_articles([article]).tolist()
        == encoder.encode_passages(["Malaria\ncaused by parasites"]).tolist()
    )


def test_nothing_gives_no_vectors(encoder_folder):
    assert Encoder(encoder_folder("cls")).encode_queries([]).shape == (0, 32)


def test_it_is_pickled_as_its_arguments(encoder_folder):
    encoder = Encoder(encoder_folder("mean"), max_length=20, batch_size=3)
    copy = pickle.loads(pickle.dumps(encoder))
    assert (copy.max_length, copy.batch_size, copy.digest) == (20, 3, encoder.digest)
    assert copy.encode_query("malaria").tolist() == encoder.encode_query("malaria").tolist()


def test_the_digest_follows_what_changes_vectors(encoder_folder, tmp_path):
    folder = encoder_folder("cls")
    digests = {Encoder(folder).digest, Encoder(shutil.copytree(folder, tmp_path / "copy")).digest}
    assert len(digests) == 1
    digests |= {Encoder(folder, max_length=20).digest, Encoder(folder, pooling="mean").digest}
    edit_json(tmp_path / "copy" / "config_sentence_transformers.json", prompts={"query": "what are "})
    digests.add(Encoder(tmp_path / "copy").digest)
    assert len(digests) == 4


def test_the_same_weights_with_another_pooling_have_a_graph_of_their_own(encoder_folder, texts):
    folder = encoder_folder("cls")
    first, mean = Encoder(folder), Encoder(folder, pooling="mean")
    exact = Encoder(folder, pooling="mean", engine="exact", device="cpu").encode_queries(texts)
    assert first.encode_queries(texts).shape == exact.shape
    assert cosines(mean.encode_queries(texts), exact).min() > 0.99


def _modules(folder, *kinds):
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": ""} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: edit_json(f / "config_sentence_transformers.json", model_type="CrossEncoder"), "but a CrossEncoder"),
        (lambda f: edit_json(f / "config_sentence_transformers.json", similarity_fn_name="manhattan"), "'manhattan'"),
        (lambda f: _modules(f, "Transformer", "LSTM", "Pooling"), "consists of the modules"),
        (lambda f: (f / "modules.json").write_text('[{"type": "mine.Transformer"}]'), "consists of the modules"),
        (lambda f: (f / "modules.json").write_text('[{"type": "x", "path": "../y"}]'), "not in the model's own"),
        (lambda f: edit_json(f / "1_Pooling" / "config.json", include_prompt=False), "leaves its prompt out"),
        (lambda f: edit_json(f / "1_Pooling" / "config.json", pooling_mode="median"), "unknown pooling 'median'"),
        (lambda f: edit_json(f / "2_Dense" / "config.json", activation_function="os.system"), "activation 'os.system'"),
        (lambda f: edit_json(f / "2_Dense" / "config.json", use_residual=True), "not a plain linear layer"),
        (lambda f: (f / "2_Dense" / "model.safetensors").unlink(), "has no model.safetensors"),
        (
            lambda f: (f / "2_Dense" / "model.safetensors").write_bytes(b"\xff" * 99),
            "2_Dense of the encoder .* is damaged",
        ),
        (lambda f: edit_json(f / "config.json", hidden_size=None), "no hidden_size"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 99), "weights of the encoder .* are damaged"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(change, message, encoder_folder, tmp_path):
    folder = shutil.copytree(encoder_folder("dense"), tmp_path / "model")
    change(folder)
    with pytest.raises(ModelError, match=message):
        Encoder(folder)


def test_a_reranker_is_no_encoder_and_an_encoder_no_reranker(encoder_folder, tmp_path):
    from bioqa import Reranker
    from tests.tiny_models import save_as_cross_encoder

    with pytest.raises(ModelError, match="but a CrossEncoder"):
        Encoder(save_as_cross_encoder(build(tmp_path / "plain"), tmp_path / "reranker"))
    with pytest.raises(ModelError, match="not a cross-encoder but a SentenceTransformer"):
        Reranker(encoder_folder("cls"))


def test_bad_arguments_are_refused(encoder_folder):
    for arguments in ({"pooling": "median"}, {"batch_size": 0}, {"engine": "fast"}, {"max_length": 2}, {"device": 3}):
        with pytest.raises(UsageError):
            Encoder(encoder_folder("cls"), **arguments)
    with pytest.raises(UsageError, match="texts"):
        Encoder(encoder_folder("cls")).encode_queries("malaria")


def quantize_file(folder, by_row):
    """Store the matrices of a folder as unsigned bytes with scales; returns nothing, and what they stand for as floats."""
    from safetensors.numpy import load_file, save_file

    stored, floats = {}, {}
    for name, weight in load_file(folder / "model.safetensors").items():
        stored[name] = floats[name] = weight
        if weight.ndim == 2:
            low, high = weight.min(), weight.max()
            scale = np.float32((high - low) / 255) * (np.ones(len(weight), np.float32) if by_row else np.float32(1))
            zero = np.uint8(np.rint(-low / (high - low) * 255))
            rows = scale[:, None] if by_row else scale
            values = np.clip(np.rint(weight / rows) + zero, 0, 255).astype(np.uint8)
            stored |= {name: values, f"{name}_scale": np.asarray(scale), f"{name}_zero_point": np.asarray(zero)}
            floats[name] = (values.astype(np.float32) - np.float32(zero)) * rows
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    return floats


@pytest.mark.parametrize("by_row", [True, False])
def test_weights_of_integers_with_scales_are_those_that_they_stand_for(by_row, encoder_folder, tmp_path, texts):
    from safetensors.numpy import save_file

    integers = shutil.copytree(encoder_folder("cls"), tmp_path / "integers")
    floats = shutil.copytree(encoder_folder("cls"), tmp_path / "floats")
    save_file(quantize_file(integers, by_row), floats / "model.safetensors", metadata={"format": "pt"})
    for engine in ("exact", "cpu-int8"):
        one, other = (
            Encoder(folder, engine=engine, device="cpu").encode_queries(texts) for folder in (integers, floats)
        )
        assert np.abs(one - other).max() < 1e-5


def test_integers_without_their_scale_are_damaged_weights(encoder_folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(encoder_folder("cls"), tmp_path / "integers")
    quantize_file(folder, True)
    weights = load_file(folder / "model.safetensors")
    del weights["embeddings.word_embeddings.weight_scale"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"do not match its config: embeddings.word_embeddings.weight is U8"):
        Encoder(folder, engine="cpu-int8", device="cpu")


def test_the_default_encoder_is_small_and_normalized():
    encoder = Encoder(device="cpu")
    assert (encoder.dimension, encoder.max_length, encoder.pooling) == (384, 512, ("cls",))
    assert encoder.query_prompt == "Represent this sentence for searching relevant passages: "
    assert sum(path.stat().st_size for path in DEFAULT_FOLDER.rglob("*") if path.is_file()) < 35_000_000
    question = encoder.encode_query("Which gene is mutated in Marfan syndrome?")
    related, unrelated = encoder.encode_passages(
        ["FBN1 variants cause Marfan syndrome.", "Sepsis is treated with antibiotics."]
    )
    assert np.linalg.norm(question) == pytest.approx(1, abs=1e-5)
    assert question @ related > question @ unrelated + 0.15
    assert set(POOLINGS) >= set(encoder.pooling)


def test_the_default_encoders_int8_vectors_are_close_to_its_exact_ones():
    passages = [
        "Marfan syndrome is caused by variants of FBN1. " * 9,
        "Metformin lowers glucose in 1,204 patients (p = 0.03).",
        "x",
    ]
    exact = Encoder(engine="exact", device="cpu").encode_passages(passages)
    assert cosines(exact, Encoder(device="cpu").encode_passages(passages)).min() > 0.999
