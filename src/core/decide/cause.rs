//! Why an engine gave up, out of what it and its launcher said: the one line that a person would name. Pure text reading; vLLM 0.6
//! to 0.33 and its descendants, Docker's command line, and the launchers.
//!
//! Processes log over each other, tracebacks go through wrappers that say nothing, warnings quote errors that were lived through,
//! and what ranks say of one another's end comes last. `tests/it/causes/` has real logs with the cause that a person names.

use crate::core::model::{name::SparkName, visible};

/// A sentence, not a screen.
const MAX_CAUSE: usize = 300;
/// A message that goes on over lines is told so far.
const MAX_MORE_LINES: usize = 4;

pub const NO_CAUSE: &str = "the engine gave up without a cause";
const WORDLESS: &str = "its engine ended without a word, as one does that is killed";

/// How much a line tells of why all ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// What others say when something is gone already.
    Echo,
    /// A process ended by itself, and has said more.
    Ended,
    /// The connection between ranks broke: the cause, or what another rank's end looks like from here.
    Connection,
    /// A process was killed, and could not say more.
    Killed,
    /// An error as another process quotes it.
    Quoted,
    /// An error with its message.
    Error,
    /// What a compiler, a loader or the system said, below the error that was made of it.
    Root,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CauseCandidate {
    weight: Weight,
    text: String,
}

impl CauseCandidate {
    /// Makes a sentence of what a log says.
    fn new(weight: Weight, text: &str) -> Self {
        Self { weight, text: sentence(text) }
    }
}

/// Say that there was an error, not which.
const WRAPPERS: [&str; 13] = [
    "See root cause above",
    "See stack trace for root cause",
    "See the root cause above",
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "WorkerProc failed to start",
    "WorkerProc hit an exception",
    "EngineCore failed to start",
    "EngineCore encountered a fatal error",
    "EngineDeadError",
    "due to an exception in a background process",
    "Engine process failed to start",
    "RayTaskError",
];

/// Point to what was said before, beside their own words.
const POINTERS: [&str; 2] = ["Please check the logs for more details", "check the logs above"];

/// What is said when another process is gone, and of a registry that a launcher does without.
const ECHOES: [&str; 15] = [
    "fatal: unable to access",
    "Error: cancelled",
    "CancelledError",
    "BrokenProcessPool",
    "BrokenPipeError",
    "Broken pipe",
    "EOFError",
    "ConnectionResetError",
    "ConnectionRefusedError",
    "Background loop has errored already",
    "Executor failed",
    "HTTPException",
    "AsyncEngineDeadError",
    "can't register atexit after shutdown",
    "cannot schedule new futures after",
];

/// What ranks say of the connection between them.
const CONNECTION: [&str; 11] = [
    "NCCL",
    "ncclInternalError",
    "ncclSystemError",
    "Gloo",
    "gloo",
    "TCPStore",
    "Connection reset",
    "Connection closed by peer",
    "DistNetworkError",
    "DistStoreError",
    "connectFullMesh",
];

/// Deaths that the system reports, at the beginning of a line.
const DEATHS: [&str; 7] = [
    "Fatal Python error:",
    "Segmentation fault",
    "Bus error",
    "Aborted (core dumped)",
    "Illegal instruction",
    "Killed",
    "!!!!!!! Segfault encountered",
];

/// What compilers and loaders begin their last word with.
const ROOTS: [&str; 7] = [
    "nvcc fatal",
    "fatal error:",
    "ninja: error:",
    "/usr/bin/ld: ",
    "exec format error",
    "Exec format error",
    "nvidia-container-cli: ",
];

/// What the engine says of arguments, of files that are not there, and of too little memory: trying again would be no better.
const NAMED: [&str; 33] = [
    "unrecognized arguments",
    "error: argument ",
    "invalid choice",
    "ValidationError",
    "Unknown quantization method",
    "does not recognize this architecture",
    "are not supported for now",
    "is not a valid model identifier",
    "FileNotFoundError",
    "No such file or directory",
    "RepositoryNotFoundError",
    "Repository Not Found",
    "GatedRepoError",
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "does not appear to have a file named",
    "Invalid repository ID",
    "Free memory on device",
    "OutOfMemoryError",
    "CUDA out of memory",
    "No available memory for the cache blocks",
    "larger than the available KV cache memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Cannot find any model weights",
    "SafetensorError",
    "invalid tool call parser",
    "invalid reasoning parser",
    "chat template",
    "is greater than the derived max_model_len",
    "could not select device driver",
    "Unsupported gpu architecture",
    "is not defined for option 'gpu-name'",
];

/// The engine itself names what is wrong.
pub fn is_named(what: &str) -> bool {
    NAMED.iter().any(|words| what.contains(words))
}

/// This cause may be what another rank's failure looks like from here.
pub fn is_aftermath(cause: &str) -> bool {
    weight_of(cause) <= Weight::Connection
}

/// The line that tells why, without what loggers put before it. `None`: nothing in `log` is an error.
pub fn of(log: &str) -> Option<String> {
    found(log).map(|found| found.text)
}

/// Which rank's words tell why all of them ended, of ranks in the order of the group. When those that speak only miss the others,
/// the one that says nothing was the first.
pub fn of_ranks<'a>(ranks: impl Iterator<Item = (&'a SparkName, &'a str)>) -> Option<(SparkName, String)> {
    let mut silent = Vec::new();
    let mut best: Option<(&SparkName, CauseCandidate)> = None;
    for (spark, log) in ranks {
        match found(log) {
            None => silent.push(spark),
            Some(found) if best.as_ref().is_none_or(|(_, best)| found.weight > best.weight) => {
                best = Some((spark, found));
            }
            Some(_) => {}
        }
    }
    let (spark, found) = best?;
    match silent[..] {
        [only] if found.weight <= Weight::Connection => Some((only.clone(), WORDLESS.to_owned())),
        _ => Some((spark.clone(), found.text)),
    }
}

/// What a launcher's own log tells: an error, or what it said last.
pub fn of_launcher(said: &[String]) -> Option<String> {
    of(&said.join("\n")).or_else(|| {
        let last = said.iter().rfind(|line| tells_something(line))?;
        Some(sentence(strip_colours(last).trim()))
    })
}

/// The line is neither empty nor what is printed when all went well.
fn tells_something(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.contains("Command dispatched in background") && !is_container_id(line)
}

/// What `docker run -d` prints when all went well.
fn is_container_id(line: &str) -> bool {
    line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn found(log: &str) -> Option<CauseCandidate> {
    // A return alone draws a bar over itself.
    let log = log.replace("\r\n", "\n");
    let lines: Vec<LogLine> = log.split(['\n', '\r']).map(LogLine::read).collect();
    let after_serving =
        lines.iter().rposition(|line| line.text.contains("Application startup complete")).and_then(
            |served| Some(served + 1 + lines[served..].iter().skip(1).position(|line| line.is_wrapper())?),
        );
    // What requests met while it served is not what ended it.
    let lines = &lines[after_serving.unwrap_or(0)..];
    let ends = match after_serving {
        Some(_) => lines.len(),
        // After the first wrapper the others speak of its end.
        None => lines.iter().position(|line| line.ends_the_cause()).unwrap_or(lines.len()),
    };
    let before = best_in(lines, 0..ends);
    if before.as_ref().is_some_and(|found| found.weight >= Weight::Connection) {
        return before;
    }
    let after = best_in(lines, ends..lines.len());
    match (before, after) {
        (Some(before), Some(after)) if after.weight > before.weight => Some(after),
        (None, after) => after,
        (before, _) => before,
    }
}

/// The error of these lines that tells most; of several, the last.
fn best_in(lines: &[LogLine], range: std::ops::Range<usize>) -> Option<CauseCandidate> {
    let mut best: Option<CauseCandidate> = None;
    for at in range {
        let Some(found) = error_at(lines, at) else { continue };
        if best.as_ref().is_none_or(|best| found.weight >= best.weight) {
            best = Some(found);
        }
    }
    best
}

/// One line of a log.
#[derive(Debug)]
struct LogLine {
    /// Without colours and what loggers and process managers put before a message; what stands before a message inside is kept.
    text: String,
    is_informal: bool,
    is_error: bool,
}

impl LogLine {
    fn read(raw: &str) -> Self {
        let clean = strip_colours(raw);
        let (text, level) = strip_prefixes(&clean);
        let is_informal = matches!(level, Some("DEBUG" | "INFO" | "WARNING" | "WARN"));
        let is_error = matches!(level, Some("ERROR" | "CRITICAL" | "FATAL"));
        Self { text: text.trim_end().to_owned(), is_informal, is_error }
    }

    fn is_wrapper(&self) -> bool {
        WRAPPERS.iter().any(|wrapper| self.text.contains(wrapper))
    }

    /// A wrapper that comes after the error that it speaks of, not before.
    fn ends_the_cause(&self) -> bool {
        const BEFORE: [&str; 4] = [
            "failed to start",
            "hit an exception",
            "encountered a fatal error",
            "initialization failed due to",
        ];
        self.is_wrapper() && !BEFORE.iter().any(|words| self.text.contains(words))
    }
}

/// `ESC [ … letter`, as terminals are told to colour.
fn strip_colours(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            if letters.next() == Some('[') {
                let _ = letters.find(|letter| letter.is_ascii_alphabetic());
            }
        } else {
            text.push(letter);
        }
    }
    text
}

const LEVELS: [&str; 7] = ["DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"];

/// `(EngineCore_0 pid=7) ERROR 11-25 07:00:00 [core.py:700] message`, and the like: the message, and the level.
fn strip_prefixes(line: &str) -> (&str, Option<&str>) {
    let mut rest = without_time(line);
    let mut level = None;
    loop {
        let text = rest.trim_start();
        // `(Worker_TP0 pid=7)`, and Ray's `(RayWorkerWrapper pid=7, ip=192.0.2.1)`.
        if text.starts_with('(')
            && let Some((inside, after)) = text[1..].split_once(')')
            && (inside.contains("pid=") || inside.starts_with("Worker") || inside.starts_with("EngineCore"))
        {
            rest = after.strip_prefix(' ').unwrap_or(after);
            continue;
        }
        // `[rank0]: `, and how exception groups draw their tree.
        if let Some((rank, after)) = text.strip_prefix("[rank").and_then(|after| after.split_once("]:"))
            && rank.bytes().all(|byte| byte.is_ascii_digit())
        {
            rest = after.strip_prefix(' ').unwrap_or(after);
            continue;
        }
        if let Some(after) = text.strip_prefix("| ") {
            rest = after;
            continue;
        }
        let word = text.split([' ', ':']).next().unwrap_or_default();
        if level.is_none() && LEVELS.contains(&word) && text[word.len()..].starts_with([' ', ':']) {
            // `Error:` of a program is a message; levels are in capitals.
            level = Some(word);
            rest = after_level(&text[word.len()..]);
            continue;
        }
        return (rest, level);
    }
}

/// Docker begins each line with `2026-11-25T07:00:00.123456789Z `.
fn without_time(line: &str) -> &str {
    match line.split_once(' ') {
        Some((time, after)) if time.len() >= 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T' => {
            after
        }
        _ => line,
    }
}

/// Past `: `, ` 11-25 07:00:00 ` and `[core.py:700] `. What follows keeps its indent.
fn after_level(text: &str) -> &str {
    let text = text.strip_prefix(':').unwrap_or(text);
    let mut rest = text.strip_prefix(' ').unwrap_or(text);
    for _ in 0..2 {
        if let Some((word, after)) = rest.split_once(' ')
            && word.starts_with(|letter: char| letter.is_ascii_digit())
            && word.bytes().all(|byte| byte.is_ascii_digit() || b"-:.,/".contains(&byte))
        {
            rest = after;
        }
    }
    match rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((place, after)) if place.contains(".py:") || place.contains(".rs:") => {
            after.strip_prefix(' ').unwrap_or(after)
        }
        _ => rest,
    }
}

/// The error that begins in this line, with what goes on below it.
fn error_at(lines: &[LogLine], at: usize) -> Option<CauseCandidate> {
    let line = &lines[at];
    if line.is_informal {
        return None;
    }
    let text = line.text.trim();
    if let Some(found) = death(text) {
        return Some(found);
    }
    if let Some(root) = root(text) {
        return Some(CauseCandidate::new(Weight::Root, root));
    }
    if let Some((_, quoted)) = text.split_once("Worker failed with error '") {
        let quoted = quoted.split("', please check the stack trace").next().unwrap_or(quoted);
        return Some(CauseCandidate::new(Weight::Quoted, quoted));
    }
    if line.is_wrapper() {
        return None;
    }
    // Launchers say first what is wrong, and then that they give up.
    if at > 0 && gives_up(line) && gives_up(&lines[at - 1]) {
        return None;
    }
    let message = named_error(text)
        .or_else(|| said_error(text))
        .or_else(|| logged_error(line, text))
        .or_else(|| bare_error(lines, at))?;
    let message = go_on(message, lines, at);
    Some(CauseCandidate::new(weight_of(&message), &message))
}

/// A program says its error in this line, as a launcher does before it gives up.
fn gives_up(line: &LogLine) -> bool {
    said_error(line.text.trim()).is_some_and(|said| said.starts_with("Error: "))
}

/// What compilers, loaders and the system say.
fn root(text: &str) -> Option<&str> {
    if text.starts_with("ptxas") && text.contains(" fatal ") {
        return Some(text);
    }
    ROOTS.iter().find_map(|root| text.find(root).map(|begins| &text[begins..]))
}

/// A process that ended in another way than by an error of its own.
fn death(text: &str) -> Option<CauseCandidate> {
    if let Some(told) = text.split(", shutting down").next().filter(|told| {
        let ends = told.split(" (exit code").next().unwrap_or(told);
        ends.ends_with("died unexpectedly") && named_error(told).is_none()
    }) {
        // A code below zero is a signal; others said more before they ended.
        let weight = if told.contains("(exit code: -") { Weight::Killed } else { Weight::Ended };
        return Some(CauseCandidate::new(weight, told));
    }
    if let Some((_, procs)) = text.split_once("Failed core proc(s): ")
        && procs.contains(": -")
    {
        return Some(CauseCandidate::new(Weight::Killed, &format!("Failed core proc(s): {procs}")));
    }
    if text.contains("ActorDiedError") || text.contains("died unexpectedly before finishing") {
        return Some(CauseCandidate::new(Weight::Ended, text));
    }
    DEATHS
        .iter()
        .any(|death| text.starts_with(death))
        .then(|| CauseCandidate::new(Weight::Killed, text.trim_matches('!')))
}

/// `name.of.SomeError: message`, anywhere in a line: loggers of many kinds put words before it. Or `SomeError('message')`.
fn named_error(text: &str) -> Option<String> {
    if ["raise ", "except ", "File \"", "warnings.warn"].iter().any(|code| text.starts_with(code)) {
        return None;
    }
    if let Some((path, rest)) = text.split_once("Error('")
        && is_error_name(&format!("{path}Error"))
    {
        let name = path.rsplit('.').next().unwrap_or(path);
        return Some(format!("{name}Error: {}", rest.trim_end_matches(['\'', ')', ','])));
    }
    // Those of some libraries are called otherwise: their whole path is told, as tracebacks end.
    if let Some((path, message)) = text.split_once(": ")
        && (path == "Exception" || path.matches('.').count() >= 2 && is_class(path))
    {
        let name = path.rsplit('.').next().unwrap_or(path);
        return Some(format!("{name}: {message}"));
    }
    let mut begins = 0;
    for word in text.split_inclusive(' ') {
        let path =
            word.trim_end().trim_start_matches(['"', '\'', '`', '(']).strip_suffix(':').unwrap_or_default();
        if is_error_name(path) {
            let name = path.rsplit(['.', ':']).next().unwrap_or(path);
            return Some(format!("{name}: {}", text[begins + word.len()..].trim()));
        }
        begins += word.len();
    }
    None
}

/// `triton.runtime.errors.OutOfResources`
fn is_class(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or_default();
    path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
        && name.starts_with(|letter: char| letter.is_ascii_uppercase())
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// `ValueError`, `torch.OutOfMemoryError`, `some.OddException`; not `Error` alone.
fn is_error_name(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or_default();
    let is_path = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
    let is_error = ["Error", "Exception", "Exit", "Errors"]
        .iter()
        .any(|ending| name.strip_suffix(ending).is_some_and(|before| !before.is_empty()));
    is_path && is_error && name.starts_with(|letter: char| letter.is_ascii_uppercase())
        || (name.ends_with("_error") && path.contains('.'))
}

/// `vllm serve: error: …`, `docker: Error response from daemon: …`, `Error: …`, `what():  …`: what programs say themselves.
fn said_error(text: &str) -> Option<String> {
    const WORDS: [&str; 9] = [
        "docker: ",
        "error: ",
        "Error response from daemon: ",
        "Error: ",
        "ERROR: ",
        "fatal: ",
        "what():  ",
        "Failed to initialize NVML: ",
        "the launch failed: ",
    ];
    let at = WORDS.iter().filter_map(|words| beginning_of(words, text)).min()?;
    let told = text[at..].trim_start_matches("what():").trim_start_matches("docker: ").trim();
    (told.len() > "Error: ".len()).then(|| told.to_owned())
}

/// Where a program begins to say these words: what stands in the middle of a sentence quotes.
fn beginning_of(words: &str, text: &str) -> Option<usize> {
    let at = text.find(words)?;
    // At the beginning, or after the name of the program.
    let before = &text[..at];
    (before.is_empty() || before.ends_with(": ") && before.len() < 60).then_some(at)
}

/// What servers and Ray's own processes log as an error without a name.
fn logged_error(line: &LogLine, text: &str) -> Option<String> {
    if line.is_error && text.starts_with("[Errno ") {
        return Some(text.to_owned());
    }
    if let Some(message) = text.strip_prefix("[sparkrun] CRITICAL: ") {
        return Some(message.to_owned());
    }
    // `[2025-06-13 01:49:41,730 E 1 1] gcs_rpc_client.h:179: message`
    let (place, message) = text.strip_prefix('[')?.split_once("] ")?;
    let (_, message) = message.split_once(": ")?;
    place.split(' ').any(|word| word == "E" || word == "C").then(|| message.to_owned())
}

/// A traceback that ends in a name alone: the line of source that raised it is what there is to say.
fn bare_error(lines: &[LogLine], at: usize) -> Option<String> {
    let name = lines[at].text.trim();
    if !is_error_name(name) || lines[at].text.starts_with(' ') {
        return None;
    }
    let name = name.rsplit('.').next().unwrap_or(name);
    let above = lines[..at].iter().rev().take(6).map(|line| line.text.trim());
    let mut above = above.filter(|text| !is_marks(text));
    let source = above.next().unwrap_or_default();
    let place = above.find(|text| text.starts_with("File \"")).and_then(place_of);
    if source.is_empty() || source.starts_with("Traceback") {
        return Some(name.to_owned());
    }
    Some(match place {
        Some(place) => format!("{name} at `{source}` ({place})"),
        None => format!("{name} at `{source}`"),
    })
}

/// The text is what Python draws below a line of source.
fn is_marks(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| b"^~ |".contains(&byte))
}

/// `File "/a/b/linear.py", line 412, in f` → `linear.py:412`.
fn place_of(text: &str) -> Option<String> {
    let (path, rest) = text.strip_prefix("File \"")?.split_once('"')?;
    let line: String =
        rest.chars().skip_while(|letter| !letter.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    Some(format!("{}:{line}", path.rsplit('/').next().unwrap_or(path)))
}

/// Messages that go on in the lines below: they end with a colon, or count what follows.
fn go_on(message: String, lines: &[LogLine], at: usize) -> String {
    let counts = message.contains(" validation error");
    if message.contains("NCCL error in") {
        // What it was is in its next lines, and for which call is not told.
        let below = lines[at + 1..].iter().map(|line| line.text.trim()).take(3);
        let below: Vec<&str> =
            below.take_while(|text| !text.is_empty() && !text.starts_with("Traceback")).collect();
        let what = message.split("NCCLUtils").next().unwrap_or_default();
        let what = message.split_once(", ").map_or(what, |(_, what)| what);
        return format!("NCCL error: {what}; {}", below.join(" "));
    }
    if !counts && !message.ends_with(':') {
        return message;
    }
    let below = lines[at + 1..].iter().map(|line| line.text.trim()).take(3 * MAX_MORE_LINES);
    let more = below
        .take_while(|text| belongs_to_message(text))
        .filter(|text| !text.starts_with("For further information"));
    let more: Vec<&str> = more.take(MAX_MORE_LINES).collect();
    if !counts {
        return format!("{message} {}", more.join("; "));
    }
    // Each of what follows is a field, where it has one, and below it what is wrong with it.
    let name = message.split(':').next().unwrap_or_default();
    let mut told = String::new();
    for text in more {
        let what = text.split(" [type=").next().unwrap_or(text);
        let what = ["Value error, ", "Assertion failed, "]
            .iter()
            .find_map(|words| what.strip_prefix(words))
            .unwrap_or(what);
        let glue = match told.as_str() {
            "" => "",
            field if !field.contains(' ') => ": ",
            _ => "; ",
        };
        told += glue;
        told += what;
    }
    if told.is_empty() { message } else { format!("{name}: {told}") }
}

/// A line of the message that is above it: neither its end nor the beginning of another.
fn belongs_to_message(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with("Traceback")
        && !text.starts_with("During handling")
        && named_error(text).is_none()
}

fn weight_of(message: &str) -> Weight {
    if has_any(message, &ECHOES) || message == NO_CAUSE {
        Weight::Echo
    } else if has_any(message, &POINTERS)
        || message.contains("died unexpectedly") && !message.contains("(exit code: -")
    {
        Weight::Ended
    } else if has_any(message, &CONNECTION) {
        Weight::Connection
    } else {
        Weight::Error
    }
}

/// Any of these words are in the message.
fn has_any(message: &str, words: &[&str]) -> bool {
    words.iter().any(|words| message.contains(words))
}

/// On one line, not longer than a person reads.
fn sentence(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.trim_end_matches(['.', ' ', ':']);
    visible::short(text, MAX_CAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a person would read "see root cause above" with nothing above.
    #[test]
    fn the_cause_is_found_past_the_wrapper() {
        let log = "(EngineCore pid=9) ERROR 11-25 07:00:00 [core.py:700] ValueError: Free memory on device cuda:0 (36.75/121.63 \
                   GiB) on startup is less than desired GPU memory utilization (0.85, 103.38 GiB).\n\
                   (EngineCore pid=9) Traceback (most recent call last):\n\
                   (APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core \
                   proc(s): {}\n";
        let fatal = of(log).unwrap();
        assert!(fatal.starts_with("ValueError: Free memory on device cuda:0 (36.75/121.63 GiB)"), "{fatal}");
        assert!(fatal.ends_with("(0.85, 103.38 GiB)"), "{fatal}");
        let echo = "ERROR ValueError: bad config\nRuntimeError: Engine core initialization failed. See root cause above.\n\
                    ERROR torch.distributed.DistNetworkError: Connection reset by peer\n";
        assert_eq!(of(echo).unwrap(), "ValueError: bad config");
        let parser =
            "usage: vllm serve [model_tag] [options]\nvllm serve: error: unrecognized arguments: --nope\n";
        assert_eq!(of(parser).unwrap(), "error: unrecognized arguments: --nope");
        assert!(is_named(&of(parser).unwrap()));
        assert_eq!(of("RuntimeError: Engine core initialization failed. See root cause above.\n"), None);
        // An error that was lived through is no failure.
        assert_eq!(of("WARNING ImportError: no flash attention, falling back\n"), None);
    }

    #[test]
    fn an_error_has_a_name_of_its_own() {
        for (line, told) in [
            ("INFO ValueError: x", None),
            ("ERROR ValueError: x", Some("ValueError: x")),
            ("ERROR some.module.OddException: y.", Some("OddException: y")),
            ("Error: z", Some("Error: z")),
            ("WARNING Something: went on", None),
            ("a ValueError without a colon", None),
        ] {
            assert_eq!(of(line).as_deref(), told, "{line}");
        }
    }

    /// If this failed, what broke last would be told in place of what broke first.
    #[test]
    fn the_rank_that_speaks_of_itself_is_told_before_those_that_miss_it() {
        let (one, two) = (SparkName::new("spark1").unwrap(), SparkName::new("spark2").unwrap());
        let told = |first: &str, second: &str| {
            let (spark, what) = of_ranks([(&one, first), (&two, second)].into_iter())?;
            Some(format!("{spark}: {what}"))
        };
        let nccl = "RuntimeError: NCCL error: remote process exited or there was a network error";
        let memory = "OutOfMemoryError: CUDA out of memory";
        assert_eq!(told(nccl, memory).unwrap(), format!("spark2: {memory}"));
        assert_eq!(told(memory, nccl).unwrap(), format!("spark1: {memory}"));
        assert_eq!(told(nccl, nccl).unwrap(), format!("spark1: {nccl}"));
        assert_eq!(told(nccl, "INFO all is well").unwrap(), format!("spark2: {WORDLESS}"));
        assert_eq!(told("", ""), None);
        let killed = "ERROR 11-25 07:00:00 [multiproc_executor.py:241] Worker proc VllmWorker-0 died unexpectedly (exit code: -9), \
                      shutting down executor.\nRuntimeError: cancelled\n";
        let what = "Worker proc VllmWorker-0 died unexpectedly (exit code: -9)";
        assert_eq!(told(nccl, killed).unwrap(), format!("spark2: {what}"));
    }

    #[test]
    fn a_launcher_says_an_error_or_its_last_words() {
        let said =
            |lines: &[&str]| of_launcher(&lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>());
        let error = "docker: Error response from daemon: could not select device driver \"\" with capabilities: [[gpu]]";
        let told = said(&["Starting", error, "Command dispatched in background"]);
        assert_eq!(told.unwrap(), error.strip_prefix("docker: ").unwrap());
        assert_eq!(said(&["Command dispatched in background"]), None);
        assert_eq!(said(&["no nodes", ""]).unwrap(), "no nodes");
        // The words of success tell nothing of a failure.
        assert_eq!(said(&[&"4f".repeat(32), "Command dispatched in background (Daemon mode)."]), None);
    }

    #[test]
    fn any_text_can_be_read() {
        for text in [
            "",
            "\r\r",
            "\u{1b}[",
            "\u{1b}",
            "(pid=",
            "[rank",
            "ERROR",
            "ERROR:",
            "x.Error",
            "Error:",
            "\u{1F980}Error: x",
        ] {
            let _ = of(text);
        }
    }
}
