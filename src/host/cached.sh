#   cached KEY FOLDER REVISION   the files of a repository in $hf_home, FOLDER as the cache names it
cached() {
    folder="$hf_home/hub/$2" revision=${3:-main}
    if [ ! -d "$folder/snapshots" ]; then echo "cache absent $1"; return; fi
    [ ! -r "$folder/refs/$revision" ] || read -r revision <"$folder/refs/$revision"
    snapshot="$folder/snapshots/$revision"
    if [ ! -d "$snapshot" ]; then echo "cache absent $1"; return; fi
    if [ -e "$folder/.unverified" ]; then echo "cache partial $1 a transfer has not ended"; return; fi
    # A file is linked here when the whole of it is there; the index tells which there must be.
    if [ -e "$snapshot/model.safetensors" ]; then echo "cache present $1"; return; fi
    for index in "$snapshot/model.safetensors.index.json" "$snapshot/pytorch_model.bin.index.json"; do
        [ -r "$index" ] || continue
        for shard in $(grep -oE '"[A-Za-z0-9_.-]+\.(safetensors|bin)"' "$index" | tr -d '"' | sort -u); do
            if [ ! -e "$snapshot/$shard" ]; then echo "cache partial $1 $shard"; return; fi
        done
        echo "cache present $1"
        return
    done
    # Without an index, the names of parts tell how many there must be.
    for file in "$snapshot"/*-of-[0-9]*.*; do
        [ -e "$file" ] || continue
        parts=${file##*-of-} end=${file##*.}
        parts=${parts%%.*}
        stem=${file%-of-*} width=${#parts}
        stem=${stem%-*}
        part=1
        while [ "$part" -le "$(expr "$parts" + 0)" ]; do
            name=$(printf "%s-%0${width}d-of-%s.%s" "$stem" "$part" "$parts" "$end")
            if [ ! -e "$name" ]; then echo "cache partial $1 ${name##*/}"; return; fi
            part=$((part + 1))
        done
    done
    for file in "$snapshot"/*.safetensors "$snapshot"/*.bin "$snapshot"/*.gguf "$snapshot"/*.pt; do
        if [ -e "$file" ]; then echo "cache present $1"; return; fi
    done
    for blob in "$folder"/blobs/*.incomplete; do
        if [ -e "$blob" ]; then echo "cache partial $1 a download has not ended"; return; fi
    done
    echo "cache partial $1 no weights"
}
