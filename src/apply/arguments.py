# Asked of the engine before anything is stopped: would it take these words? Prints one line: `valid`, `invalid WHY`, or
# `unknown WHY` when this vLLM has its parser somewhere else. It loads no model and no weights.
import sys


class Refused(Exception):
    pass


def refuse(message):
    raise Refused(message)


def parser():
    try:
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except ImportError:
        from vllm.utils import FlexibleArgumentParser
    from vllm.entrypoints.openai.cli_args import make_arg_parser

    made = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    made.error = refuse
    return made


def answer(words):
    try:
        made = parser()
    except BaseException as error:
        return f"unknown {type(error).__name__}: {error}"
    try:
        arguments = made.parse_args(words)
    except Refused as error:
        return f"invalid {error}"
    except BaseException as error:
        return f"unknown {type(error).__name__}: {error}"
    try:
        from vllm.entrypoints.openai.cli_args import validate_parsed_serve_args
    except ImportError:
        return "valid"
    try:
        validate_parsed_serve_args(arguments)
    except (TypeError, ValueError) as error:
        return f"invalid {error}"
    except BaseException as error:
        return f"unknown {type(error).__name__}: {error}"
    return "valid"


print("arguments " + " ".join(answer(sys.argv[1:]).split()))
