"""How onnxruntime is started."""

from __future__ import annotations

from typing import Any


def onnx_session(model: str | bytes, count: int) -> Any:
    """An ``onnxruntime.InferenceSession`` on so many threads of the CPU, which rest between calls: other
    work needs the cores then.

    Raises:
        ImportError: where onnxruntime is missing.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = count, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
