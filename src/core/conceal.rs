//! Command lines without the secrets that people put on them: what others started is shown, not what they keep.

/// Ends of the names of options and variables whose values are nobody's business, in small letters.
const SECRET: [&str; 7] = ["key", "token", "secret", "password", "passwd", "credential", "credentials"];
const HIDDEN: &str = "***";

/// `command` with `***` for every secret in it.
pub fn without_secrets(command: &str) -> String {
    let mut after_secret = false;
    let hidden = command.split(' ').map(|word| {
        if word.is_empty() {
            return String::new();
        }
        let bare = word.trim_matches(['"', '\'']);
        if let Some(assigned) = without_value(word) {
            after_secret = false;
            return assigned;
        }
        if bare.starts_with("--") {
            after_secret = is_secret(bare);
            return word.to_owned();
        }
        if bare.eq_ignore_ascii_case("bearer") || bare.to_lowercase().ends_with(":bearer") {
            after_secret = true;
            return word.to_owned();
        }
        // Some options take several.
        if after_secret { HIDDEN.to_owned() } else { word.to_owned() }
    });
    hidden.collect::<Vec<_>>().join(" ")
}

/// A word with a secret's `NAME=` in it: the word up to the first of them, and nothing of the value.
fn without_value(word: &str) -> Option<String> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    let mut ends = word.match_indices('=').map(|(at, _)| at);
    let at = ends.find(|at| {
        let name = word[..*at].rsplit(|letter| !is_of_name(letter)).next().unwrap_or_default();
        is_secret(name)
    })?;
    Some(format!("{}={HIDDEN}", &word[..at]))
}

/// The name of an option or a variable whose value is nobody's business.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    let last = name.rsplit('_').next().unwrap_or_default();
    SECRET.contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, `status` would show the keys of engines that other people started.
    #[test]
    fn secrets_on_command_lines_are_hidden_and_nothing_else_is() {
        for (command, shown) in [
            ("vllm serve a --api-key s3cret --port 1", "vllm serve a --api-key *** --port 1"),
            ("vllm serve a --api-key one two --port 1", "vllm serve a --api-key *** *** --port 1"),
            ("vllm serve a --api_key=s3cret", "vllm serve a --api_key=***"),
            ("vllm serve --hf-token  s3cret", "vllm serve --hf-token  ***"),
            ("bash -c HF_TOKEN=s3cret VLLM_API_KEY=x vllm", "bash -c HF_TOKEN=*** VLLM_API_KEY=*** vllm"),
            ("bash -c env \"HF_TOKEN=s3cret\" vllm", "bash -c env \"HF_TOKEN=*** vllm"),
            ("cd /w;HF_TOKEN=s3cret vllm", "cd /w;HF_TOKEN=*** vllm"),
            ("docker run --env=HF_TOKEN=s3cret x", "docker run --env=HF_TOKEN=*** x"),
            ("x --redis-password=s3cret", "x --redis-password=***"),
            ("curl -H Authorization: Bearer s3cret", "curl -H Authorization: Bearer ***"),
            (
                "vllm serve a --max-num-batched-tokens 8 --tokenizer b",
                "vllm serve a --max-num-batched-tokens 8 --tokenizer b",
            ),
            ("env MONKEY=1 TOKENS=2 vllm serve a", "env MONKEY=1 TOKENS=2 vllm serve a"),
            (
                "vllm serve a --override-generation-config {\"a\":1}",
                "vllm serve a --override-generation-config {\"a\":1}",
            ),
        ] {
            assert_eq!(without_secrets(command), shown);
        }
    }
}
