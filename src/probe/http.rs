//! How endpoints are reached: one request, one answer, by a deadline.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{core::model::desired::Secret, host::address::ipv4};

/// A request to an endpoint.
pub struct HttpRequest {
    pub url: String,
    pub body: RequestBody,
    pub api_key: Option<Secret>,
    pub headers: Vec<(&'static str, String)>,
    pub deadline: Duration,
}

/// What is sent; anything makes it a POST.
#[derive(Debug, Clone)]
pub enum RequestBody {
    None,
    Json(serde_json::Value),
    Bytes { kind: String, bytes: Vec<u8> },
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// The machine said that nothing listens there.
    Refused,
    /// Anything else: not known.
    Silent(String),
}

/// Status and body.
pub type HttpReply<'a> = Pin<Box<dyn Future<Output = Result<(u16, Vec<u8>), NoAnswer>> + Send + 'a>>;

/// How endpoints are reached: `reqwest` for real, the simulated world in tests.
pub trait Http: Send + Sync {
    fn send(&self, request: HttpRequest) -> HttpReply<'_>;
}

/// Over the network.
pub struct HttpClient {
    client: reqwest::Client,
    secret: fn(&Secret) -> Result<String, String>,
}

impl HttpClient {
    /// # Panics
    /// When the TLS library cannot be set up: a build without it.
    pub fn new(secret: fn(&Secret) -> Result<String, String>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("spark-control/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .dns_resolver(Ipv4Only)
            .local_address(std::net::IpAddr::from([0, 0, 0, 0]))
            .connect_timeout(Duration::from_secs(3))
            // The engine's server closes idle connections after 5 s; a younger one is never stale.
            .pool_idle_timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the options are valid");
        Self { client, secret }
    }
}

/// Names are looked up as for SSH: `.local` names answer with link-local IPv6 first, which a client would try.
struct Ipv4Only;

impl Resolve for Ipv4Only {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = ipv4(name.as_str()).await?;
            let addresses: Addrs = Box::new(std::iter::once(SocketAddr::from((found, 0))));
            Ok(addresses)
        })
    }
}

/// More of an answer than this is not looked at.
const MAX_BODY: usize = 4 << 20;

impl Http for HttpClient {
    fn send(&self, request: HttpRequest) -> HttpReply<'_> {
        Box::pin(async move {
            let mut builder = match request.body {
                RequestBody::None => self.client.get(&request.url),
                RequestBody::Json(body) => self.client.post(&request.url).json(&body),
                RequestBody::Bytes { kind, bytes } => {
                    self.client.post(&request.url).header("content-type", kind).body(bytes)
                }
            };
            if let Some(place) = &request.api_key {
                let key = (self.secret)(place).map_err(NoAnswer::Silent)?;
                builder = builder.bearer_auth(key);
            }
            for (name, value) in request.headers {
                builder = builder.header(name, value);
            }
            let sending = async {
                let mut response = builder.send().await?;
                let status = response.status().as_u16();
                let mut body = Vec::new();
                while let Some(chunk) = response.chunk().await? {
                    body.extend_from_slice(&chunk);
                    if body.len() > MAX_BODY {
                        break;
                    }
                }
                Ok::<_, reqwest::Error>((status, body))
            };
            match tokio::time::timeout(request.deadline, sending).await {
                Err(_) => Err(NoAnswer::Silent(format!("no answer within {} s", request.deadline.as_secs()))),
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(no_answer(&error)),
            }
        })
    }
}

fn no_answer(error: &reqwest::Error) -> NoAnswer {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return NoAnswer::Refused;
        }
        last = cause.to_string();
        source = cause.source();
    }
    NoAnswer::Silent(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a `.local` name would be tried over IPv6 first, where nothing answers.
    #[tokio::test]
    async fn names_are_looked_up_as_ipv4() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = axum::Router::new().fallback(|| async { "here" });
        let server = tokio::spawn(axum::serve(listener, router).into_future());
        let network = HttpClient::new(|_| Err("no secret here".into()));
        let url = format!("http://localhost:{port}/");
        let (api_key, headers) = (None, Vec::new());
        let request =
            HttpRequest { url, body: RequestBody::None, api_key, headers, deadline: Duration::from_secs(5) };
        assert_eq!(network.send(request).await, Ok((200, b"here".to_vec())));
        server.abort();
        let found = Ipv4Only.resolve("localhost".parse().unwrap()).await.unwrap().collect::<Vec<_>>();
        assert!(!found.is_empty() && found.iter().all(SocketAddr::is_ipv4), "{found:?}");
    }
}
