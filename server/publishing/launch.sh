#!/bin/sh
# Start the server of this clone for an MCP client, from any folder and also before `make`.
# Only messages of the protocol may go to standard output: what make says goes to standard error.
set -eu
here=$0
[ -L "$here" ] && here=$(readlink -f "$here")
cd "$(dirname "$here")/../.."
if [ ! -x .venv/bin/dgx-pixels ]; then
    echo "dgx-pixels: installing once into .venv; connect again if the client does not wait that long" >&2
    make setup >&2
fi
exec .venv/bin/dgx-pixels "$@"
