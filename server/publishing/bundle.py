"""Build the `.mcpb` bundle (`make bundle`): the package's sources with a manifest that hosts install by uv.

The dependencies are not inside: PyTorch alone is larger than a bundle may be. Source of the form: MANIFEST.md of
github.com/modelcontextprotocol/mcpb, manifest version 0.4.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("server", "pipelines", "loras", "workflows")
FILES = ("pyproject.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "bevy_example/src/dgx_pixels.rs")
LEFT_OUT = ("__pycache__", ".pyc", "/training/")


def write_bundle(target: Path, root: Path = ROOT) -> list[str]:
    """Writes the bundle; the names in it. The same sources give the same bytes."""
    here = root / "server" / "publishing"
    inside = {"manifest.json": here / "manifest.json", "icon.png": here / "icon.png"}
    inside |= {name: root / name for name in FILES}
    for folder in SOURCES:
        for file in sorted((root / folder).rglob("*")):
            name = file.relative_to(root).as_posix()
            if file.is_file() and not any(part in name for part in LEFT_OUT):
                inside[name] = file
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, file in inside.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            bundle.writestr(entry, file.read_bytes())
    return list(inside)


if __name__ == "__main__":
    names = write_bundle(Path(sys.argv[1]))
    print(f"{sys.argv[1]}: {len(names)} files, {Path(sys.argv[1]).stat().st_size / 1e6:.1f} MB")
