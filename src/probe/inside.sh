# The last lines of a file in a container, where an engine does not write to its container's output. Changes nothing.
#   socket container file lines
[ -z "$socket" ] || { DOCKER_HOST="unix://$socket" && export DOCKER_HOST; }
timeout -k 1 8 docker exec "$container" tail -n "$lines" "$file" 2>/dev/null && echo end
