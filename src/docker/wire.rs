//! What the Engine's JSON looks like, as far as it is read here. Fields that newer Engines add are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An entry of `GET /containers/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerSummary {
    pub id: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub names: Vec<String>,
    #[serde(default)]
    pub image: String,
    #[serde(default, rename = "ImageID")]
    pub image_id: String,
    #[serde(default)]
    pub state: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_empty")]
    pub ports: Vec<PublishedPort>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PublishedPort {
    #[serde(default)]
    pub public_port: Option<u16>,
}

impl ContainerSummary {
    /// The container's own name: links add names with a second slash.
    pub fn name(&self) -> String {
        let own = self.names.iter().find(|name| name.matches('/').count() == 1);
        own.map_or_else(String::new, |name| name.trim_start_matches('/').to_owned())
    }
}

/// `GET /containers/{id}/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectedContainer {
    pub state: InspectedState,
    #[serde(default)]
    pub restart_count: u32,
    #[serde(default, deserialize_with = "or_empty")]
    pub host_config: HostConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    #[serde(default, deserialize_with = "or_empty")]
    pub restart_policy: RestartPolicy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    #[serde(default)]
    pub name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectedState {
    #[serde(default)]
    pub exit_code: i64,
    #[serde(default)]
    pub started_at: String,
}

/// `GET /containers/{id}/top`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessTable {
    #[serde(default, deserialize_with = "or_empty")]
    pub processes: Vec<Vec<String>>,
}

/// `GET /images/{name}/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectedImage {
    pub id: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub repo_digests: Vec<String>,
    #[serde(default, rename = "RootFS", deserialize_with = "or_empty")]
    pub root_fs: RootFs,
    #[serde(default, deserialize_with = "or_empty")]
    pub config: ImageConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    #[serde(default, deserialize_with = "or_empty")]
    pub layers: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageConfig {
    #[serde(default, deserialize_with = "or_empty")]
    pub user: String,
}

/// One of `/events`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerEvent {
    #[serde(default)]
    pub action: String,
    #[serde(default)]
    pub actor: EventActor,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EventActor {
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// The log format of containers without a terminal: frames of `[stream, 0, 0, 0, length: u32 BE]` and bytes. A body
/// that is not framed (a container with a terminal) is taken as it is.
pub fn demultiplex(body: &[u8]) -> String {
    let mut text = Vec::with_capacity(body.len());
    let mut rest = body;
    while let [stream @ 0..=2, 0, 0, 0, a, b, c, d, tail @ ..] = rest {
        let _ = stream;
        let length =
            usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX).min(tail.len());
        text.extend_from_slice(&tail[..length]);
        rest = &tail[length..];
    }
    text.extend_from_slice(rest);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_come_out_in_order_and_a_torn_frame_is_kept() {
        let mut body = vec![1, 0, 0, 0, 0, 0, 0, 2, b'a', b'\n', 2, 0, 0, 0, 0, 0, 0, 9, b'b'];
        assert_eq!(demultiplex(&body), "a\nb");
        body = b"plain".to_vec();
        assert_eq!(demultiplex(&body), "plain");
    }

    #[test]
    fn a_linked_name_is_not_the_containers_own() {
        let listed = r#"{"Id":"x","Names":["/other/alias","/vllm_node"],"Labels":null,"State":"running"}"#;
        let listed: ContainerSummary = serde_json::from_str(listed).unwrap();
        assert_eq!(listed.name(), "vllm_node");
    }
}
