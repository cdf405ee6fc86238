"""What is measured, and what was found: plain records that go to another process and come back as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from birefnet.pixels.prepare import InputSpec

Status = Literal["done", "failed", "left out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row to be measured.

    Attributes:
        runtime: a name of `birefnet.benchmarking.table.BACKENDS`.
        precision: one of those it knows.
        width, height: of the input, in pixels.
        weights: the checkpoint.
        facts: mean, std and upsample of the input, as in `InputSpec`.
        batch: a `.npy` file, (1, 3, height, width) float32 normalised.
        reference: the `.npy` file of the reference's alpha.
        file: what the runtime loads: the exported file or folder; "" where it runs the weights themselves.
        calibration: a folder of pictures for int8; "" for none.
        device: as for `Remover`.
        threads: CPU threads; None for each runtime's own choice.
        repeats: runs after the first.
    """

    runtime: str
    precision: str
    width: int
    height: int
    weights: str
    facts: Mapping[str, Any]
    batch: str
    reference: str
    file: str = ""
    calibration: str = ""
    device: str = "auto"
    threads: int | None = None
    repeats: int = 5

    @property
    def spec(self) -> InputSpec:
        """The input at this size."""
        facts: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in self.facts.items()
        }
        return InputSpec(width=self.width, height=self.height, **facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was found; None for what was not.

    Attributes:
        runtime, precision, width, height: of the job.
        status: "done", "failed" (it was tried), or "left out" (it cannot be here).
        reason: why it was not done; or a remark.
        load_seconds: from a started Python, libraries not yet imported, to a runtime that is ready.
        first_seconds: the first picture.
        median_seconds, least_seconds: of the pictures after it.
        products: `median_seconds` in 2048^3 fp32 matrix products of the same run.
        peak_mib: the most memory that the process ever held, in MiB, libraries included.
        gpu_mib: the most that PyTorch held on the GPU.
        mean_difference, largest_difference: of the alpha, in [0, 1], from the reference's.
        export_seconds, file_bytes: of the file that was made for it.
    """

    runtime: str
    precision: str
    width: int
    height: int
    status: Status = "done"
    reason: str = ""
    load_seconds: float | None = None
    first_seconds: float | None = None
    median_seconds: float | None = None
    least_seconds: float | None = None
    products: float | None = None
    peak_mib: float | None = None
    gpu_mib: float | None = None
    mean_difference: float | None = None
    largest_difference: float | None = None
    export_seconds: float | None = None
    file_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A whole run.

    Attributes:
        model: what was measured.
        machine: what it was measured on, as `birefnet doctor` has it: processor, system, versions.
        product_seconds: of a 2048^3 fp32 matrix product, the least of this run; None if it could not be taken.
        rows: in the order of measuring.
    """

    model: str
    machine: Mapping[str, Any]
    product_seconds: float | None
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        rows = [asdict(row) for row in self.rows]
        return {
            "model": self.model, "machine": dict(self.machine), "product_seconds": self.product_seconds, "rows": rows
        }  # fmt: skip


def row_of(job: Job, found: Mapping[str, Any]) -> Row:
    """A row for a job, with further fields of `Row`."""
    return Row(runtime=job.runtime, precision=job.precision, width=job.width, height=job.height, **found)


def in_products(rows: tuple[Row, ...], seconds: float | None) -> tuple[Row, ...]:
    """The rows with their medians in matrix products of so many seconds."""
    if not seconds:
        return rows
    return tuple(
        row if row.median_seconds is None else replace(row, products=row.median_seconds / seconds) for row in rows
    )
