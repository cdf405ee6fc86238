"""The table, as text and as Markdown."""

from __future__ import annotations

from birefnet.benchmarking.job import Benchmark, Row

HEADS = (
    *("runtime", "precision", "size", "load s", "first s", "median s", "products", "peak MiB"),
    *("mean diff", "max diff", "export s", "file MB"),
)
WORDS = 3  # columns of words; the others are numbers
NOTE = (
    "load: libraries and network, until it is ready; median: of the pictures after the first; products: the median in "
    "2048^3 fp32 matrix products ({product}) of this run; peak: of a process that does nothing else, libraries "
    "included; diff: of the alpha, in [0, 1], from the network as written in fp32 (eager)."
)


def cells(row: Row, *, gpu: bool = False) -> list[str]:
    """One line of the table; what was not done has its reason in place of the numbers."""
    words = [row.runtime, row.precision, f"{row.width}x{row.height}"]
    if row.status != "done":
        return words
    numbers = [
        _seconds(row.load_seconds),
        _seconds(row.first_seconds),
        _seconds(row.median_seconds),
        "" if row.products is None else f"{row.products:.2f}",
        *([_whole(row.gpu_mib)] if gpu else []),
        _whole(row.peak_mib),
        _difference(row.mean_difference),
        _difference(row.largest_difference),
        "" if row.export_seconds is None else f"{row.export_seconds:.0f}",
        "" if row.file_bytes is None else f"{row.file_bytes / 1e6:.1f}",
    ]
    return words + numbers


def heads(benchmark: Benchmark) -> tuple[str, ...]:
    """The names of the columns; one more where a GPU was used."""
    return (*HEADS[:7], "GPU MiB", *HEADS[7:]) if uses_gpu(benchmark) else HEADS


def uses_gpu(benchmark: Benchmark) -> bool:
    """Whether some row held memory of a GPU."""
    return any(row.gpu_mib for row in benchmark.rows)


def remarks(benchmark: Benchmark) -> list[str]:
    """One line for each row that was not done, or was done with a remark."""
    return [
        f"{row.runtime} {row.precision} {row.width}x{row.height}: "
        f"{row.reason if row.status == 'done' else f'{row.status}: {row.reason}'}"
        for row in benchmark.rows
        if row.reason
    ]


def note(benchmark: Benchmark) -> str:
    """What the columns mean."""
    seconds = benchmark.product_seconds
    return NOTE.format(product="not measured" if seconds is None else f"{seconds:.3f} s each")


def title(benchmark: Benchmark) -> str:
    """What was measured on what."""
    cpu, packages = benchmark.machine["cpu"], benchmark.machine["packages"]
    versions = [
        f"{name} {packages[name]}" for name in ("torch", "onnxruntime", "openvino") if packages.get(name) is not None
    ]
    features = " ".join(cpu["features"])
    return f"{benchmark.model} on {cpu['model']}, {cpu['cores']} cores ({features}); {', '.join(versions)}"


def markdown(benchmark: Benchmark) -> str:
    """The whole report, ready to be pasted."""
    names = heads(benchmark)
    lines = [title(benchmark), "", f"| {' | '.join(names)} |", "|---" * WORDS + "|---:" * (len(names) - WORDS) + "|"]
    for row in benchmark.rows:
        line = cells(row, gpu=uses_gpu(benchmark))
        line += [""] * (len(names) - len(line))
        if row.status != "done":
            line[WORDS] = row.status
        lines.append(f"| {' | '.join(line)} |")
    bullets = [f"- {remark}" for remark in remarks(benchmark)]
    return "\n".join([*lines, "", *bullets, *([""] if bullets else []), note(benchmark)])


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _difference(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.1e}"
