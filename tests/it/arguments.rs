//! The question about arguments, by a real Python with a `vllm` package that has just the parser; where each version keeps it.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

const PARSER: &str = "import argparse\nclass FlexibleArgumentParser(argparse.ArgumentParser):\n    pass\n";
const CLI: &str = "
def make_arg_parser(parser):
    parser.add_argument('model_tag', nargs='?')
    parser.add_argument('--max-model-len', type=int)
    parser.add_argument('--enable-auto-tool-choice', action='store_true')
    parser.add_argument('--tool-call-parser')
    return parser

def validate_parsed_serve_args(args):
    if args.enable_auto_tool_choice and not args.tool_call_parser:
        raise TypeError('Error: --enable-auto-tool-choice requires --tool-call-parser')
";

fn package(folder: &Path, parser_in: &str, cli: &str) {
    let openai = folder.join("vllm/entrypoints/openai");
    fs::create_dir_all(&openai).unwrap();
    for part in ["vllm", "vllm/entrypoints", "vllm/entrypoints/openai"] {
        fs::write(folder.join(part).join("__init__.py"), "").unwrap();
    }
    let file = folder.join("vllm").join(parser_in);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, PARSER).unwrap();
    fs::write(openai.join("cli_args.py"), cli).unwrap();
}

fn ask(folder: &Path, words: &[&str]) -> String {
    let output = Command::new("python3")
        .arg("-c")
        .arg(include_str!("../../src/apply/arguments.py"))
        .args(words)
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().last().unwrap_or_default().to_owned()
}

/// If this failed, a slip in `args` would cost an outage; or a version of the engine that is not known here would hold up
/// every swap.
#[test]
fn words_are_valid_invalid_or_not_known() {
    for parser_in in ["utils/argparse_utils.py", "utils.py"] {
        let folder = TempDir::new().unwrap();
        package(folder.path(), parser_in, CLI);
        let ask = |words: &[&str]| ask(folder.path(), words);
        assert_eq!(ask(&["--max-model-len", "4096"]), "arguments valid", "{parser_in}");
        assert_eq!(ask(&["--no-such=x"]), "arguments invalid unrecognized arguments: --no-such=x");
        let wrong = ask(&["--max-model-len", "many"]);
        assert!(
            wrong.starts_with("arguments invalid argument --max-model-len: invalid int value"),
            "{wrong}"
        );
        let both = ask(&["--enable-auto-tool-choice"]);
        assert!(both.starts_with("arguments invalid Error: --enable-auto-tool-choice requires"), "{both}");
    }
    let nothing = TempDir::new().unwrap();
    assert!(ask(nothing.path(), &[]).starts_with("arguments unknown ModuleNotFoundError"));
    let other = TempDir::new().unwrap();
    package(other.path(), "utils.py", "raise RuntimeError('no device')\n");
    assert_eq!(ask(other.path(), &[]), "arguments unknown RuntimeError: no device");
}
