# dbbtrace with everything that docker-compose.yml asks of it: the receiver, forwarding, the demo, and Microsoft's ODBC
# driver for SQL Server, Azure SQL and Fabric Warehouse.
FROM python:3.12.12-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl gnupg \
    && curl -fsSL https://packages.microsoft.com/keys/microsoft.asc | gpg --dearmor -o /usr/share/keyrings/microsoft.gpg \
    && echo "deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/microsoft.gpg] https://packages.microsoft.com/debian/12/prod bookworm main" \
        > /etc/apt/sources.list.d/microsoft.list \
    && apt-get update \
    && ACCEPT_EULA=Y apt-get install -y --no-install-recommends msodbcsql18 \
    && rm -rf /var/lib/apt/lists/*

COPY . /src
RUN pip install --no-cache-dir "/src[demo,otlp,receiver]" && rm -rf /src

# The journal's directory is made here, so that a volume mounted on it belongs to the user.
RUN useradd --create-home --uid 10001 dbbtrace && mkdir /journal && chown dbbtrace /journal
USER dbbtrace
WORKDIR /home/dbbtrace

ENTRYPOINT ["dbbtrace"]
