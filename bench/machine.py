"""What the figures were measured on."""

import os
import platform
import re
from pathlib import Path

from app.embedded import Server
from bench.databases import settings_changed


def describe_machine(server: Server) -> dict[str, str]:
    """The machine, the programs and the server's settings, as words."""
    settings = settings_changed(server.url)
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgres": f"{server.programs.version}, embedded",
        "settings": ", ".join(f"{name}={value}" for name, value in settings.items()),
        "load before": load(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{total / 2**30:.0f} GB"


def load() -> str:
    """The load of the last minute; with somebody else at work on the machine the figures are doubtful."""
    return f"{os.getloadavg()[0]:.2f}"
