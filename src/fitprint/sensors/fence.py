"""Waits until the accelerators have done what a loaded framework has queued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fitprint.notices import logger


def wait_for_accelerators(modules: Mapping[str, Any]) -> None:
    """Return when the devices that are in use have nothing left to do; nothing is initialised by asking.

    Args:
        modules: Modules that are loaded already (``sys.modules``).
    """
    for name, wait in (("torch", _torch), ("jax", _jax), ("tensorflow", _tensorflow)):
        if name not in modules:
            continue
        try:
            wait(modules)
        except Exception:  # an error of the device is the training's to meet, at its own next call
            logger().debug("%s could not be waited for", name, exc_info=True)


def _torch(modules: Mapping[str, Any]) -> None:
    torch = modules["torch"]
    for backend in (torch.cuda, getattr(torch, "xpu", None)):
        if backend is None or not backend.is_initialized():
            continue
        # A device without memory of ours has no context, and waiting would create one.
        used = [i for i in range(backend.device_count()) if backend.memory_reserved(i) > 0]
        for device in used:
            backend.synchronize(device)
    mps = getattr(torch, "mps", None)
    if mps is not None and torch.backends.mps.is_available() and mps.current_allocated_memory() > 0:
        mps.synchronize()


def _jax(modules: Mapping[str, Any]) -> None:
    """Devices work in order, so what is computed on each of them now comes back last."""
    bridge, jax = modules.get("jax._src.xla_bridge"), modules["jax"]
    if bridge is None or not bridge.backends_are_initialized():
        return
    for device in jax.local_devices():
        (jax.device_put(0, device) + 0).block_until_ready()


def _tensorflow(modules: Mapping[str, Any]) -> None:
    context = modules.get("tensorflow.python.eager.context")
    if context is not None and context.context()._initialized:
        modules["tensorflow"].test.experimental.sync_devices()
