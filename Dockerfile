# The server as a few large files: see bundle.js.
FROM node:24-bookworm-slim AS bundle
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY bundle.js ./
COPY keys keys
COPY storage storage
COPY rooms rooms
COPY federation federation
COPY server server
RUN node bundle.js bundle

FROM node:24-bookworm-slim
WORKDIR /app

COPY package.json package-lock.json .npmrc ./
# No install scripts: the only one fetches Node 24, which the base image has already.
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force \
  && find node_modules/better-sqlite3/prebuilds -mindepth 1 -maxdepth 1 ! -name 'linux-*' -delete

COPY LICENSE run.js ./
COPY keys keys
COPY storage storage
COPY rooms rooms
COPY federation federation
COPY server server
COPY --from=bundle /app/bundle bundle
RUN mkdir /data && chown node:node /data

USER node
ENV NODE_ENV=production \
  NODE_COMPILE_CACHE=/tmp/kurir-compile-cache \
  MALLOC_MMAP_THRESHOLD_=8388608 \
  KURIR_DATA_DIR=/data \
  KURIR_CLIENT_LISTEN=0.0.0.0:8008 \
  KURIR_FEDERATION_LISTEN=0.0.0.0:8448
# Starts once, so that the first start finds compiled what it needs: functions are kept that have run. With the options of
# the start below: what was compiled with others counts for nothing.
RUN KURIR_SERVER_NAME=localhost KURIR_DATA_DIR=/tmp/kurir-first-start \
  node --max-semi-space-size=16 --invocation-count-for-turbofan=30000 --no-allocation-site-pretenuring --expose-gc \
  --eval "import('/app/bundle/main.js').then(() => process.kill(process.pid, 'SIGTERM'))" \
  && rm -r /tmp/kurir-first-start

VOLUME /data
EXPOSE 8008 8448
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["node", "--eval", "const port = process.env.KURIR_CLIENT_LISTEN.split(':').pop(); fetch(`http://127.0.0.1:${port}/health`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--disable-warning=ExperimentalWarning", "--max-semi-space-size=16", "--invocation-count-for-turbofan=30000", "--no-allocation-site-pretenuring", "--expose-gc", "bundle/main.js"]
