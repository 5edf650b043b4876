"""A server over stdio that draws with a fake and sends its spans: `python traced_server.py DATA_DIR`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from server.protocol.app import create_server
from server.protocol.serving import leave
from server.settings import Settings
from server.tracing import start_tracing
from tests.fakes import FakeBackend

start_tracing("dgx-pixels")
settings = Settings(data_dir=Path(sys.argv[1]), preload="none")
create_server(settings, FakeBackend(steps=3)).run(show_banner=False, log_level="WARNING")
leave()
