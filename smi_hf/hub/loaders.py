"""How stock libraries load a model of smi_hf, as the first lines of its card and its Space do."""

from dataclasses import dataclass, replace

from smi_hf.evaluation.record import ModelRecord
from smi_hf.models.references import HeadReference


@dataclass(frozen=True)
class Loader:
    """A class with `from_pretrained` whose models answer with `logits` and have a `config`.

    Args:
        package: that has the class, and `pipeline` unless the class is `ExportedModel`.
        class_name: of the class.
        bare_class: of the class for image towers and backbones; that of the model itself if None.
        install: what pip installs for it.
        before: a line of Python that must come first, if any.
        options: of `pipeline`, as Python.
    """

    package: str
    class_name: str
    install: str
    bare_class: str | None = None
    before: str | None = None
    options: str = ""

    def of(self, head: HeadReference | None) -> "Loader":
        """What loads such a model.

        Args:
            head: of an image tower or a backbone, None of a classifier.
        """
        return self if head is None else replace(self, class_name=self.bare_class or head.model_class)

    @property
    def imports(self) -> tuple[str, ...]:
        """Lines of Python that bring the class."""
        own = f"from {self.package} import {self.class_name}"
        return (self.before, own) if self.before else (own,)


def _transformers(install: str) -> Loader:
    return Loader("transformers", "AutoModelForImageClassification", install)


def _exported(install: str, before: str | None = None) -> Loader:
    name = "ExportedModel"
    return Loader("transformers.exporters", name, f'"transformers>=5.23" {install}', bare_class=name, before=before)


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
        "optimum.onnxruntime",
        "ORTModelForImageClassification",
        "optimum-onnx onnxruntime",
        bare_class="ORTModelForCustomTasks",
    ),
    "optimum openvino": Loader(
        "optimum.intel",
        "OVModelForImageClassification",
        '"optimum-intel[openvino]"',
        bare_class="OVModelForCustomTasks",
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
