"""Builds the teller and the heartbeat of a server process."""

from __future__ import annotations

from collections.abc import Mapping

from server.delivery.channels_file import load_channels
from server.delivery.heartbeat import Heartbeat
from server.delivery.teller import Teller
from server.process_name import is_gone, this_process
from server.wiring import Services


def delivery_of(services: Services, environ: Mapping[str, str]) -> tuple[Teller, Heartbeat]:
    """Both, not started. Raises BadChannels for a file that cannot be used."""
    settings, control = services.settings, services.control
    named = settings.monitor_channels is not None
    channels = load_channels(settings.channels_file, environ, needed=named)
    teller = Teller(control, channels, this_process(), clock=services.clock, gone=is_gone)
    return teller, Heartbeat(channels.heartbeat, control, teller.standing.pages_fail, services.clock)
