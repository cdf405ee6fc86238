"""What this processor is, or is told to be by `tests/machines.py`."""

from __future__ import annotations

import os

import pytest

# OpenVINO asks for AVX2. Told to do without, its own deformable convolution is wrong where the file leaves the size
# open, and some other graphs are refused ("bad combination").
needs_avx2 = pytest.mark.skipif(
    os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ("SSE41", "AVX"), reason="OpenVINO needs AVX2"
)
