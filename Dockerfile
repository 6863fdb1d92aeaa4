# syntax=docker/dockerfile:1
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
# Which extras of the distribution the image carries; a publisher's image needs none.
ARG EXTRAS=worker,kit,flower
# Where pip looks for packages, for example an index with CPU builds of torch; empty for pip's own choice.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
RUN python -m venv /opt/vitrine
WORKDIR /src
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    case ",${EXTRAS}," in *,kit,*) /opt/vitrine/bin/pip install "$(grep '^torch==' constraints.txt)" ;; esac
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY engines engines
COPY storage storage
COPY tasks tasks
COPY workers workers
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/vitrine/bin/pip install -c constraints.txt ".${EXTRAS:+[${EXTRAS}]}"

FROM python:${PYTHON}
RUN groupadd --gid 10001 vitrine \
    && useradd --uid 10001 --gid vitrine --no-create-home --home-dir /var/lib/vitrine vitrine \
    && install -d -o vitrine -g vitrine /var/lib/vitrine /var/lib/vitrine/assets /var/cache/vitrine
COPY --from=build /opt/vitrine /opt/vitrine
ENV PATH=/opt/vitrine/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VITRINE_CACHE=/var/cache/vitrine \
    VITRINE_ASSETS_URL=file:///var/lib/vitrine/assets
WORKDIR /var/lib/vitrine
# A number, so that an orchestrator can see that it is not root. The two folders are meant to be volumes: the
# image carries no weights, `vitrine engines --fetch` brings them.
USER 10001:10001
ENTRYPOINT ["vitrine"]
CMD ["--help"]
