//! Command lines without the secrets that people put on them: what others started is shown, not what they keep.

/// Ends of the names of options and variables whose values are nobody's business, in small letters.
const SECRET: [&str; 12] = [
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "auth",
    "credential",
    "credentials",
    "authorization",
];
/// The same where they are written in one word with what stands before.
const SECRET_ENDS: [&str; 6] = ["apikey", "authkey", "accesskey", "password", "token", "secret"];
const HIDDEN: &str = "***";
/// Of an `Authorization`: the word that is nobody's business comes after it.
const SCHEMES: [&str; 3] = ["bearer", "basic", "digest"];

/// `command` with `***` for every secret in it.
pub fn without_secrets(command: &str) -> String {
    let mut after_secret = false;
    let hidden = command.split(' ').map(|word| {
        if word.is_empty() {
            return String::new();
        }
        let bare = word.trim_matches(['"', '\'', '{', ',']);
        if let Some(assigned) = without_value(word) {
            after_secret = false;
            return assigned;
        }
        if bare.starts_with("--") {
            after_secret = is_secret(bare);
            return word.to_owned();
        }
        // `Authorization: Bearer X`, `"api_key": "X"`, `HF_TOKEN X`.
        let name = bare.trim_end_matches([':', '"', '\'']);
        let begins = bare.ends_with(':') && is_secret(last_name(name));
        let is_variable = bare.contains('_')
            && bare
                .chars()
                .all(|letter| letter.is_ascii_uppercase() || letter == '_' || letter.is_ascii_digit());
        let is_scheme = SCHEMES.contains(&last_name(name).to_lowercase().as_str());
        if begins || is_scheme || (is_variable && is_secret(bare)) {
            after_secret = true;
            return word.to_owned();
        }
        // Some options take several.
        if after_secret { HIDDEN.to_owned() } else { without_login(word) }
    });
    hidden.collect::<Vec<_>>().join(" ")
}

/// What stands last in `text` and can be part of a name.
fn last_name(text: &str) -> &str {
    text.rsplit(|letter: char| !(letter.is_ascii_alphanumeric() || "_-".contains(letter)))
        .next()
        .unwrap_or_default()
}

/// A word with a secret's `NAME=` or `"NAME":` in it: the word up to the first of them, and nothing of the value.
fn without_value(word: &str) -> Option<String> {
    let mut ends = word.match_indices(['=', ':']).filter(|(at, mark)| {
        let value = &word[at + mark.len()..];
        // `//` of an address is no value, and a colon without one speaks of the next word.
        !(*mark == ":"
            && (value.is_empty() || value.starts_with("//") || !word[..*at].ends_with(['"', '\''])))
    });
    let (at, mark) = ends.find(|(at, _)| is_secret(last_name(word[..*at].trim_end_matches(['"', '\'']))))?;
    Some(format!("{}{mark}{HIDDEN}", &word[..at]))
}

/// `https://user:password@host/` without what is before the `@`.
fn without_login(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let ends = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..ends].rfind('@') else { return word.to_owned() };
    format!("{scheme}://{HIDDEN}{}", &rest[at..])
}

/// The name of an option or a variable whose value is nobody's business.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    let last = name.rsplit('_').next().unwrap_or_default();
    SECRET.contains(&last) || SECRET_ENDS.iter().any(|end| last.ends_with(end))
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
            ("curl -H Authorization: Basic s3cret --max 3", "curl -H Authorization: Basic *** --max 3"),
            ("curl -H X-Api-Key: s3cret", "curl -H X-Api-Key: ***"),
            ("x --apikey s3cret --pass s3cret --auth s3cret", "x --apikey *** --pass *** --auth ***"),
            ("x --hftoken s3cret --passphrase s3cret", "x --hftoken *** --passphrase ***"),
            ("env HF_TOKEN s3cret", "env HF_TOKEN ***"),
            ("x {\"api_key\":\"s3cret\"}", "x {\"api_key\":***"),
            ("x {\"a\":1,\"api_key\": \"s3cret\"}", "x {\"a\":1,\"api_key\": ***"),
            ("git clone https://alice:s3cret@host/x", "git clone https://***@host/x"),
            ("git clone https://s3cret@host/x?a=b", "git clone https://***@host/x?a=b"),
            ("pull http://host/a@b ssh://host:22/x", "pull http://host/a@b ssh://host:22/x"),
            (
                "vllm serve a --max-model-len 4096 --host 0.0.0.0:80",
                "vllm serve a --max-model-len 4096 --host 0.0.0.0:80",
            ),
            ("docker run -v /a:/b -p 80:80 x", "docker run -v /a:/b -p 80:80 x"),
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
