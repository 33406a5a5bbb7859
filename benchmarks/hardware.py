"""What a results file says about where and when it was made."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import threadpoolctl
import torch

ROOT = Path(__file__).resolve().parent.parent


def set_threads(n_threads: int) -> None:
    """Hold every library to so many threads: torch, the linear algebra of numpy, and numba."""
    torch.set_num_threads(n_threads)
    threadpoolctl.threadpool_limits(n_threads)
    # Read when umap is first imported.
    os.environ["NUMBA_NUM_THREADS"] = str(n_threads)


def circumstances() -> dict[str, Any]:
    """Return commit, versions, processor and time."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": _git("status", "--porcelain", "--", "src").splitlines(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "scikit-learn")},
        },
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        facts = dict(line.split("\t: ", 1) for line in lines if "\t: " in line)
        capability = torch.backends.cpu.get_cpu_capability()
        return f"{facts.get('model name', 'unknown')} ({capability})"
    return platform.processor() or platform.machine()
