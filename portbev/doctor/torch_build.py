"""What the installed torch was built for, read from its ``version.py``, and whether it can be imported at all."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from portbev.doctor.machine import Answer, Machine

_SCRIPT = """
import json, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import torch
    flags = getattr(torch._C, "_cuda_getArchFlags", lambda: None)()
    there = torch.cuda.is_available()
said = [str(warning.message) for warning in caught]
print("portbev:" + json.dumps({"archs": (flags or "").split(), "available": there, "said": said}))
"""


@dataclass(frozen=True)
class TorchBuild:
    """torch's version, its CUDA or HIP release (None: without), and its folder."""

    version: str
    cuda: str | None
    hip: str | None
    folder: str

    @property
    def kind(self) -> str:
        """What it was built for, in words."""
        return f"for CUDA {self.cuda}" if self.cuda else f"for ROCm {self.hip}" if self.hip else "for the CPU alone"


@dataclass(frozen=True)
class TorchImport:
    """What importing torch in a process of its own gave.

    Attributes:
        error: the last lines of what it said; "": it can be imported.
        archs: GPU architectures that it has binaries for.
        available: ``torch.cuda.is_available()``.
        said: warnings, among them why no GPU was found.
    """

    error: str = ""
    archs: tuple[str, ...] = ()
    available: bool = False
    said: tuple[str, ...] = ()


def torch_build(machine: Machine) -> TorchBuild | None:
    """None without torch."""
    for folder in machine.search:
        text = machine.text(f"{folder}/torch/version.py")
        if text is not None:
            found = {name: _assigned(text, name) for name in ("__version__", "cuda", "hip")}
            return TorchBuild(found["__version__"] or "0", found["cuda"], found["hip"], f"{folder}/torch")
    return None


def torch_import(machine: Machine) -> TorchImport:
    """Imports torch in a process of its own; an answer that is not understood is an error."""
    answer = machine.answer(machine.interpreter, "-c", _SCRIPT)
    if answer is None:
        return TorchImport(error=f"{machine.interpreter} cannot be started")
    marked = re.search(r"^portbev:(\{.*)$", answer.output, re.MULTILINE)
    if answer.status or marked is None:
        return TorchImport(error=_last_words(answer))
    facts = json.loads(marked[1])
    return TorchImport("", tuple(facts["archs"]), bool(facts["available"]), tuple(facts["said"]))


def release_of(text: str | None) -> tuple[int, int]:
    """The first two numbers of a version (``12.8``, ``7.0.51831-a3e``); (0, 0) if it has none."""
    numbers = re.match(r"(\d+)(?:\.(\d+))?", text or "")
    return (int(numbers[1]), int(numbers[2] or 0)) if numbers else (0, 0)


def parsed(text: str) -> Version:
    """A version; 0 where Python does not know it."""
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


def _assigned(text: str, name: str) -> str | None:
    found = re.search(rf"^{name}\s*(?::[^=\n]+)?=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return found[1] if found else None


def _last_words(answer: Answer) -> str:
    if answer.status < 0:
        name = signal.Signals(-answer.status).name
        return {"SIGILL": "Illegal instruction (SIGILL)", "SIGKILL": "Killed (SIGKILL)"}.get(name, f"ended by {name}")
    lines = [line.strip() for line in answer.output.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {answer.status}"
