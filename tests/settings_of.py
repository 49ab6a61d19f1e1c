"""The settings of each command, by its name."""

from __future__ import annotations

from nas.ablate.settings import AblateSettings
from nas.export.settings import ExportSettings
from nas.latency.settings import LatencySettings
from nas.profile.settings import ProfileSettings
from nas.rediscover.settings import RediscoverSettings
from nas.report.settings import ReportSettings
from nas.scale.settings import ScaleSettings
from nas.search.settings import SearchSettings
from nas.train.settings import TrainSettings

SETTINGS = {
    "ablate": AblateSettings,
    "export": ExportSettings,
    "latency": LatencySettings,
    "profile": ProfileSettings,
    "rediscover": RediscoverSettings,
    "report": ReportSettings,
    "scale": ScaleSettings,
    "search": SearchSettings,
    "train": TrainSettings,
}
