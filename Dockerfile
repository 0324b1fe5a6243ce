# ThreeDIS on a CPU. For CUDA change this one line, or: docker build --build-arg TORCH=cu128 .
ARG TORCH=cpu

FROM python:3.12-slim
ARG TORCH
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

WORKDIR /opt/threedis
COPY constraints.txt .
RUN pip install -c constraints.txt torch --extra-index-url https://download.pytorch.org/whl/${TORCH}
COPY . .
RUN pip install -c constraints.txt '.[lora,service]' ./plugins/threedis-pocket

# Models and depth maps that are fetched or made once: mount a volume here to keep them.
ENV HF_HOME=/cache/huggingface THREEDIS_CACHE=/cache/threedis
RUN install -d -m 1777 /cache
VOLUME /cache

USER 1000:1000
WORKDIR /work
EXPOSE 8000
ENTRYPOINT ["threedis"]
CMD ["--help"]
