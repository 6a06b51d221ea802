#!/bin/bash
# The lab's recipe runner. It keeps the published command line and behaviour of spark-vllm-docker's run-recipe.py as far
# as these tests go: a recipe is YAML and found below `recipes` too, its `env` stands in the script between double quotes, a dry
# run prints the script, words after `--` are quoted and put at the end of the recipe's command. Written for these tests.
here=$(dirname "$0") recipe=$1 dry=false port=8000 pass=() extra=()
shift
while [ $# -gt 0 ]; do
    case "$1" in
    --dry-run) dry=true ;;
    --port) port=$2; shift ;;
    --) shift; extra=("$@"); break ;;
    --solo | -d | --no-ray | --ray) pass+=("$1") ;;
    -n | -t | --name | --config | --eth-if | --ib-if | --master-port | --apply-mod) pass+=("$1" "$2"); shift ;;
    *) echo "error: unrecognized arguments: $1"; exit 2 ;;
    esac
    shift
done
for file in "$recipe" "$recipe.yaml" "$here/recipes/$recipe.yaml"; do [ ! -f "$file" ] || break; done
[ -f "$file" ] || { echo "Error: Recipe '$recipe' not found"; exit 1; }
script=$(mktemp)
/usr/bin/python3 - "$file" "$port" "${extra[@]}" >"$script" <<'PYTHON' || exit 1
import shlex, sys, yaml

with open(sys.argv[1]) as file:
    recipe = yaml.safe_load(file)
command = recipe["command"].format(**{**recipe.get("defaults", {}), "port": sys.argv[2]}).rstrip()
exports = [f'export {name}="{value}"' for name, value in recipe.get("env", {}).items()]
words = [shlex.quote(word) for word in sys.argv[3:]]
print("#!/bin/bash", f"# Generated from recipe: {recipe['name']}", *exports, " ".join([command, *words]), sep="\n")
PYTHON
if $dry; then
    echo "Recipe: $recipe"
    echo "=== Generated launch script ==="
    cat "$script"
    exit 0
fi
exec "$here/launch-cluster.sh" "${pass[@]}" --launch-script "$script"
