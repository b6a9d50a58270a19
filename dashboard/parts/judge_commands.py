"""What a page tells to type where a judge lacks something. Names of data stand in it as inert text. Pure."""

from __future__ import annotations

from dashboard.text import inert


def label(judge: object, app: object = "APP") -> str:
    """Gets labels for what a judge judged."""
    name, of = inert(judge, 80), inert(app, 80)
    return (
        f"assay labels create QUEUE --app {of} --judge {name}\nassay labels sample QUEUE --n 50 --since 30d\n"
        f"assay annotate {of} --queue QUEUE"
    )


def run(judge: object) -> str:
    """Lets a judge look at what is stored; first what that would take."""
    command = f"assay judges run {inert(judge, 80)} --app APP --since 24h --budget 5usd --sample 0.2"
    return f"{command} --dry-run\n{command}"


def watch(judge: object) -> str:
    """Lets a judge look at live sessions."""
    return f"assay judges watch {inert(judge, 80)} --app APP --share 0.1 --budget-per-day 1usd"


def calibrate(judge: object) -> str:
    """Compares a judge with its labels."""
    return f"assay judges calibrate {inert(judge, 80)}"
