# Two images: `docker build --target cpu -t dgx-pixels .` (the included model) and `--target cuda` (SDXL on an NVIDIA GPU).
# An MCP client starts: docker run -i --rm -v /path/to/game:/game dgx-pixels
# Over HTTP: docker run --rm --network host -e DGX_PIXELS_HTTP_TOKEN=... -v /path/to/game:/game dgx-pixels serve --http
FROM python:3.12-slim AS sources
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE-MIT LICENSE-APACHE ./
COPY server server
COPY pipelines pipelines
COPY loras loras
COPY workflows workflows
COPY bevy_example/src/dgx_pixels.rs bevy_example/src/dgx_pixels.rs

FROM python:3.12-slim AS cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=sources /src /src
RUN pip install --no-cache-dir -c /src/constraints.txt --index-url ${TORCH_INDEX} torch \
    && pip install --no-cache-dir -c /src/constraints.txt /src \
    && useradd --create-home artist
USER artist
ENV DGX_PIXELS_PROJECT=/game DGX_PIXELS_DATA_DIR=/home/artist/data
WORKDIR /game
ENTRYPOINT ["dgx-pixels"]
CMD ["serve"]

# PyTorch's wheels bring their own CUDA libraries; the host needs the NVIDIA driver and container toolkit (--gpus all).
FROM python:3.12-slim AS cuda
COPY --from=sources /src /src
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir -c /src/constraints.txt /src \
    && useradd --create-home artist
USER artist
ENV DGX_PIXELS_PROJECT=/game DGX_PIXELS_DATA_DIR=/home/artist/data
WORKDIR /game
ENTRYPOINT ["dgx-pixels"]
CMD ["serve"]
