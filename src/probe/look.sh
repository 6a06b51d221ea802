# What may be on a disk that does not answer, or asks a program that does not: each question is its own process (`alone.sh`).
# Prints facts, one `key value` a line. Parameter: `hf_home`, the Hugging Face cache; empty: the usual place.
[ -n "$hf_home" ] || hf_home="${HF_HOME:-$HOME/.cache/huggingface}"
say() { printf '%s\n' "$1"; }
disk() { stat -f -c "disk %S %b %a $(stat -c %d -- "$1") %n" -- "$1" 2>/dev/null || :; }

#   hub   the disk of the cache
hub() { [ ! -d "$hf_home" ] || disk "$hf_home"; }

#   path PATH TOKENIZER     a model's own files
path() {
    if [ -e "$1" ]; then say "files $1	$(files "$1" "$2")"; disk "$1"; else say "files $1	absent"; fi
}

#   repository KEY FOLDER REVISION TOKENIZER     a model's files in the cache
repository() { say "files $1	$(cached "$2" "$3" "$4")"; }

#   checkout DIR    of a launcher: its options, as its own parser names them, since it has no version to ask for
checkout() {
    cd || return
    if [ ! -r "$1/launch-cluster.sh" ]; then say "launcher missing - - $1"; return; fi
    options=$(grep -oE -e '(^|[ |(])--[a-z][a-z-]+[|)]' "$1/launch-cluster.sh" | grep -oE -e '--[a-z][a-z-]+' | sort -u | tr '\n' ,)
    nodes=$(sed -n 's/^CLUSTER_NODES=//p' "$1/.env" 2>/dev/null | tail -n 1 | tr -cd '0-9.,')
    case "$nodes" in *,*) is="nodes:$nodes" ;; *) is=alone ;; esac
    commit=$(git -C "$1" rev-parse --short=12 HEAD 2>/dev/null)
    # It hands them on to the other, and ends at one that it does not know.
    recipes=$(cat "$1/run-recipe.sh" "$1/run-recipe.py" 2>/dev/null | grep -oE -e '["'"'"' (|]--[a-z][a-z-]+["'"'"' |)]' |
        grep -oE -e '--[a-z][a-z-]+' | sort -u | tr '\n' ,)
    say "launcher $is ${options:--} ${commit:--} $1"
    [ -z "$recipes" ] || say "launcher_recipes $recipes $1"
}

#   program PATH    that must be there and can be run
program() { if (cd && [ -f "$1" ] && [ -x "$1" ]); then say "program yes $1"; else say "program no $1"; fi; }

#   entry KEY PATH...   a file or directory that is at one of these places
entry() {
    key=$1 is=no
    shift
    for place; do if (cd && [ -e "$place" ]); then is=yes; fi; done
    say "entry $is $key"
}

#   gpu
gpu() {
    command -v nvidia-smi >/dev/null || { echo "gpu_missing"; return; }
    said=$(nvidia-smi --query-gpu=name,driver_version,temperature.gpu,power.draw,utilization.gpu,clocks.sm \
        --format=csv,noheader,nounits 2>&1)
    code=$?
    if [ "$code" -ne 0 ]; then say "gpu_refuses $code $(printf '%s\n' "$said" | grep . | head -n 1 | cut -c 1-300)"; return; fi
    say "gpu $(printf '%s\n' "$said" | head -n 1)"
    nvidia-smi --query-compute-apps=pid,process_name,used_gpu_memory --format=csv,noheader,nounits 2>/dev/null |
        while IFS= read -r line; do
            container=
            while IFS= read -r group; do
                group=${group##*/} group=${group#docker-} group=${group%.scope}
                [ ${#group} -eq 64 ] && container=$group
            done 2>/dev/null <"/proc/${line%%,*}/cgroup"
            say "gpu_process ${container:--} $line"
        done
}
