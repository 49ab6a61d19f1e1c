"""Latency with torch as it runs by default, on the CPU or on a CUDA device."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Protocol

import torch
from torch import nn

from nas.arch.layers import inputs_of
from nas.core.typed import Among
from nas.latency.backends.device_info import describe_device, device_identity
from nas.latency.backends.local import Local, Padded, Rows
from nas.latency.timing import OnTiming, Repeated, Timing
from nas.network.cuda_graph import CaptureFailed, capture, warm_up
from nas.network.device import isolated_rng, resolve_device
from nas.network.modules import build_rows

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CUDA_BATCH_NS = 500_000  # reading an event waits for the device, some 10 us: 2 % of this
GRAPH_NS = 100_000  # a graph lasts as long or longer: launching one takes the host 6 to 8 us
REPLAYS = 10  # to see how long a graph takes


class _Event(Protocol):
    """A `torch.cuda.Event`, as far as it matters here."""

    def record(self) -> None: ...
    def synchronize(self) -> None: ...
    def elapsed_time(self, end: Any) -> float: ...


class EventClock:
    """Nanoseconds on the device's own clock since the first reading; a reading waits for it.

    They are added up between readings, as events give float32 milliseconds, which after a minute
    would be 4 us apart.
    """

    def __init__(self, event: Callable[[], _Event]) -> None:
        self._event = event
        self._last: _Event | None = None
        self._ns = 0

    def __call__(self) -> int:
        """Wait until all that was launched is done, and read."""
        now = self._event()
        now.record()
        now.synchronize()
        if self._last is not None:
            self._ns += round(self._last.elapsed_time(now) * 1e6)
        self._last = now
        return self._ns


def event_clock() -> EventClock:
    """A clock of torch's events on the current CUDA stream."""
    return EventClock(partial(torch.cuda.Event, enable_timing=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchEager(Local):
    """Layer by layer, in inference mode; on CUDA timed by events, the calls of a batch in a row.

    device     auto (cuda if there is one), cpu or cuda.
    precision  of weights and activations: float32, bfloat16 or float16.
    channels_last   memory layout, instead of torch's default.
    graph      on CUDA: launch a captured graph, which holds a short call several times; what
               cannot be captured is launched layer by layer, with a warning.
    The rest is `Local`'s.
    """

    device: Annotated[str, Among(DEVICES)] = "auto"
    precision: Annotated[str, Among(PRECISIONS)] = "float32"
    channels_last: bool = False
    graph: bool = True
    name: ClassVar[str] = "torch"

    def __post_init__(self) -> None:
        Local.__post_init__(self)
        self._device()

    def describe(self) -> dict[str, Any]:
        """Settings, versions and device."""
        known = self.identity()
        device = describe_device() | {"torch_device": known["device"]}
        return {**asdict(self), "backend": self.name, "cuda": known["cuda"], "device": device}

    def identity(self) -> dict[str, Any]:
        """Versions, device, threads, batch, precision and layout; on CUDA whether TF32 is used."""
        cuda = self._device().type == "cuda"
        tf32 = {"tf32": torch.backends.cudnn.allow_tf32} if cuda else {}
        return {
            "backend": self.name,
            "version": torch.__version__,
            **device_identity(),
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "cuda": torch.version.cuda if cuda else None,
            "graph": self.graph if cuda else None,
            "threads": self.threads if cuda else self.threads or torch.get_num_threads(),
            "batch": self.batch,
            "precision": self.precision,
            "channels_last": self.channels_last,
            **tf32,
        }

    def prepare(self, rows: Rows, padding: str) -> Callable[[], object]:
        """A module of `rows` with its input bound, captured where that is wanted."""
        device, dtype = self._device(), PRECISIONS[self.precision]
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        with isolated_rng(self.seed, torch.device("cpu")):
            net = build_rows(rows, padding)
            net.apply(_keep_alive)
            given = [torch.randn(self.batch, *shape) for shape in inputs_of(rows).values()]
        net.eval().to(device, dtype)
        net.to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
        given = [
            x.to(device, dtype, memory_format=layout) if x.ndim == 4 else x.to(device, dtype)
            for x in given
        ]
        call = lambda: net(*given)  # noqa: E731  # the other kind of call is made of it
        return _captured(call) if self.graph and device.type == "cuda" else call

    def _measure_parts(
        self, parts: Sequence[Padded], on_timing: OnTiming | None, **clocks: Any
    ) -> list[Timing]:
        if self._device().type == "cuda":
            clocks = {"clock": event_clock(), "waited": lambda: 0, "batch_ns": CUDA_BATCH_NS}
        with _threads(self.threads), torch.inference_mode():
            return Local._measure_parts(self, parts, on_timing, **clocks)

    def _device(self) -> torch.device:
        if self.device == "auto":  # never mps
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return resolve_device(self.device)


def _keep_alive(module: nn.Module) -> None:
    """Keep activations alive: numbers too small for their format would take longer."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, 0, module.weight[0].numel() ** -0.5)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.bias, 0, 0.5)


def _captured(call: Callable[[], object]) -> Callable[[], object]:
    """Replays what `call` launches, a short one repeatedly; `call` where it cannot be captured."""
    try:
        warm_up(call)
        replay, kept = capture(call)
        times = math.ceil(GRAPH_NS / max(_replay_ns(replay), 1))
        if times > 1:
            replay, kept = capture(lambda: [call() for _ in range(times)][-1])
    except CaptureFailed as error:
        warnings.warn(f"no CUDA graph, timed layer by layer: {error}", stacklevel=2)
        return call

    def launch() -> tuple[object, ...]:
        replay()
        return call, kept  # held here, since the graph reads and writes their memory

    return Repeated(launch, times) if times > 1 else launch


def _replay_ns(replay: Callable[[], None]) -> float:
    """Roughly how long a graph takes, launching included."""
    clock = event_clock()
    replay()
    start = clock()
    for _ in range(REPLAYS):
        replay()
    return (clock() - start) / REPLAYS


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
