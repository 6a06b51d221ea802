#!/bin/bash
# The lab's launcher. It keeps the published command line and behaviour of spark-vllm-docker's launch-cluster.sh, its
# lies included: containers are started with --rm and outlive their engine, a failed `docker run` is not noticed,
# exit 0 means "dispatched", and a container that is already running is executed into. Written for these tests. Lines
# that end in `# since WORD` are not in checkouts from before WORD.
name=vllm_node image=vllm-node solo=false daemon=false config=.env nodes= eth= ib= port=29501 ray=true script=
ray=false # since no-ray-by-default
docker_args=() action= command=() mods=()
while [ $# -gt 0 ]; do
    case "$1" in
    --solo) solo=true ;;
    -d) daemon=true ;;
    -t) image=$2; shift ;;
    --name) name=$2; shift ;;
    -n | --nodes) nodes=$2; shift ;;
    --eth-if) eth=$2; shift ;;
    --ib-if) ib=$2; shift ;;
    --master-port) port=$2; shift ;; # since no-ray
    --config) config=$2; shift ;; # since config
    --no-ray) ray=false ;; # since no-ray
    --ray) ray=true ;; # since no-ray-by-default
    --launch-script) script=$2; shift ;;
    -e) docker_args+=(-e "$2"); shift ;;
    -v) docker_args+=(-v "$2"); shift ;;
    --apply-mod) [ -e "$2/run.sh" ] || { echo "Error: mod $2 has no run.sh"; exit 1; }; mods+=("$2"); shift ;;
    exec) action=exec; shift; command=("$@"); break ;;
    stop | status) action=$1 ;;
    *) echo "Error: unknown option $1"; exit 1 ;;
    esac
    shift
done
if [ -n "$script" ]; then
    [ -z "$action" ] || { echo "Error: --launch-script takes no action"; exit 1; }
    action=exec
    for found in "$script" "examples/$script" "examples/$script.sh"; do [ ! -f "$found" ] || break; done
    [ -f "$found" ] || { echo "Error: no launch script $script"; exit 1; }
fi
[ -n "$action" ] || { echo "Error: No action specified."; exit 1; }
declare -A env=()
if [ -r "$config" ]; then # since config
    while IFS= read -r line; do # since config
        case "$line" in '' | '#'*) continue ;; esac # since config
        [[ $line =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || { echo "Error: Invalid .env file syntax. Aborting."; exit 1; } # since config
        key=${line%%=*} # since config
        [ -z "${env[$key]+x}" ] || { echo "Error: Invalid .env file syntax. Aborting."; exit 1; } # since config
        env[$key]=${line#*=} # since config
    done <"$config" # since config
fi # since config
# The published quirk: an option equal to its default loses against the file.
[ "$name" = vllm_node ] && name=${env[CONTAINER_NAME]:-$name}
[ "$port" = 29501 ] && port=${env[MASTER_PORT]:-$port}
for key in "${!env[@]}"; do
    case "$key" in
    CONTAINER_NAME) ;;
    CONTAINER_*) docker_args+=(-e "${key#CONTAINER_}=${env[$key]}") ;;
    esac
done
if ! $solo; then
    nodes=${nodes:-${env[CLUSTER_NODES]:-}} eth=${eth:-${env[ETH_IF]:-}} ib=${ib:-${env[IB_IF]:-}}
    if [ -z "$nodes" ] || [ -z "$eth" ]; then
        read -r -p "Save the discovered configuration? [Y/n] " _
        echo "Error: no nodes"; exit 1
    fi
    local_ip=${env[LOCAL_IP]:-}
    [ -n "$local_ip" ] || local_ip=$(ip -4 -o addr show | grep -oE '[0-9.]+/' | tr -d / | grep -Fx "${nodes//,/$'\n'}" | head -n 1)
    peers=()
    IFS=, read -r -a all <<<"$nodes"
    for node in "${all[@]}"; do [ "$node" = "$local_ip" ] || peers+=("$node"); done
    [ ${#peers[@]} -lt ${#all[@]} ] || { echo "Error: local IP is not in the node list"; exit 1; }
fi
remote() { ssh -o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=no "$@"; }

start_container() { # [node] : local when no node is given
    # The real one adds --privileged, which machines of continuous integration often refuse.
    local args=(docker run --ipc=host --gpus all -d --rm --network host --name "$name" --entrypoint=
        -e VLLM_HOST_IP="${1:-${local_ip:-127.0.0.1}}" "${docker_args[@]}")
    # Unquoted on purpose: this is how the hook is read.
    # shellcheck disable=SC2206
    args+=($VLLM_SPARK_EXTRA_DOCKER_ARGS "$image" sleep infinity)
    if [ -n "${1:-}" ]; then remote "$1" "${args[*]}"; else "${args[@]}"; fi
}

already=false
docker ps | grep -q "$name" && already=true
if ! $solo; then
    for peer in "${peers[@]}"; do
        remote "$peer" true || { echo "Error: Passwordless SSH to $peer failed."; exit 1; }
        remote "$peer" "docker ps" | grep -q "$name" && already=true
    done
fi
if [ "$action" = stop ]; then
    docker stop "$name" >/dev/null 2>&1
    $solo || for peer in "${peers[@]}"; do remote "$peer" "docker stop $name" >/dev/null 2>&1; done
    echo "Cluster stopped."
    exit 0
fi
if $already; then
    echo "Cluster containers are already running. Skipping launch."
else
    if ! $solo; then
        here=$(docker image inspect -f '{{.Id}}' "$image")
        for peer in "${peers[@]}"; do
            there=$(remote "$peer" "docker image inspect -f '{{.Id}}' $image")
            [ -n "$here" ] && [ "$here" = "$there" ] || { echo "Error: image differs on $peer"; exit 1; }
        done
    fi
    [ -z "${LAB_START_NOTHING:-}" ] && [ ! -e "$HOME/start-nothing" ] || { echo "Command dispatched"; exit 0; }
    start_container
    $solo || for peer in "${peers[@]}"; do start_container "$peer"; done
    for mod in "${mods[@]}"; do
        docker exec "$name" sh -c "$(cat "$mod/run.sh")"
        $solo || for peer in "${peers[@]}"; do
            remote "$peer" "docker exec -i $name sh" <"$mod/run.sh"
        done
    done
fi
sleep 0.2
# inside NODE COMMAND : detached, in the container of that node ("" is here); its output is the container's log
inside() {
    local text="exec $2 >/proc/1/fd/1 2>&1"
    if [ -n "$1" ]; then remote "$1" "docker exec -d $name sh -c $(printf %q "$text")"; else
        docker exec -d "$name" sh -c "$text"
    fi
}
if [ -n "$script" ]; then
    for node in "" "${peers[@]}"; do
        copy=$(mktemp)
        cat "$found" >"$copy"
        if [ -n "$node" ]; then
            remote "$node" "cat >$copy && docker cp $copy $name:/exec-script.sh" <"$copy"
        else docker cp "$copy" "$name:/exec-script.sh" >/dev/null; fi
    done
fi
printf -v quoted ' %q' "${command[@]}"
# run NODE TAIL : the command with TAIL at its end, or the launch script patched with it
run() {
    if [ -n "$script" ]; then
        local patch="sed -i -e ':a' -e '/[\\]\$/ { N; s/[\\]\n */ /; ba; }' -e '/vllm serve/ s|\$|$2|' /exec-script.sh"
        if [ -n "$1" ]; then remote "$1" "docker exec $name sh -c $(printf %q "$patch")"; else
            docker exec "$name" sh -c "$patch"
        fi
        inside "$1" "sh /exec-script.sh"
    else inside "$1" "$quoted$2"; fi
}
if $solo; then
    run "" ""
elif $ray; then
    for node in "" "${peers[@]}"; do inside "$node" raylet; done
    run "" " --distributed-executor-backend ray"
else
    rank=1
    for peer in "${peers[@]}"; do
        run "$peer" " --nnodes ${#all[@]} --node-rank $rank --master-addr $local_ip --master-port $port --headless"
        rank=$((rank + 1))
    done
    run "" " --nnodes ${#all[@]} --node-rank 0 --master-addr $local_ip --master-port $port"
fi
$daemon || docker logs -f "$name"
echo "Command dispatched in background (Daemon mode). Container: $name"
exit 0
