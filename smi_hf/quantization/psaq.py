"""PSAQ-ViT's quantizer: its arithmetic, and the tensors of a forward pass that it acts on.

Values are rounded to the grid of an integer type and stay floating-point numbers ("fake" quantization), so any width
can be measured without a runtime that has it.

Source: PSAQ-ViT, arXiv 2203.02250, and its code, github.com/zkkli/PSAQ-ViT: models/quantization_utils/ for the
arithmetic, models/vit_quant.py for the tensors.

Legend: `B` images, `K` kept patches, `T` tokens, `D` hidden size, `C` channels, `P Q` patch pixels, `O` output
channels.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from smi_hf.models import SparseClassifier

# Is handed a tensor's layer, the layer's type and the tensor, and returns what the forward pass goes on with.
Visitor = Callable[[str, str, Tensor], Tensor]

# PSAQ-ViT's lower bound of a scale, against division by 0.
_SMALLEST_SCALE = torch.finfo(torch.float32).eps


def fake_quantize_weights(weights: Tensor, bits: int) -> Tensor:
    """Weights on a grid symmetric about 0, one for each output channel; a new tensor.

    The scale is max|w| / ((2^b - 1) / 2), integers reach from -2^(b-1) to 2^(b-1) - 1: the largest positive weight is
    half a step outside, as in PSAQ-ViT.

    Args:
        weights: float (O, ...).
        bits: b, 2 to 8.
    """
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    largest_O = weights.flatten(1).abs().amax(dim=1)
    scale_O = (largest_O / ((highest - lowest) / 2)).clamp_min(_SMALLEST_SCALE)
    scale = scale_O.reshape(-1, *[1] * (weights.ndim - 1))
    return (weights / scale).round_().clamp_(lowest, highest).mul_(scale)


def fake_quantize_activations(values: Tensor, low: float, high: float, bits: int) -> Tensor:
    """Activations on one grid of 2^b steps from `low` to `high`, shifted so that 0 lies on it; a new tensor.

    The scale is (high - low) / (2^b - 1), the zero point -round(low / scale); values outside are clamped.

    Differs from PSAQ-ViT: a range that lacks 0 is widened to it. There the zero point is clamped instead, and every
    value of such a range becomes the same.

    Args:
        values: float, any shape.
        low, high: smallest and largest value seen in calibration.
        bits: b, 2 to 16.
    """
    lowest, highest = values.new_tensor(min(low, 0.0)), values.new_tensor(max(high, 0.0))
    last = 2**bits - 1
    scale = ((highest - lowest) / last).clamp_min(_SMALLEST_SCALE)
    zero = -torch.round(lowest / scale)
    return (values / scale).add_(zero).round_().clamp_(0, last).sub_(zero).mul_(scale)


@dataclass
class _Frame:
    """A module whose forward is running.

    Args:
        path: its name in the classifier.
        activation: which activation function it is, None for any other module.
        num_calls: how often it did each operation so far.
    """

    path: str
    activation: str | None
    num_calls: Counter[str] = field(default_factory=Counter)


class QuantizedTensors(TorchFunctionMode):
    """While it lasts, every tensor of a sparse forward that PSAQ-ViT quantizes passes through `visit`.

    Layers are named by the module that computes them, types by what PSAQ-ViT quantizes:

    | type | tensor | name |
    |---|---|---|
    | Pixels | patches of the images | `pixels` |
    | Convolution | embeddings of patches | the module |
    | Positions | position embeddings | `...embeddings.position_embeddings` |
    | Add | sum of the two, with prefix tokens; residual sums | module that adds, `.add`, `.add_2` |
    | LayerNorm | its output; of the last one, what the head reads | the module |
    | Linear | its output; where an activation function follows, weights alone | the module |
    | MatMul | attention scores before softmax; attention output | `.scores`, `.context` |
    | GELU, SiLU, ... | output of an activation function, by its name | the module |
    | Mul | layer scale, the gate of SwiGLU: unknown to PSAQ-ViT | module that multiplies, `.mul` |

    It hooks functions and modules and unhooks them at the end; nothing of the model is replaced. The forward must
    attend eagerly (`attention_implementation`), as a fused kernel shows no scores.

    Differs from PSAQ-ViT: prefix tokens reach the forward with their positions added, so they are quantized as part
    of the sum, not before it as well; and embeddings of patches have one range, not another one beside CLS.

    Args:
        classifier: whose forward runs inside.
        visit: called for every tensor of the table.
        weights: what Linear and Convolution layers compute with in place of their own weights, by layer name.

    After a forward, `reads_same` maps each Linear layer that reads the tensor of one before it to the first that does
    (query, key, value), and `feeds_activation` holds those whose output an activation function reads at once.
    """

    def __init__(
        self, classifier: SparseClassifier, visit: Visitor, *, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.reads_same: dict[str, str] = {}
        self.feeds_activation: set[str] = set()
        self._classifier = classifier
        self._visit = visit
        self._weights = weights or {}
        self._backbone = classifier.backbone_path
        self._embeddings = classifier.embeddings_path
        self._last_norm: str | None = None
        # Whether a block has run: norms of the backbone before them (CLIP) are no last ones.
        self._has_attended = False
        # Name, input and output of the last Linear layer; held, so that identity of tensors means something.
        self._last_linear: tuple[str, Tensor, Tensor] | None = None
        self._frames: list[_Frame] = []
        self._handles: list[RemovableHandle] = []
        self._owners: dict[int, str] = {}

    def __enter__(self) -> "QuantizedTensors":
        self._frames.clear()
        self._has_attended = False
        # A layer that another module computes (EVA, which makes one bias of three) has its name all the same.
        self._owners = {
            id(module.weight): path
            for path, module in self._classifier.model.named_modules()
            if isinstance(module, nn.Linear)
        }
        for path, module in self._classifier.model.named_modules():
            self._handles.append(module.register_forward_pre_hook(partial(self._begin, path)))
            self._handles.append(module.register_forward_hook(self._end))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._last_linear = None

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        handler = _HANDLERS.get(func)
        # What an activation function is made of is no layer.
        if handler is None or (self._frames and self._frames[-1].activation):
            return func(*args, **(kwargs or {}))
        return handler(self, func, *args, **(kwargs or {}))

    def _begin(self, path: str, module: nn.Module, arguments: tuple) -> None:
        activation = _activation_type(module)
        if activation is not None:
            self._note_activation(arguments[0])
        self._frames.append(_Frame(path, activation))

    def _end(self, module: nn.Module, arguments: tuple, output: Any) -> Any:
        frame = self._frames[-1]
        if frame.activation is not None:
            output = self._visit(frame.path, frame.activation, output)
        self._frames.pop()
        return output

    def _note_activation(self, values: Tensor) -> None:
        if self._last_linear is not None and self._last_linear[2] is values:
            self.feeds_activation.add(self._last_linear[0])

    def _inside(self, operation: str) -> str:
        """Name of an operation of the running module; numbered from its second one."""
        frame = self._frames[-1]
        frame.num_calls[operation] += 1
        number = frame.num_calls[operation]
        return ".".join(filter(None, [frame.path, operation if number == 1 else f"{operation}_{number}"]))

    def _linear(self, func: Callable, values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if not self._frames:  # SparseClassifier embeds patches outside the stock forward
            name, kind = f"{self._embeddings}.{self._classifier.family.projection}", "Convolution"
            values = self._visit("pixels", "Pixels", values)
        else:
            name, kind = self._owners.get(id(weight), self._frames[-1].path), "Linear"
            if self._last_norm is not None and self._reads_backbone(name):
                values = self._visit(self._last_norm, "LayerNorm", values)
        if name in self._weights:
            weight = self._weights[name].reshape(weight.shape)
        if self._last_linear is not None and self._last_linear[1] is values:
            first = self._last_linear[0]
            self.reads_same[name] = self.reads_same.get(first, first)
        output = self._visit(name, kind, func(values, weight, bias))
        self._last_linear = (name, values, output)
        return output

    def _reads_backbone(self, name: str) -> bool:
        """Whether a layer is behind the backbone; that of timm has its head inside."""
        backbone = self._backbone
        return bool(backbone) and (not name.startswith(f"{backbone}.") or name == f"{backbone}.head")

    def _layer_norm(self, func: Callable, *args: Any, **kwargs: Any) -> Tensor:
        path = self._frames[-1].path
        if self._has_attended and path.rpartition(".")[0] == self._backbone:
            # PSAQ-ViT keeps the CLS row alone before it quantizes: the range of the other rows does not matter.
            self._last_norm = path
            return func(*args, **kwargs)
        return self._visit(path, "LayerNorm", func(*args, **kwargs))

    def _softmax(self, func: Callable, values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._has_attended = True
        return func(self._visit(self._inside("scores"), "MatMul", values), *args, **kwargs)

    def _matmul(self, func: Callable, *args: Any, **kwargs: Any) -> Tensor:
        output = func(*args, **kwargs)
        # The product before softmax is scaled first, then visited as softmax's input.
        is_context = self._frames[-1].num_calls["scores"] > 0
        return self._visit(self._inside("context"), "MatMul", output) if is_context else output

    def _attend(
        self,
        func: Callable,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """A fused kernel, of models that have no choice of implementations, as the operations that it stands for."""
        assert not is_causal and not dropout_p, "patches see each other, and nothing is trained"
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        scores = scores if attn_mask is None else scores + attn_mask
        weights = self._softmax(torch.softmax, scores, dim=-1)
        return self._matmul(torch.matmul, weights, value)

    def _add(self, func: Callable, left: Any, right: Any, **kwargs: Any) -> Tensor:
        if not self._frames:
            right = self._visit(f"{self._embeddings}.position_embeddings", "Positions", right)
            return func(left, right, **kwargs)  # a part of the sum that `_cat` completes
        output = func(left, right, **kwargs)
        is_sum = isinstance(left, Tensor) and isinstance(right, Tensor)
        return self._visit(self._inside("add"), "Add", output) if is_sum else output

    def _cat(self, func: Callable, *args: Any, **kwargs: Any) -> Tensor:
        output = func(*args, **kwargs)
        return output if self._frames else self._visit(f"{self._embeddings}.add", "Add", output)

    def _multiply(self, func: Callable, left: Any, right: Any, **kwargs: Any) -> Tensor:
        output = func(left, right, **kwargs)
        is_product = isinstance(left, Tensor) and isinstance(right, Tensor)
        return self._visit(self._inside("mul"), "Mul", output) if is_product else output

    def _activate(self, func: Callable, values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """An activation function that is no module (SwiGLU of transformers 4)."""
        self._note_activation(values)
        return self._visit(self._inside("act_fn"), _FUNCTIONS[func], func(values, *args, **kwargs))


def _activation_type(module: nn.Module) -> str | None:
    """A name such as "GELU"; None for a module that is no activation function."""
    # PyTorch has its module of attention beside them. It is one operation: what happens inside stays in float.
    if isinstance(module, nn.MultiheadAttention):
        return None
    if type(module).__module__ in ("transformers.activations", "torch.nn.modules.activation"):
        return type(module).__name__.removesuffix("Activation")
    return None


_FUNCTIONS = {F.gelu: "GELU", F.silu: "SiLU", F.relu: "ReLU"}
_HANDLERS: dict[Callable, Callable] = {
    F.linear: QuantizedTensors._linear,
    F.layer_norm: QuantizedTensors._layer_norm,
    torch.cat: QuantizedTensors._cat,
    F.scaled_dot_product_attention: QuantizedTensors._attend,
    **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), QuantizedTensors._softmax),
    **dict.fromkeys((torch.matmul, Tensor.matmul, torch.bmm, Tensor.bmm), QuantizedTensors._matmul),
    **dict.fromkeys((torch.add, Tensor.add), QuantizedTensors._add),
    **dict.fromkeys((torch.mul, Tensor.mul), QuantizedTensors._multiply),
    **dict.fromkeys(_FUNCTIONS, QuantizedTensors._activate),
}
