//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::core::model::{
    desired::Secret,
    name::{PlainPath, Variable},
};

/// The commands stand in groups, in the order in which somebody needs them.
const HELP: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{after-help}\n\nOptions:\n{options}";

/// Every command, once.
pub const GROUPS: [(&str, &[&str]); 5] = [
    ("Begin", &["demo", "init", "key", "trust", "serve", "token"]),
    ("See", &["status", "diff", "plan", "models", "schedule", "history", "logs", "check"]),
    ("Change", &["use", "back", "restart", "desired", "hold", "suspend", "resume"]),
    ("Agree", &["apply", "approve", "retry"]),
    ("Beside", &["export", "replay", "schema", "completions", "man"]),
];

/// The commands by their groups, as help shows them.
fn in_groups() -> String {
    let commands = Command::augment_subcommands(clap::Command::new("spark-control"));
    let mut text = String::new();
    for (group, names) in GROUPS {
        text += &format!("{group}:\n");
        for name in names {
            let about = commands.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map_or(String::new(), ToString::to_string);
            let first = about.split(['.', ':', ';']).next().unwrap_or_default();
            text += &format!("  {name:<12} {first}\n");
        }
        text += "\n";
    }
    text + "`spark-control help COMMAND` says more of each."
}

/// Keeps a small cluster of NVIDIA DGX Spark machines in the state that one file describes.
#[derive(Debug, Parser)]
#[command(name = "spark-control", version, max_term_width = 100, help_template = HELP, after_help = in_groups())]
pub struct Arguments {
    /// The file that describes the cluster. [default: cluster.yaml here, else in spark-control in the XDG config directory]
    #[arg(long, global = true, value_name = "FILE", env = "SPARK_CONTROL_FILE", hide_env_values = true)]
    pub file: Option<PathBuf>,
    /// Where the store, the key and the saved logs are kept. [default: the XDG state directory]
    #[arg(long, global = true, value_name = "DIR", env = "SPARK_CONTROL_DATA", hide_env_values = true)]
    pub data: Option<PathBuf>,
    /// How to print data.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub output: Format,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the file and say what is wrong with it. Asks no Spark.
    Check {
        /// Another file than that of the cluster, such as a draft.
        draft: Option<PathBuf>,
    },
    /// What would be done, as far as the Sparks were seen last. Changes nothing.
    Plan {
        /// A plan that was printed before: what it was, and what has changed since. Or a draft of the file: what it would bring.
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        plan: Option<String>,
        /// Look at the Sparks first.
        #[arg(long)]
        now: bool,
    },
    /// Let another model serve: shows what that does, and asks.
    Use {
        /// A name of `models`; `none` keeps the slot empty.
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        model: String,
        #[command(flatten)]
        agreed: Agreed,
    },
    /// Put the file back as it was: shows what that does, and asks. Going back is an edit like any other.
    Back {
        /// The revision whose text is meant; without it, the one before the last edit. `spark-control history` has the numbers.
        revision: Option<u64>,
        #[command(flatten)]
        agreed: Agreed,
    },
    /// Load the model of a slot anew, or start a service's container anew, once.
    Restart {
        /// The slot or service; `vllm` is the main slot.
        #[arg(default_value = "vllm")]
        object: String,
        #[command(flatten)]
        agreed: Agreed,
    },
    /// Do what a plan says, and follow it to its end.
    Apply {
        /// The plan that was printed; without it, the plan of this moment.
        plan: Option<String>,
        /// Take the open steps and do not wait for what comes after the next gate.
        #[arg(long)]
        no_wait: bool,
    },
    /// Agree to the steps of a plan that waits for it.
    Approve {
        /// The plan's id.
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        plan: String,
    },
    /// Forget the failed attempts of a slot or service, so that it is tried again. It asks when that stops what serves.
    Retry {
        /// The slot or service; `vllm` is the main slot.
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        object: String,
        #[command(flatten)]
        agreed: Agreed,
    },
    /// Read or change the file as a program would: comments stay, and nobody's edit is lost.
    Desired {
        #[command(subcommand)]
        action: DesiredAction,
    },
    /// What should be, what is, and what is in the way.
    Status {
        /// Show it again whenever it changed, until Ctrl-C.
        #[arg(long, short)]
        watch: bool,
        /// What the running controller saw last; no Spark is asked for it.
        #[arg(long, alias = "known", conflicts_with = "watch")]
        cached: bool,
        /// Look at the Sparks first; without it, what was seen last is shown, with its age.
        #[arg(long, conflicts_with_all = ["watch", "cached"])]
        now: bool,
    },
    /// What differs between the file and the Sparks, as they were seen last.
    Diff {
        /// Look at the Sparks first.
        #[arg(long)]
        now: bool,
    },
    /// "Do not swap": keep what serves, until a time or until it is released. Without a name, what is held.
    Hold {
        /// A name for it.
        name: Option<String>,
        #[command(flatten)]
        arguments: HoldArguments,
    },
    /// Look, but do nothing: about one slot, service or model's files, or about everything.
    Suspend {
        /// The slot or service, or `weights/` and a model for its files; `vllm` is the main slot.
        object: Option<String>,
        /// Print what would change; write nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// The end of `suspend`.
    Resume {
        /// The slot or service, or `weights/` and a model for its files; `vllm` is the main slot.
        object: Option<String>,
        /// Print what would change; write nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Which model serves when, and what comes next.
    Schedule,
    /// Keep the Sparks in the desired state until told to end.
    Serve {
        /// Where to answer: the API, `/healthz`, `/readyz` and `/metrics`.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9999")]
        listen: std::net::SocketAddr,
        /// A name under which it is reached, beside addresses and `localhost`; may be given several times.
        #[arg(long, value_name = "HOST")]
        allow_host: Vec<String>,
        /// A secret that a token which may only edit may name in the file, as `env:NAME` or `file:PATH` (a folder stands for its
        /// files), beside those in the data directory's `secrets`; may be given several times.
        #[arg(long, value_name = "PLACE", value_parser = secret_place)]
        allow_secret: Vec<Secret>,
        /// Log as JSON lines.
        #[arg(long)]
        log_json: bool,
    },
    /// Print the JSON schema of the file.
    Schema,
    /// Describe Sparks that nobody described yet: make a key, look at what runs, and write a first file.
    Init {
        #[command(flatten)]
        arguments: InitArguments,
    },
    /// Print the public key that the Sparks must know; it is made when there is none.
    Key,
    /// The catalog: which model serves, and what would be done to serve each other one.
    Models,
    /// Pin the host key of a Spark, after showing it.
    Trust {
        /// The Spark's name in the file.
        spark: String,
        /// The fingerprint to expect (`SHA256:…`); without it the key is shown, and pinned when a person at a terminal says
        /// so.
        #[arg(long)]
        fingerprint: Option<String>,
    },
    /// What the containers of a slot or service say; when none is there, what the last one said.
    Logs {
        /// The slot or service; `vllm` is the main slot.
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        object: String,
        /// What was saved before the last one was stopped.
        #[arg(long)]
        saved: bool,
        /// Go on with what they say next, until Ctrl-C.
        #[arg(long, short, conflicts_with = "saved")]
        follow: bool,
    },
    /// Who may ask over HTTP. While there is no token, everybody who reaches the controller may.
    Token {
        #[command(subcommand)]
        action: TokenAction,
    },
    /// Try it: two simulated Sparks, and a `cluster.yaml` in the working directory to edit.
    Demo {
        #[command(subcommand)]
        action: Option<DemoAction>,
        /// Where to answer `/healthz`, `/readyz` and `/metrics`.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9999")]
        listen: std::net::SocketAddr,
    },
    /// Write what the controller knows at this moment, for somebody else to look into. Secrets are not in it.
    Export,
    /// Decide again what to do, from what `export` wrote.
    Replay {
        /// The file; `-` reads stdin.
        file: PathBuf,
        /// Go on from there for so long, such as 30m, on simulated Sparks that are as they were seen. Their hours pass in seconds.
        #[arg(long, value_name = "LENGTH")]
        play: Option<String>,
    },
    /// Print completions for a shell.
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages.
    Man {
        /// Where to.
        directory: PathBuf,
    },
    /// What happened, oldest first.
    History {
        /// How many lines at most.
        #[arg(long, default_value = "50")]
        last: u32,
        /// What this Spark wrote down of every message that reached it, whoever sent it.
        #[arg(long, value_name = "SPARK")]
        spark: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum DesiredAction {
    /// Print the file; as JSON with its revision and its value.
    Get,
    /// Change some fields.
    Patch {
        /// A JSON merge patch, such as '{"model": "none"}'; `null` takes a field out.
        #[arg(required_unless_present = "stdin", conflicts_with = "stdin")]
        patch: Option<String>,
        /// Read the patch from stdin.
        #[arg(long)]
        stdin: bool,
        /// The patch is a JSON patch (RFC 6902).
        #[arg(long)]
        json_patch: bool,
        #[command(flatten)]
        how: EditArguments,
    },
    /// Replace the whole file.
    Put {
        /// The new text; `-` reads stdin.
        text: PathBuf,
        #[command(flatten)]
        how: EditArguments,
    },
    /// Open the file in $VISUAL or $EDITOR; it is replaced when what was written is valid.
    Edit,
}

#[derive(Debug, clap::Args)]
pub struct InitArguments {
    /// A Spark: NAME=USER@ADDRESS, with :PORT where its SSH server has another, or NAME=local. Once for each.
    #[arg(long = "spark", value_name = "SPARK")]
    pub sparks: Vec<String>,
    /// Take over the files of the original system in this directory, and its environment variables.
    #[arg(long, value_name = "DIR")]
    pub from_spark_control: Option<PathBuf>,
    /// The host key to expect of a Spark: NAME=SHA256:… . Once for each; otherwise a person at a terminal is asked.
    #[arg(long = "fingerprint", value_name = "FINGERPRINT")]
    pub fingerprints: Vec<String>,
    /// Use this private key, instead of one of the controller's own.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The Docker Engine's socket on the Sparks, where it is not the usual one.
    #[arg(long, value_name = "PATH")]
    pub docker_socket: Option<String>,
    /// Ask no Spark: write what is known without.
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, clap::Args)]
pub struct HoldArguments {
    /// Until this time, such as 2026-12-01T06:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "length")]
    pub until: Option<jiff::Timestamp>,
    /// For this long, such as 8h.
    #[arg(long = "for", value_name = "LENGTH")]
    pub length: Option<String>,
    /// Whose it is; nobody else may release it. [default: the user who types it]
    #[arg(long)]
    pub owner: Option<String>,
    #[arg(long)]
    pub reason: Option<String>,
    /// The service or slot that is held, or `weights/` and a model for its files. [default: the main slot]
    #[arg(long)]
    pub object: Option<String>,
    /// Take it out of the file.
    #[arg(long, conflicts_with_all = ["until", "length", "reason", "object"])]
    pub release: bool,
    /// Print what would change; write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub struct EditArguments {
    /// The revision that the change was made from; it is refused when the file holds something else by now.
    #[arg(long, value_name = "REVISION")]
    pub base: Option<u64>,
    /// Print what would change and what would be done; write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Make the file when there is none.
    #[arg(long, conflicts_with = "base")]
    pub create: bool,
    /// Do not ask. Without a terminal nobody is asked.
    #[arg(long, short)]
    pub yes: bool,
}

/// What somebody says of an act before it was shown.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Agreed {
    /// Only show what that does.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Make one, and print it: this once. With the first one, nobody is answered without.
    Create {
        /// Whose it is, or what for.
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        name: String,
        /// What it may: each may what those before it may.
        #[arg(long, value_enum, default_value = "edit")]
        role: TokenRole,
    },
    /// The word of before for `create`: it says so.
    #[command(hide = true)]
    New {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Make one in the place of another, which is worth nothing from then on; the first time, just make it.
    Renew {
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        name: String,
        /// What it may. [default: what the one before may; edit]
        #[arg(long, value_enum)]
        role: Option<TokenRole>,
    },
    /// Which there are, and when each was used last.
    List,
    /// Take one away, with every browser that signed in with it.
    Revoke { name: String },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum TokenRole {
    /// See everything.
    Read,
    /// Edit desired state.
    Edit,
    /// Agree to plans.
    Approve,
}

#[derive(Debug, Subcommand)]
pub enum DemoAction {
    /// Let something go wrong in a running demo.
    Fault {
        /// The simulated Spark.
        spark: String,
        /// silent, slow, engine-dies, tokens-freeze, containers-vanish, reboot, load-fails, runs-out, memory-sticks,
        /// memory-shrinks, disk-full and others: a wrong name lists them all.
        fault: String,
        /// How long, where it lasts.
        #[arg(default_value = "30s")]
        length: String,
    },
}

/// `env:NAME` or `file:PATH`
fn secret_place(written: &str) -> Result<Secret, String> {
    match written.split_once(':') {
        Some(("env", name)) => Variable::new(name).map(Secret::Env).map_err(|error| error.to_string()),
        Some(("file", path)) => PlainPath::new(path).map(Secret::File).map_err(|error| error.to_string()),
        _ => Err("write `env:NAME` or `file:PATH`".into()),
    }
}
