"""Looks the pinned packages and the example game's crates up in the databases of known vulnerabilities (`make audit`).

    python -m tests.bench.audit .venv-audit/bin/pip-audit

Exit status 1: something vulnerable is pinned. A database that cannot be reached, or a tool that is not installed, is
reported and does not fail the run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python_packages(tool: str) -> int:
    """The number of vulnerable pins in constraints.txt; prints them."""
    command = [tool, "--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json"]
    try:
        done = subprocess.run(
            [*command, "--requirement", str(ROOT / "constraints.txt")], capture_output=True, text=True, check=False
        )
    except OSError as error:
        print(f"Python packages: not checked, pip-audit cannot be started ({error.strerror}).")
        return 0
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"Python packages: not checked, the database did not answer ({reason[:200]}).")
        return 0
    bad = [package for package in packages if package.get("vulns")]
    for package in bad:
        names = ", ".join(f"{v['id']} (fixed in {', '.join(v['fix_versions']) or 'nothing'})" for v in package["vulns"])
        print(f"{package['name']} {package['version']}: {names}")
    print(f"Python packages: {len(packages)} checked, {len(bad)} vulnerable.")
    return len(bad)


def crates() -> int:
    """The number of vulnerable crates of the example game; prints them."""
    lock = ROOT / "bevy_example" / "Cargo.lock"
    if not shutil.which("cargo-audit"):
        print("Crates: not checked, cargo-audit is not installed (cargo install cargo-audit).")
        return 0
    if not lock.is_file():
        print("Crates: not checked, bevy_example/Cargo.lock is missing (build the example game first).")
        return 0
    done = subprocess.run(["cargo-audit", "audit", "--json", "--file", str(lock)], capture_output=True, check=False)
    try:
        found = json.loads(done.stdout)["vulnerabilities"]["list"]
    except (ValueError, KeyError):
        print("Crates: not checked, the database did not answer.")
        return 0
    for entry in found:
        print(f"{entry['package']['name']} {entry['package']['version']}: {entry['advisory']['id']}")
    print(f"Crates: {len(found)} vulnerable.")
    return len(found)


if __name__ == "__main__":
    sys.exit(1 if python_packages(sys.argv[1]) + crates() else 0)
