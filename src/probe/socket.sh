# Why a Docker Engine does not answer through the connection, asked once more on the machine itself. Parameter: `socket`.
# Prints one of: missing DOCKER, forbidden USER, dead DOCKER, answers; DOCKER is running, stopped, or absent.
docker=absent
if pgrep -x dockerd >/dev/null 2>&1; then
    docker=running
elif command -v dockerd >/dev/null 2>&1 || command -v docker >/dev/null 2>&1 || [ -x /usr/sbin/dockerd ]; then
    docker=stopped
fi
if [ ! -S "$socket" ]; then
    echo "missing $docker"
elif [ ! -r "$socket" ] || [ ! -w "$socket" ]; then
    echo "forbidden $(id -un)"
elif alone=$(timeout -k 1 4 docker -H "unix://$socket" version --format '{{.Server.Version}}' 2>/dev/null) && [ -n "$alone" ]; then
    echo answers
elif [ "$docker" = running ] && ! command -v docker >/dev/null 2>&1; then
    # It runs, and nothing here can ask it.
    echo answers
else
    echo "dead $docker"
fi
