# Asked of the engine before anything is stopped: would it take these words? It loads no model and no weights. Prints one line,
# `arguments JSON`: `is` (valid, invalid, unknown), `engine` (the version that was asked, where it tells one) and `why`.
import argparse
import contextlib
import difflib
import importlib
import io
import json
import sys

# Where versions of vLLM have kept them, the newest first.
PARSERS = ["vllm.utils.argparse_utils", "vllm.utils"]
OPTIONS = ["vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args"]


class Refused(Exception):
    """The engine does not take the words."""


class Accepted(Exception):
    """The engine's command would begin to serve now."""


class Elsewhere(Exception):
    """This engine is built in another way: it cannot be asked so."""


def options(parser):
    """Its long options, and those of its subcommands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from options(action.choices["serve"])
        yield from (option for option in action.option_strings if option.startswith("--"))


def refuse(parser, message):
    """In the place of a parser's own way to end. An option that is not known gets the one that is near."""
    if message.startswith("unrecognized arguments: --"):
        word = message.split()[2].split("=")[0].replace("_", "-")
        near = difflib.get_close_matches(word, sorted(options(parser)), 1, 0.8)
        message += f"; is {near[0]} meant?" if near else ""
    raise Refused(message)


def found(places, name):
    for place in places:
        try:
            return getattr(importlib.import_module(place), name)
        except (ModuleNotFoundError, AttributeError):
            continue
    raise Elsewhere(f"{name} is in none of {', '.join(places)}")


def validated(check, arguments):
    """What the engine says of words that its parser took."""
    try:
        check(arguments)
    except (TypeError, ValueError) as error:
        raise Refused(str(error)) from error


def by_its_parser(words):
    """By the options of the server."""
    importlib.import_module("vllm")
    parser = found(PARSERS, "FlexibleArgumentParser")
    made = found(OPTIONS, "make_arg_parser")(parser(prog="vllm serve"))
    arguments = made.parse_args(words)
    validated(found(OPTIONS, "validate_parsed_serve_args"), arguments)
    raise Accepted


def by_its_command(words):
    """By the command that is installed as `vllm`, wherever it has its parser: up to where it would begin to serve."""
    from importlib.metadata import entry_points

    command = next((one for one in entry_points(group="console_scripts") if one.name == "vllm"), None)
    if command is None:
        raise Elsewhere("no command `vllm` is installed")
    parse = argparse.ArgumentParser.parse_args
    parsed = False

    def serve(arguments):
        raise Accepted

    def parse_all(self, *given, **named):
        nonlocal parsed
        arguments = parse(self, *given, **named)
        parsed = True
        # `main` calls this one after its own checks.
        arguments.dispatch_function = serve
        return arguments

    argparse.ArgumentParser.parse_args = parse_all
    sys.argv = ["vllm", "serve", "model", *words]
    try:
        command.load()()
    except (TypeError, ValueError) as error:
        if parsed:
            raise Refused(str(error)) from error
        raise
    finally:
        argparse.ArgumentParser.parse_args = parse
    raise Elsewhere("its command ended by itself")


def asked(way, words):
    """What came of one way to ask: (is, why)."""
    said = io.StringIO()
    try:
        # Neither may stand in the way of the answer, which is on a line of its own.
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            way(words)
    except Accepted:
        return "valid", ""
    except Refused as error:
        return "invalid", str(error)
    except SystemExit:
        # A parser of its own says it and ends.
        told = [line for line in said.getvalue().splitlines() if "error: " in line]
        return ("invalid", told[-1].split("error: ", 1)[1]) if told else ("unknown", "it ended without a word")
    except Elsewhere as error:
        return "unknown", str(error)
    except BaseException as error:
        return "unknown", f"{type(error).__name__}: {error}"


def version():
    from importlib import metadata

    try:
        return metadata.version("vllm")
    except metadata.PackageNotFoundError:
        return getattr(importlib.import_module("vllm"), "__version__", None)


def answer(words):
    argparse.ArgumentParser.error = refuse
    reasons = []
    for way in (by_its_parser, by_its_command):
        verdict, why = asked(way, words)
        if verdict != "unknown":
            return verdict, why
        reasons.append(why)
    # One cause is said once.
    return "unknown", "; ".join(dict.fromkeys(reasons))


verdict, why = answer(sys.argv[1:])
try:
    engine = version()
except BaseException:
    engine = None
print("arguments " + json.dumps({"is": verdict, "engine": engine, "why": " ".join(why.split())[:500]}))
