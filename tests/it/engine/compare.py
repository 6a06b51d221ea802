# Pairs of command lines on stdin: whether the engine's own parser makes the same of both. Prints the numbers of those that differ and
# in what, and how many it accepts. What the file sets itself is not compared.
import contextlib
import io
import json
import re
import sys

from vllm.utils.argparse_utils import FlexibleArgumentParser

try:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
except ImportError:
    from vllm.entrypoints.openai.cli_args import make_arg_parser

OURS = ("api_key", "distributed_executor_backend", "headless", "hf_token", "host", "master_addr", "master_port", "nnodes", "node_rank")
parser = make_arg_parser(FlexibleArgumentParser(prog="vllm"))


def parsed(words):
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            found = vars(parser.parse_args(words))
    except (SystemExit, ValueError) as error:
        return f"refused: {type(error).__name__}"
    found = {name: value for name, value in found.items() if name not in OURS}
    model = found.pop("model_tag", None) or found["model"]
    found["model"] = model
    found["served_model_name"] = found["served_model_name"] or [model]
    if isinstance(found["served_model_name"], str):
        found["served_model_name"] = [found["served_model_name"]]
    return {name: said(value) for name, value in found.items()}


def said(value):
    # The order of keys is nobody's, and some identities are made anew each time.
    text = json.dumps(value, sort_keys=True, default=repr)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)


differ, accepted = [], 0
for number, (one, other) in enumerate(json.load(sys.stdin)):
    one, other = parsed(one), parsed(other)
    # What this version does not take is no line for it.
    if isinstance(one, str):
        continue
    accepted += 1
    if one != other:
        what = other if isinstance(other, str) else None
        differ.append([number, what or {name: [one[name], other[name]] for name in one if one[name] != other[name]}])
print("compared " + json.dumps({"differ": differ, "accepted": accepted}))
