"""The real server over stdio with a backend that draws blobs: `python fake_server.py DATA_FOLDER STEPS`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from server.protocol.app import create_server
from server.settings import Settings
from tests.fakes import FakeBackend

settings = Settings(data_dir=Path(sys.argv[1]))
create_server(settings, FakeBackend(steps=int(sys.argv[2]))).run(show_banner=False, log_level="WARNING")
