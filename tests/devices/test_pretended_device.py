"""The GPU that is not there refuses what a GPU refuses, allows what it allows, and computes what the CPU computes."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from .pretended_device import DEVICE, Placed, PlacementError, PretendedDevice


@pytest.fixture(autouse=True)
def _pretended() -> Iterator[None]:
    with PretendedDevice():
        yield


def there(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).to(DEVICE)


HERE = torch.tensor([1.0, 2.0, 3.0])
NUMBER = torch.tensor(2.0)

REFUSED: dict[str, Callable[[], object]] = {
    "pointwise": lambda: there(1, 2, 3) + HERE,
    "a number on the device": lambda: HERE * there(2).sum(),
    "in place, on the CPU": lambda: HERE.clone().lerp_(there(1, 2, 3), 0.1),
    "in place, a number on the CPU": lambda: NUMBER.clone().add_(there(1).sum()),
    "joined": lambda: torch.cat([there(1), HERE]),
    "a number joined": lambda: torch.stack([there(1).sum(), NUMBER]),
    "a product": lambda: there(1, 2, 3) @ HERE,
    "where": lambda: torch.where(HERE > 1, there(1, 2, 3), 0.0),
    "index_add": lambda: there(0, 0).index_add(0, torch.tensor([0]), there(1)),
    "an index of the device": lambda: HERE[there(0).long()],
    "an embedding": lambda: nn.Embedding(3, 2)(there(1).long()),
    "a module left behind": lambda: nn.Linear(3, 2)(there(1, 2, 3)),
    "a value put": lambda: there(1, 2, 3).index_put_((torch.tensor([0, 1]),), HERE[:2]),
    "numpy": lambda: there(1).numpy(),
    "a generator of the CPU": lambda: torch.randn(2, device=DEVICE, generator=torch.Generator()),
    "a number drawn in place": lambda: there(1).normal_(generator=torch.Generator()),
    "a target": lambda: nn.functional.cross_entropy(there(1, 2)[None], torch.tensor([0])),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_gpu_refuses_is_refused(what: str) -> None:
    with pytest.raises(PlacementError, match=r"on the CPU among others on meta|numpy|generator"):
        REFUSED[what]()


ALLOWED: dict[str, tuple[Callable[[], Tensor], list[float]]] = {
    "a number of the CPU": (lambda: there(1, 2) * NUMBER, [2, 4]),
    "a number of Python": (lambda: 3 - there(1, 2), [2, 1]),
    "an index of the CPU": (lambda: there(1, 2, 3)[torch.tensor([2, 0])], [3, 1]),
    "a mask of the CPU": (lambda: there(1, 2, 3)[torch.tensor([True, False, True])], [1, 3]),
    "a list": (lambda: there(1, 2, 3)[[2, 1]], [3, 2]),
    "a slice": (lambda: there(1, 2, 3)[1:], [2, 3]),
    "made there": (lambda: torch.full((2,), 7.0, device=DEVICE) + there(1, 2), [8, 9]),
    "made from numbers": (lambda: torch.tensor([7.0], device=DEVICE) + torch.as_tensor([1.0], device=DEVICE), [8]),
    "a new one": (lambda: there(1).new_tensor([3]) + there(1), [4]),
    "made like another": (lambda: torch.zeros_like(there(1, 2)) + there(1, 2), [1, 2]),
    "moved": (lambda: HERE.to(DEVICE) + there(1, 2, 3), [2, 4, 6]),
    "copied into": (lambda: torch.zeros(2, device=DEVICE).copy_(HERE[:2]), [1, 2]),
    "written through a view": (lambda: _halved(there(1, 2, 4)), [1, 1, 2]),
    "a value put": (lambda: there(1, 2, 3).index_put_((torch.tensor([0, 1]),), NUMBER), [2, 2, 3]),
    "where": (lambda: torch.where(there(1, 2) > 1, NUMBER, there(8, 9)), [8, 2]),
}


def _halved(values: Tensor) -> Tensor:
    values[1:].mul_(0.5)
    return values


@pytest.mark.parametrize("what", ALLOWED)
def test_what_a_gpu_allows_stays_there_and_has_its_numbers(what: str) -> None:
    found = ALLOWED[what][0]()
    assert isinstance(found, Placed)
    assert found.device == DEVICE
    assert found.tolist() == found.cpu().numpy().tolist() == ALLOWED[what][1]


def test_what_leaves_it_lies_on_the_cpu_and_is_a_copy() -> None:
    x = there(1, 2)
    left = x.cpu()
    x.zero_()
    assert type(left) is Tensor
    assert left.tolist() == [1, 2]
    assert (float(x.sum()), bool((x == 0).all())) == (0.0, True)


def test_a_module_moves_with_its_parameters_and_back() -> None:
    """The parameter objects stay the same, as an optimizer wants it; gradients and second derivatives are the CPU's."""

    def slopes(module: nn.Module, x: Tensor) -> list[Tensor]:
        x = x.requires_grad_()
        (first,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        first.square().sum().backward()
        return [parameter.grad.cpu() for parameter in module.parameters() if parameter.grad is not None]

    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    expected = slopes(copy.deepcopy(module), HERE.clone())
    parameters = list(module.parameters())
    module.to(DEVICE)
    found = slopes(module, HERE.to(DEVICE))
    assert all(map(torch.equal, found, expected))
    assert [id(parameter) for parameter in module.parameters()] == [id(parameter) for parameter in parameters]
    assert {parameter.device for parameter in parameters} == {DEVICE}
    twin = copy.deepcopy(module).to("cpu")
    assert isinstance(next(twin.parameters()), nn.Parameter)
    assert all(map(torch.equal, twin.parameters(), (parameter.cpu() for parameter in parameters)))


def test_a_file_holds_its_numbers() -> None:
    file = io.BytesIO()
    torch.save({"x": there(1, 2)}, file)
    file.seek(0)
    assert torch.load(file, map_location="cpu", weights_only=True)["x"].tolist() == [1, 2]


def test_what_was_never_written_is_no_number() -> None:
    assert torch.empty(2, device=DEVICE).isnan().all()


def test_scripted_code_makes_its_tensors_where_its_inputs_lie() -> None:
    script = torch.jit.CompilationUnit(
        "def f(x):\n    return torch.ones([2], device=x.device) + x\ndef g(x):\n    return torch.ones([2]) + x\n"
    )
    assert script.f(there(1, 2)).tolist() == [2, 3]
    with pytest.raises(Exception, match="failed in the TorchScript interpreter"):
        script.g(there(1, 2))


def test_without_it_the_cpu_is_as_ever() -> None:
    assert type(HERE + HERE) is Tensor
    assert type(torch.zeros(2)) is Tensor
