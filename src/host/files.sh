# What a loader needs of a model's files. Prints one of
#   whole BYTES      of its weights; 0 when that is not known
#   partial WHAT     what a download has not brought, or not all of
#   lacks WHAT       no download would bring it
#   files FOLDER TOKENIZER    TOKENIZER: not empty when the engine has it from elsewhere
files() {
    folder=$1 tokenizer=$2 missing=
    # One file that holds all.
    if [ -f "$folder" ]; then echo "whole $(stat -L -c %s -- "$folder")"; return; fi
    began=$(cut -d . -f 1 /proc/uptime)
    # Any whole form of the weights is enough; of one that is not, its first missing file is told.
    form=$(forms "$folder")
    case "$form" in
    "whole "*) ;;
    *)
        # One file that holds all; which of several is loaded, the engine is told.
        ls "$folder"/*.gguf >/dev/null 2>&1 || { echo "$form"; return; }
        missing=$(parts "$folder"/*.gguf)
        if [ -n "$missing" ]; then echo "partial $missing"; else echo "whole 0"; fi
        return
        ;;
    esac
    if [ ! -e "$folder/config.json" ] && [ ! -e "$folder/params.json" ]; then echo "lacks config.json"; return; fi
    if [ -z "$tokenizer" ] && ! has_tokenizer "$folder"; then echo "lacks a tokenizer"; return; fi
    echo "$form"
}

has_tokenizer() {
    for file in "$1"/tokenizer.* "$1"/*tokenizer*.json "$1"/*tokenizer*.model* "$1"/tokenization_* "$1"/tekken* "$1"/*vocab* \
        "$1"/*.tiktoken "$1"/*.model "$1"/*.spm "$1"/merges.txt; do
        case "${file##*/}" in tokenizer_config.json | '*'*) continue ;; esac
        if [ -e "$file" ]; then return 0; fi
    done
    return 1
}

# Each form in which weights are published, until one is whole.
forms() {
    told=
    for index in "$1"/*.safetensors.index.json "$1"/*.bin.index.json; do
        [ -r "$index" ] || continue
        shards=$(grep -oE '"[A-Za-z0-9_./-]+\.(safetensors|bin)"' "$index" | tr -d '"' | sort -u)
        [ -n "$shards" ] || continue
        found=$(cd "$1" && weigh $shards)
        case "$found" in "whole "*) echo "$found"; return ;; esac
        told=${told:-$found}
    done
    for file in model.safetensors consolidated.safetensors pytorch_model.bin; do
        [ -e "$1/$file" ] || continue
        found=$(cd "$1" && weigh "$file")
        case "$found" in "whole "*) echo "$found"; return ;; esac
        told=${told:-$found}
    done
    # Without an index, the names of parts tell how many there must be. One of the other form says nothing of these.
    for kind in 'consolidated*.safetensors' '*.safetensors' '*.bin' '*.pt' '*.pth'; do
        [ -z "$told" ] || [ "$kind" = 'consolidated*.safetensors' ] || continue
        set -- "$1" "$1"/$kind
        [ -e "$2" ] || continue
        found=$(shift && of_parts "$@")
        case "$found" in "whole "*) echo "$found"; return ;; esac
        told=${told:-$found}
    done
    echo "${told:-partial no weights}"
}

of_parts() {
    gone=$(parts "$@")
    if [ -n "$gone" ]; then echo "partial $gone"; else weigh "$@"; fi
}

# The first of `NAME-00001-of-00004.END` that is not there.
parts() {
    for file; do
        case "${file##*/}" in *-of-[0-9]*.*) ;; *) continue ;; esac
        count=${file##*-of-} end=${file##*.}
        count=${count%%.*}
        stem=${file%-of-*} width=${#count}
        stem=${stem%-*}
        part=1
        while [ "$part" -le "$(expr "$count" + 0)" ]; do
            name=$(printf "%s-%0${width}d-of-%s.%s" "$stem" "$part" "$count" "$end")
            if [ ! -e "$name" ]; then echo "${name##*/}"; return; fi
            part=$((part + 1))
        done
    done
}

# Their bytes, when each is there and whole.
weigh() {
    sum=0
    for file; do
        size=$(stat -L -c %s -- "$file" 2>/dev/null) || { echo "partial ${file##*/}"; return; }
        intact "$file" "$size" || { echo "partial ${file##*/}: it is shorter or longer than its header says"; return; }
        sum=$((sum + size))
    done
    echo "whole $sum"
}

# The header of a safetensors file says where its last tensor ends, which is where the file must end. Many large headers take
# long to read: after four seconds the rest is taken for whole.
intact() {
    case "$1" in *.safetensors) ;; *) return 0 ;; esac
    [ $(($(cut -d . -f 1 /proc/uptime) - began)) -lt 4 ] || return 0
    command -v od >/dev/null || return 0
    [ "$2" -ge 8 ] || return 1
    header=$(od -An -t u8 -N 8 -- "$1" 2>/dev/null | tr -d ' \n')
    case "$header" in '' | *[!0-9]* | ????????????*) return 1 ;; esac
    [ $((header + 8)) -le "$2" ] || return 1
    last=$(tail -c +9 -- "$1" | head -c "$header" | grep -oaE '"data_offsets" *: *\[ *[0-9]+ *, *[0-9]+ *\]' |
        sed 's/.*, *//; s/[^0-9]//g' | sort -n | tail -n 1)
    [ $((header + 8 + ${last:-0})) -eq "$2" ]
}
