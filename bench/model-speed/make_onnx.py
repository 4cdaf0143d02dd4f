"""An ONNX model of a GGUF file of the Llama kind, as transformers.js loads it: float32, and 8 bits (its "q8").

Run with onnx, onnxruntime, gguf and numpy installed:
    python3 bench/model-speed/make_onnx.py MODEL.gguf FOLDER

The graph is that of the hub's exports: tokens, mask, and keys and values in and out, with the fused operators of
onnxruntime (grouped attention with rotary turns, norms with the sum of the residual). The 8-bit file comes from
onnxruntime.quantization.quantize_dynamic as transformers.js's own conversion calls it. Owns no figures.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from gguf import GGUFReader, quants
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

FUSED = "com.microsoft"
POSITIONS_MAX = 2048


def main() -> None:
    source, folder = sys.argv[1], Path(sys.argv[2])
    reader = GGUFReader(source)
    settings = settings_of(reader)
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings, indent=2))
    plain = folder / "onnx" / "model.onnx"
    onnx.save(Graph(reader, settings).model(), plain)
    extra = {"DefaultTensorType": TensorProto.FLOAT}  # it knows no shapes behind the fused operators
    eight = folder / "onnx" / "model_quantized.onnx"
    quantize_dynamic(plain, eight, weight_type=QuantType.QInt8, extra_options=extra)


def settings_of(reader: GGUFReader) -> dict:
    def field(name: str):
        return reader.fields[f"llama.{name}"].contents()

    heads = field("attention.head_count")
    width = field("embedding_length")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": field("feed_forward_length"),
        "num_hidden_layers": field("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": field("attention.head_count_kv"),
        "head_dim": width // heads,
        "max_position_embeddings": POSITIONS_MAX,
        "rms_norm_eps": field("attention.layer_norm_rms_epsilon"),
        "rope_theta": field("rope.freq_base"),
        "vocab_size": int(next(t for t in reader.tensors if t.name == "token_embd.weight").shape[1]),
        "tie_word_embeddings": True,
    }


class Graph:
    """Nodes and weights; a value is the name of what a node puts out."""

    def __init__(self, reader: GGUFReader, settings: dict) -> None:
        self.tensors = {t.name: t for t in reader.tensors}
        self.settings = settings
        self.nodes: list = []
        self.weights: list = []

    def model(self) -> onnx.ModelProto:
        s = self.settings
        layers, groups, size = s["num_hidden_layers"], s["num_key_value_heads"], s["head_dim"]
        embedding = self.read("token_embd")
        stream = self.node("Gather", [self.keep("embedding", embedding), "input_ids"])
        self.positions()
        added = None
        for i in range(layers):
            stream, normed = self.norm(stream, added, f"blk.{i}.attn_norm")
            attended = self.attention(normed, i)
            stream, normed = self.norm(stream, self.product(attended, f"blk.{i}.attn_output"), f"blk.{i}.ffn_norm")
            gate = self.product(normed, f"blk.{i}.ffn_gate")
            gate = self.node("Mul", [gate, self.node("Sigmoid", [gate])])
            hidden = self.node("Mul", [gate, self.product(normed, f"blk.{i}.ffn_up")])
            added = self.product(hidden, f"blk.{i}.ffn_down")
        _, normed = self.norm(stream, added, "output_norm")
        head = self.read("output") if "output.weight" in self.tensors else embedding
        # All logits where none are counted: a slice from -0 on is the whole.
        count = self.node("Reshape", [self.node("Neg", ["num_logits_to_keep"]), self.keep("flat", np.array([1], np.int64))])
        end = self.keep("end", np.array([np.iinfo(np.int64).max], np.int64))
        wanted = self.node("Slice", [normed, count, end, "one"])
        self.node("MatMul", [wanted, self.keep("head", head.T)], "logits")
        cache = [f"{i}.{part}" for i in range(layers) for part in ("key", "value")]
        inputs = [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch_size", "new"]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch_size", "total"]),
            helper.make_tensor_value_info("num_logits_to_keep", TensorProto.INT64, []),
            *(self.cache_info(f"past_key_values.{name}", "past", groups, size) for name in cache),
        ]
        outputs = [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch_size", "kept", s["vocab_size"]]),
            *(self.cache_info(f"present.{name}", "total", groups, size) for name in cache),
        ]
        graph = helper.make_graph(self.nodes, "decoder", inputs, outputs, self.weights)
        versions = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=8)

    def positions(self) -> None:
        """Lengths for the attention's operator, and the table of its turns."""
        s = self.settings
        one = self.keep("one", np.array([1], np.int64))
        lengths = self.node("ReduceSum", ["attention_mask", one], keepdims=0)
        last = self.node("Sub", [lengths, one])
        self.node("Cast", [last], "lengths", to=TensorProto.INT32)
        total = self.node("Gather", [self.node("Shape", ["attention_mask"]), self.keep("axis", np.array(1, np.int64))])
        self.node("Cast", [total], "total_length", to=TensorProto.INT32)
        steps = s["rope_theta"] ** (-np.arange(0, s["head_dim"], 2) / s["head_dim"])
        angles = np.arange(POSITIONS_MAX)[:, None] * steps
        self.keep("cosines", np.cos(angles).astype(np.float32))
        self.keep("sines", np.sin(angles).astype(np.float32))

    def attention(self, normed: str, layer: int) -> str:
        s = self.settings
        turned = {"q": s["num_attention_heads"], "k": s["num_key_value_heads"], "v": None}
        parts = [self.product(normed, f"blk.{layer}.attn_{name}", heads) for name, heads in turned.items()]
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        outputs = [f"attended.{layer}", f"present.{layer}.key", f"present.{layer}.value"]
        self.nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [*parts, *past, "lengths", "total_length", "cosines", "sines"],
                outputs,
                domain=FUSED,
                num_heads=s["num_attention_heads"],
                kv_num_heads=s["num_key_value_heads"],
                do_rotary=1,
            )
        )
        return outputs[0]

    def norm(self, stream: str, added: str | None, name: str) -> tuple[str, str]:
        """The sum of the stream and what is added to it, and its norm."""
        gain = self.keep(name, self.read(name))
        epsilon = self.settings["rms_norm_eps"]
        if added is None:
            return stream, self.node("SimplifiedLayerNormalization", [stream, gain], axis=-1, epsilon=epsilon)
        total, normed = f"sum.{name}", f"normed.{name}"
        kind = "SkipSimplifiedLayerNormalization"
        outputs = [normed, "", "", total]
        self.nodes.append(
            helper.make_node(kind, [stream, added, gain], outputs, domain=FUSED, epsilon=epsilon)
        )
        return total, normed

    def product(self, value: str, name: str, heads: int | None = None) -> str:
        """A product with a matrix of the file; with heads, its rotary pairs are moved from neighbours to halves."""
        matrix = self.read(name)
        if heads is not None:
            rows, columns = matrix.shape
            matrix = matrix.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
        return self.node("MatMul", [value, self.keep(name, matrix.T)])

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes) -> str:
        output = output or f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def keep(self, name: str, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def read(self, name: str) -> np.ndarray:
        tensor = self.tensors[f"{name}.weight"]
        return quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)

    @staticmethod
    def cache_info(name: str, length: str, groups: int, size: int):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch_size", groups, length, size])


if __name__ == "__main__":
    main()
