# Saccade on the CPU: docker build -t saccade . && docker run -v $PWD:/data saccade info leaves
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY . /src
RUN pip install --no-cache-dir "/src[geo,slides,zarr,parquet]"
WORKDIR /data
ENTRYPOINT ["saccade"]
