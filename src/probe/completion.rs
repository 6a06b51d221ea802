//! One-token completions: the only question that an engine which hangs does not answer. At most one is under way for an
//! object, and a look does not wait for a slow one: what came of it is there at a later look.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};

use super::http::{Http, NoAnswer, Request};
use crate::core::{
    desired::{Object, Secret},
    observed::Completion,
};

/// One token, on an engine that may have to compile a kernel for it first.
const DEADLINE: Duration = Duration::from_secs(30);
/// A look waits this long for it; a healthy engine needs a fraction of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is asked of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Scheme, address and port.
    pub base: String,
    /// Another container is another engine, whatever it answers.
    pub container: Option<String>,
    pub model: String,
    pub api_key: Option<Secret>,
}

/// The completions that are under way.
#[derive(Default)]
pub struct Completions {
    running: Mutex<BTreeMap<Object, (Question, JoinHandle<Completion>)>>,
}

impl Completions {
    /// Ask, or look whether what was asked before is answered. `None`: not yet.
    ///
    /// # Panics
    /// When a question panicked: that is a defect of this program.
    pub async fn ask(
        &self,
        object: &Object,
        question: Question,
        http: &Arc<dyn Http>,
        now: Timestamp,
    ) -> Option<Completion> {
        let before = self.running().remove(object);
        let mut task = match before {
            Some((asked, task)) if asked == question => task,
            Some((_, task)) => {
                task.abort();
                tokio::spawn(send(http.clone(), question.clone(), now))
            }
            None => tokio::spawn(send(http.clone(), question.clone(), now)),
        };
        if let Ok(answer) = timeout(PATIENCE, &mut task).await {
            return Some(answer.expect("a question does not panic, and nobody else ends it"));
        }
        self.running().insert(object.clone(), (question, task));
        None
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Object, (Question, JoinHandle<Completion>)>> {
        self.running.lock().expect("nothing panics while it holds this")
    }
}

async fn send(http: Arc<dyn Http>, question: Question, now: Timestamp) -> Completion {
    let request = Request {
        url: format!("{}/v1/chat/completions", question.base),
        body: Some(json!({
            "model": question.model,
            "messages": [{ "role": "user", "content": "ping" }],
            "max_tokens": 1,
            "temperature": 0,
            "stream": false,
        })),
        api_key: question.api_key,
        deadline: DEADLINE,
    };
    let failed = |why: String| Completion::Failed { at: now, why };
    match http.send(request).await {
        Ok((200, body)) if has_token(&body) => Completion::Proven { at: now },
        Ok((200, _)) => failed("it held no token".into()),
        Ok((status, _)) => failed(format!("it answered {status}")),
        Err(NoAnswer::Refused) => failed("the connection was refused".into()),
        Err(NoAnswer::Silent(why)) => failed(why),
    }
}

/// `usage.completion_tokens >= 1`, or a finish reason. Empty text is fine: some models only reason.
fn has_token(body: &str) -> bool {
    let Ok(answer) = serde_json::from_str::<serde_json::Value>(body) else { return false };
    let tokens = answer.pointer("/usage/completion_tokens").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let finish = answer.pointer("/choices/0/finish_reason").and_then(serde_json::Value::as_str);
    tokens >= 1 || matches!(finish, Some("stop" | "length"))
}

#[cfg(test)]
mod tests {
    use super::has_token;

    #[test]
    fn a_reasoning_answer_without_text_counts_as_a_token() {
        assert!(has_token(r#"{"choices":[{"finish_reason":"length","message":{"content":null}}]}"#));
        assert!(!has_token(r#"{"choices":[],"usage":{"completion_tokens":0}}"#));
        assert!(!has_token("<html>"));
    }
}
