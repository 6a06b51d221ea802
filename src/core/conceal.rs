//! Command lines without the secrets that people put on them: what others started is shown, not what they keep.

/// Options whose values are nobody's business.
const SECRET_OPTIONS: [&str; 7] = [
    "--api-key",
    "--hf-token",
    "--token",
    "--auth-token",
    "--password",
    "--secret",
    "--ssl-keyfile-password",
];
/// Parts of a variable's name that say the same.
const SECRET_NAMES: [&str; 5] = ["TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD"];
const HIDDEN: &str = "***";

/// `command` with `***` for every secret in it.
pub fn without_secrets(command: &str) -> String {
    let mut after_secret = false;
    let hidden = command.split(' ').map(|word| {
        if is_option(word) || word.is_empty() {
            let (option, value) =
                word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value)));
            let is_secret = SECRET_OPTIONS.contains(&option.replace('_', "-").as_str());
            after_secret = is_secret && value.is_none() || word.is_empty() && after_secret;
            return if is_secret && value.is_some() { format!("{option}={HIDDEN}") } else { word.to_owned() };
        }
        // Some take several.
        if after_secret {
            return HIDDEN.to_owned();
        }
        match word.split_once('=') {
            Some((name, _)) if is_secret_variable(name) => format!("{name}={HIDDEN}"),
            _ => word.to_owned(),
        }
    });
    hidden.collect::<Vec<_>>().join(" ")
}

fn is_option(word: &str) -> bool {
    word.starts_with("--")
}

fn is_secret_variable(name: &str) -> bool {
    let is_variable =
        name.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_');
    is_variable && SECRET_NAMES.iter().any(|part| name.split('_').any(|word| word == *part))
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
            (
                "bash -c HF_TOKEN=s3cret VLLM_API_KEY=x vllm serve a",
                "bash -c HF_TOKEN=*** VLLM_API_KEY=*** vllm serve a",
            ),
            (
                "vllm serve a --max-num-batched-tokens 8 --tokenizer b",
                "vllm serve a --max-num-batched-tokens 8 --tokenizer b",
            ),
            ("env MONKEY=1 TOKENS=2 vllm serve a", "env MONKEY=1 TOKENS=2 vllm serve a"),
        ] {
            assert_eq!(without_secrets(command), shown);
        }
    }
}
