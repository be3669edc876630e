"""Where figures go beside the ledger: trackers of experiments and monitoring, each asked for by ``Config(sinks=[...])``."""

from fitprint.sinks.sink import Sink as Sink
