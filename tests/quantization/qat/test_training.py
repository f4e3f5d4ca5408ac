import copy
import json

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    TrainerCallback,
    ViTConfig,
    ViTForImageClassification,
)

from smi_hf import Teacher, UsageError
from smi_hf.distillation import SparseDistillationConfig, SparseDistillationTrainer
from smi_hf.distillation.students import SparseStudent, make_student
from smi_hf.environment import missing_packages
from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.config import QuantizationConfig

if missing_packages("quanto"):
    pytest.skip("the quanto extra is not installed", allow_module_level=True)

from optimum.quanto import QLinear
from safetensors.torch import load_file

from smi_hf.quantization.backends.quanto import linear_layers, load_model, quantized_copy, quantized_layers
from smi_hf.quantization.qat.training import (
    WeightRange,
    freeze_and_save,
    quantize_for_training,
)

SMALL = {"image_size": 32, "patch_size": 8, "num_hidden_layers": 2, "num_attention_heads": 3, "num_labels": 5}
NARROW = {"hidden_size": 24, "initializer_range": 0.2, **SMALL}
FAMILIES = {
    "vit": lambda: ViTForImageClassification(ViTConfig(intermediate_size=48, **NARROW)),
    "deit": lambda: DeiTForImageClassificationWithTeacher(DeiTConfig(intermediate_size=48, **NARROW)),
    "dinov2_with_registers": lambda: Dinov2WithRegistersForImageClassification(
        Dinov2WithRegistersConfig(mlp_ratio=2, **NARROW)
    ),
}
WIDTHS = [(weights, activations) for activations in (8, 32) for weights in (8, 4, 2)]


def quanto(weights: int, activations: int = 8, exclude: list[str] | None = None) -> QuantizationConfig:
    return QuantizationConfig(backend="quanto", weights=weights, activations=activations, exclude=exclude or [])


W2A8 = quanto(2)


@pytest.fixture
def wide(image_processor) -> Teacher:
    """Layers wide enough for groups within a row."""
    torch.manual_seed(0)
    model = ViTForImageClassification(
        ViTConfig(hidden_size=192, intermediate_size=256, initializer_range=0.05, **SMALL)
    )
    return Teacher.from_model(model, image_processor)


@pytest.fixture
def make_trainer(teacher, tmp_path):
    """A trainer whose judge are held-out images; what is given by name are settings."""

    def make(student, images, *, callbacks=None, **changes) -> SparseDistillationTrainer:
        settings = {
            "output_dir": str(tmp_path / "out"),
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "save_strategy": "no",
            "logging_steps": 1,
            "num_train_epochs": 2,
            "per_device_train_batch_size": 8,
            "learning_rate": 3e-3,
            "temperature": 2.0,
            "held_out": 0.25,
        }
        args = SparseDistillationConfig(**{**settings, **changes})
        return SparseDistillationTrainer(student, teacher, args, images, callbacks=callbacks)

    return make


def noise(teacher: Teacher, num_images: int, *, num_kept: int = 6, seed: int = 0) -> KeptImages:
    """Random images, other patches kept of each."""
    generator = torch.Generator().manual_seed(seed)
    images = gaussian_noise(teacher.model, num_images, seed=seed)
    kept = torch.rand(num_images, 16, generator=generator).topk(num_kept, dim=1).indices.sort(dim=1).values
    return KeptImages(images.pixels_BCHW, kept, "noise", torch.zeros(num_images, dtype=torch.int64))


def answers(model: nn.Module, images: KeptImages) -> Tensor:
    with torch.no_grad():
        return SparseClassifier(model.eval())(images.pixels_BCHW, images.kept_BK).logits


def loss(model: nn.Module, teacher: Teacher, images: KeptImages) -> Tensor:
    target = answers(teacher.model.model, images)
    return F.mse_loss(SparseClassifier(model)(images.pixels_BCHW, images.kept_BK).logits, target)


def take_steps(
    model: nn.Module, teacher: Teacher, images: KeptImages, num_steps: int, learning_rate: float = 2e-3
) -> list[float]:
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    values = []
    for _ in range(num_steps):
        value = loss(model, teacher, images)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    return values


def float_twin(student: nn.Module, teacher: Teacher) -> nn.Module:
    """What the student computes, in plain PyTorch: rounding as a constant that is added."""

    def round_inputs(layer: QLinear, values: Tensor) -> Tensor:
        rounded = (values / layer.input_scale).round().clamp(-128, 127) * layer.input_scale
        return values + (rounded - values).detach()

    class Twin(nn.Module):
        def __init__(self, layer: QLinear) -> None:
            super().__init__()
            self.of = [layer]
            self.weight, self.bias = (nn.Parameter(each.detach().clone()) for each in (layer.weight, layer.bias))

        def forward(self, values: Tensor) -> Tensor:
            (layer,) = self.of
            rounded = layer.qweight.dequantize()
            if layer.activation_qtype is not None:
                values = round_inputs(layer, values)
            return F.linear(values, self.weight + (rounded - self.weight).detach(), self.bias)

    twin = copy.deepcopy(teacher.model.model).requires_grad_(True)
    for name, layer in quantized_layers(student).items():
        twin.set_submodule(name, Twin(layer))
    return twin


@pytest.mark.parametrize("is_wide", [False, True], ids=["a row a group", "several groups a row"])
@pytest.mark.parametrize(("weights", "activations"), WIDTHS)
def test_gradients_are_those_of_rounding_passed_straight_through(teacher, wide, weights, activations, is_wide):
    teacher = wide if is_wide else teacher
    images = noise(teacher, 4)
    student = quantize_for_training(teacher.model, images, quanto(weights, activations))
    if is_wide and weights < 8:
        assert {layer.weight_group_size for layer in quantized_layers(student).values()} == {96, 128}
    twin = float_twin(student, teacher)
    loss(student, teacher, images).backward()
    loss(twin, teacher, images).backward()
    expected = {name: parameter.grad for name, parameter in twin.named_parameters()}
    got = {name: parameter.grad for name, parameter in student.named_parameters()}
    assert set(got) == set(expected)
    for name in got:
        # Attention does not change if all keys do, so their bias has the gradient 0 but for rounding.
        if not name.endswith(("key.bias", "k_proj.bias")):
            assert float(got[name].abs().max()) > 0
            # Sums in another order; a last bit may tip an activation to the next step.
            assert float((got[name] - expected[name]).norm()) < 0.02 * float(expected[name].norm())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("weights", "learning_rate"), [(4, 2e-4), (2, 2e-3)])
def test_a_few_steps_lower_the_loss_and_the_saved_model_answers_as_the_student(
    family, weights, learning_rate, image_processor, tmp_path
):
    torch.manual_seed(0)
    model = FAMILIES[family]()
    for name, parameter in model.named_parameters():
        if name.endswith(("_token", "_tokens", "position_embeddings")):
            # DeiT begins with zeros, which a layer norm turns into whatever the first step adds to them.
            nn.init.normal_(parameter, std=0.2)
    teacher = Teacher.from_model(model, image_processor)
    images = noise(teacher, 12)
    student = quantize_for_training(teacher.model, images, quanto(weights))
    before = {name: layer.weight.detach().clone() for name, layer in quantized_layers(student).items()}
    assert set(before) == set(linear_layers(teacher.model))
    values = take_steps(student, teacher, images, 12, learning_rate)
    assert values[-1] < 0.7 * values[0]
    assert all(not torch.equal(before[name], layer.weight) for name, layer in quantized_layers(student).items())

    expected = answers(student, images)
    freeze_and_save(student, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert torch.equal(answers(loaded, images), expected)
    predict = BACKENDS.get("quanto").load(tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(
            torch.from_numpy(predict(images.pixels_BCHW.numpy())), student(pixel_values=images.pixels_BCHW).logits
        )
    # The student itself is not frozen.
    assert take_steps(student, teacher, images, 1)[0] < values[0]


@pytest.mark.parametrize(("weights", "activations"), WIDTHS)
def test_every_width_is_saved_and_loaded(teacher, kept_images, tmp_path, weights, activations):
    student = quantize_for_training(teacher.model, kept_images, quanto(weights, activations))
    expected = answers(student, kept_images)
    freeze_and_save(student, tmp_path / "saved")
    assert torch.equal(answers(load_model(tmp_path / "saved"), kept_images), expected)


def test_a_saved_folder_has_the_files_and_the_names_of_the_back_end(teacher, kept_images, tmp_path, image_processor):
    layers = list(linear_layers(teacher.model))
    BACKENDS.get("quanto").prepare(teacher, tmp_path).quantize(kept_images, W2A8, layers, tmp_path / "plain")
    freeze_and_save(quantize_for_training(teacher.model, kept_images, W2A8), tmp_path / "trained")
    names, models, maps = zip(
        *(
            (
                {path.name for path in folder.iterdir()},
                load_model(folder).state_dict().keys(),
                json.loads((folder / "quanto_qmap.json").read_text()),
            )
            for folder in (tmp_path / "plain", tmp_path / "trained")
        )
    )
    assert names[0] == names[1] and models[0] == models[1] and maps[0] == maps[1]


def test_scales_of_activations_are_those_of_the_back_end(teacher, kept_images):
    plain = quantized_copy(teacher.model, kept_images, W2A8, list(linear_layers(teacher.model))).model
    student = quantize_for_training(teacher.model, kept_images, W2A8)
    expected = {name: float(layer.input_scale) for name, layer in quantized_layers(plain).items()}
    assert {name: float(layer.input_scale) for name, layer in quantized_layers(student).items()} == expected


@pytest.mark.parametrize("weights", [8, 4, 2])
def test_the_teacher_is_left_as_it_was(teacher, kept_images, make_trainer, weights):
    model = teacher.model.model
    before = copy.deepcopy(model.state_dict())
    student = quantize_for_training(teacher.model, kept_images, quanto(weights))
    assert not any(isinstance(module, QLinear) for module in model.modules())
    assert all(parameter.requires_grad for parameter in student.parameters())
    untrained = copy.deepcopy(student.state_dict())
    make_trainer(student, noise(teacher, 16)).train()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())
    changed = {name for name, value in student.state_dict().items() if not torch.equal(untrained[name], value)}
    assert {name for name, _ in student.named_parameters()} - changed <= {"vit.embeddings.mask_token"}
    # Scales and ranges stay.
    assert changed <= {name for name, _ in student.named_parameters()}


def test_excluded_layers_stay_in_floating_point_and_learn(teacher, kept_images, tmp_path):
    settings = quanto(2, exclude=["classifier", "*layer*.0.*"])
    student = quantize_for_training(teacher.model, kept_images, settings)
    assert len(quantized_layers(student)) == 6 and type(student.classifier) is nn.Linear
    before = student.classifier.weight.detach().clone()
    take_steps(student, teacher, kept_images, 2)
    assert not torch.equal(student.classifier.weight, before)
    expected = answers(student, kept_images)
    freeze_and_save(student, tmp_path / "saved")
    assert torch.equal(answers(load_model(tmp_path / "saved"), kept_images), expected)


def test_settings_that_the_back_end_does_not_have_are_refused(teacher, kept_images):
    with pytest.raises(UsageError, match="has no weights of 3 bits with activations of 8"):
        quantize_for_training(teacher.model, kept_images, quanto(3))
    with pytest.raises(UsageError, match="give it calibration images"):
        quantize_for_training(teacher.model, None, W2A8)
    with pytest.raises(UsageError, match="no layer 'klassifier'"):
        quantize_for_training(teacher.model, kept_images, quanto(2, exclude=["klassifier"]))


def test_it_is_a_student_that_sees_kept_patches(teacher, kept_images):
    student = quantize_for_training(teacher.model, kept_images, W2A8)
    assert isinstance(make_student(student, teacher), SparseStudent)


def test_training_gains_on_plain_calibration_at_2_bits(teacher, make_trainer, tmp_path):
    images, unseen = noise(teacher, 64, num_kept=8), noise(teacher, 512, num_kept=8, seed=1)
    plain = quantized_copy(teacher.model, images, W2A8, list(linear_layers(teacher.model))).model
    student = quantize_for_training(teacher.model, images, W2A8)
    untrained = float(loss(student, teacher, unseen).detach())
    make_trainer(student, images, num_train_epochs=20).train()
    freeze_and_save(student, tmp_path / "saved")
    trained = load_model(tmp_path / "saved")
    errors = [float(loss(model, teacher, unseen).detach()) for model in (plain, trained)]
    assert errors[1] < 0.5 * errors[0] and errors[1] < 0.7 * untrained
    choices = [answers(model, unseen).argmax(dim=1) for model in (teacher.model.model, plain, trained)]
    agreement = [float((each == choices[0]).float().mean()) for each in choices[1:]]
    assert agreement[1] > agreement[0] + 0.1


def test_checkpoints_have_the_names_of_the_modules(teacher, make_trainer, tmp_path):
    images = noise(teacher, 16)
    student = quantize_for_training(teacher.model, images, W2A8)
    make_trainer(student, images, num_train_epochs=1, save_strategy="epoch").train()
    (file,) = (tmp_path / "out").glob("checkpoint-*/model.safetensors")
    saved, expected = load_file(file), student.state_dict()
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], value) for name, value in expected.items())


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(teacher, make_trainer, tmp_path):
    images = noise(teacher, 16)

    def trainer(**changes) -> SparseDistillationTrainer:
        return make_trainer(quantize_for_training(teacher.model, images, W2A8), images, **changes)

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 2

    whole = trainer(output_dir=str(tmp_path / "whole"), num_train_epochs=3)
    whole.train()
    saving = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 2}
    trainer(**saving, callbacks=[Stop()]).train()
    resumed = trainer(**saving)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == whole.state.global_step
    expected = whole.model.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in resumed.model.state_dict().items())


def test_a_range_goes_where_its_layer_goes(teacher, kept_images):
    student = quantize_for_training(teacher.model, kept_images, W2A8)
    ranges = [module for module in student.modules() if isinstance(module, WeightRange)]
    assert len(ranges) == len(quantized_layers(student))
    twin = copy.deepcopy(student)
    other = quantize_for_training(teacher.model, kept_images, W2A8)
    take_steps(student, teacher, kept_images, 2)
    other.load_state_dict(student.state_dict())
    assert torch.equal(answers(other, kept_images), answers(student, kept_images))
    assert not torch.equal(answers(twin, kept_images), answers(student, kept_images))
