"""Results are written before they are printed: who reads the output may be gone, and files stay."""

from __future__ import annotations

from pathlib import Path

import pytest

import nas.ablate.run
import nas.latency.run
import nas.profile.run
import nas.scale.run
import nas.train.run
from nas.ablate.settings import AblateSettings
from nas.arch.arch import Arch, Head, Stage, Stem
from nas.arch.serialization import dumps
from nas.latency.settings import LatencySettings
from nas.profile.settings import ProfileSettings
from nas.scale.settings import ScaleSettings
from nas.train.settings import TrainSettings

pytestmark = pytest.mark.filterwarnings("ignore:distutils Version classes:DeprecationWarning")
SMALL = Arch((Stage(8, 2, 2), Stage(16)), Stem(8), Head(32), resolution=20, channels=1, classes=10)
TABLE = Path(__file__).parents[2] / "results" / "reference" / "latency" / "table.csv"
FEW = ("data.train=200", "data.val=100", "data.test=100", "budget.epochs=1", "measure=false")


@pytest.mark.parametrize(
    ("prints", "call", "file"),
    [
        (
            "nas.scale.run.print_family",
            lambda: nas.scale.run.scale(
                ScaleSettings.of("arch=mine.yaml", "rule=uniform", "phi=1", "measure=false")
            ),
            "scale/mine/summary.json",
        ),
        (
            "nas.profile.run.print_table",
            lambda: nas.profile.run.profile(ProfileSettings.of("arch=mine.yaml", "measure=false")),
            "profile/mine/profile.json",
        ),
        (
            "nas.train.run.print_outcome",
            lambda: nas.train.run.train(TrainSettings.of("arch=mine.yaml", *FEW)),
            "train/mine/summary.json",
        ),
        (
            "nas.ablate.run.print_rows",
            lambda: nas.ablate.run.ablate(
                AblateSettings.of("arch=mine.yaml", "ablations=relu6", "seeds=2", *FEW)
            ),
            "ablate/mine/summary.json",
        ),
        (
            "nas.profile.comparison.print_comparison",
            lambda: nas.profile.run.profile(
                ProfileSettings.of("arch=mine.yaml,mobilenet_v1", "measure=false")
            ),
            "profile/mine_mobilenet_v1/profile.json",
        ),
        (
            "nas.latency.run.print_findings",
            lambda: nas.latency.run.latency(
                LatencySettings.of("latency=table", f"latency.path={TABLE}")
            ),
            "latency/*/summary.json",
        ),
    ],
    ids=["scale", "profile", "train", "ablate", "comparison", "latency"],
)
def test_what_cannot_be_printed_is_written(prints, call, file, tmp_path, monkeypatch):
    def gone(*_: object) -> None:
        raise BrokenPipeError

    (tmp_path / "mine.yaml").write_text(dumps(SMALL))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prints, gone)
    with pytest.raises(BrokenPipeError):
        call()
    assert list((tmp_path / "results").glob(file))
