"""Floating-point operations of PyTorch's operators, counted as they are executed.

Counted are the additions and multiplications (Schwartz et al. 2020, "Green AI") of matrix products, convolutions, recurrent layers
and attention, forward and backward, what checkpointing computes again included; a multiplication with its addition is two.
Element-wise work is left out, as is usual, and so are validation and tests, which train nothing. What cannot be counted
whole is unknown. Kernels that a library launches without one of PyTorch's operators are not seen.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

# Namespaces whose operators multiply matrices only where MULTIPLIES says so.
KNOWN_SPACES = {"aten", "prim", "prims", "profiler", "c10d", "_c10d_functional", "fsdp", "torchvision"}
# Names of PyTorch's operators that multiply matrices; one of them without a formula makes the sum unknown.
MULTIPLIES = (
    r"(^|_)(\w*mm|matmul|gemm|linear|mv|addmv|dot|vdot|ger|addr|conv\w*|\w+conv[23]d|rnn|lstm|gru|attention|fft|cdist|trilinear"
    r"|cholesky|lu|solve|svd|qr|geqrf|ormqr|orgqr|linalg|transformer)(_|$)"
)
MULTIPLIES_NOT = r"norm|cross|flatten|check_errors|diagonal|^_thnn_|^_convert|unpack$"
# Modules of these packages run kernels of their own, past PyTorch's operators.
OWN_KERNELS = {"transformer_engine", "apex", "mamba_ssm", "deepspeed", "xformers"}
COMPILED = "torch.compile is in use"


def _matrices(a: Any, b: Any) -> int:
    """(..., m, k) by (..., k, n)."""
    return int(2 * a.numel() * b.shape[-1])


def _vector(a: Any) -> int:
    return int(2 * a.numel())


def _convolution(x: Any, weight: Any, out: Any, transposed: bool) -> int:
    """Each weight meets each position; the weights' shape already knows of groups."""
    positions = math.prod((x if transposed else out).shape[2:])
    return int(2 * x.shape[0] * positions * weight.numel())


def _attention(query: Any, key: Any, value: Any, by_keys: int = 1, by_values: int = 1) -> int:
    """(batch, heads, positions, features) each; what a mask may save is not taken off."""
    pairs = query.numel() // query.shape[-1] * key.shape[-2]
    return int(2 * pairs * (by_keys * query.shape[-1] + by_values * value.shape[-1]))


def _recurrent(args: tuple[Any, ...]) -> int:
    """Each matrix of weights meets each position of each sequence."""
    x, weights = args[0], args[1] if isinstance(args[1], list | tuple) else args[1:3]
    return int(2 * (x.numel() // x.shape[-1]) * sum(w.numel() for w in weights if w.dim() > 1))


ATTENTION = [
    f"_scaled_dot_product_{kind}"
    for kind in (
        "flash_attention",
        "flash_attention_for_cpu",
        "efficient_attention",
        "cudnn_attention",
        "fused_attention_overrideable",
    )
]
RECURRENT = ["_cudnn_rnn", "miopen_rnn", "mkldnn_rnn_layer"]
# Operations from arguments and result. Backwards there is a product for each gradient, and attention computes its scores again.
FORMULAS: Mapping[str, Callable[[tuple[Any, ...], Any], int]] = {
    **dict.fromkeys(["mm", "bmm", "_int_mm", "_scaled_mm"], lambda a, out: _matrices(a[0], a[1])),
    **dict.fromkeys(["addmm", "baddbmm", "addbmm", "_addmm_activation"], lambda a, out: _matrices(a[1], a[2])),
    **dict.fromkeys(["mv", "dot", "vdot"], lambda a, out: _vector(a[0])),
    "addmv": lambda a, out: _vector(a[1]),
    "convolution": lambda a, out: _convolution(a[0], a[1], out, a[6]),
    "convolution_backward": lambda a, out: sum(a[10][:2]) * _convolution(a[1], a[2], a[0], a[7]),
    **dict.fromkeys(ATTENTION, lambda a, out: _attention(*a[:3])),
    **dict.fromkeys([f"{name}_backward" for name in ATTENTION], lambda a, out: _attention(a[1], a[2], a[3], 3, 2)),
    **dict.fromkeys(RECURRENT, lambda a, out: _recurrent(a)),
    **dict.fromkeys([f"{name}_backward" for name in RECURRENT], lambda a, out: 2 * _recurrent(a)),
}


class Operations:
    """Adds up what PyTorch's operators do.

    Attributes:
        total: Floating-point operations so far.
        unknown: The first operator that could not be counted, or empty.
    """

    def __init__(self) -> None:
        self.total = 0
        self.unknown = ""

    def add(self, operator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> None:
        """Count an operator that has been executed. Never raises: it runs inside the training step."""
        try:
            self.total += _operations(operator, args, kwargs, out)
        except Exception:
            self.unknown = self.unknown or str(operator)


def _operations(operator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> int:
    space, _, rest = operator.name().partition("::")
    name = rest.partition(".")[0].rstrip("_")
    if space == "aten" and name in FORMULAS and all(str(getattr(a, "layout", "torch.strided")) == "torch.strided" for a in args):
        return FORMULAS[name](args, out)
    if space in KNOWN_SPACES and (not re.search(MULTIPLIES, name) or re.search(MULTIPLIES_NOT, name)):
        return 0
    if name in FORMULAS:
        raise LookupError(f"{operator} on sparse matrices")
    # PyTorch's table has what users and libraries registered for operators of their own.
    registered = importlib.import_module("torch.utils.flop_counter").flop_registry
    return int(registered[getattr(operator, "overloadpacket", operator)](*args, **kwargs, out_val=out))


def watching(torch: Any, operations: Operations) -> Any:
    """A context in which each operator that PyTorch executes is counted and otherwise left as it is.

    Args:
        torch: The module.
        operations: Where they are added up.
    """
    plain = torch.Tensor.__torch_dispatch__

    def dispatch(self: Any, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if any(kind.__torch_dispatch__ is not plain for kind in types):
            return NotImplemented  # a tensor of tensors (sharded, quantised) takes itself apart, and its parts come by here
        out = operator(*args, **(kwargs or {}))
        operations.add(operator, args, kwargs or {}, out)
        return out

    members = {
        "__torch_dispatch__": dispatch,
        "supports_higher_order_operators": True,
        # Otherwise torch.compile would give up for good on what it first meets in here.
        "is_infra_mode": classmethod(lambda cls: True),
    }
    base = importlib.import_module("torch.utils._python_dispatch").TorchDispatchMode
    return type("Watching", (base,), members)()


def obstacle(model: Any, modules: Mapping[str, Any]) -> str:
    """Why the operations of a model's steps cannot be counted; empty where they can.

    Args:
        model: The model.
        modules: Modules that are loaded already (``sys.modules``).
    """
    torch = modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        return "only PyTorch's operators can be watched"
    if compiling(modules):
        return COMPILED
    kinds = {type(module) for module in model.modules()}
    if torch.nn.DataParallel in kinds:
        return "DataParallel computes in threads of its own"
    own = sorted(OWN_KERNELS & {kind.__module__.partition(".")[0] for kind in kinds})
    return f"{own[0]} runs kernels of its own" if own else ""


def compiling(modules: Mapping[str, Any]) -> bool:
    """Whether anything in this process was given to torch.compile: what it compiles no longer shows its operators."""
    dynamo = modules.get("torch._dynamo.eval_frame")
    backends = getattr(dynamo, "cached_backends", {})
    return any(backend is not None for backend in backends.values())
