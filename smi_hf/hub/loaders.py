"""How stock libraries load a model of smi_hf, as the first lines of its card and its Space do."""

from dataclasses import dataclass

from smi_hf.evaluation.record import ModelRecord


@dataclass(frozen=True)
class Loader:
    """A class with `from_pretrained` whose models answer with `logits` and have a `config`.

    Args:
        package: that has the class, and `pipeline` unless the class is `ExportedModel`.
        class_name: of the class.
        install: what pip installs for it.
        before: a line of Python that must come first, if any.
        options: of `pipeline`, as Python.
    """

    package: str
    class_name: str
    install: str
    before: str | None = None
    options: str = ""

    @property
    def imports(self) -> tuple[str, ...]:
        """Lines of Python that bring the class."""
        own = f"from {self.package} import {self.class_name}"
        return (self.before, own) if self.before else (own,)


def _transformers(install: str) -> Loader:
    return Loader("transformers", "AutoModelForImageClassification", install)


def _exported(install: str, before: str | None = None) -> Loader:
    return Loader("transformers.exporters", "ExportedModel", f'"transformers>=5.23" {install}', before)


# By library and back end. Any other model needs smi_hf itself, or a package that is not known here.
LOADERS = {
    "transformers": _transformers("transformers torch"),
    "transformers torchao": _transformers('"transformers>=5.23" torchao'),
    "transformers onnx": _exported("onnx onnxscript onnxruntime"),
    "transformers openvino": _exported("openvino"),
    "transformers executorch": _exported("executorch"),
    # The import makes the operators known that round.
    "transformers torch": _exported("torchao", "import torchao.quantization.pt2e.quantize_pt2e"),
    "optimum onnx": Loader(
        "optimum.onnxruntime", "ORTModelForImageClassification", "optimum-onnx onnxruntime"
    ),
    "optimum openvino": Loader(
        "optimum.intel",
        "OVModelForImageClassification",
        '"optimum-intel[openvino]"',
        options=', accelerator="openvino"',
    ),
}  # fmt: skip


def loader_name(record: ModelRecord) -> str | None:
    """The key in `LOADERS` of what loads a model, None if no stock library does."""
    if record.kind == "quantized":
        name = f"{record.runtime.library} {record.settings['backend']}" if record.runtime else ""
    else:
        name = "" if "quantization" in record.settings else "transformers"
    return name if name in LOADERS else None
