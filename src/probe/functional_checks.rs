//! What each kind of service is for, asked in the smallest way: one token, one word, one vector, one second of tone.
//!
//! An answer counts for what is in it. Servers of every kind say 200 while the part behind them is gone.

use std::{f64::consts::TAU, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::http::{Http, HttpRequest, NoAnswer, RequestBody};
use crate::core::model::{desired::Secret, id::ContainerId, observed::CheckResult};

/// One token, on an engine that may have to compile a kernel for it first.
const DEADLINE: Duration = Duration::from_secs(30);
/// Of the speech that "ok." becomes, at 24,000 samples of two bytes a second: a fifth of a second.
const MIN_SPEECH_BYTES: usize = 9_600;
/// Root mean square of 16-bit samples below which nobody hears anything.
const SILENCE_RMS: f64 = 30.0;
/// bge-m3's dense vectors.
const BGE_M3_DIMENSIONS: usize = 1024;
const UNIT_TOLERANCE: f64 = 1e-3;

/// Looks at a body.
type IsAnswer = fn(&[u8]) -> bool;

/// What is asked of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRequest {
    /// Scheme, address and port.
    pub base: String,
    /// Another container is another engine, whatever it answers.
    pub container: Option<ContainerId>,
    pub api_key: Option<Secret>,
    pub deed: FunctionalCheck,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionalCheck {
    Complete {
        model: String,
    },
    Speak,
    Embed,
    Transcribe,
    Rerank,
    /// Find a name in a sentence, by Presidio's route.
    Recognise,
    /// Tell who speaks in a second of tone.
    Diarize,
}

/// Ask it, and look at what came back.
pub async fn ask(http: Arc<dyn Http>, question: CheckRequest, now: Timestamp) -> CheckResult {
    let asked = CheckCall { http: http.as_ref(), question: &question };
    let came = match &question.deed {
        FunctionalCheck::Complete { model } => asked.complete(model).await,
        FunctionalCheck::Speak => asked.speak().await,
        FunctionalCheck::Embed => asked.embed().await,
        FunctionalCheck::Transcribe => asked.transcribe().await,
        FunctionalCheck::Rerank => asked.rerank().await,
        FunctionalCheck::Recognise => asked.recognise().await,
        FunctionalCheck::Diarize => asked.diarize().await,
    };
    match came {
        Ok(()) => CheckResult::Proven { at: now },
        Err(why) => CheckResult::Failed { at: now, why },
    }
}

struct CheckCall<'a> {
    http: &'a dyn Http,
    question: &'a CheckRequest,
}

impl CheckCall<'_> {
    async fn send(&self, path: &str, body: RequestBody) -> Result<(u16, Vec<u8>), String> {
        let request = HttpRequest {
            url: format!("{}{path}", self.question.base),
            body,
            api_key: self.question.api_key.clone(),
            headers: Vec::new(),
            deadline: DEADLINE,
        };
        self.http.send(request).await.map_err(|error| match error {
            NoAnswer::Refused => "the connection was refused".into(),
            NoAnswer::Silent(why) => why,
        })
    }

    async fn post(&self, path: &str, body: Value) -> Result<Vec<u8>, String> {
        match self.send(path, RequestBody::Json(body)).await? {
            (200, body) => Ok(body),
            (status, _) => Err(format!("{path} answered {status}")),
        }
    }

    /// The first model that it lists: servers that have one insist on its name.
    async fn first_model(&self, otherwise: &str) -> String {
        let listed = match self.send("/v1/models", RequestBody::None).await {
            Ok((200, body)) => serde_json::from_slice::<Value>(&body).ok(),
            Ok(_) | Err(_) => None,
        };
        let first = listed.as_ref().and_then(|list| list.pointer("/data/0/id")).and_then(Value::as_str);
        first.unwrap_or(otherwise).to_owned()
    }

    /// One token; of a model without a chat template, of one that only continues text; a vector or a score of one that
    /// generates nothing; a transcription of one that listens.
    async fn complete(&self, model: &str) -> Result<(), String> {
        let question = json!({
            "model": model,
            "messages": [{ "role": "user", "content": "ping" }],
            "max_tokens": 1,
            "temperature": 0,
            "stream": false,
        });
        let chat = match self.send("/v1/chat/completions", RequestBody::Json(question)).await? {
            (200, body) if has_token(&body) => return Ok(()),
            (200, _) => return Err("it held no token".into()),
            (status, _) => (status, format!("it answered {status}")),
        };
        if !is_elsewhere(chat.0) {
            return Err(chat.1);
        }
        let text =
            json!({ "model": model, "prompt": "ping", "max_tokens": 1, "temperature": 0, "stream": false });
        let vector = json!({ "model": model, "input": "ping", "encoding_format": "float" });
        let score = json!({ "model": model, "query": "ping", "documents": ["ping"] });
        let others: [(&str, RequestBody, IsAnswer); 4] = [
            ("/v1/completions", RequestBody::Json(text), has_token),
            ("/v1/embeddings", RequestBody::Json(vector), |body| vector_of(body).is_some()),
            ("/v1/rerank", RequestBody::Json(score), |body| score_of(body).is_some()),
            ("/v1/audio/transcriptions", tone_form(model), has_text),
        ];
        for (path, question, is_answer) in others {
            match self.send(path, question).await? {
                (200, body) if is_answer(&body) => return Ok(()),
                (200, _) => return Err(format!("{path} answered with something else than it should")),
                (status, _) if is_elsewhere(status) => {}
                (status, _) => return Err(format!("{path} answered {status}")),
            }
        }
        Err(chat.1)
    }

    async fn speak(&self) -> Result<(), String> {
        // Names that OpenAI's clients send, which servers of this kind know.
        let question = json!({
            "model": "tts-1", "voice": "alloy", "input": "ok.", "response_format": "pcm", "stream": false,
        });
        is_speech(&self.post("/v1/audio/speech", question).await?)
    }

    async fn embed(&self) -> Result<(), String> {
        let model = self.first_model("bge-m3").await;
        let question = json!({ "model": model, "input": "ping", "encoding_format": "float" });
        let body = match self.send("/v1/embeddings", RequestBody::Json(question.clone())).await? {
            // Infinity has it without the version.
            (404 | 405, _) => self.post("/embeddings", question).await?,
            (200, body) => body,
            (status, _) => return Err(format!("/v1/embeddings answered {status}")),
        };
        is_unit_vector(&body, &model)
    }

    async fn transcribe(&self) -> Result<(), String> {
        let model = self.first_model("whisper-1").await;
        match self.send("/v1/audio/transcriptions", tone_form(&model)).await? {
            (200, body) if has_text(&body) => Ok(()),
            (200, _) => Err("its transcription holds no text".into()),
            // Another server of this kind, with routes of its own.
            (404 | 405, _) => Ok(()),
            (status, _) => Err(format!("/v1/audio/transcriptions answered {status}")),
        }
    }

    async fn rerank(&self) -> Result<(), String> {
        let model = self.first_model("bge-reranker").await;
        let question = json!({
            "model": model, "query": "ping", "documents": ["ping"],
        });
        let body = match self.send("/v1/rerank", RequestBody::Json(question.clone())).await? {
            // Infinity has it without the version; Text Embeddings Inference has its own words.
            (404 | 405, _) => match self.send("/rerank", RequestBody::Json(question)).await? {
                (200, body) => body,
                _ => self.post("/rerank", json!({ "query": "ping", "texts": ["ping"] })).await?,
            },
            (200, body) => body,
            (status, _) => return Err(format!("/v1/rerank answered {status}")),
        };
        if score_of(&body).is_some() { Ok(()) } else { Err("its answer holds no score".into()) }
    }

    /// There is no common route; a tone has no speaker, so that a list of them came is what counts.
    async fn diarize(&self) -> Result<(), String> {
        let model = self.first_model("diarization").await;
        for path in ["/v1/audio/diarization", "/diarize", "/v1/diarize", "/api/audio/diarize"] {
            match self.send(path, tone_form(&model)).await? {
                (200, body) if has_turns(&body) => return Ok(()),
                (200, _) => return Err(format!("{path} answered without a list of who speaks")),
                (404 | 405, _) => {}
                (status, _) => return Err(format!("{path} answered {status}")),
            }
        }
        // Another server of this kind, with routes of its own.
        Ok(())
    }

    async fn recognise(&self) -> Result<(), String> {
        let question = json!({ "text": "Alice lives in Paris.", "language": "en" });
        match self.send("/analyze", RequestBody::Json(question)).await? {
            (200, body) if serde_json::from_slice::<Vec<Value>>(&body).is_ok() => Ok(()),
            (200, _) => Err("its findings are no list".into()),
            // Another server of this kind, with routes of its own.
            (404 | 405, _) => Ok(()),
            (status, _) => Err(format!("/analyze answered {status}")),
        }
    }
}

/// This model is not asked by this route.
fn is_elsewhere(status: u16) -> bool {
    matches!(status, 400 | 404 | 405 | 501)
}

fn score_of(body: &[u8]) -> Option<f64> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let score = answer.pointer("/results/0/relevance_score").or_else(|| answer.pointer("/0/score"));
    score.and_then(Value::as_f64).filter(|score| score.is_finite())
}

/// A tone is no word; that it was listened to is what counts.
fn has_text(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|answer| answer["text"].is_string())
}

/// By whichever of its names.
fn has_turns(body: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return false };
    let lists = ["segments", "diarization", "exclusive_diarization"];
    answer.is_array() || lists.iter().any(|list| answer[list].is_array())
}

/// `usage.completion_tokens >= 1`, or a finish reason. Empty text is fine: some models only reason.
fn has_token(body: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return false };
    let tokens = answer.pointer("/usage/completion_tokens").and_then(Value::as_u64).unwrap_or(0);
    let finish = answer.pointer("/choices/0/finish_reason").and_then(Value::as_str);
    tokens >= 1 || matches!(finish, Some("stop" | "length"))
}

/// Raw samples, or a WAV file that holds them.
fn is_speech(body: &[u8]) -> Result<(), String> {
    let samples = if body.starts_with(b"RIFF") { body.get(44..).unwrap_or_default() } else { body };
    if samples.len() < MIN_SPEECH_BYTES {
        return Err(format!("its speech is {} bytes long", samples.len()));
    }
    let (sum, count) = samples.chunks_exact(2).fold((0.0, 0.0), |(sum, count), pair| {
        let sample = f64::from(i16::from_le_bytes([pair[0], pair[1]]));
        (sum + sample * sample, count + 1.0)
    });
    if (sum / count).sqrt() < SILENCE_RMS { Err("its speech is silence".into()) } else { Ok(()) }
}

fn vector_of(body: &[u8]) -> Option<Vec<f64>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let vector = answer.pointer("/data/0/embedding")?.as_array()?;
    let numbers: Vec<f64> = vector.iter().map(Value::as_f64).collect::<Option<_>>()?;
    Some(numbers).filter(|numbers| !numbers.is_empty())
}

fn is_unit_vector(body: &[u8], model: &str) -> Result<(), String> {
    let Some(numbers) = vector_of(body) else {
        return Err("its answer holds no vector".into());
    };
    if model.to_lowercase().contains("bge-m3") && numbers.len() != BGE_M3_DIMENSIONS {
        return Err(format!("its vector has {} numbers, not {BGE_M3_DIMENSIONS}", numbers.len()));
    }
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
    if (length - 1.0).abs() > UNIT_TOLERANCE {
        return Err(format!("its vector is {length:.3} long, not 1"));
    }
    Ok(())
}

/// A second of 440 Hz as WAV, 16 bit, one channel, 16,000 samples a second, in a form as clients send it.
fn tone_form(model: &str) -> RequestBody {
    const RATE: u32 = 16_000;
    const BOUNDARY: &str = "spark-control-7b1f0c";
    #[allow(clippy::cast_possible_truncation)] // 8000 at most
    let samples: Vec<u8> = (0..RATE)
        .map(|n| ((f64::from(n) * 440.0 * TAU / f64::from(RATE)).sin() * 8000.0) as i16)
        .flat_map(i16::to_le_bytes)
        .collect();
    let bytes = RATE * 2;
    let mut body = Vec::new();
    for (name, value) in [("model", model), ("response_format", "json")] {
        body.extend(
            format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .bytes(),
        );
    }
    body.extend(
        format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"tone.wav\"\r\n\
             content-type: audio/wav\r\n\r\n"
        )
        .bytes(),
    );
    body.extend(b"RIFF");
    body.extend((36 + bytes).to_le_bytes());
    body.extend(b"WAVEfmt ");
    body.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    body.extend([1, 0, 1, 0]);
    body.extend(RATE.to_le_bytes());
    body.extend(bytes.to_le_bytes());
    // Two bytes a sample, sixteen bits.
    body.extend([2, 0, 16, 0]);
    body.extend(b"data");
    body.extend(bytes.to_le_bytes());
    body.extend(samples);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").bytes());
    RequestBody::Bytes { kind: format!("multipart/form-data; boundary={BOUNDARY}"), bytes: body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reasoning_answer_without_text_counts_as_a_token() {
        assert!(has_token(br#"{"choices":[{"finish_reason":"length","message":{"content":null}}]}"#));
        assert!(!has_token(br#"{"choices":[],"usage":{"completion_tokens":0}}"#));
        assert!(!has_token(br#"{"error":"Unauthorized"}"#));
        assert!(!has_token(b"<html>"));
    }

    /// If this failed, a speech server without a voice would pass for one that speaks.
    #[test]
    fn speech_is_long_enough_and_heard() {
        let tone: Vec<u8> = (0..6000_i16).flat_map(|n| (n % 100 * 50).to_le_bytes()).collect();
        assert_eq!(is_speech(&tone), Ok(()));
        assert!(is_speech(&tone[..9000]).is_err());
        assert!(is_speech(&vec![0; 20_000]).unwrap_err().contains("silence"));
        assert!(is_speech(br#"{"detail":"no voice"}"#).is_err());
    }

    #[test]
    fn a_vector_is_of_length_one_and_has_its_models_size() {
        let of = |numbers: &[f64]| json!({ "data": [{ "embedding": numbers }] }).to_string().into_bytes();
        assert_eq!(is_unit_vector(&of(&[0.6, 0.8]), "small"), Ok(()));
        assert!(is_unit_vector(&of(&[0.6, 0.9]), "small").unwrap_err().contains("long"));
        assert!(is_unit_vector(&of(&[0.6, 0.8]), "BAAI/bge-m3").unwrap_err().contains("2 numbers"));
        assert!(is_unit_vector(&of(&[]), "small").is_err());
        assert!(is_unit_vector(br#"{"data":[{"embedding":[null]}]}"#, "small").is_err());
    }
}
